"""ELECTRA (Clark et al. 2020): BERT with narrow embeddings and heads of its own; a discriminator or a generator."""

from collections.abc import Mapping
from typing import Any

from regard.checkpoints.families.bert import (
    BODY,
    FIXED,
    HEAD_ACTIVATION,
    HEAD_DROPOUT,
    KEYS,
    ONLY,
    POOLER,
    POSITIONS,
    VOCABULARY,
    token_heads,
)
from regard.checkpoints.families.family import ACTIVATIONS, Architecture, Family, Key, Keys, given
from regard.checkpoints.rules import Entry, affine, norm

NARROW: tuple[Entry, ...] = (*BODY, *affine("embeddings_project", "encoder.embeddings.project"))


def embedding_size(default: int | None) -> Keys:
    """The width of embeddings that are projected only where it is not that of hidden states. default: what an absent key
    means, None = hidden_size."""

    def to_ours(theirs: Mapping[str, Any]) -> dict[str, Any]:
        hidden = theirs.get("hidden_size")
        width = given(theirs, "embedding_size", default)
        return {"d_embedding": None if width == hidden else width, "d_model": hidden}

    def to_theirs(ours: Mapping[str, Any]) -> dict[str, Any]:
        return {"embedding_size": ours["d_embedding"] or ours["d_model"], "hidden_size": ours["d_model"]}

    return Keys(names={"d_embedding": "embedding_size", "d_model": "hidden_size"}, to_ours=to_ours, to_theirs=to_theirs)


ELECTRA = Family(
    name="electra",
    prefix="electra.",
    keys=(embedding_size(128), *KEYS, *POSITIONS),
    fixed=FIXED,
    only=ONLY,
    base=Architecture("ElectraModel", NARROW),
    heads=(
        Architecture(
            "ElectraForSequenceClassification",
            NARROW,
            (*affine("classifier.dense", "head.dense"), *affine("classifier.out_proj", "head.out")),
            task="text-classification",
            fields={**POOLER, "activation": "gelu"},
            keys=(HEAD_DROPOUT,),
        ),
        Architecture(
            "ElectraForMaskedLM",
            NARROW,
            (
                *affine("generator_predictions.dense", "head.dense"),
                *norm("generator_predictions.LayerNorm", "head.norm"),
                *affine("generator_lm_head", "head.out"),
            ),
            task="fill-mask",
            fields={**VOCABULARY, "activation": "gelu"},
            keys=(Key(theirs="embedding_size", ours="head.d_dense", default=128),),
        ),
        Architecture(
            "ElectraForPreTraining",
            NARROW,
            (
                *affine("discriminator_predictions.dense", "head.dense"),
                *affine("discriminator_predictions.dense_prediction", "head.out"),
            ),
            fields={"over": "tokens", "dense": True, "dropout": 0.0},
            keys=(HEAD_ACTIVATION,),
        ),
        *token_heads("Electra", NARROW, HEAD_DROPOUT),
        Architecture(
            "ElectraForMultipleChoice",
            NARROW,
            (*affine("sequence_summary.summary", "head.dense"), *affine("classifier", "head.out")),
            task="multiple-choice",
            fields={"over": "sequence"},
            keys=(
                Key(theirs="summary_type", ours="head.pool", default="first", values={"first": "first"}),
                Key(theirs="summary_use_proj", ours="head.dense", default=True, values={True: True}),
                Key(theirs="summary_activation", ours="head.activation", default="gelu", values=ACTIVATIONS),
                Key(theirs="summary_last_dropout", ours="head.dropout", default=0.1),
            ),
        ),
    ),
)
