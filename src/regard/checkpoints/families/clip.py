"""CLIP (Radford et al. 2021): an encoder for texts and one for images, whose pooled states meet in one space; and each of
the two alone. Not read is CLIPForImageClassification, whose config.json tells of an encoder that it has not.

The state of a text is that of its last token, which their tokenizer makes the end mark; what follows it must be masked.
"""

from typing import Any

from regard.checkpoints.families.family import ACTIVATIONS, AnyKey, Architecture, Family, Key
from regard.checkpoints.families.vit import square
from regard.checkpoints.rules import Entry, Rule, Skip, affine, norm, under

POSITION_IDS = Skip("embeddings.position_ids", "a buffer of older versions: 0, 1, 2 …")


def _layers(ours: str) -> tuple[Entry, ...]:
    """The layers of either encoder; ours: what our stack is called."""
    theirs, ours = "encoder.layers.{}", f"{ours}.layers.{{}}"
    return (
        *norm(f"{theirs}.layer_norm1", f"{ours}.attention_norm"),
        *affine(f"{theirs}.self_attn.q_proj", f"{ours}.attention.q_proj"),
        *affine(f"{theirs}.self_attn.k_proj", f"{ours}.attention.k_proj"),
        *affine(f"{theirs}.self_attn.v_proj", f"{ours}.attention.v_proj"),
        *affine(f"{theirs}.self_attn.out_proj", f"{ours}.attention.o_proj"),
        *norm(f"{theirs}.layer_norm2", f"{ours}.feedforward_norm"),
        *affine(f"{theirs}.mlp.fc1", f"{ours}.feedforward.up_proj"),
        *affine(f"{theirs}.mlp.fc2", f"{ours}.feedforward.down_proj"),
    )


def _vision(ours: str) -> tuple[Entry, ...]:
    return (
        Rule("embeddings.class_embedding", f"{ours}.embeddings.prefix.0"),
        Rule("embeddings.patch_embedding.weight", f"{ours}.embeddings.patches.weight"),
        Rule("embeddings.position_embedding.weight", f"{ours}.embeddings.positions.weight"),
        POSITION_IDS,
        *norm("pre_layrnorm", f"{ours}.embeddings.norm"),
        *_layers(ours),
        *norm("post_layernorm", f"{ours}.norm"),
    )


TEXT: tuple[Entry, ...] = (
    Rule("embeddings.token_embedding.weight", "encoder.embeddings.tokens.weight"),
    Rule("embeddings.position_embedding.weight", "encoder.embeddings.positions.weight"),
    POSITION_IDS,
    *_layers("encoder"),
    *norm("final_layer_norm", "encoder.norm"),
)
BOTH = (*under("text_model.", TEXT), *under("vision_model.", _vision("vision")))


def _keys(theirs: str, ours: str, *, d_model: int, d_ff: int, n_heads: int) -> tuple[Key, ...]:
    """What both encoders have, with their defaults; theirs and ours: the part that tells of this one, and a dot."""
    return (
        Key(theirs=f"{theirs}hidden_size", ours=f"{ours}d_model", default=d_model),
        Key(theirs=f"{theirs}num_hidden_layers", ours=f"{ours}n_layers", default=12),
        Key(theirs=f"{theirs}num_attention_heads", ours=f"{ours}n_heads", default=n_heads),
        Key(theirs=f"{theirs}intermediate_size", ours=f"{ours}d_ff", default=d_ff),
        Key(theirs=f"{theirs}layer_norm_eps", ours=f"{ours}norm_eps", default=1e-5),
        Key(theirs=f"{theirs}hidden_act", ours=f"{ours}activation", default="quick_gelu", values=ACTIVATIONS),
        Key(theirs=f"{theirs}attention_dropout", ours=f"{ours}attention_dropout", default=0.0),
    )


def _text_keys(theirs: str = "") -> tuple[AnyKey, ...]:
    return (
        *_keys(theirs, "", d_model=512, d_ff=2048, n_heads=8),
        Key(theirs=f"{theirs}vocab_size", ours="vocab_size", default=49408),
        Key(theirs=f"{theirs}max_position_embeddings", ours="max_positions", default=77),
        Key(theirs=f"{theirs}pad_token_id", ours="pad_id", default=1),
    )


def _vision_keys(theirs: str = "", ours: str = "") -> tuple[AnyKey, ...]:
    return (
        *_keys(theirs, ours, d_model=768, d_ff=3072, n_heads=12),
        Key(theirs=f"{theirs}num_channels", ours=f"{ours}input.channels", default=3),
        square(f"{theirs}image_size", f"{ours}input.image_size", default=224),
        square(f"{theirs}patch_size", f"{ours}input.patch_size", default=32),
    )


FIXED_TEXT: dict[str, Any] = {"kind": "encoder", "causal": True, "norm_place": "pre", "dropout": 0.0}
FIXED_VISION: dict[str, Any] = {
    "kind": "encoder",
    "vocab_size": 0,
    "norm_place": "pre",
    "embedding_norm": True,
    "dropout": 0.0,
    "input.kind": "image",
    "input.bias": False,
}
ONLY = {"quantization_config": ()}

STATE = {"over": "sequence", "dense": False, "dropout": 0.0}
"""A head that only pools: the state of a text's last token, which is the end mark, or of an image's first."""
PROJECTED = {**STATE, "dense": True, "dense_bias": False, "activation": "none"}
WIDTH = Key(theirs="projection_dim", ours="head.d_dense", default=512)

CLIP = Family(
    name="clip",
    prefix="",
    keys=(*_text_keys("text_config."), *_vision_keys("vision_config.", "vision.")),
    fixed={**FIXED_TEXT, **{f"vision.{name}": value for name, value in FIXED_VISION.items()}},
    only=ONLY,
    base=Architecture(
        "CLIPModel",
        BOTH,
        (
            Rule("text_projection.weight", "head.text.weight"),
            Rule("visual_projection.weight", "head.image.weight"),
            Rule("logit_scale", "head.scale"),
        ),
        task="zero-shot-image-classification",
        fields={"over": "pair", "pool": "last"},
        keys=(WIDTH,),
    ),
)
CLIP_TEXT = Family(
    name="clip_text_model",
    prefix="text_model.",
    keys=_text_keys(),
    fixed=FIXED_TEXT,
    only=ONLY,
    base=Architecture("CLIPTextModel", TEXT, fields={**STATE, "pool": "last"}),
    heads=(
        Architecture(
            "CLIPTextModelWithProjection",
            TEXT,
            (Rule("text_projection.weight", "head.dense.weight"),),
            fields={**PROJECTED, "pool": "last"},
            keys=(WIDTH,),
        ),
    ),
)
CLIP_VISION = Family(
    name="clip_vision_model",
    prefix="vision_model.",
    keys=_vision_keys(),
    fixed=FIXED_VISION,
    only=ONLY,
    base=Architecture("CLIPVisionModel", _vision("encoder"), fields={**STATE, "pool": "first"}),
    heads=(
        Architecture(
            "CLIPVisionModelWithProjection",
            _vision("encoder"),
            (Rule("visual_projection.weight", "head.dense.weight"),),
            fields={**PROJECTED, "pool": "first"},
            keys=(WIDTH,),
        ),
    ),
)
