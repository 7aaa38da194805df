"""Names for models: sizes to train from scratch, and short names of hub models to start from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regard.config import parse
from regard.models.config import ModelConfig
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

PRESETS: Registry[Mapping[str, Any]] = Registry("preset")
"""Fields of :class:`~regard.models.config.ModelConfig` by size, as in Turc et al. 2019 (arXiv:1908.08962), table 1."""

for _name, _layers, _width in (("tiny", 2, 128), ("mini", 4, 256), ("small", 4, 512), ("base", 12, 768)):
    PRESETS.register(_name)(
        {**BERT_SHAPE, "n_layers": _layers, "d_model": _width, "n_heads": _width // 64, "d_ff": 4 * _width}
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


def preset(name: str, *, vocab_size: int, **changes: Any) -> ModelConfig:
    """The description of a model to train from scratch.

    vocab_size: the tokenizer's. changes: other fields of :class:`~regard.models.config.ModelConfig`, such as `pad_id` or
    `max_positions`. Raises :class:`~regard.errors.ConfigError` for an unknown preset or a wrong field.
    """
    return parse(ModelConfig, {**PRESETS[name], "vocab_size": vocab_size, **changes}, where=f"preset {name!r}")
