"""Whisper (Radford et al. 2023): pre-norm layers without biases of keys, over log-mel frames.

Their encoder takes exactly the frames that it has positions for; ours also fewer. Not read is WhisperForCausalLM, a decoder
with cross-attention and no encoder.
"""

from regard.checkpoints.families.bart import attention, feedforward
from regard.checkpoints.families.family import ACTIVATIONS, Architecture, Family, Key
from regard.checkpoints.rules import Entry, Rule, affine, norm

ENCODER: tuple[Entry, ...] = (
    *affine("encoder.conv1", "encoder.embeddings.first"),
    *affine("encoder.conv2", "encoder.embeddings.second"),
    Rule("encoder.embed_positions.weight", "encoder.embeddings.positions.weight"),
    *attention("encoder.layers.{}.self_attn", "encoder.layers.{}.attention"),
    *feedforward("encoder.layers.{}"),
    *norm("encoder.layer_norm", "encoder.norm"),
)
DECODER: tuple[Entry, ...] = (
    Rule("decoder.embed_tokens.weight", "decoder.embeddings.tokens.weight"),
    Rule("decoder.embed_positions.weight", "decoder.embeddings.positions.weight"),
    *attention("decoder.layers.{}.self_attn", "decoder.layers.{}.attention"),
    *attention("decoder.layers.{}.encoder_attn", "decoder.layers.{}.cross_attention"),
    *feedforward("decoder.layers.{}"),
    *norm("decoder.layer_norm", "decoder.norm"),
)
BODY = (*ENCODER, *DECODER)

ENCODER_ALONE = {
    "kind": "encoder",
    "vocab_size": 0,
    "n_decoder_layers": None,
    "n_decoder_heads": None,
    "d_decoder_ff": None,
    "max_decoder_positions": None,
}

WHISPER = Family(
    name="whisper",
    prefix="model.",
    keys=(
        Key(theirs="vocab_size", ours="vocab_size"),
        Key(theirs="num_mel_bins", ours="input.n_mels", default=80),
        Key(theirs="d_model", ours="d_model"),
        Key(theirs="encoder_layers", ours="n_layers"),
        Key(theirs="decoder_layers", ours="n_decoder_layers"),
        Key(theirs="encoder_attention_heads", ours="n_heads"),
        Key(theirs="decoder_attention_heads", ours="n_decoder_heads"),
        Key(theirs="encoder_ffn_dim", ours="d_ff"),
        Key(theirs="decoder_ffn_dim", ours="d_decoder_ff"),
        Key(theirs="max_source_positions", ours="max_positions", default=1500),
        Key(theirs="max_target_positions", ours="max_decoder_positions", default=448),
        Key(theirs="activation_function", ours="activation", default="gelu", values=ACTIVATIONS),
        Key(theirs="dropout", ours="dropout", default=0.0),
        Key(theirs="attention_dropout", ours="attention_dropout", default=0.0),
        Key(theirs="tie_word_embeddings", ours="tie_head", default=True),
        Key(theirs="pad_token_id", ours="pad_id", default=50256),
    ),
    fixed={
        "kind": "encoder-decoder",
        "input.kind": "mel",
        "positions": "learned",
        "norm_place": "pre",
        "norm_eps": 1e-5,
        "attention_bias": "no-key",
        "share_embeddings": False,
    },
    only={"use_weighted_layer_sum": (False,), "quantization_config": ()},
    base=Architecture("WhisperModel", BODY),
    heads=(
        Architecture(
            "WhisperForConditionalGeneration",
            BODY,
            (Rule("proj_out.weight", "head.out.weight"),),
            task="automatic-speech-recognition",
            fields={"over": "vocabulary", "dense": False, "bias": False, "dropout": 0.0},
        ),
        Architecture(
            "WhisperForAudioClassification",
            (),
            (*ENCODER, *affine("projector", "head.dense"), *affine("classifier", "head.out")),
            task="audio-classification",
            fields={"over": "sequence", "pool": "mean", "dense": True, "activation": "none", "dropout": 0.0},
            keys=(Key(theirs="classifier_proj_size", ours="head.d_dense", default=256),),
            fixed=ENCODER_ALONE,
        ),
    ),
)
