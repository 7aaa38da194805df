"""DistilBERT (Sanh et al. 2019): BERT without segments and pooler, its own names."""

from regard.checkpoints.families.bert import FIXED, POOLER, TOKENS, VOCABULARY
from regard.checkpoints.families.family import ACTIVATIONS, Architecture, Family, Key
from regard.checkpoints.rules import Entry, Rule, Skip, affine, norm

LAYER, OURS = "transformer.layer.{}", "encoder.layers.{}"

BODY: tuple[Entry, ...] = (
    Rule("embeddings.word_embeddings.weight", "encoder.embeddings.tokens.weight"),
    Rule("embeddings.position_embeddings.weight", "encoder.embeddings.positions.weight"),
    *norm("embeddings.LayerNorm", "encoder.embeddings.norm"),
    Skip("embeddings.position_ids", "a buffer of older versions: 0, 1, 2 …"),
    *affine(f"{LAYER}.attention.q_lin", f"{OURS}.attention.q_proj"),
    *affine(f"{LAYER}.attention.k_lin", f"{OURS}.attention.k_proj"),
    *affine(f"{LAYER}.attention.v_lin", f"{OURS}.attention.v_proj"),
    *affine(f"{LAYER}.attention.out_lin", f"{OURS}.attention.o_proj"),
    *norm(f"{LAYER}.sa_layer_norm", f"{OURS}.attention_norm"),
    *affine(f"{LAYER}.ffn.lin1", f"{OURS}.feedforward.up_proj"),
    *affine(f"{LAYER}.ffn.lin2", f"{OURS}.feedforward.down_proj"),
    *norm(f"{LAYER}.output_layer_norm", f"{OURS}.feedforward_norm"),
)

PRE_CLASSIFIER = {**POOLER, "activation": "relu"}

DISTILBERT = Family(
    name="distilbert",
    prefix="distilbert.",
    keys=(
        Key(theirs="vocab_size", ours="vocab_size"),
        Key(theirs="dim", ours="d_model"),
        Key(theirs="n_layers", ours="n_layers"),
        Key(theirs="n_heads", ours="n_heads"),
        Key(theirs="hidden_dim", ours="d_ff"),
        Key(theirs="max_position_embeddings", ours="max_positions", default=512),
        Key(theirs="activation", ours="activation", default="gelu", values=ACTIVATIONS),
        Key(theirs="dropout", ours="dropout", default=0.1),
        Key(theirs="attention_dropout", ours="attention_dropout", default=0.1),
        Key(theirs="pad_token_id", ours="pad_id", default=0),
        Key(theirs="tie_word_embeddings", ours="tie_head", default=True),
    ),
    fixed={**FIXED, "norm_eps": 1e-12, "n_types": 0},
    only={"pruned_heads": ({},), "quantization_config": ()},
    base=Architecture("DistilBertModel", BODY),
    heads=(
        Architecture(
            "DistilBertForSequenceClassification",
            BODY,
            (*affine("pre_classifier", "head.dense"), *affine("classifier", "head.out")),
            task="text-classification",
            fields=PRE_CLASSIFIER,
            keys=(Key(theirs="seq_classif_dropout", ours="head.dropout", default=0.2),),
        ),
        Architecture(
            "DistilBertForMaskedLM",
            BODY,
            (
                *affine("vocab_transform", "head.dense"),
                *norm("vocab_layer_norm", "head.norm"),
                Rule("vocab_projector.weight", "head.out.weight"),
                Rule("vocab_projector.bias", "head.out.bias"),
            ),
            task="fill-mask",
            fields=VOCABULARY,
            keys=(Key(theirs="activation", ours="head.activation", default="gelu", values=ACTIVATIONS),),
        ),
        Architecture(
            "DistilBertForTokenClassification",
            BODY,
            affine("classifier", "head.out"),
            task="token-classification",
            fields=TOKENS,
        ),
        Architecture(
            "DistilBertForQuestionAnswering",
            BODY,
            affine("qa_outputs", "head.out"),
            task="question-answering",
            fields=TOKENS,
            keys=(Key(theirs="qa_dropout", ours="head.dropout", default=0.1),),
        ),
        Architecture(
            "DistilBertForMultipleChoice",
            BODY,
            (*affine("pre_classifier", "head.dense"), *affine("classifier", "head.out")),
            task="multiple-choice",
            fields=PRE_CLASSIFIER,
            keys=(Key(theirs="seq_classif_dropout", ours="head.dropout", default=0.2),),
        ),
    ),
)
