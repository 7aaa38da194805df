"""GPT-2 (Radford et al. 2019): learned positions, norms before the sublayers, matrices stored as (in, out)."""

from regard.checkpoints.families.family import ACTIVATIONS, Architecture, Family, Key, Keys
from regard.checkpoints.rules import Entry, Rule, Skip, Split, affine, keep, norm

LAYER, OURS = "h.{}", "decoder.layers.{}"
QKV = (f"{OURS}.attention.q_proj", f"{OURS}.attention.k_proj", f"{OURS}.attention.v_proj")

BODY: tuple[Entry, ...] = (
    Rule("wte.weight", "decoder.embeddings.tokens.weight"),
    Rule("wpe.weight", "decoder.embeddings.positions.weight"),
    *norm(f"{LAYER}.ln_1", f"{OURS}.attention_norm"),
    Split(f"{LAYER}.attn.c_attn.weight", tuple(f"{name}.weight" for name in QKV), transpose=True),
    Split(f"{LAYER}.attn.c_attn.bias", tuple(f"{name}.bias" for name in QKV)),
    *affine(f"{LAYER}.attn.c_proj", f"{OURS}.attention.o_proj", transpose=True),
    *norm(f"{LAYER}.ln_2", f"{OURS}.feedforward_norm"),
    *affine(f"{LAYER}.mlp.c_fc", f"{OURS}.feedforward.up_proj", transpose=True),
    *affine(f"{LAYER}.mlp.c_proj", f"{OURS}.feedforward.down_proj", transpose=True),
    *norm("ln_f", "decoder.norm"),
    Skip(f"{LAYER}.attn.bias", "a buffer of older versions: the causal mask"),
    Skip(f"{LAYER}.attn.masked_bias", "a buffer of older versions: the score of what is masked"),
)
WORDS = {"over": "vocabulary", "dense": False, "bias": False, "dropout": 0.0}
LAST = {"over": "sequence", "pool": "last", "dense": False, "bias": False, "dropout": 0.0}
TOKENS = {"over": "tokens", "dense": False}
SPANS = {**TOKENS, "dropout": 0.0}
HEAD_DROPOUT = Key(theirs="classifier_dropout", ours="head.dropout", default=0.1)

LM_HEAD = Rule("lm_head.weight", "head.out.weight")


def reading_heads(classes: str, body: tuple[Entry, ...]) -> tuple[Architecture, ...]:
    """The heads of a decoder that only reads; the names of its model classes begin with `classes`."""
    return (
        Architecture(
            f"{classes}ForSequenceClassification",
            body,
            (Rule("score.weight", "head.out.weight"),),
            task="text-classification",
            fields=LAST,
        ),
        Architecture(
            f"{classes}ForTokenClassification",
            body,
            affine("classifier", "head.out"),
            task="token-classification",
            fields=TOKENS,
            keys=(HEAD_DROPOUT,),
        ),
        Architecture(
            f"{classes}ForQuestionAnswering",
            body,
            affine("qa_outputs", "head.out"),
            task="question-answering",
            fields=SPANS,
        ),
    )


GPT2 = Family(
    name="gpt2",
    prefix="transformer.",
    keys=(
        Key(theirs="vocab_size", ours="vocab_size"),
        Key(theirs="n_embd", ours="d_model"),
        Key(theirs="n_layer", ours="n_layers"),
        Key(theirs="n_head", ours="n_heads"),
        Keys(
            names={"d_ff": "n_inner"},
            to_ours=lambda theirs: {"d_ff": theirs.get("n_inner") or 4 * theirs.get("n_embd", 0)},
            to_theirs=lambda ours: {"n_inner": ours["d_ff"]},
        ),
        Key(theirs="n_positions", ours="max_positions", default=1024),
        Key(theirs="activation_function", ours="activation", default="gelu_new", values=ACTIVATIONS),
        Key(theirs="layer_norm_epsilon", ours="norm_eps", default=1e-5),
        Key(theirs="scale_attn_weights", ours="attention_scale", default=True, values={True: None, False: 1.0}),
        Keys(  # two keys there, one here: no known checkpoint tells them apart
            names={"dropout": "resid_pdrop"},
            to_ours=lambda theirs: {"dropout": theirs.get("resid_pdrop", 0.1)},
            to_theirs=lambda ours: {"resid_pdrop": ours["dropout"], "embd_pdrop": ours["dropout"]},
        ),
        Key(theirs="attn_pdrop", ours="attention_dropout", default=0.1),
        Key(theirs="pad_token_id", ours="pad_id", default=0),
        Key(theirs="tie_word_embeddings", ours="tie_head", default=True),
    ),
    fixed={"kind": "decoder", "positions": "learned", "norm": "layer"},
    only={"scale_attn_by_inverse_layer_idx": (False,), "add_cross_attention": (False,), "quantization_config": ()},
    base=Architecture("GPT2Model", BODY),
    heads=(
        Architecture("GPT2LMHeadModel", BODY, (LM_HEAD,), task="text-generation", fields=WORDS),
        Architecture(
            "GPT2DoubleHeadsModel",
            BODY,
            (LM_HEAD, keep("multiple_choice_head.*")),
            task="text-generation",
            fields=WORDS,
        ),
        *reading_heads("GPT2", BODY),
    ),
)
