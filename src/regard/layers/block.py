"""One Transformer layer: every variant is data, none is a copy."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from regard.layers.attention import Attention, PerGroup
from regard.layers.cache import LayerCache
from regard.layers.checks import one_of
from regard.layers.convolution import Neighbours
from regard.layers.disentangled import Distances
from regard.layers.dropout import Dropout
from regard.layers.feedforward import FeedForward
from regard.layers.norms import make_norm
from regard.layers.ragged import Ragged
from regard.layers.trace import Scope


@dataclass(frozen=True, kw_only=True)
class Look:
    """What all layers of one forward pass share: who may look at whom, and where everything stands.

    mask and bias: for self-attention, see :mod:`regard.layers.attention`; turn: rotary cosines and sines; relative: a bias
    that depends on queries and keys; real: which tokens are no padding, (batch, tokens), None = all; memory and memory_mask:
    (batch, key, d_model) and (batch|1, 1, query|1, key) for cross-attention; memory_ragged: the memory's own layout in a
    ragged batch, None = that of x.
    """

    mask: PerGroup = None
    bias: PerGroup = None
    turn: tuple[Tensor, Tensor] | None = None
    relative: Distances | None = None
    real: Tensor | None = None
    ragged: Ragged | None = None
    memory: Tensor | None = None
    memory_mask: Tensor | None = None
    memory_ragged: Ragged | None = None


class Block(nn.Module):
    """Self-attention, cross-attention if `cross`, feed-forward; each with a residual sum and a norm.

    norm_place "post": x = norm(x + sublayer(x)) (Vaswani et al. 2017, §3.1); "pre": x = x + sublayer(norm(x)) (Xiong et al.
    2020). parallel: attention and feed-forward read the same x, each through its norm, and are added to it at once (Wang and
    Komatsuzaki 2021; GPT-NeoX). first_norm: false leaves out the norm before a pre-norm attention. convolution: of what the
    layer reads, added to what it gives and normalised with it. The parts are built by the caller, so that this class knows
    no sizes.
    """

    def __init__(
        self,
        d_model: int,
        *,
        attention: Attention,
        feedforward: FeedForward,
        cross_attention: Attention | None = None,
        convolution: Neighbours | None = None,
        norm: str = "layer",
        norm_eps: float = 1e-5,
        norm_place: str = "pre",
        norm_bias: bool = True,
        first_norm: bool = True,
        parallel: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        one_of(("pre", "post"), norm_place=norm_place)
        if parallel and (norm_place == "post" or cross_attention is not None):
            raise ValueError("parallel sublayers normalise before them, and there is no cross-attention among them")
        self.attention = attention
        self.attention_norm = make_norm(norm, d_model, norm_eps, bias=norm_bias) if first_norm else nn.Identity()
        self.cross_attention = cross_attention
        self.cross_attention_norm = None if cross_attention is None else make_norm(norm, d_model, norm_eps, bias=norm_bias)
        self.feedforward = feedforward
        self.feedforward_norm = make_norm(norm, d_model, norm_eps, bias=norm_bias)
        self.convolution = convolution
        self.convolution_norm = None if convolution is None else make_norm(norm, d_model, norm_eps, bias=norm_bias)
        self.dropout = Dropout(dropout)
        self.pre, self.parallel = norm_place == "pre", parallel

    def forward(
        self,
        x: Tensor,
        look: Look,
        *,
        cache: LayerCache | None = None,
        memory_cache: LayerCache | None = None,
        pick: Tensor | None = None,
        scope: Scope | None = None,
    ) -> Tensor:
        """x (batch, tokens, d_model), or (tokens, d_model) with `look.ragged` -> the same shape. pick: see
        :meth:`Attention.forward`; only these tokens go on."""
        scope, given = scope or Scope(None), x
        y = self.attention_norm(x) if self.pre else x
        y = self.attention(
            y,
            mask=look.mask,
            bias=look.bias,
            turn=look.turn,
            relative=look.relative,
            cache=cache,
            ragged=look.ragged,
            pick=pick,
            scope=scope.inside("attention"),
        )
        before = x if pick is None else x.index_select(0, pick)
        x = self._add(before, y, self.attention_norm)
        if self.cross_attention is not None and self.cross_attention_norm is not None:
            y = self.cross_attention_norm(x) if self.pre else x
            inside = scope.inside("cross_attention")
            if memory_cache is not None:
                if not memory_cache.length and look.memory is not None:
                    self.cross_attention.remember(look.memory, memory_cache)
                y = self.cross_attention.recall(y, memory_cache, mask=look.memory_mask, scope=inside)
            else:
                layouts = {"ragged": look.ragged, "memory_ragged": look.memory_ragged}
                y = self.cross_attention(y, look.memory, mask=look.memory_mask, **layouts, scope=inside)
            x = self._add(x, y, self.cross_attention_norm)
        source = before if self.parallel else x
        y = self.feedforward(self.feedforward_norm(source) if self.pre else source)
        x = self._add(x, scope.at("feedforward", y), self.feedforward_norm)
        if self.convolution is not None and self.convolution_norm is not None:
            around = self.convolution(given, real=look.real, ragged=look.ragged)
            x = self.convolution_norm(x + (around if pick is None else around.index_select(0, pick)))
        return scope.at("", x)

    def _add(self, x: Tensor, y: Tensor, norm: nn.Module) -> Tensor:
        total = x + self.dropout(y)
        result: Tensor = total if self.pre else norm(total)
        return result
