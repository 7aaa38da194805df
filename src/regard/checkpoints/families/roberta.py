"""RoBERTa (Liu et al. 2019) and XLM-R (Conneau et al. 2020): BERT's layers, positions that start after the padding id, other
heads."""

from regard.checkpoints.families.bert import (
    FIXED,
    HEAD_DROPOUT,
    KEYS,
    ONLY,
    POOLED,
    POOLER,
    UNPOOLED,
    VOCABULARY,
    token_heads,
)
from regard.checkpoints.families.family import Architecture, Family, Key
from regard.checkpoints.rules import Either, Entry, Rule, affine, norm, word_bias

OFFSET = 2
"""Rows of the position table before position 0: positions are counted from the padding id, which is 1, plus 1."""

WORDS: tuple[Entry | Either, ...] = (
    *affine("lm_head.dense", "head.dense"),
    *norm("lm_head.layer_norm", "head.norm"),
    Rule("lm_head.decoder.weight", "head.out.weight"),
    word_bias("lm_head.bias", "lm_head.decoder.bias"),
)


def _family(name: str, classes: str) -> Family:
    """The tables for one `model_type`, whose model classes begin with `classes`."""
    return Family(
        name=name,
        prefix="roberta.",
        keys=(
            *KEYS,
            Key(theirs="max_position_embeddings", ours="max_positions", plus=-OFFSET),
            Key(theirs="pad_token_id", ours="pad_id", default=1, values={1: 1}),
        ),
        fixed={**FIXED, "position_offset": OFFSET},
        only=ONLY,
        base=Architecture(f"{classes}Model", POOLED, fields=POOLER),
        heads=(
            Architecture(
                f"{classes}ForSequenceClassification",
                UNPOOLED,
                (*affine("classifier.dense", "head.dense"), *affine("classifier.out_proj", "head.out")),
                task="text-classification",
                fields=POOLER,
                keys=(HEAD_DROPOUT,),
            ),
            Architecture(
                f"{classes}ForMaskedLM",
                UNPOOLED,
                WORDS,
                task="fill-mask",
                fields={**VOCABULARY, "activation": "gelu"},
            ),
            *token_heads(classes, UNPOOLED, HEAD_DROPOUT),
            Architecture(
                f"{classes}ForMultipleChoice",
                POOLED,
                affine("classifier", "head.out"),
                task="multiple-choice",
                fields=POOLER,
                keys=(HEAD_DROPOUT,),
            ),
        ),
    )


ROBERTA = _family("roberta", "Roberta")
XLM_ROBERTA = _family("xlm-roberta", "XLMRoberta")
