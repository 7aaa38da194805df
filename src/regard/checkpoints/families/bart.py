"""BART (Lewis et al. 2020) and mBART (Liu et al. 2020): `model_type` bart and mbart."""

from collections.abc import Mapping
from typing import Any

from regard.checkpoints.families.family import ACTIVATIONS, AnyKey, Architecture, Family, Key
from regard.checkpoints.rules import Entry, Rule, Skip, affine, keep, norm

OFFSET = 2
"""Rows of the position tables before position 0."""


def attention(theirs: str, ours: str) -> tuple[Entry, ...]:
    """An attention and its norm."""
    return (
        *affine(f"{theirs}.q_proj", f"{ours}.q_proj"),
        *affine(f"{theirs}.k_proj", f"{ours}.k_proj"),
        *affine(f"{theirs}.v_proj", f"{ours}.v_proj"),
        *affine(f"{theirs}.out_proj", f"{ours}.o_proj"),
        *norm(f"{theirs}_layer_norm", f"{ours}_norm"),
    )


def feedforward(layer: str) -> tuple[Entry, ...]:
    """A layer's feed-forward part and its norm."""
    return (
        *affine(f"{layer}.fc1", f"{layer}.feedforward.up_proj"),
        *affine(f"{layer}.fc2", f"{layer}.feedforward.down_proj"),
        *norm(f"{layer}.final_layer_norm", f"{layer}.feedforward_norm"),
    )


TABLES: tuple[Entry, ...] = (
    keep("shared.weight"),  # goes where it is read, see regard.checkpoints.shared
    Rule("encoder.embed_tokens.weight", "encoder.embeddings.tokens.weight"),
    Rule("decoder.embed_tokens.weight", "decoder.embeddings.tokens.weight"),
)
LAYERS: tuple[Entry, ...] = (
    *attention("encoder.layers.{}.self_attn", "encoder.layers.{}.attention"),
    *feedforward("encoder.layers.{}"),
    *attention("decoder.layers.{}.self_attn", "decoder.layers.{}.attention"),
    *attention("decoder.layers.{}.encoder_attn", "decoder.layers.{}.cross_attention"),
    *feedforward("decoder.layers.{}"),
    Skip("encoder.version", "a buffer of older versions: the version of a converter"),
    Skip("decoder.version", "a buffer of older versions: the version of a converter"),
)
LAST_NORMS: tuple[Entry, ...] = (
    *norm("encoder.layer_norm", "encoder.norm"),
    *norm("decoder.layer_norm", "decoder.norm"),
)
BODY: tuple[Entry, ...] = (
    *TABLES,
    Rule("encoder.embed_positions.weight", "encoder.embeddings.positions.weight"),
    Rule("decoder.embed_positions.weight", "decoder.embeddings.positions.weight"),
    *norm("encoder.layernorm_embedding", "encoder.embeddings.norm"),
    *norm("decoder.layernorm_embedding", "decoder.embeddings.norm"),
    *LAYERS,
)
MATRIX = Rule("lm_head.weight", "head.out.weight")
WORDS: tuple[Entry, ...] = (MATRIX, Rule("final_logits_bias", "head.out.bias", ones=1))


def keys(*, pad: int, activation: str = "gelu", scale: bool = False, attention_dropout: float = 0.0) -> tuple[AnyKey, ...]:
    """The keys that BART and its kin share; the arguments are what absent ones mean."""
    return (
        Key(theirs="vocab_size", ours="vocab_size"),
        Key(theirs="d_model", ours="d_model"),
        Key(theirs="encoder_layers", ours="n_layers"),
        Key(theirs="decoder_layers", ours="n_decoder_layers"),
        Key(theirs="encoder_attention_heads", ours="n_heads"),
        Key(theirs="decoder_attention_heads", ours="n_decoder_heads"),
        Key(theirs="encoder_ffn_dim", ours="d_ff"),
        Key(theirs="decoder_ffn_dim", ours="d_decoder_ff"),
        Key(theirs="max_position_embeddings", ours="max_positions", default=1024),
        Key(theirs="activation_function", ours="activation", default=activation, values=ACTIVATIONS),
        Key(theirs="scale_embedding", ours="embedding_scale", default=scale),
        Key(theirs="dropout", ours="dropout", default=0.1),
        Key(theirs="attention_dropout", ours="attention_dropout", default=attention_dropout),
        Key(theirs="pad_token_id", ours="pad_id", default=pad),
    )


TIED = Key(theirs="tie_word_embeddings", ours="tie_head", default=True)
FIXED = {"kind": "encoder-decoder", "norm": "layer", "norm_eps": 1e-5}
ONLY = {"is_decoder": (False,), "quantization_config": ()}
HEAD_DROPOUT = Key(theirs="classifier_dropout", ours="head.dropout", default=0.0)

VOCABULARY = {"over": "vocabulary", "dense": False, "dropout": 0.0}
LAST = {"over": "sequence", "pool": "last", "dense": True, "activation": "tanh"}
"""A classifier reads the decoder at the end of the text, where it has seen all of it."""
TOKENS = {"over": "tokens", "dense": False, "dropout": 0.0}


def _family(
    name: str, classes: str, *, task: str, body: tuple[Entry, ...], keys: tuple[AnyKey, ...], fixed: Mapping[str, Any]
) -> Family:
    """The tables for one `model_type`, whose model classes begin with `classes`."""
    return Family(
        name=name,
        prefix="model.",
        keys=keys,
        fixed={**FIXED, "positions": "learned", "position_offset": OFFSET, "embedding_norm": True, **fixed},
        only=ONLY,
        base=Architecture(f"{classes}Model", body),
        heads=(
            Architecture(f"{classes}ForConditionalGeneration", body, WORDS, task=task, fields=VOCABULARY),
            Architecture(
                f"{classes}ForSequenceClassification",
                body,
                (*affine("classification_head.dense", "head.dense"), *affine("classification_head.out_proj", "head.out")),
                task="text-classification",
                fields=LAST,
                keys=(HEAD_DROPOUT,),
            ),
            Architecture(
                f"{classes}ForQuestionAnswering",
                body,
                affine("qa_outputs", "head.out"),
                task="question-answering",
                fields=TOKENS,
            ),
        ),
    )


BART = _family(
    "bart",
    "Bart",
    task="text2text-generation",
    body=BODY,
    keys=(*keys(pad=1), TIED, Key(theirs="decoder_start_token_id", ours="start_id", default=2)),
    fixed={"norm_place": "post"},
)
MBART = _family(
    "mbart",
    "MBart",
    task="translation",
    body=(*BODY, *LAST_NORMS),
    keys=(*keys(pad=1), TIED),
    fixed={"norm_place": "pre"},
)
