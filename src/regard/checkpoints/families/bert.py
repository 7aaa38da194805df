"""BERT (Devlin et al. 2019): `model_type` bert."""

from regard.checkpoints.families.family import ACTIVATIONS, AnyKey, Architecture, Family, Key
from regard.checkpoints.rules import Either, Entry, Rule, Skip, affine, keep, norm, word_bias

LAYER, OURS = "encoder.layer.{}", "encoder.layers.{}"

EMBEDDINGS: tuple[Entry, ...] = (
    Rule("embeddings.word_embeddings.weight", "encoder.embeddings.tokens.weight"),
    Rule("embeddings.position_embeddings.weight", "encoder.embeddings.positions.weight"),
    Rule("embeddings.token_type_embeddings.weight", "encoder.embeddings.types.weight"),
    *norm("embeddings.LayerNorm", "encoder.embeddings.norm"),
    Skip("embeddings.position_ids", "a buffer of older versions: 0, 1, 2 …"),
    Skip("embeddings.token_type_ids", "a buffer of older versions: zeros"),
)
LAYERS: tuple[Entry, ...] = (
    *affine(f"{LAYER}.attention.self.query", f"{OURS}.attention.q_proj"),
    *affine(f"{LAYER}.attention.self.key", f"{OURS}.attention.k_proj"),
    *affine(f"{LAYER}.attention.self.value", f"{OURS}.attention.v_proj"),
    *affine(f"{LAYER}.attention.output.dense", f"{OURS}.attention.o_proj"),
    *norm(f"{LAYER}.attention.output.LayerNorm", f"{OURS}.attention_norm"),
    *affine(f"{LAYER}.intermediate.dense", f"{OURS}.feedforward.up_proj"),
    *affine(f"{LAYER}.output.dense", f"{OURS}.feedforward.down_proj"),
    *norm(f"{LAYER}.output.LayerNorm", f"{OURS}.feedforward_norm"),
)
BODY = (*EMBEDDINGS, *LAYERS)
POOLED = (*BODY, *affine("pooler.dense", "head.dense"))
UNPOOLED = (*BODY, keep("pooler.*"))
"""Of a model whose head reads tokens; older versions saved an unused pooler with it."""

WORDS: tuple[Entry | Either, ...] = (
    *affine("cls.predictions.transform.dense", "head.dense"),
    *norm("cls.predictions.transform.LayerNorm", "head.norm"),
    Rule("cls.predictions.decoder.weight", "head.out.weight"),
    word_bias("cls.predictions.bias", "cls.predictions.decoder.bias"),
)

KEYS = (
    Key(theirs="vocab_size", ours="vocab_size"),
    Key(theirs="hidden_size", ours="d_model"),
    Key(theirs="num_hidden_layers", ours="n_layers"),
    Key(theirs="num_attention_heads", ours="n_heads"),
    Key(theirs="intermediate_size", ours="d_ff"),
    Key(theirs="type_vocab_size", ours="n_types", default=2),
    Key(theirs="layer_norm_eps", ours="norm_eps", default=1e-12),
    Key(theirs="hidden_act", ours="activation", default="gelu", values=ACTIVATIONS),
    Key(theirs="hidden_dropout_prob", ours="dropout", default=0.1),
    Key(theirs="attention_probs_dropout_prob", ours="attention_dropout", default=0.1),
    Key(theirs="tie_word_embeddings", ours="tie_head", default=True),
)
POSITIONS = (
    Key(theirs="max_position_embeddings", ours="max_positions"),
    Key(theirs="pad_token_id", ours="pad_id", default=0),
)
HEAD_DROPOUT = Key(theirs="classifier_dropout", ours="head.dropout", default=None)
HEAD_ACTIVATION = Key(theirs="hidden_act", ours="head.activation", default="gelu", values=ACTIVATIONS)

FIXED = {"kind": "encoder", "positions": "learned", "norm": "layer", "norm_place": "post", "embedding_norm": True}
ONLY = {
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "pruned_heads": ({},),
    "quantization_config": (),
}

POOLER = {"over": "sequence", "pool": "first", "dense": True, "activation": "tanh"}
TOKENS = {"over": "tokens", "dense": False}
VOCABULARY = {"over": "vocabulary", "dense": True, "norm": True, "dropout": 0.0}


def token_heads(classes: str, body: tuple[Entry | Either, ...], *keys: AnyKey) -> tuple[Architecture, Architecture]:
    """The heads that answer for each token; model classes begin with `classes`. keys: of the head that gives labels."""
    return (
        Architecture(
            f"{classes}ForTokenClassification",
            body,
            affine("classifier", "head.out"),
            task="token-classification",
            fields=TOKENS,
            keys=keys,
        ),
        Architecture(
            f"{classes}ForQuestionAnswering",
            body,
            affine("qa_outputs", "head.out"),
            task="question-answering",
            fields=TOKENS,
        ),
    )


BERT = Family(
    name="bert",
    prefix="bert.",
    keys=(*KEYS, *POSITIONS),
    fixed=FIXED,
    only=ONLY,
    base=Architecture("BertModel", POOLED, fields=POOLER),
    heads=(
        Architecture(
            "BertForSequenceClassification",
            POOLED,
            affine("classifier", "head.out"),
            task="text-classification",
            fields=POOLER,
            keys=(HEAD_DROPOUT,),
        ),
        Architecture("BertForMaskedLM", UNPOOLED, WORDS, task="fill-mask", fields=VOCABULARY, keys=(HEAD_ACTIVATION,)),
        Architecture(
            "BertForPreTraining",
            UNPOOLED,
            (*WORDS, keep("cls.seq_relationship.*")),
            task="fill-mask",
            fields=VOCABULARY,
            keys=(HEAD_ACTIVATION,),
        ),
        *token_heads("Bert", UNPOOLED, HEAD_DROPOUT),
        Architecture(
            "BertForMultipleChoice",
            POOLED,
            affine("classifier", "head.out"),
            task="multiple-choice",
            fields=POOLER,
            keys=(HEAD_DROPOUT,),
        ),
        Architecture("BertForNextSentencePrediction", UNPOOLED, (keep("cls.*"),)),
    ),
)
