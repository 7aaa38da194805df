"""wav2vec 2.0 (Baevski et al. 2020) and HuBERT (Hsu et al. 2021): BERT's layers over convolutions of a waveform."""

from typing import Any

from regard.checkpoints.families.family import ACTIVATIONS, Architecture, Family, Key
from regard.checkpoints.rules import Either, Entry, Rule, affine, keep, norm

LAYER = "encoder.layers.{}"
STABLE = "do_stable_layer_norm"
"""Their key for models that normalise before their sublayers."""
CONVOLUTION, OURS = "feature_extractor.conv_layers.{}", "encoder.embeddings.convolutions.{}"
POSITIONS = "encoder.pos_conv_embed.conv"

BODY: tuple[Entry | Either, ...] = (
    *affine(f"{CONVOLUTION}.conv", f"{OURS}.convolution"),
    *norm(f"{CONVOLUTION}.layer_norm", f"{OURS}.norm"),
    *norm("feature_projection.layer_norm", "encoder.embeddings.projection_norm"),
    *affine("feature_projection.projection", "encoder.embeddings.projection"),
    Rule(
        f"{POSITIONS}.parametrizations.weight.original0",
        "encoder.embeddings.positions.scale",
        also=(f"{POSITIONS}.weight_g",),
    ),
    Rule(
        f"{POSITIONS}.parametrizations.weight.original1",
        "encoder.embeddings.positions.direction",
        also=(f"{POSITIONS}.weight_v",),
    ),
    Rule(f"{POSITIONS}.bias", "encoder.embeddings.positions.bias"),
    Either(
        STABLE,
        true=norm("encoder.layer_norm", "encoder.norm"),
        false=norm("encoder.layer_norm", "encoder.embeddings.norm"),
    ),
    *affine(f"{LAYER}.attention.q_proj", f"{LAYER}.attention.q_proj"),
    *affine(f"{LAYER}.attention.k_proj", f"{LAYER}.attention.k_proj"),
    *affine(f"{LAYER}.attention.v_proj", f"{LAYER}.attention.v_proj"),
    *affine(f"{LAYER}.attention.out_proj", f"{LAYER}.attention.o_proj"),
    *norm(f"{LAYER}.layer_norm", f"{LAYER}.attention_norm"),
    *affine(f"{LAYER}.feed_forward.intermediate_dense", f"{LAYER}.feedforward.up_proj"),
    *affine(f"{LAYER}.feed_forward.output_dense", f"{LAYER}.feedforward.down_proj"),
    *norm(f"{LAYER}.final_layer_norm", f"{LAYER}.feedforward_norm"),
    keep("masked_spec_embed"),
)

KEYS = (
    Key(theirs="hidden_size", ours="d_model"),
    Key(theirs="num_hidden_layers", ours="n_layers"),
    Key(theirs="num_attention_heads", ours="n_heads"),
    Key(theirs="intermediate_size", ours="d_ff"),
    Key(theirs="layer_norm_eps", ours="norm_eps", default=1e-5),
    Key(theirs="hidden_act", ours="activation", default="gelu", values=ACTIVATIONS),
    Key(theirs="hidden_dropout", ours="dropout", default=0.1),
    Key(theirs="attention_dropout", ours="attention_dropout", default=0.1),
    Key(theirs="pad_token_id", ours="pad_id", default=0),
    Key(theirs=STABLE, ours="norm_place", default=False, values={False: "post", True: "pre"}),
    Key(theirs=STABLE, ours="embedding_norm", default=False, values={False: True, True: False}),
    Key(theirs="conv_dim", ours="input.widths", default=(512,) * 7),
    Key(theirs="conv_kernel", ours="input.kernels", default=(10, 3, 3, 3, 3, 2, 2)),
    Key(theirs="conv_stride", ours="input.strides", default=(5, 2, 2, 2, 2, 2, 2)),
    Key(theirs="conv_bias", ours="input.bias", default=False),
    Key(theirs="feat_extract_norm", ours="input.norm", default="group"),
    Key(theirs="feat_extract_activation", ours="input.activation", default="gelu", values=ACTIVATIONS),
    Key(theirs="num_conv_pos_embeddings", ours="input.position_kernel", default=128),
    Key(theirs="num_conv_pos_embedding_groups", ours="input.position_groups", default=16),
)
FIXED: dict[str, Any] = {"kind": "encoder", "vocab_size": 0, "positions": "none", "input.kind": "wave"}
ONLY = {"add_adapter": (False,), "use_weighted_layer_sum": (False,), "quantization_config": ()}


def _speaking(classes: str) -> tuple[Architecture, ...]:
    """The classes with a head that both families have; their names begin with `classes`."""
    return (
        Architecture(
            f"{classes}ForCTC",
            BODY,
            affine("lm_head", "head.out"),
            task="automatic-speech-recognition",
            fields={"over": "tokens", "dense": False},
            keys=(
                Key(theirs="vocab_size", ours="head.n_outputs", default=32),
                Key(theirs="final_dropout", ours="head.dropout", default=0.1),
            ),
        ),
        Architecture(
            f"{classes}ForSequenceClassification",
            BODY,
            (*affine("projector", "head.dense"), *affine("classifier", "head.out")),
            task="audio-classification",
            fields={"over": "sequence", "pool": "mean", "dense": True, "activation": "none", "dropout": 0.0},
            keys=(Key(theirs="classifier_proj_size", ours="head.d_dense", default=256),),
        ),
    )


WAV2VEC2 = Family(
    name="wav2vec2",
    prefix="wav2vec2.",
    keys=KEYS,
    fixed={**FIXED, "input.projection_norm": True},
    only={**ONLY, "adapter_attn_dim": ()},
    base=Architecture("Wav2Vec2Model", BODY),
    heads=(
        *_speaking("Wav2Vec2"),
        Architecture("Wav2Vec2ForPreTraining", BODY, (keep("quantizer.*"), keep("project_hid.*"), keep("project_q.*"))),
        Architecture("Wav2Vec2ForAudioFrameClassification", BODY, (keep("classifier.*"),)),
        Architecture(
            "Wav2Vec2ForXVector",
            BODY,
            tuple(keep(f"{part}.*") for part in ("projector", "tdnn", "feature_extractor", "classifier", "objective")),
        ),
    ),
)
HUBERT = Family(
    name="hubert",
    prefix="hubert.",
    keys=(*KEYS, Key(theirs="feat_proj_layer_norm", ours="input.projection_norm", default=True)),
    fixed=FIXED,
    only={**ONLY, "conv_pos_batch_norm": (False,)},
    base=Architecture("HubertModel", BODY),
    heads=_speaking("Hubert"),
)
