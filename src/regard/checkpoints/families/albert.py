"""ALBERT (Lan et al. 2020): BERT with narrow embeddings, and layers that share their weights."""

from regard.checkpoints.families.bert import (
    EMBEDDINGS,
    FIXED,
    HEAD_ACTIVATION,
    KEYS,
    ONLY,
    POOLER,
    POSITIONS,
    VOCABULARY,
    token_heads,
)
from regard.checkpoints.families.family import Architecture, Family, Key, with_defaults
from regard.checkpoints.rules import Either, Entry, Rule, affine, keep, norm, word_bias

LAYER, OURS = "encoder.albert_layer_groups.{}.albert_layers.0", "encoder.layers.{}"

BODY: tuple[Entry, ...] = (
    *EMBEDDINGS,
    *affine("encoder.embedding_hidden_mapping_in", "encoder.embeddings.project"),
    *affine(f"{LAYER}.attention.query", f"{OURS}.attention.q_proj"),
    *affine(f"{LAYER}.attention.key", f"{OURS}.attention.k_proj"),
    *affine(f"{LAYER}.attention.value", f"{OURS}.attention.v_proj"),
    *affine(f"{LAYER}.attention.dense", f"{OURS}.attention.o_proj"),
    *norm(f"{LAYER}.attention.LayerNorm", f"{OURS}.attention_norm"),
    *affine(f"{LAYER}.ffn", f"{OURS}.feedforward.up_proj"),
    *affine(f"{LAYER}.ffn_output", f"{OURS}.feedforward.down_proj"),
    *norm(f"{LAYER}.full_layer_layer_norm", f"{OURS}.feedforward_norm"),
)
POOLED = (*BODY, *affine("pooler", "head.dense"))
UNPOOLED = (*BODY, keep("pooler.*"))

WORDS: tuple[Entry | Either, ...] = (
    *affine("predictions.dense", "head.dense"),
    *norm("predictions.LayerNorm", "head.norm"),
    Rule("predictions.decoder.weight", "head.out.weight"),
    word_bias("predictions.bias", "predictions.decoder.bias"),
)
OF_WORDS = (
    *with_defaults([HEAD_ACTIVATION], hidden_act="gelu_new"),
    Key(theirs="embedding_size", ours="head.d_dense", default=128),
)
HEAD_DROPOUT = Key(theirs="classifier_dropout_prob", ours="head.dropout", default=0.1)

ALBERT = Family(
    name="albert",
    prefix="albert.",
    keys=(
        *with_defaults(KEYS, hidden_act="gelu_new", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
        *POSITIONS,
        Key(theirs="embedding_size", ours="d_embedding", default=128),
        Key(theirs="num_hidden_groups", ours="n_unique_layers", default=1),
    ),
    fixed=FIXED,
    only={**ONLY, "inner_group_num": (1,)},
    base=Architecture("AlbertModel", POOLED, fields=POOLER),
    heads=(
        Architecture(
            "AlbertForSequenceClassification",
            POOLED,
            affine("classifier", "head.out"),
            task="text-classification",
            fields=POOLER,
            keys=(HEAD_DROPOUT,),
        ),
        Architecture("AlbertForMaskedLM", UNPOOLED, WORDS, task="fill-mask", fields=VOCABULARY, keys=OF_WORDS),
        Architecture(
            "AlbertForPreTraining",
            UNPOOLED,
            (*WORDS, keep("sop_classifier.*")),
            task="fill-mask",
            fields=VOCABULARY,
            keys=OF_WORDS,
        ),
        *token_heads("Albert", UNPOOLED, HEAD_DROPOUT),
        Architecture(
            "AlbertForMultipleChoice",
            POOLED,
            affine("classifier", "head.out"),
            task="multiple-choice",
            fields=POOLER,
            keys=(HEAD_DROPOUT,),
        ),
    ),
)
