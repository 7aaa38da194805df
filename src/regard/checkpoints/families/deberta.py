"""DeBERTa-v2 and v3 (He et al. 2021; He et al. 2023): BERT whose attention knows distances; `model_type` deberta-v2."""

from collections.abc import Mapping
from typing import Any

from regard.checkpoints.families.bert import FIXED, HEAD_ACTIVATION, KEYS, ONLY, POSITIONS, VOCABULARY, token_heads
from regard.checkpoints.families.electra import embedding_size
from regard.checkpoints.families.family import ACTIVATIONS, Architecture, Family, Key, Keys, given, with_defaults
from regard.checkpoints.rules import Either, Entry, Rule, Skip, affine, keep, norm, word_bias
from regard.layers.disentangled import TERMS

LAYER, OURS = "encoder.layer.{}", "encoder.layers.{}"
POSITION_TABLE = "embeddings.position_embeddings.weight"

BODY: tuple[Entry | Either, ...] = (
    Rule("embeddings.word_embeddings.weight", "encoder.embeddings.tokens.weight"),
    Either(
        "position_biased_input",
        true=(Rule(POSITION_TABLE, "encoder.embeddings.positions.weight"),),
        false=(keep(POSITION_TABLE),),
        absent=True,
    ),
    Rule("embeddings.token_type_embeddings.weight", "encoder.embeddings.types.weight"),
    Rule("embeddings.embed_proj.weight", "encoder.embeddings.project.weight"),
    *norm("embeddings.LayerNorm", "encoder.embeddings.norm"),
    Skip("embeddings.position_ids", "a buffer of older versions: 0, 1, 2 …"),
    Rule("encoder.rel_embeddings.weight", "encoder.disentangled.table.weight"),
    *norm("encoder.LayerNorm", "encoder.disentangled.norm"),
    *affine("encoder.conv.conv", "encoder.layers.0.convolution"),
    *norm("encoder.conv.LayerNorm", "encoder.layers.0.convolution_norm"),
    *affine(f"{LAYER}.attention.self.query_proj", f"{OURS}.attention.q_proj"),
    *affine(f"{LAYER}.attention.self.key_proj", f"{OURS}.attention.k_proj"),
    *affine(f"{LAYER}.attention.self.value_proj", f"{OURS}.attention.v_proj"),
    *affine(f"{LAYER}.attention.self.pos_key_proj", f"{OURS}.attention.position.k_proj"),
    *affine(f"{LAYER}.attention.self.pos_query_proj", f"{OURS}.attention.position.q_proj"),
    *affine(f"{LAYER}.attention.output.dense", f"{OURS}.attention.o_proj"),
    *norm(f"{LAYER}.attention.output.LayerNorm", f"{OURS}.attention_norm"),
    *affine(f"{LAYER}.intermediate.dense", f"{OURS}.feedforward.up_proj"),
    *affine(f"{LAYER}.output.dense", f"{OURS}.feedforward.down_proj"),
    *norm(f"{LAYER}.output.LayerNorm", f"{OURS}.feedforward_norm"),
)


def disentangled(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """The many keys of relative attention, all of which may be absent."""
    types = given(theirs, "pos_att_type", [])
    types = [name.strip() for name in types.lower().split("|")] if isinstance(types, str) else types
    terms = tuple(term for term in TERMS if term in types)
    if not theirs.get("relative_attention"):
        if terms:  # they would count in the scale of the scores all the same
            raise ValueError(f"pos_att_type names {' and '.join(terms)}, and relative_attention is false")
        return {"disentangled": None}
    distance, buckets = given(theirs, "max_relative_positions", -1), given(theirs, "position_buckets", -1)
    norms = [name.strip() for name in given(theirs, "norm_rel_ebd", "none").lower().split("|")]
    return {
        "disentangled": {
            "distance": distance if distance > 0 else theirs["max_position_embeddings"],
            "buckets": buckets if buckets > 0 else None,
            "terms": terms,
            "shared": given(theirs, "share_att_key", False),
            "norm": "layer_norm" in norms,
        }
    }


def relative_attention(ours: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of :func:`disentangled`."""
    chosen = ours["disentangled"]
    if chosen is None:
        return {"relative_attention": False, "pos_att_type": None}
    return {
        "relative_attention": True,
        "max_relative_positions": chosen["distance"],
        "position_buckets": chosen["buckets"] or -1,
        "pos_att_type": list(chosen["terms"]),
        "share_att_key": chosen["shared"],
        "norm_rel_ebd": "layer_norm" if chosen["norm"] else "none",
    }


def convolution(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """The convolution of the largest models of version 2."""
    kernel, activation = given(theirs, "conv_kernel_size", 0), given(theirs, "conv_act", "tanh")
    if kernel < 1:
        return {"convolution": None}
    if activation not in ACTIVATIONS:
        raise ValueError(f"conv_act is {activation!r}, allowed: {', '.join(ACTIVATIONS)}")
    groups = given(theirs, "conv_groups", 1)
    return {"convolution": {"kernel": kernel, "groups": groups, "activation": ACTIVATIONS[activation]}}


def conv_kernel_size(ours: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of :func:`convolution`."""
    chosen = ours["convolution"]
    if chosen is None:
        return {"conv_kernel_size": 0}
    activation = next(name for name, meaning in ACTIVATIONS.items() if meaning == chosen["activation"])
    return {"conv_kernel_size": chosen["kernel"], "conv_groups": chosen["groups"], "conv_act": activation}


def tied(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """The newer masked-language-model head has no matrix but the token table."""
    return {"tie_head": True if theirs.get("legacy") is False else given(theirs, "tie_word_embeddings", True)}


def _words(theirs: tuple[str, str], other: tuple[str, str]) -> tuple[Entry, ...]:
    """Dense layer and norm of a masked-language-model head under their names; the other spelling is read, too."""
    return tuple(
        Rule(f"{name}.{kind}", f"{ours}.{kind}", also=(f"{another}.{kind}",))
        for name, another, ours in zip(theirs, other, ("head.dense", "head.norm"), strict=True)
        for kind in ("weight", "bias")
    )


OLD, NEW = "cls.predictions", "lm_predictions.lm_head"
OLD_PARTS = (f"{OLD}.transform.dense", f"{OLD}.transform.LayerNorm")
NEW_PARTS = (f"{NEW}.dense", f"{NEW}.LayerNorm")
WORDS: tuple[Entry | Either, ...] = (
    Either(
        "legacy",
        true=(
            *_words(OLD_PARTS, NEW_PARTS),
            Rule(f"{OLD}.decoder.weight", "head.out.weight"),
            word_bias(f"{OLD}.bias", f"{OLD}.decoder.bias", also=(f"{NEW}.bias",)),
        ),
        false=(*_words(NEW_PARTS, OLD_PARTS), Rule(f"{NEW}.bias", "head.out.bias", also=(f"{OLD}.bias",))),
        absent=True,
    ),
    keep("mask_predictions.*"),
)
"""The published checkpoints have the newer names, and a config.json without the key that says so; those of version 3 hold
the head of their pretraining task besides."""

POOLER = {"over": "sequence", "pool": "first", "dense": True}
OF_POOLER = (
    Key(theirs="pooler_hidden_act", ours="head.activation", default="gelu", values=ACTIVATIONS),
    Key(theirs="cls_dropout", ours="head.dropout", default=None),
)
CLASSIFIER = (*affine("pooler.dense", "head.dense"), *affine("classifier", "head.out"))

DEBERTA_V2 = Family(
    name="deberta-v2",
    prefix="deberta.",
    keys=(
        embedding_size(None),
        *with_defaults(KEYS, type_vocab_size=0, layer_norm_eps=1e-7),
        *POSITIONS,
        Key(theirs="position_biased_input", ours="positions", default=True, values={True: "learned", False: "none"}),
        Keys(
            names={
                "disentangled": "relative_attention",
                "disentangled.distance": "max_relative_positions",
                "disentangled.buckets": "position_buckets",
                "disentangled.terms": "pos_att_type",
                "disentangled.shared": "share_att_key",
                "disentangled.norm": "norm_rel_ebd",
            },
            to_ours=disentangled,
            to_theirs=relative_attention,
        ),
        Keys(
            names={
                "convolution": "conv_kernel_size",
                "convolution.kernel": "conv_kernel_size",
                "convolution.groups": "conv_groups",
                "convolution.activation": "conv_act",
            },
            to_ours=convolution,
            to_theirs=conv_kernel_size,
        ),
        Keys(
            names={"tie_head": "tie_word_embeddings"},
            to_ours=tied,
            to_theirs=lambda ours: {"tie_word_embeddings": ours["tie_head"]},
        ),
    ),
    fixed={**{name: value for name, value in FIXED.items() if name != "positions"}, "project_first": True},
    only=ONLY,
    base=Architecture("DebertaV2Model", BODY),
    heads=(
        Architecture(
            "DebertaV2ForSequenceClassification",
            BODY,
            CLASSIFIER,
            task="text-classification",
            fields=POOLER,
            keys=OF_POOLER,
        ),
        Architecture(
            "DebertaV2ForMaskedLM",
            BODY,
            WORDS,
            task="fill-mask",
            fields=VOCABULARY,
            keys=(HEAD_ACTIVATION, Key(theirs="embedding_size", ours="head.d_dense", default=None)),
        ),
        *token_heads("DebertaV2", BODY),
        Architecture(
            "DebertaV2ForMultipleChoice",
            BODY,
            CLASSIFIER,
            task="multiple-choice",
            fields=POOLER,
            keys=OF_POOLER,
        ),
    ),
)
