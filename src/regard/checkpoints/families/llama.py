"""Llama (Touvron et al. 2023), also of SmolLM and MiniMind, and its kin: Mistral (Jiang et al. 2023), Qwen2 and Qwen3 (Yang
et al. 2024, 2025). They differ in biases, windows, norms of queries and keys, and in what an absent key means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regard.checkpoints.families.family import ACTIVATIONS, AnyKey, Architecture, Family, Key, Keys
from regard.checkpoints.families.gpt2 import HEAD_DROPOUT, LAST, SPANS, TOKENS, WORDS
from regard.checkpoints.families.rope import ONLY, WHOLE, rope
from regard.checkpoints.rules import Entry, Rule, Skip, affine
from regard.models.config import MOST_LAYERS

LAYER, OURS = "layers.{}", "decoder.layers.{}"

BODY: tuple[Entry, ...] = (
    Rule("embed_tokens.weight", "decoder.embeddings.tokens.weight"),
    *affine(f"{LAYER}.self_attn.q_proj", f"{OURS}.attention.q_proj"),
    *affine(f"{LAYER}.self_attn.k_proj", f"{OURS}.attention.k_proj"),
    *affine(f"{LAYER}.self_attn.v_proj", f"{OURS}.attention.v_proj"),
    *affine(f"{LAYER}.self_attn.o_proj", f"{OURS}.attention.o_proj"),
    Rule(f"{LAYER}.self_attn.q_norm.weight", f"{OURS}.attention.q_norm.weight"),
    Rule(f"{LAYER}.self_attn.k_norm.weight", f"{OURS}.attention.k_norm.weight"),
    *affine(f"{LAYER}.mlp.gate_proj", f"{OURS}.feedforward.gate_proj"),
    *affine(f"{LAYER}.mlp.up_proj", f"{OURS}.feedforward.up_proj"),
    *affine(f"{LAYER}.mlp.down_proj", f"{OURS}.feedforward.down_proj"),
    Rule(f"{LAYER}.input_layernorm.weight", f"{OURS}.attention_norm.weight"),
    Rule(f"{LAYER}.post_attention_layernorm.weight", f"{OURS}.feedforward_norm.weight"),
    Rule("norm.weight", "decoder.norm.weight"),
    Skip(f"{LAYER}.self_attn.rotary_emb.inv_freq", "a buffer of older versions: rotary frequencies"),
)

SLIDING, FULL = "sliding_attention", "full_attention"


def _key_value_heads(absent: int | None) -> Keys:
    """`num_key_value_heads`: null means as many as query heads, and `absent` what no such key means."""
    return Keys(
        names={"n_kv_heads": "num_key_value_heads"},
        to_ours=lambda theirs: {"n_kv_heads": theirs.get("num_key_value_heads", absent)},
        to_theirs=lambda ours: {"num_key_value_heads": ours["n_kv_heads"]},
    )


def _window(theirs: Mapping[str, Any]) -> int | None:
    """How far a token looks back; `sliding_window` counts the token itself, too."""
    size = theirs.get("sliding_window", 4096)
    if size is None:
        return None
    if type(size) is not int or size < 2:
        raise ValueError(f"{size!r} is no window: a whole number of tokens is needed, at least 2")
    return size - 1


EVERYWHERE = Keys(
    names={"window": "sliding_window"},
    to_ours=lambda theirs: {"window": _window(theirs)},
    to_theirs=lambda ours: {"sliding_window": None if ours["window"] is None else ours["window"] + 1},
)
"""Mistral's window, through which all layers look."""


def _windows(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Qwen's window, and which layers look through it: those of `layer_types`, else the last ones."""
    layers, kinds = theirs.get("num_hidden_layers"), theirs.get("layer_types")
    window = _window(theirs) if theirs.get("use_sliding_window", False) else None
    if type(layers) is not int or not 0 < layers <= MOST_LAYERS:
        return {}  # which num_hidden_layers is blamed for
    if kinds is None:
        first = theirs.get("max_window_layers", 28)
        local = tuple(i for i in range(layers) if window is not None and i >= first)
    else:
        if len(kinds) != layers or not {*kinds} <= {SLIDING, FULL}:
            raise ValueError(f"layer_types must say {SLIDING!r} or {FULL!r} for each of {layers} layers")
        local = tuple(i for i, kind in enumerate(kinds) if kind == SLIDING)
    if local and window is None:
        raise ValueError(f"layer_types says {SLIDING!r}, but use_sliding_window and sliding_window say that there is none")
    return {"window": window if local else None, "local_layers": local if 0 < len(local) < layers else None}


def _their_windows(ours: Mapping[str, Any]) -> dict[str, Any]:
    window, layers, local = ours["window"], ours["n_layers"], ours["local_layers"]
    if window is None:
        return {"use_sliding_window": False, "layer_types": [FULL] * layers}
    kinds = [SLIDING if local is None or i in local else FULL for i in range(layers)]
    return {"use_sliding_window": True, "sliding_window": window + 1, "layer_types": kinds}


IN_SOME = Keys(
    names={"window": "sliding_window", "local_layers": "layer_types", "n_layers": "num_hidden_layers"},
    to_ours=_windows,
    to_theirs=_their_windows,
)


def _biased(default: bool) -> Key:
    return Key(theirs="attention_bias", ours="attention_bias", default=default, values={True: "all", False: "none"})


def _family(
    name: str,
    classes: str,
    *keys: AnyKey,
    longest: int,
    reads: str = "transformer.",
    head_width: int | None = None,
    **fixed: Any,
) -> Family:
    """The tables for one `model_type`, whose model classes begin with `classes`.

    keys and fixed: what is its own. longest and head_width: what an absent `max_position_embeddings` and `head_dim` mean.
    reads: prefix of the model that answers questions.
    """
    return Family(
        name=name,
        prefix="model.",
        keys=(
            Key(theirs="vocab_size", ours="vocab_size"),
            Key(theirs="hidden_size", ours="d_model"),
            Key(theirs="num_hidden_layers", ours="n_layers"),
            Key(theirs="num_attention_heads", ours="n_heads"),
            Key(theirs="head_dim", ours="d_head", default=head_width),
            Key(theirs="intermediate_size", ours="d_ff"),
            Key(theirs="max_position_embeddings", ours="max_positions", default=longest),
            Key(theirs="hidden_act", ours="activation", default="silu", values=ACTIVATIONS),
            Key(theirs="rms_norm_eps", ours="norm_eps", default=1e-6),
            Key(theirs="attention_dropout", ours="attention_dropout", default=0.0),
            Key(theirs="pad_token_id", ours="pad_id", default=0),
            Key(theirs="tie_word_embeddings", ours="tie_head", default=False),
            rope(longest),
            *keys,
        ),
        fixed={
            "kind": "decoder",
            "positions": "rotary",
            "norm": "rms",
            "gated": True,
            "bias": False,
            "dropout": 0.0,
            **fixed,
        },
        only={**ONLY, **WHOLE, "quantization_config": ()},
        base=Architecture(f"{classes}Model", BODY),
        heads=(
            Architecture(
                f"{classes}ForCausalLM",
                BODY,
                (Rule("lm_head.weight", "head.out.weight"),),
                task="text-generation",
                fields=WORDS,
            ),
            Architecture(
                f"{classes}ForSequenceClassification",
                BODY,
                (Rule("score.weight", "head.out.weight"),),
                task="text-classification",
                fields=LAST,
            ),
            Architecture(
                f"{classes}ForTokenClassification",
                BODY,
                affine("score", "head.out"),
                task="token-classification",
                fields=TOKENS,
                keys=(HEAD_DROPOUT, Key(theirs="token_classification_bias", ours="head.bias", default=True)),
            ),
            Architecture(
                f"{classes}ForQuestionAnswering",
                BODY,
                affine("qa_outputs", "head.out"),
                task="question-answering",
                fields=SPANS,
                prefix=reads,
            ),
        ),
    )


LLAMA = _family(
    "llama",
    "Llama",
    _key_value_heads(None),
    _biased(default=False),
    Key(theirs="mlp_bias", ours="bias", default=False),
    longest=2048,
)
MISTRAL = _family("mistral", "Mistral", _key_value_heads(8), EVERYWHERE, longest=131072, reads="model.")
QWEN2 = _family("qwen2", "Qwen2", _key_value_heads(32), IN_SOME, longest=32768, attention_bias="qkv")
QWEN3 = _family(
    "qwen3",
    "Qwen3",
    _key_value_heads(32),
    IN_SOME,
    _biased(default=False),
    longest=32768,
    head_width=128,
    qk_norm=True,
)
