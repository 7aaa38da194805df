"""ViT (Dosovitskiy et al. 2021) and DeiT (Touvron et al. 2021): a Transformer over patches of an image; DeiT has one more
learned token before them."""

import reprlib
from collections.abc import Mapping
from typing import Any

from regard.checkpoints.families.family import ACTIVATIONS, Architecture, Family, Key, Keys, part
from regard.checkpoints.rules import Entry, Rule, affine, keep, norm

LAYER, OURS = "encoder.layer.{}", "encoder.layers.{}"

BODY: tuple[Entry, ...] = (
    *affine("embeddings.patch_embeddings.projection", "encoder.embeddings.patches"),
    Rule("embeddings.cls_token", "encoder.embeddings.prefix.0", ones=2),
    Rule("embeddings.distillation_token", "encoder.embeddings.prefix.1", ones=2),
    Rule("embeddings.position_embeddings", "encoder.embeddings.positions.weight", ones=1),
    keep("embeddings.mask_token"),
    *norm(f"{LAYER}.layernorm_before", f"{OURS}.attention_norm"),
    *affine(f"{LAYER}.attention.attention.query", f"{OURS}.attention.q_proj"),
    *affine(f"{LAYER}.attention.attention.key", f"{OURS}.attention.k_proj"),
    *affine(f"{LAYER}.attention.attention.value", f"{OURS}.attention.v_proj"),
    *affine(f"{LAYER}.attention.output.dense", f"{OURS}.attention.o_proj"),
    *norm(f"{LAYER}.layernorm_after", f"{OURS}.feedforward_norm"),
    *affine(f"{LAYER}.intermediate.dense", f"{OURS}.feedforward.up_proj"),
    *affine(f"{LAYER}.output.dense", f"{OURS}.feedforward.down_proj"),
    *norm("layernorm", "encoder.norm"),
)
POOLED = (*BODY, *affine("pooler.dense", "head.dense"))
UNPOOLED = (*BODY, keep("pooler.*"))
"""Of a model whose head does not pool with it; older versions saved it with them."""

POOLER = (
    Key(theirs="pooler_output_size", ours="head.d_dense", default=None),
    Key(theirs="pooler_act", ours="head.activation", default="tanh", values=ACTIVATIONS),
)
CLASSES = {"over": "sequence", "pool": "first", "dense": False, "dropout": 0.0}


def square(theirs: str, ours: str, *, default: int) -> Keys:
    """A height and width in pixels, which their config.json says as one number or as two that are the same."""

    def to_ours(config: Mapping[str, Any]) -> dict[str, Any]:
        side = part(config, theirs)
        if isinstance(side, list):
            if len(side) != 2 or side[0] != side[1]:
                raise ValueError(f"only squares are read, not {reprlib.repr(side)}")
            side = side[0]
        return {ours: default if side is None else side}

    return Keys(names={ours: theirs}, to_ours=to_ours, to_theirs=lambda fields: {theirs: fields[ours]})


def _family(name: str, classes: str, *, prefix: int, heads: tuple[Architecture, ...] = ()) -> Family:
    """The tables for one `model_type`, whose model classes begin with `classes`. prefix: how many tokens come first; heads:
    classes with a head that only this one has."""
    return Family(
        name=name,
        prefix=f"{name}.",
        keys=(
            Key(theirs="hidden_size", ours="d_model"),
            Key(theirs="num_hidden_layers", ours="n_layers"),
            Key(theirs="num_attention_heads", ours="n_heads"),
            Key(theirs="intermediate_size", ours="d_ff"),
            Key(theirs="layer_norm_eps", ours="norm_eps", default=1e-12),
            Key(theirs="hidden_act", ours="activation", default="gelu", values=ACTIVATIONS),
            Key(theirs="hidden_dropout_prob", ours="dropout", default=0.0),
            Key(theirs="attention_probs_dropout_prob", ours="attention_dropout", default=0.0),
            Key(theirs="qkv_bias", ours="attention_bias", default=True, values={True: "all", False: "out"}),
            Key(theirs="num_channels", ours="input.channels", default=3),
            square("image_size", "input.image_size", default=224),
            square("patch_size", "input.patch_size", default=16),
        ),
        fixed={
            "kind": "encoder",
            "vocab_size": 0,
            "norm_place": "pre",
            "input.kind": "image",
            "input.prefix": prefix,
        },
        only={"quantization_config": ()},
        base=Architecture(f"{classes}Model", POOLED, fields={"over": "sequence", "pool": "first"}, keys=POOLER),
        heads=(
            Architecture(
                f"{classes}ForImageClassification",
                UNPOOLED,
                affine("classifier", "head.out"),
                task="image-classification",
                fields=CLASSES,
            ),
            *heads,
            Architecture(f"{classes}ForMaskedImageModeling", UNPOOLED, (keep("decoder.*"),)),
        ),
    )


VIT = _family("vit", "ViT", prefix=1)
DEIT = _family(
    "deit",
    "DeiT",
    prefix=2,
    heads=(
        Architecture(
            "DeiTForImageClassificationWithTeacher",
            UNPOOLED,
            (*affine("cls_classifier", "head.out"), *affine("distillation_classifier", "head.distilled")),
            task="image-classification",
            fields={**CLASSES, "distilled": True},
        ),
    ),
)
