"""T5 (Raffel et al. 2020; version 1.1; Flan-T5, Chung et al. 2022) and mT5 (Xue et al. 2021): `model_type` t5 and mt5."""

from collections.abc import Mapping
from typing import Any

from regard.checkpoints.families.bart import HEAD_DROPOUT, LAST, MATRIX
from regard.checkpoints.families.family import ACTIVATIONS, AnyKey, Architecture, Family, Key, Keys
from regard.checkpoints.rules import Alias, Either, Entry, Rule, Skip, affine
from regard.errors import listed

FEEDFORWARDS: dict[str, tuple[str, bool]] = {
    "gated-gelu": ("gelu-tanh", True),  # the name does not say it: T5 1.1 was trained with the approximation
    **{name: (activation, False) for name, activation in ACTIVATIONS.items()},
    **{f"gated-{name}": (activation, True) for name, activation in ACTIVATIONS.items() if name != "gelu"},
}
"""Their `feed_forward_proj` to our activation and whether there is a gate; of several that mean the same, the first is
written."""
GATED = tuple(name for name, (_, gated) in FEEDFORWARDS.items() if gated)
TOKENS = "encoder.embeddings.tokens.weight"


def attention(theirs: str, ours: str) -> tuple[Entry, ...]:
    """An attention's projections."""
    return tuple(Rule(f"{theirs}.{name}.weight", f"{ours}.{name}_proj.weight") for name in "qkvo")


def stack(name: str, *, gated: bool) -> tuple[Entry | Either, ...]:
    """Self-attention, its bias, and the feed-forward part, the last of a layer. gated: whether that has a gate where no key
    says it."""
    layer, ours = f"{name}.block.{{}}.layer", f"{name}.layers.{{}}"
    last = f"{layer}.{1 if name == 'encoder' else 2}"
    dense, feedforward = f"{last}.DenseReluDense", f"{ours}.feedforward"
    return (
        *attention(f"{layer}.0.SelfAttention", f"{ours}.attention"),
        Rule(f"{layer}.0.layer_norm.weight", f"{ours}.attention_norm.weight"),
        Rule(f"{name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight", f"{name}.score_bias.table.weight"),
        Either(
            "feed_forward_proj",
            true=(
                Rule(f"{dense}.wi_0.weight", f"{feedforward}.gate_proj.weight"),
                Rule(f"{dense}.wi_1.weight", f"{feedforward}.up_proj.weight"),
            ),
            false=(Rule(f"{dense}.wi.weight", f"{feedforward}.up_proj.weight"),),
            absent=gated,
            values=GATED,
        ),
        Rule(f"{dense}.wo.weight", f"{feedforward}.down_proj.weight"),
        Rule(f"{last}.layer_norm.weight", f"{ours}.feedforward_norm.weight"),
        Rule(f"{name}.final_layer_norm.weight", f"{name}.norm.weight"),
    )


def encoder(*, gated: bool) -> tuple[Entry | Either, ...]:
    """The encoder, and the table that both stacks read with."""
    return (
        Rule("shared.weight", TOKENS),
        Alias("encoder.embed_tokens.weight", TOKENS),
        *stack("encoder", gated=gated),
    )


def decoder(*, gated: bool) -> tuple[Entry | Either, ...]:
    """The decoder."""
    cross = "decoder.block.{}.layer.1"
    return (
        Alias("decoder.embed_tokens.weight", TOKENS),
        *stack("decoder", gated=gated),
        *attention(f"{cross}.EncDecAttention", "decoder.layers.{}.cross_attention"),
        Rule(f"{cross}.layer_norm.weight", "decoder.layers.{}.cross_attention_norm.weight"),
        Skip(
            "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
            "older versions store a table here that was never used",
        ),
    )


def _feedforward(usual: str) -> Keys:
    """`feed_forward_proj`, and `usual` where it is absent; two more keys repeat what it says."""

    def to_ours(theirs: Mapping[str, Any]) -> Mapping[str, Any]:
        said = theirs.get("feed_forward_proj")
        name = usual if said is None else said
        if name not in FEEDFORWARDS:
            raise ValueError(f"{name!r} is not one of {listed(FEEDFORWARDS)}")
        activation, gated = FEEDFORWARDS[name]
        repeated = theirs.get("dense_act_fn")
        if repeated is not None and ACTIVATIONS.get(repeated) != activation:
            raise ValueError(f"{name!r} and dense_act_fn={repeated!r} contradict each other")
        return {"activation": activation, "gated": gated}

    def to_theirs(ours: Mapping[str, Any]) -> Mapping[str, Any]:
        wanted = (ours["activation"], ours["gated"])
        for name, meaning in FEEDFORWARDS.items():
            if meaning == wanted:
                activation = next(theirs for theirs, known in ACTIVATIONS.items() if known == meaning[0])
                return {"feed_forward_proj": name, "dense_act_fn": activation, "is_gated_act": meaning[1]}
        raise ValueError(f"(activation, gated) is {wanted}, and T5 has {listed(map(str, FEEDFORWARDS.values()))}")

    return Keys(
        names={"activation": "feed_forward_proj", "gated": "feed_forward_proj"}, to_ours=to_ours, to_theirs=to_theirs
    )


def _is_scaled(theirs: Mapping[str, Any]) -> bool:
    """T5 1.0 multiplies the decoder's states by 1 / sqrt(d_model) before the words, 1.1 does not. Older files say it only by
    `tie_word_embeddings`, since the two versions differ in that, too."""
    said = theirs.get("scale_decoder_outputs")
    return said is True if said is not None else theirs.get("tie_word_embeddings") is not False


SCALE = Keys(
    names={"head.scale": "scale_decoder_outputs"},
    to_ours=lambda theirs: {"head.scale": theirs["d_model"] ** -0.5 if _is_scaled(theirs) else None},
    to_theirs=lambda ours: {"scale_decoder_outputs": ours["head.scale"] is not None},
)


def _family(name: str, classes: str, *, feedforward: str, of_words: tuple[AnyKey, ...]) -> Family:
    """The tables for one `model_type`, whose model classes begin with `classes`.

    feedforward: what an absent `feed_forward_proj` means. of_words: keys of the head that answers with words.
    """
    gated = FEEDFORWARDS[feedforward][1]
    body = (*encoder(gated=gated), *decoder(gated=gated))
    alone: dict[str, Any] = {
        "body": encoder(gated=gated),
        "fixed": {"kind": "encoder", "n_decoder_layers": None, "start_id": None},
    }
    return Family(
        name=name,
        prefix="transformer.",
        keys=(
            Key(theirs="vocab_size", ours="vocab_size"),
            Key(theirs="d_model", ours="d_model"),
            Key(theirs="d_kv", ours="d_head"),
            Key(theirs="d_ff", ours="d_ff"),
            Key(theirs="num_layers", ours="n_layers"),
            Key(theirs="num_decoder_layers", ours="n_decoder_layers", default=None),
            Key(theirs="num_heads", ours="n_heads"),
            # relative positions have no end: this is how long a text was in training, and where longer ones are cut
            Key(theirs="n_positions", ours="max_positions", default=512),
            Key(theirs="relative_attention_num_buckets", ours="relative_buckets", default=32),
            Key(theirs="relative_attention_max_distance", ours="relative_distance", default=128),
            Key(theirs="layer_norm_epsilon", ours="norm_eps", default=1e-6),
            _feedforward(feedforward),
            Key(theirs="dropout_rate", ours="dropout", default=0.1),
            Key(theirs="dropout_rate", ours="attention_dropout", default=0.1),
            Key(theirs="pad_token_id", ours="pad_id", default=0),
            Key(theirs="decoder_start_token_id", ours="start_id", default=0),
            Key(theirs="tie_word_embeddings", ours="tie_head", default=True),
        ),
        fixed={
            "kind": "encoder-decoder",
            "positions": "relative",
            "norm": "rms",
            "norm_place": "pre",
            "bias": False,
            "attention_scale": 1.0,
        },
        only={"is_decoder": (False,), "quantization_config": ()},
        base=Architecture(f"{classes}Model", body),
        heads=(
            Architecture(
                f"{classes}ForConditionalGeneration",
                body,
                (MATRIX,),
                task="text2text-generation",
                fields={"over": "vocabulary", "dense": False, "bias": False},
                keys=of_words,
                prefix="",
            ),
            Architecture(
                f"{classes}ForSequenceClassification",
                body,
                (*affine("classification_head.dense", "head.dense"), *affine("classification_head.out_proj", "head.out")),
                task="text-classification",
                fields=LAST,
                keys=(HEAD_DROPOUT,),
            ),
            Architecture(
                f"{classes}ForTokenClassification",
                head=affine("classifier", "head.out"),
                task="token-classification",
                fields={"over": "tokens", "dense": False},
                keys=(HEAD_DROPOUT,),
                **alone,
            ),
            Architecture(
                f"{classes}ForQuestionAnswering",
                body,
                affine("qa_outputs", "head.out"),
                task="question-answering",
                fields={"over": "tokens", "dense": False},
                prefix="",
            ),
            Architecture(f"{classes}EncoderModel", prefix="", **alone),
        ),
    )


T5 = _family("t5", "T5", feedforward="relu", of_words=(SCALE,))
MT5 = _family("mt5", "MT5", feedforward="gated-gelu", of_words=())
