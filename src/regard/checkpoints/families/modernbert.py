"""ModernBERT (Warner et al. 2024): rotary positions, gated layers, and most layers look nearby only."""

from collections.abc import Mapping
from typing import Any

from regard.checkpoints.families.family import ACTIVATIONS, Architecture, Family, Key, Keys, given
from regard.checkpoints.rules import Entry, Rule, Split, affine, norm
from regard.models.config import MOST_LAYERS

LAYER, OURS = "layers.{}", "encoder.layers.{}"
QKV = tuple(f"{OURS}.attention.{name}_proj" for name in "qkv")
GATED = (f"{OURS}.feedforward.gate_proj", f"{OURS}.feedforward.up_proj")
FULL, SLIDING = "full_attention", "sliding_attention"


def _split(theirs: str, ours: tuple[str, ...]) -> tuple[Split, Split]:
    """Weight and bias of several projections in one."""
    return (
        Split(f"{theirs}.weight", tuple(f"{name}.weight" for name in ours)),
        Split(f"{theirs}.bias", tuple(f"{name}.bias" for name in ours)),
    )


BODY: tuple[Entry, ...] = (
    Rule("embeddings.tok_embeddings.weight", "encoder.embeddings.tokens.weight"),
    *norm("embeddings.norm", "encoder.embeddings.norm"),
    *norm(f"{LAYER}.attn_norm", f"{OURS}.attention_norm"),
    *_split(f"{LAYER}.attn.Wqkv", QKV),
    *affine(f"{LAYER}.attn.Wo", f"{OURS}.attention.o_proj"),
    *norm(f"{LAYER}.mlp_norm", f"{OURS}.feedforward_norm"),
    *_split(f"{LAYER}.mlp.Wi", GATED),
    *affine(f"{LAYER}.mlp.Wo", f"{OURS}.feedforward.down_proj"),
    *norm("final_norm", "encoder.norm"),
)
HEAD = (*affine("head.dense", "head.dense"), *norm("head.norm", "head.norm"))
CLASSIFIER = (*HEAD, *affine("classifier", "head.out"))


def local_layers(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Layer by layer in newer files; in older ones every so many of them looks everywhere, the first one to begin with."""
    types, layers = theirs.get("layer_types"), theirs.get("num_hidden_layers")
    every = given(theirs, "global_attn_every_n_layers", 3)
    if type(layers) is not int or not 0 < layers <= MOST_LAYERS:
        raise ValueError(f"num_hidden_layers is to be from 1 to {MOST_LAYERS}")
    if type(every) is not int or every < 1:
        raise ValueError("global_attn_every_n_layers is to be at least 1")
    if types is None:
        types = [SLIDING if i % every else FULL for i in range(layers)]
    if len(types) != layers or not {FULL, SLIDING}.issuperset(types):
        raise ValueError(f"layer_types is to name {layers} layers, each {FULL!r} or {SLIDING!r}")
    return {"n_layers": layers, "local_layers": tuple(i for i, kind in enumerate(types) if kind == SLIDING)}


def layer_types(ours: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of :func:`local_layers`."""
    layers, local = ours["n_layers"], ours["local_layers"]
    local = range(layers) if local is None else local
    return {"num_hidden_layers": layers, "layer_types": [SLIDING if i in local else FULL for i in range(layers)]}


def rotary_bases(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """A base for each type of layers; newer files hold them in `rope_parameters`. In older ones null is the other base."""
    bases = {}
    older = {FULL: given(theirs, "global_rope_theta", 160_000.0), SLIDING: theirs.get("local_rope_theta", 10_000.0)}
    for kind, ours in ((FULL, "rotary_base"), (SLIDING, "local_rotary_base")):
        said = (theirs.get("rope_parameters") or {}).get(kind) or {}
        if said.get("rope_type", "default") != "default":
            raise ValueError(f"rope_type is {said['rope_type']!r}, allowed: 'default'")
        bases[ours] = said.get("rope_theta", older[kind])
    return bases


def rope_parameters(ours: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of :func:`rotary_bases`."""
    bases = {FULL: ours["rotary_base"], SLIDING: ours["local_rotary_base"]}
    return {"rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()}}


POOL = Key(theirs="classifier_pooling", ours="head.pool", default="cls", values={"cls": "first", "mean": "mean"})
OF_HEAD = (
    Key(theirs="classifier_activation", ours="head.activation", default="gelu", values=ACTIVATIONS),
    Key(theirs="classifier_bias", ours="head.dense_bias", default=False),
)
HEAD_DROPOUT = Key(theirs="classifier_dropout", ours="head.dropout", default=0.0)

SEQUENCE = {"over": "sequence", "dense": True, "norm": True}
TOKENS = {"over": "tokens", "dense": True, "norm": True}
VOCABULARY = {"over": "vocabulary", "dense": True, "norm": True, "dropout": 0.0}

MODERNBERT = Family(
    name="modernbert",
    prefix="model.",
    keys=(
        Key(theirs="vocab_size", ours="vocab_size"),
        Key(theirs="hidden_size", ours="d_model"),
        Key(theirs="num_attention_heads", ours="n_heads"),
        Key(theirs="intermediate_size", ours="d_ff"),
        Key(theirs="max_position_embeddings", ours="max_positions", default=8192),
        Keys(
            names={"n_layers": "num_hidden_layers", "local_layers": "layer_types"},
            to_ours=local_layers,
            to_theirs=layer_types,
        ),
        Keys(
            names={"window": "local_attention"},
            to_ours=lambda theirs: {"window": given(theirs, "local_attention", 128) // 2},
            to_theirs=lambda ours: {"local_attention": 2 * ours["window"]},
        ),
        Keys(
            names={"rotary_base": "global_rope_theta", "local_rotary_base": "local_rope_theta"},
            to_ours=rotary_bases,
            to_theirs=rope_parameters,
        ),
        Key(theirs="norm_eps", ours="norm_eps", default=1e-5),
        Key(theirs="norm_bias", ours="norm_bias", default=False),
        Key(theirs="attention_bias", ours="attention_bias", default=False, values={True: "all", False: "none"}),
        Key(theirs="mlp_bias", ours="bias", default=False),
        Key(theirs="hidden_activation", ours="activation", default="gelu", values=ACTIVATIONS),
        Key(theirs="embedding_dropout", ours="dropout", default=0.0),
        Key(theirs="attention_dropout", ours="attention_dropout", default=0.0),
        Key(theirs="pad_token_id", ours="pad_id", default=50283),
        Key(theirs="tie_word_embeddings", ours="tie_head", default=True),
    ),
    fixed={
        "kind": "encoder",
        "positions": "rotary",
        "norm": "layer",
        "norm_place": "pre",
        "embedding_norm": True,
        "first_norm": False,
        "gated": True,
    },
    only={"rope_scaling": (), "quantization_config": ()},
    base=Architecture("ModernBertModel", BODY),
    heads=(
        Architecture(
            "ModernBertForSequenceClassification",
            BODY,
            CLASSIFIER,
            task="text-classification",
            fields=SEQUENCE,
            keys=(*OF_HEAD, POOL, HEAD_DROPOUT),
        ),
        Architecture(
            "ModernBertForMaskedLM",
            BODY,
            (*HEAD, *affine("decoder", "head.out")),
            task="fill-mask",
            fields=VOCABULARY,
            keys=(*OF_HEAD, Key(theirs="decoder_bias", ours="head.bias", default=True)),
        ),
        Architecture(
            "ModernBertForTokenClassification",
            BODY,
            CLASSIFIER,
            task="token-classification",
            fields=TOKENS,
            keys=(*OF_HEAD, HEAD_DROPOUT),
        ),
        Architecture(
            "ModernBertForQuestionAnswering",
            BODY,
            CLASSIFIER,
            task="question-answering",
            fields=TOKENS,
            keys=(*OF_HEAD, HEAD_DROPOUT),
        ),
        Architecture(
            "ModernBertForMultipleChoice",
            BODY,
            CLASSIFIER,
            task="multiple-choice",
            fields=SEQUENCE,
            keys=(*OF_HEAD, POOL, HEAD_DROPOUT),
        ),
    ),
)
