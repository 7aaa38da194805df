"""From a description to a model: the only place that reads a :class:`ModelConfig`."""

from __future__ import annotations

from torch import nn

from regard.layers.attention import Attention
from regard.layers.block import Block
from regard.layers.embeddings import Embeddings
from regard.layers.feedforward import FeedForward
from regard.layers.linear import Linear
from regard.layers.norms import make_norm
from regard.layers.positions import Alibi, LearnedPositions, RelativePositions, Rotary, SinusoidalPositions
from regard.models.config import HeadConfig, ModelConfig
from regard.models.heads import SequenceHead
from regard.models.model import Model
from regard.models.stack import Stack


def build(config: ModelConfig, head: HeadConfig | None = None) -> Model:
    """A model with fresh weights, drawn from torch's random generator; see :func:`initialise`."""
    model = Model(
        config,
        encoder=None if config.kind == "decoder" else build_stack(config, causal=False),
        decoder=None if config.kind == "encoder" else build_stack(config, causal=True),
        head=None if head is None else SequenceHead.from_config(head, config.d_model, dropout=config.dropout),
        head_config=head,
    )
    initialise(model)
    return model


def build_stack(config: ModelConfig, *, causal: bool) -> Stack:
    """The encoder (`causal=False`) or the decoder of a model; a decoder beside an encoder gets cross-attention."""
    cross = causal and config.kind == "encoder-decoder"
    return Stack(
        build_embeddings(config),
        [_block(config, cross=cross) for _ in range(config.decoder_layers if cross else config.n_layers)],
        norm=make_norm(config.norm, config.d_model, config.norm_eps) if config.norm_place == "pre" else None,
        causal=causal,
        window=config.window,
        rotary=Rotary(config.head_width, base=config.rotary_base) if config.positions == "rotary" else None,
        score_bias=_score_bias(config, causal=causal),
    )


def build_embeddings(config: ModelConfig) -> Embeddings:
    """Token, position and segment embeddings."""
    positions: nn.Module | None = None
    if config.positions == "learned":
        positions = LearnedPositions(config.max_positions, config.d_model, offset=config.position_offset)
    elif config.positions == "sinusoidal":
        positions = SinusoidalPositions(config.max_positions, config.d_model)
    return Embeddings(
        config.vocab_size,
        config.d_model,
        positions=positions,
        n_types=config.n_types,
        scale=config.embedding_scale,
        norm=make_norm(config.norm, config.d_model, config.norm_eps) if config.embedding_norm else None,
        dropout=config.dropout,
    )


def _score_bias(config: ModelConfig, *, causal: bool) -> Alibi | RelativePositions | None:
    if config.positions == "alibi":
        return Alibi(config.n_heads)
    if config.positions == "relative":
        return RelativePositions(
            config.n_heads,
            buckets=config.relative_buckets,
            distance=config.relative_distance,
            bidirectional=not causal,
        )
    return None


def _attention(config: ModelConfig) -> Attention:
    return Attention(
        config.d_model,
        config.n_heads,
        n_kv_heads=config.n_kv_heads,
        d_head=config.d_head,
        bias=config.bias,
        dropout=config.attention_dropout,
    )


def _block(config: ModelConfig, *, cross: bool) -> Block:
    return Block(
        config.d_model,
        attention=_attention(config),
        cross_attention=_attention(config) if cross else None,
        feedforward=FeedForward(
            config.d_model, config.d_ff, activation=config.activation, gated=config.gated, bias=config.bias
        ),
        norm=config.norm,
        norm_eps=config.norm_eps,
        norm_place=config.norm_place,
        dropout=config.dropout,
    )


def initialise(model: nn.Module) -> None:
    """Draw all matrices and embeddings anew.

    Matrices Xavier-uniform (Glorot and Bengio 2010) with zero biases; a head's output N(0, 0.02²), so that training starts
    from nearly even predictions; embeddings as :class:`~regard.layers.embeddings.Embedding` draws them.
    """
    for name, module in model.named_modules():
        if isinstance(module, Linear):
            if name.endswith("head.out"):
                nn.init.normal_(module.weight, std=0.02)
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
