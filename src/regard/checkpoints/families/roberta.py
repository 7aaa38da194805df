"""RoBERTa (Liu et al. 2019): BERT's layers, positions that start after the padding id, another head."""

from regard.checkpoints.families.bert import BODY, FIXED, KEYS, ONLY, POOLED
from regard.checkpoints.families.family import Architecture, Family, Key
from regard.checkpoints.rules import affine, keep

OFFSET = 2
"""Rows of the position table before position 0: positions are counted from the padding id, which is 1, plus 1."""

ROBERTA = Family(
    name="roberta",
    prefix="roberta.",
    keys=(
        *KEYS,
        Key(theirs="max_position_embeddings", ours="max_positions", plus=-OFFSET),
        Key(theirs="pad_token_id", ours="pad_id", default=1, values={1: 1}),
    ),
    fixed={**FIXED, "position_offset": OFFSET},
    only=ONLY,
    base=Architecture("RobertaModel", POOLED),
    classifier=Architecture(
        "RobertaForSequenceClassification",
        (*BODY, keep("pooler.*")),  # older versions saved an unused pooler beside this head
        (*affine("classifier.dense", "head.dense"), *affine("classifier.out_proj", "head.out")),
    ),
    others=(
        Architecture("RobertaForMaskedLM", POOLED, (keep("lm_head.*"),)),
        Architecture("RobertaForTokenClassification", POOLED, (keep("classifier.*"),)),
        Architecture("RobertaForMultipleChoice", POOLED, (keep("classifier.*"),)),
        Architecture("RobertaForQuestionAnswering", POOLED, (keep("qa_outputs.*"),)),
    ),
)
