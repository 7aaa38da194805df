"""From a description to a model: the only place that reads a :class:`ModelConfig`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from regard.layers.attention import Attention
from regard.layers.block import Block
from regard.layers.convolution import Neighbours
from regard.layers.disentangled import Disentangled, PositionProjections
from regard.layers.embeddings import Borrowed, Embedding, Embeddings
from regard.layers.feedforward import FeedForward
from regard.layers.linear import Linear
from regard.layers.norms import LayerNorm, RMSNorm, make_norm
from regard.layers.positions import Alibi, LearnedPositions, RelativePositions, Rotary, SinusoidalPositions, Stretch
from regard.models.audio import MelEmbeddings, WaveEmbeddings
from regard.models.config import HeadConfig, ImageInput, MelInput, ModelConfig, WaveInput
from regard.models.heads import Head, PairHead
from regard.models.image import PatchEmbeddings
from regard.models.model import Model
from regard.models.stack import FrontEnd, Stack


def build(config: ModelConfig, head: HeadConfig | None = None) -> Model:
    """A model with fresh weights, drawn from torch's random generator; see :func:`initialise`."""
    model = assemble(config, head)
    initialise(model)
    return model


def filled(config: ModelConfig, head: HeadConfig | None, tensors: Mapping[str, Tensor]) -> Model:
    """A model whose weights are these very tensors: no memory is taken for others. In evaluation mode, without gradients."""
    with torch.device("meta"):
        model = assemble(config, head)
    model.load_state_dict(tensors, assign=True)
    return model.eval().requires_grad_(False)


def assemble(config: ModelConfig, head: HeadConfig | None = None) -> Model:
    """The modules of a model, with weights as torch leaves them."""
    encoder = None if config.kind == "decoder" else build_stack(config, causal=bool(config.causal))
    table = encoder.embeddings.tokens if encoder and isinstance(encoder.embeddings, Embeddings) else None
    shared = table if config.kind == "encoder-decoder" and config.share_embeddings else None
    decoder = None if config.kind == "encoder" else build_stack(config, causal=config.causal is not False, tokens=shared)
    vision = None if config.vision is None else build_stack(config.vision, causal=False)
    table = decoder.embeddings.tokens if decoder and isinstance(decoder.embeddings, Embeddings) else table
    return Model(
        config,
        encoder=encoder,
        decoder=decoder,
        vision=vision,
        head=None if head is None else _head(config, head, table),
        head_config=head,
    )


def build_stack(config: ModelConfig, *, causal: bool, tokens: Embedding | Borrowed | None = None) -> Stack:
    """The only stack of a model, or one of an encoder-decoder: there `causal` is the decoder and has cross-attention.

    tokens: another stack's table, to be read with.
    """
    cross = causal and config.kind == "encoder-decoder"
    local = range(config.n_layers) if config.local_layers is None else config.local_layers
    return Stack(
        _front_end(config) if config.input and not cross else build_embeddings(config, decoder=cross, tokens=tokens),
        [_block(config, cross=cross, first=i == 0) for i in range(config.decoder_layers if cross else config.unique_layers)],
        n_layers=config.decoder_layers if cross else config.n_layers,
        norm=_norm(config) if config.ends_in_norm else None,
        causal=causal,
        window=config.window,
        local_layers=tuple(local) if config.window is not None or config.local_rotary_base is not None else (),
        rotary=_rotary(config, config.rotary_base),
        local_rotary=None if config.local_rotary_base is None else _rotary(config, config.local_rotary_base),
        score_bias=_score_bias(config, causal=causal),
        disentangled=_disentangled(config),
    )


def build_embeddings(
    config: ModelConfig, *, decoder: bool = False, tokens: Embedding | Borrowed | None = None
) -> Embeddings:
    """Token, position and segment embeddings. decoder: those of an encoder-decoder's decoder."""
    width = config.d_embedding or config.d_model
    rows = config.target_vocab_size if decoder else config.vocab_size
    longest = config.decoder_positions if decoder else config.max_positions
    positions: nn.Module | None = None
    if config.positions == "learned":
        positions = LearnedPositions(longest, width, offset=config.position_offset)
    elif config.positions == "sinusoidal":
        positions = SinusoidalPositions(width, layout=config.sinusoid, offset=config.position_offset)
    return Embeddings(
        _table(config, rows, width) if tokens is None else Borrowed(tokens),
        positions=positions,
        n_types=config.n_types,
        scale=config.embedding_scale,
        norm=_norm(config, config.d_model if config.project_first else width) if config.embedding_norm else None,
        dropout=config.dropout,
        d_model=None if config.d_embedding is None else config.d_model,
        project_first=config.project_first,
    )


def _table(config: ModelConfig, rows: int, width: int) -> Embedding:
    """The token table. Where it is multiplied by sqrt(d_model), it is drawn so that the product has variance 1."""
    zero = config.pad_id if config.pad_is_zero and config.pad_id < rows else None
    return Embedding(rows, width, std=width**-0.5 if config.embedding_scale else 0.02, zero=zero)


def _front_end(config: ModelConfig) -> FrontEnd:
    match config.input:
        case MelInput(n_mels=n_mels):
            return MelEmbeddings(n_mels, config.d_model, config.max_positions, dropout=config.dropout)
        case WaveInput() as wave:
            return WaveEmbeddings(
                config.d_model,
                widths=wave.widths,
                kernels=wave.kernels,
                strides=wave.strides,
                convolution_bias=wave.bias,
                convolution_norm=wave.norm,
                activation=wave.activation,
                projection_norm=LayerNorm(wave.widths[-1], eps=config.norm_eps) if wave.projection_norm else None,
                position_kernel=wave.position_kernel,
                position_groups=wave.position_groups,
                norm=_norm(config) if config.embedding_norm else None,
                dropout=config.dropout,
            )
        case ImageInput() as image:
            return PatchEmbeddings(
                image.image_size,
                image.patch_size,
                image.channels,
                config.d_model,
                n_prefix=image.prefix,
                bias=image.bias,
                norm=_norm(config) if config.embedding_norm else None,
                dropout=config.dropout,
            )
    raise ValueError("this model reads tokens")


def _head(config: ModelConfig, head: HeadConfig, table: Embedding | Borrowed | None) -> Head | PairHead:
    if head.over == "pair":
        if config.vision is None:
            raise ValueError("a head over pairs needs a vision model")
        return PairHead(config.d_model, config.vision.d_model, head.d_dense or config.d_model)
    tied = head.over == "vocabulary" and config.tie_head
    if tied and table is None:
        raise ValueError("a head tied to the token table needs a model that reads tokens")
    return Head(
        config.d_model,
        head.n_outputs,
        pool=head.pool if head.over == "sequence" else None,
        d_dense=(head.d_dense or config.d_model) if head.dense else None,
        dense_bias=head.dense_bias,
        activation=head.activation,
        norm=lambda width: _norm(config, width) if head.norm else None,
        bias=head.bias,
        scale=head.scale,
        distilled=head.distilled,
        dropout=config.dropout if head.dropout is None else head.dropout,
        tied=table if tied else None,
    )


def _norm(config: ModelConfig, width: int | None = None) -> LayerNorm | RMSNorm:
    return make_norm(config.norm, width or config.d_model, config.norm_eps, bias=config.norm_bias)


def _rotary(config: ModelConfig, base: float) -> Rotary | None:
    if config.positions != "rotary":
        return None
    stretch = None if config.stretch is None else Stretch(**config.stretch.model_dump())
    return Rotary(config.rotary_width, base=base, stretch=stretch)


def _score_bias(config: ModelConfig, *, causal: bool) -> Alibi | RelativePositions | None:
    n_heads = config.decoder_heads if causal else config.n_heads
    if config.positions == "alibi":
        return Alibi(n_heads)
    if config.positions == "relative":
        return RelativePositions(
            n_heads,
            buckets=config.relative_buckets,
            distance=config.relative_distance,
            bidirectional=not causal,
        )
    return None


def _disentangled(config: ModelConfig) -> Disentangled | None:
    chosen = config.disentangled
    if chosen is None:
        return None
    return Disentangled(
        config.d_model,
        distance=chosen.distance,
        buckets=chosen.buckets,
        terms=chosen.terms,
        norm=_norm(config) if chosen.norm else None,
        dropout=config.dropout,
    )


def _attention(config: ModelConfig, *, decoder: bool) -> Attention:
    scale = config.attention_scale
    if config.disentangled is not None and scale is None:
        scale = (config.head_width * (1 + len(config.disentangled.terms))) ** -0.5
    attention = Attention(
        config.d_model,
        config.decoder_heads if decoder else config.n_heads,
        n_kv_heads=None if decoder and config.n_decoder_heads else config.n_kv_heads,
        d_head=config.d_head,
        bias=config.attention_biases,
        norm_eps=config.norm_eps if config.qk_norm else None,
        dropout=config.attention_dropout,
        scale=scale,
    )
    if config.disentangled is not None and not config.disentangled.shared:
        width = attention.n_heads * attention.d_head
        attention.position = PositionProjections(config.d_model, width, config.disentangled.terms)
    return attention


def _convolution(config: ModelConfig) -> Neighbours | None:
    chosen = config.convolution
    if chosen is None:
        return None
    return Neighbours(
        config.d_model, chosen.kernel, groups=chosen.groups, activation=chosen.activation, dropout=config.dropout
    )


def _block(config: ModelConfig, *, cross: bool, first: bool) -> Block:
    return Block(
        config.d_model,
        attention=_attention(config, decoder=cross),
        cross_attention=_attention(config, decoder=True) if cross else None,
        feedforward=FeedForward(
            config.d_model,
            (config.d_decoder_ff if cross else None) or config.d_ff,
            activation=config.activation,
            gated=config.gated,
            bias=config.bias,
        ),
        convolution=_convolution(config) if first else None,
        norm=config.norm,
        norm_eps=config.norm_eps,
        norm_place=config.norm_place,
        norm_bias=config.norm_bias,
        first_norm=config.first_norm or not first,
        parallel=config.parallel,
        dropout=config.dropout,
    )


def initialise(model: Model) -> None:
    """Draw all matrices and embeddings anew.

    Matrices Xavier-uniform (Glorot and Bengio 2010) with zero biases; a head's output N(0, 0.02²), so that training starts
    from nearly even predictions; embeddings as :class:`~regard.layers.embeddings.Embedding` draws them. Sublayers with a
    norm behind them begin small, see :func:`_begin_small`.
    """
    for name, module in model.named_modules():
        if isinstance(module, Linear):
            if name.endswith(("head.out", "head.distilled")):
                nn.init.normal_(module.weight, std=0.02)
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if model.config.norm_place == "post":
        _begin_small(model)


@torch.no_grad()
def _begin_small(model: Model) -> None:
    """Make what each sublayer adds small beside what it is added to: its last matrix is divided by sqrt(layers), as GPT-2's
    are by the root of its sums (Radford et al. 2019, §2.3).

    Otherwise attention, which begins as a mean over all tokens, makes their states one and the same from layer to layer. At
    the rates that are common for small models an encoder then collapses within some hundred steps, and a decoder never
    learns where to look. DeepNorm (Wang et al. 2022) begins smaller still, and learned small data late.
    """
    for stack in filter(None, (model.encoder, model.decoder)):
        for name, module in stack.layers.named_modules():
            if isinstance(module, Linear) and name.endswith(("o_proj", "down_proj")):
                module.weight.mul_(stack.n_layers**-0.5)
