"""What a model is made of, as data: the one description that builders read and that `config.json` stores.

Names are those of Vaswani et al. 2017 and of the `q_proj … down_proj` layout (see docs/en/architecture.md, *Words*).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from regard.config import Settings

Kind = Literal["encoder", "decoder", "encoder-decoder"]
Positions = Literal["learned", "sinusoidal", "rotary", "alibi", "relative", "none"]
Activation = Literal["relu", "gelu", "gelu-tanh", "gelu-quick", "silu", "tanh"]
Bias = Literal["all", "none", "qkv", "no-key", "out"]


MOST_LAYERS = 10_000
"""More than any model has: a bound for hostile files, since layers may share their weights."""


class StretchConfig(Settings):
    """How rotary positions are stretched, see :class:`regard.layers.positions.Stretch`."""

    kind: Literal["linear", "dynamic", "llama3", "yarn"]
    """The method."""
    factor: float = Field(ge=1)
    """How much longer than `original` the text may be."""
    original: int = Field(2048, ge=2)
    """Longest sequence that the model was first trained for, in tokens."""
    low: float = Field(1.0, gt=0)
    """Turns over `original` below which a pair is stretched by the whole factor (`llama3`, `yarn`)."""
    high: float = Field(4.0, gt=0)
    """Turns from which on a pair is not stretched (`llama3`, `yarn`)."""
    temperature: float | None = Field(None, gt=0)
    """Factor on cosines and sines; None means the method's own."""
    whole: bool = True
    """yarn's ramp starts and ends at whole pairs."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind in ("llama3", "yarn") and self.low >= self.high:
            raise ValueError(f"low={self.low} must be below high={self.high}")
        return self


class DisentangledConfig(Settings):
    """Disentangled attention (He et al. 2021), see :class:`regard.layers.disentangled.Disentangled`."""

    distance: int = Field(ge=1)
    """Distance in tokens from which on all count as one."""
    buckets: int | None = Field(None, ge=4)
    """Distances up to half of this are exact, farther ones share buckets; None means all exact."""
    terms: tuple[Literal["c2p", "p2c"], ...] = Field(("c2p", "p2c"), min_length=1)
    """What is added to the scores: content-to-position, position-to-content."""
    shared: bool = True
    """Keys and queries of distances are made by the layer's own projections."""
    norm: bool = True
    """Normalise the table of distances before use (DeBERTa-v2 and v3)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.buckets is not None and self.buckets // 2 >= self.distance - 1:
            raise ValueError(f"half of buckets={self.buckets} must be below distance={self.distance} less 1")
        return self


class ConvolutionConfig(Settings):
    """A convolution of what the first layer reads, added to what it gives (He et al. 2021, the model of 1.5 billion)."""

    kernel: int = Field(ge=1)
    """Tokens that it sees at once."""
    groups: int = Field(1, ge=1)
    """Its groups of features."""
    activation: Activation = "tanh"
    """Non-linearity after it."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel={self.kernel} must be odd: it sees as many tokens behind as ahead")
        return self


class MelInput(Settings):
    """Log-mel frames through two convolutions, which halve their number (Radford et al. 2023, §2.2)."""

    kind: Literal["mel"] = "mel"
    """What is read."""
    n_mels: int = Field(80, ge=1)
    """Mel bands of a frame."""


class WaveInput(Settings):
    """A waveform through a stack of convolutions (Baevski et al. 2020, §2), positions by one more."""

    kind: Literal["wave"] = "wave"
    """What is read."""
    widths: tuple[int, ...] = Field(max_length=64)
    """Output channels of each convolution."""
    kernels: tuple[int, ...]
    """Kernel sizes, in samples of the level below."""
    strides: tuple[int, ...]
    """Strides, in samples of the level below."""
    bias: bool = False
    """Biases in these convolutions."""
    norm: Literal["group", "layer"] = "group"
    """Normalise after the first convolution, each channel by itself, or after every one, over the channels."""
    activation: Activation = "gelu"
    """After each convolution."""
    projection_norm: bool = True
    """Normalise before the projection to d_model."""
    position_kernel: int = Field(128, ge=1)
    """Kernel of the convolution that brings positions, in frames."""
    position_groups: int = Field(16, ge=1)
    """Its groups."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.widths or not len(self.widths) == len(self.kernels) == len(self.strides):
            counts = (len(self.widths), len(self.kernels), len(self.strides))
            raise ValueError(f"widths, kernels and strides must be equally many and at least one, not {counts}")
        if min(*self.widths, *self.kernels, *self.strides) < 1:
            raise ValueError("widths, kernels and strides must be at least 1")
        return self


class ImageInput(Settings):
    """Square patches of an image, in rows (Dosovitskiy et al. 2021, §3.1)."""

    kind: Literal["image"] = "image"
    """What is read."""
    image_size: int = Field(224, ge=1)
    """Height and width in pixels."""
    patch_size: int = Field(16, ge=1)
    """Of a patch, in pixels."""
    channels: int = Field(3, ge=1)
    """Of a pixel."""
    prefix: int = Field(1, ge=0)
    """Learned tokens before the patches: the class token, and DeiT's distillation token."""
    bias: bool = True
    """A bias in the projection of patches."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.patch_size > self.image_size:
            raise ValueError(f"patch_size={self.patch_size} must not exceed image_size={self.image_size}")
        return self


Input = Annotated[MelInput | WaveInput | ImageInput, Field(discriminator="kind")]


class ModelConfig(Settings):
    """A Transformer: one stack (`encoder` or `decoder`) or two (`encoder-decoder`), whole and consistent or not at all."""

    kind: Kind = "encoder"
    """`encoder` looks both ways, `decoder` looks back only, `encoder-decoder` has one of each with cross-attention."""
    input: Input | None = None
    """What the only stack, or the encoder, reads instead of tokens."""
    vision: ModelConfig | None = None
    """A second encoder, for images, beside the one for text (CLIP)."""
    vocab_size: int = Field(ge=0)
    """Rows of the token embedding table; 0 where no tokens are read."""
    d_embedding: int | None = Field(None, ge=1)
    """Width of the embeddings, which are projected to d_model (Lan et al. 2020, §3.1), also where it is d_model; None means
    d_model and no projection."""
    project_first: bool = False
    """That projection comes before the norm and has no bias (DeBERTa-v2)."""
    d_model: int = Field(ge=1)
    """Width of a hidden state."""
    n_layers: int = Field(ge=1, le=MOST_LAYERS)
    """Layers of the only stack, or of the encoder."""
    n_unique_layers: int | None = Field(None, ge=1)
    """Layers with weights of their own, each used for an equal run of the n_layers (ALBERT); None means all."""
    n_decoder_layers: int | None = Field(None, ge=1, le=MOST_LAYERS)
    """Layers of the decoder of an encoder-decoder; None means as many as the encoder has."""
    n_decoder_heads: int | None = Field(None, ge=1)
    """Attention heads of that decoder; None means as many as the encoder has."""
    d_decoder_ff: int | None = Field(None, ge=1)
    """Width of that decoder's feed-forward layer; None means that of the encoder."""
    max_decoder_positions: int | None = Field(None, ge=1)
    """Longest sequence of that decoder in tokens; None means that of the encoder."""
    decoder_vocab_size: int | None = Field(None, ge=1)
    """Rows of that decoder's token table, where it has one of its own; None means vocab_size."""
    start_id: int | None = Field(None, ge=0)
    """Id before the inputs where that decoder reads these too, each one place on (BART's classifiers); None means each row's
    own last id (mBART, where it names the language)."""
    n_heads: int = Field(ge=1)
    """Attention heads."""
    n_kv_heads: int | None = Field(None, ge=1)
    """Key and value heads (Ainslie et al. 2023); None means `n_heads`."""
    d_head: int | None = Field(None, ge=1)
    """Width of one head; None means d_model / n_heads."""
    d_ff: int = Field(ge=1)
    """Width of the feed-forward layer."""
    max_positions: int = Field(512, ge=1)
    """Longest sequence in tokens."""

    positions: Positions = "learned"
    """How order enters: `learned` or `sinusoidal` are added to embeddings, `rotary` turns queries and keys, `alibi` and
    `relative` (T5) add to scores."""
    position_offset: int = Field(0, ge=0)
    """Rows of a learned position table that come before position 0 (2 in RoBERTa and BART); added to sinusoidal ones."""
    rotary_base: float = Field(10000.0, gt=0)
    """Base of the rotary frequencies (Su et al. 2021, §3.2.2)."""
    local_rotary_base: float | None = Field(None, gt=0)
    """The same in `local_layers`; None means rotary_base."""
    d_rotary: int | None = Field(None, ge=2)
    """Features of a head that rotary positions turn, the first ones; None means all."""
    stretch: StretchConfig | None = None
    """How rotary positions reach beyond the length first trained for."""
    sinusoid: Literal["interleaved", "halves", "fairseq"] = "interleaved"
    """How the features of sinusoidal positions lie."""
    disentangled: DisentangledConfig | None = None
    """Scores that depend on distance and content (DeBERTa), beside the other positions."""
    convolution: ConvolutionConfig | None = None
    """A convolution beside the first layer (DeBERTa-v2)."""
    relative_buckets: int = Field(32, ge=2)
    """Buckets of T5's relative positions (Raffel et al. 2020, §2.1)."""
    relative_distance: int = Field(128, ge=2)
    """Distance beyond which all relative positions share T5's last bucket."""
    n_types: int = Field(0, ge=0)
    """Segment embeddings (BERT's token types); 0 means none."""
    embedding_scale: bool = False
    """Multiply token embeddings by sqrt(d_model), as Vaswani et al. 2017, §3.4."""

    norm: Literal["layer", "rms"] = "layer"
    """LayerNorm (Ba et al. 2016) or RMSNorm (Zhang and Sennrich 2019)."""
    norm_eps: float = Field(1e-5, gt=0)
    """Added to the variance."""
    norm_place: Literal["pre", "post"] = "pre"
    """Normalise before each sublayer (Xiong et al. 2020) or after each residual sum (Vaswani et al. 2017)."""
    norm_bias: bool = True
    """LayerNorms shift as well as scale."""
    embedding_norm: bool = False
    """Normalise the sum of the embeddings, as BERT does."""
    first_norm: bool = True
    """Normalise before the first layer's attention; false in ModernBERT, whose embeddings are normalised already."""
    last_norm: bool | None = None
    """Normalise the last hidden states; None means where norm_place is `pre`."""
    parallel: bool = False
    """Attention and feed-forward read the same hidden state and are added at once (GPT-NeoX)."""
    qk_norm: bool = False
    """RMS-normalise queries and keys, head by head (Qwen3)."""
    activation: Activation = "gelu"
    """Non-linearity of the feed-forward layer."""
    gated: bool = False
    """Gated feed-forward (Shazeer 2020): activation(gate) * up."""
    bias: bool = True
    """Biases in the projections of attention and feed-forward."""
    attention_bias: Bias | None = None
    """Biases in attention's projections: `qkv` all but the output's, `no-key` all but the keys', `out` the output's alone.
    None means as `bias`."""
    attention_scale: float | None = Field(None, gt=0)
    """Factor on q kᵀ; None means 1/sqrt(d_head)."""
    causal: bool | None = None
    """Whether tokens of the only stack see the past only; None means in a decoder (CLIP's text encoder does, too)."""
    window: int | None = Field(None, ge=1)
    """Look at most this many tokens back (and, in an encoder, ahead); None means everywhere."""
    local_layers: tuple[int, ...] | None = None
    """Layers that look through the window, counted from 0; None means all."""

    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of embeddings and of each sublayer's output."""
    attention_dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of attention weights."""
    share_embeddings: bool = True
    """The decoder of an encoder-decoder reads with the encoder's token table."""
    tie_head: bool = True
    """A language-modelling head shares the token embedding's weights."""
    pad_id: int = Field(0, ge=0)
    """Id of the padding token."""
    pad_is_zero: bool = False
    """The padding token has the embedding 0, also where the decoder begins with it, and is no word of the vocabulary
    (Marian)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, heads in (("n_heads", self.n_heads), ("n_decoder_heads", self.decoder_heads)):
            if self.d_head is None and self.d_model % heads:
                fits = [n for n in range(1, min(self.d_model, 64) + 1) if self.d_model % n == 0]
                raise ValueError(
                    f"{name}={heads} does not divide d_model={self.d_model}: set d_head, or use one of {fits} heads"
                )
        if self.n_heads % self.kv_heads:
            raise ValueError(f"n_kv_heads={self.kv_heads} does not divide n_heads={self.n_heads}")
        if self.positions == "rotary":
            self._check_rotary()
        if self.positions == "relative" and not 2 <= self.relative_buckets // 2 < self.relative_distance:
            raise ValueError(
                f"relative_buckets={self.relative_buckets} must be at least 4, and half of them "
                f"below relative_distance={self.relative_distance}"
            )
        self._check_layers()
        self._check_tokens()
        return self

    def _check_rotary(self) -> None:
        if self.rotary_width % 2:
            what = "the head width" if self.d_rotary is None else "d_rotary ="
            raise ValueError(f"rotary positions turn pairs: {what} {self.rotary_width} must be even")
        if self.rotary_width > self.head_width:
            raise ValueError(f"d_rotary={self.d_rotary} must not exceed the head width {self.head_width}")
        if self.stretch is not None and self.stretch.kind == "dynamic" and self.rotary_width == 2:
            raise ValueError("the kind 'dynamic' slows all pairs but the first: it needs more than 2 turned features")
        if self.stretch is not None and self.stretch.kind == "yarn" and self.rotary_base <= 1:
            raise ValueError(f"rotary_base={self.rotary_base} must be above 1 for yarn")

    def _check_layers(self) -> None:
        of_decoder = ("n_decoder_layers", "n_decoder_heads", "d_decoder_ff", "max_decoder_positions", "decoder_vocab_size")
        for name in (*of_decoder, "start_id"):
            if getattr(self, name) is not None and self.kind != "encoder-decoder":
                raise ValueError(f"{name} belongs to an encoder-decoder, and this is kind={self.kind!r}")
        if self.n_layers % self.unique_layers:
            raise ValueError(f"n_unique_layers={self.n_unique_layers} does not divide n_layers={self.n_layers}")
        deepest = max(self.n_layers, self.decoder_layers)
        if self.local_layers and not 0 <= min(self.local_layers) <= max(self.local_layers) < deepest:
            raise ValueError(f"local_layers={self.local_layers} must be from 0 to {deepest - 1}")
        if self.parallel and (self.norm_place == "post" or self.kind == "encoder-decoder"):
            raise ValueError("parallel needs norm_place='pre', and no cross-attention")
        if self.kind != "encoder" and (self.disentangled or self.convolution):
            raise ValueError(f"disentangled and convolution belong to an encoder, and this is kind={self.kind!r}")
        if self.convolution and self.d_model % self.convolution.groups:
            raise ValueError(f"the convolution's groups={self.convolution.groups} must divide d_model={self.d_model}")

    def _check_tokens(self) -> None:
        if self.vocab_size == 0 and (self.input is None or self.kind == "encoder-decoder"):
            raise ValueError("vocab_size=0, but tokens are read")
        for name in ("pad_id", "start_id"):
            value = getattr(self, name)
            if value is not None and 0 < self.vocab_size <= value:
                raise ValueError(f"{name}={value} is not below vocab_size={self.vocab_size}")
        if self.share_embeddings and self.target_vocab_size != self.vocab_size:
            raise ValueError(
                f"decoder_vocab_size={self.decoder_vocab_size} must be vocab_size={self.vocab_size}, or the token tables two"
            )

    @property
    def head_width(self) -> int:
        """Width of one head, resolved."""
        return self.d_head or self.d_model // self.n_heads

    @property
    def kv_heads(self) -> int:
        """Key and value heads, resolved."""
        return self.n_kv_heads or self.n_heads

    @property
    def decoder_layers(self) -> int:
        """Layers of the decoder, resolved."""
        return self.n_decoder_layers or self.n_layers

    @property
    def decoder_positions(self) -> int:
        """Longest sequence of the decoder of an encoder-decoder, resolved."""
        return self.max_decoder_positions or self.max_positions

    @property
    def decoder_heads(self) -> int:
        """Heads of the decoder, resolved."""
        return self.n_decoder_heads or self.n_heads

    @property
    def target_vocab_size(self) -> int:
        """Rows of the token table of the decoder, or of the only stack: the words that a language model answers with."""
        return self.decoder_vocab_size or self.vocab_size

    @property
    def unique_layers(self) -> int:
        """Layers with weights of their own, resolved."""
        return self.n_unique_layers or self.n_layers

    @property
    def rotary_width(self) -> int:
        """Features of a head that are turned, resolved."""
        return self.d_rotary or self.head_width

    @property
    def ends_in_norm(self) -> bool:
        """Whether the last hidden states are normalised, resolved."""
        return self.norm_place == "pre" if self.last_norm is None else self.last_norm

    @property
    def attention_biases(self) -> Bias:
        """Biases of attention's projections, resolved."""
        return self.attention_bias or ("all" if self.bias else "none")


class HeadConfig(Settings):
    """The output layer over a stack's hidden states: [dense, activation, norm], dropout, output."""

    over: Literal["sequence", "tokens", "vocabulary", "pair"] = "sequence"
    """What is answered for: a sequence, by its pooled state; each token; each token's word, by all of the vocabulary; or a
    text and an image, by how near they are (CLIP)."""
    pool: Literal["first", "mean", "last"] = "first"
    """Which hidden state stands for a sequence: the first token's, the mean of the real tokens', the last real token's."""
    dense: bool = True
    """A layer with `activation` before the output (BERT's pooler, RoBERTa's and DistilBERT's pre-classifier)."""
    d_dense: int | None = Field(None, ge=1)
    """Its width; None means d_model. For over=`pair`, the width in which text and image meet."""
    dense_bias: bool = True
    """A bias in it."""
    activation: Activation | Literal["none"] = "tanh"
    """Non-linearity after the dense layer."""
    norm: bool = False
    """A norm after the dense layer and its activation."""
    n_outputs: int = Field(ge=0)
    """Outputs: classes, 1 for regression, the vocabulary's words; 0 keeps a checkpoint's pooler without an output."""
    bias: bool = True
    """A bias in the output layer."""
    distilled: bool = False
    """A second output layer reads the second token, and the answer is the mean of both (Touvron et al. 2021, §4)."""
    scale: float | None = Field(None, gt=0)
    """Factor on the hidden states before the output (T5); None means 1."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout before the output; None means the model's."""
