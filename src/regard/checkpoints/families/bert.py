"""BERT (Devlin et al. 2019): `model_type` bert."""

from regard.checkpoints.families.family import ACTIVATIONS, Architecture, Family, Key
from regard.checkpoints.rules import Entry, Rule, Skip, affine, keep, norm

LAYER, OURS = "encoder.layer.{}", "encoder.layers.{}"

BODY: tuple[Entry, ...] = (
    Rule("embeddings.word_embeddings.weight", "encoder.embeddings.tokens.weight"),
    Rule("embeddings.position_embeddings.weight", "encoder.embeddings.positions.weight"),
    Rule("embeddings.token_type_embeddings.weight", "encoder.embeddings.types.weight"),
    *norm("embeddings.LayerNorm", "encoder.embeddings.norm"),
    Skip("embeddings.position_ids", "a buffer of older versions: 0, 1, 2 …"),
    Skip("embeddings.token_type_ids", "a buffer of older versions: zeros"),
    *affine(f"{LAYER}.attention.self.query", f"{OURS}.attention.q_proj"),
    *affine(f"{LAYER}.attention.self.key", f"{OURS}.attention.k_proj"),
    *affine(f"{LAYER}.attention.self.value", f"{OURS}.attention.v_proj"),
    *affine(f"{LAYER}.attention.output.dense", f"{OURS}.attention.o_proj"),
    *norm(f"{LAYER}.attention.output.LayerNorm", f"{OURS}.attention_norm"),
    *affine(f"{LAYER}.intermediate.dense", f"{OURS}.feedforward.up_proj"),
    *affine(f"{LAYER}.output.dense", f"{OURS}.feedforward.down_proj"),
    *norm(f"{LAYER}.output.LayerNorm", f"{OURS}.feedforward_norm"),
)
POOLED = (*BODY, *affine("pooler.dense", "head.dense"))

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
    Key(theirs="classifier_dropout", ours="head.dropout", default=None),
)
FIXED = {
    "kind": "encoder",
    "positions": "learned",
    "norm": "layer",
    "norm_place": "post",
    "embedding_norm": True,
    "gated": False,
    "bias": True,
    "head.pool": "first",
    "head.dense": True,
    "head.activation": "tanh",
}
ONLY = {
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "pruned_heads": ({},),
    "quantization_config": (),
}

BERT = Family(
    name="bert",
    prefix="bert.",
    keys=(
        *KEYS,
        Key(theirs="max_position_embeddings", ours="max_positions"),
        Key(theirs="pad_token_id", ours="pad_id", default=0),
    ),
    fixed=FIXED,
    only=ONLY,
    base=Architecture("BertModel", POOLED),
    classifier=Architecture("BertForSequenceClassification", POOLED, affine("classifier", "head.out")),
    others=(
        Architecture("BertForPreTraining", POOLED, (keep("cls.*"),)),
        Architecture("BertForMaskedLM", POOLED, (keep("cls.*"),)),
        Architecture("BertForNextSentencePrediction", POOLED, (keep("cls.*"),)),
        Architecture("BertForTokenClassification", POOLED, (keep("classifier.*"),)),
        Architecture("BertForMultipleChoice", POOLED, (keep("classifier.*"),)),
        Architecture("BertForQuestionAnswering", POOLED, (keep("qa_outputs.*"),)),
    ),
)
