"""Names for models: sizes to train from scratch, and short names of hub models to start from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regard.config import parse
from regard.models.config import Kind, ModelConfig
from regard.registry import Registry

BERT_SHAPE: dict[str, Any] = {
    "kind": "encoder",
    "positions": "learned",
    "n_types": 2,
    "norm": "layer",
    "norm_eps": 1e-12,
    "norm_place": "post",
    "embedding_norm": True,
    "activation": "gelu",
}
"""What BERT (Devlin et al. 2019) has at every size, so that a model trained from scratch can be exported as one."""

GPT2_SHAPE: dict[str, Any] = {
    "kind": "decoder",
    "positions": "learned",
    "norm": "layer",
    "norm_place": "pre",
    "activation": "gelu-tanh",
    "max_positions": 1024,
}
"""The same of GPT-2 (Radford et al. 2019)."""

MARIAN_SHAPE: dict[str, Any] = {
    "kind": "encoder-decoder",
    "positions": "sinusoidal",
    "sinusoid": "halves",
    "norm": "layer",
    "norm_place": "post",
    "activation": "relu",
    "embedding_scale": True,
    "pad_is_zero": True,
    "attention_dropout": 0.0,
}
"""The same of Marian (Junczys-Dowmunt et al. 2018), which is the Transformer of Vaswani et al. 2017."""

PRESETS: Registry[Mapping[Kind, Mapping[str, Any]]] = Registry("preset")
"""Fields of :class:`~regard.models.config.ModelConfig` by size and kind of model. Encoders are those of Turc et al. 2019
(arXiv:1908.08962, table 1), decoders those of GPT-2 and smaller; encoder-decoders have as many layers in each stack."""


def _layers(n_layers: int, d_model: int, d_ff: int, n_heads: int) -> dict[str, int]:
    return {"n_layers": n_layers, "d_model": d_model, "d_ff": d_ff, "n_heads": n_heads}


for _name, *_stacks in (
    ("tiny", _layers(2, 128, 512, 2), _layers(4, 128, 512, 4), _layers(4, 128, 256, 4)),
    ("mini", _layers(4, 256, 1024, 4), _layers(4, 256, 1024, 4), _layers(4, 256, 1024, 4)),
    ("small", _layers(4, 512, 2048, 8), _layers(6, 384, 1536, 6), _layers(6, 512, 1024, 4)),
    ("base", _layers(12, 768, 3072, 12), _layers(12, 768, 3072, 12), _layers(6, 512, 2048, 8)),
):
    PRESETS.register(_name)(
        {
            shape["kind"]: {**shape, **stack}
            for shape, stack in zip((BERT_SHAPE, GPT2_SHAPE, MARIAN_SHAPE), _stacks, strict=True)
        }
    )

SHORT_NAMES: dict[str, str] = {
    "albert": "albert/albert-base-v2",
    "bart": "facebook/bart-base",
    "bert": "google-bert/bert-base-uncased",
    "bert-chinese": "google-bert/bert-base-chinese",
    "bert-multilingual": "google-bert/bert-base-multilingual-cased",
    "distilbert": "distilbert/distilbert-base-uncased",
    "flan-t5": "google/flan-t5-small",
    "gpt2": "openai-community/gpt2",
    "m3e-small": "moka-ai/m3e-small",
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
    "modernbert": "answerdotai/ModernBERT-base",
    "pythia": "EleutherAI/pythia-70m",
    "qwen3": "Qwen/Qwen3-0.6B",
    "roberta": "FacebookAI/roberta-base",
    "smollm": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "vit": "google/vit-base-patch16-224",
    "whisper": "openai/whisper-tiny",
    "xlm-roberta": "FacebookAI/xlm-roberta-base",
}
"""Short names of hub models."""


def preset(name: str, *, vocab_size: int, kind: Kind = "encoder", **changes: Any) -> ModelConfig:
    """The description of a model to train from scratch.

    vocab_size: the tokenizer's. kind: which stacks it has. changes: other fields of
    :class:`~regard.models.config.ModelConfig`, such as `pad_id` or `max_positions`. Raises
    :class:`~regard.errors.ConfigError` for an unknown preset or a wrong field.
    """
    return parse(ModelConfig, {**PRESETS[name][kind], "vocab_size": vocab_size, **changes}, where=f"preset {name!r}")
