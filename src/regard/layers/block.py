"""One Transformer layer: every variant is data, none is a copy."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from regard.layers.attention import Attention, PerGroup
from regard.layers.cache import LayerCache
from regard.layers.checks import one_of
from regard.layers.dropout import Dropout
from regard.layers.feedforward import FeedForward
from regard.layers.norms import make_norm
from regard.layers.ragged import Ragged
from regard.layers.trace import Scope


@dataclass(frozen=True, kw_only=True)
class Look:
    """What all layers of one forward pass share: who may look at whom, and where everything stands.

    mask and bias: for self-attention, see :mod:`regard.layers.attention`; turn: rotary cosines and sines; memory and
    memory_mask: (batch, key, d_model) and (batch|1, 1, query|1, key) for cross-attention.
    """

    mask: PerGroup = None
    bias: PerGroup = None
    turn: tuple[Tensor, Tensor] | None = None
    ragged: Ragged | None = None
    memory: Tensor | None = None
    memory_mask: Tensor | None = None


class Block(nn.Module):
    """Self-attention, cross-attention if `cross`, feed-forward; each with a residual sum and a norm.

    norm_place "post": x = norm(x + sublayer(x)) (Vaswani et al. 2017, §3.1); "pre": x = x + sublayer(norm(x)) (Xiong et al.
    2020). The parts are built by the caller, so that this class knows no sizes.
    """

    def __init__(
        self,
        d_model: int,
        *,
        attention: Attention,
        feedforward: FeedForward,
        cross_attention: Attention | None = None,
        norm: str = "layer",
        norm_eps: float = 1e-5,
        norm_place: str = "pre",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        one_of(("pre", "post"), norm_place=norm_place)
        self.attention = attention
        self.attention_norm = make_norm(norm, d_model, norm_eps)
        self.cross_attention = cross_attention
        self.cross_attention_norm = make_norm(norm, d_model, norm_eps) if cross_attention is not None else None
        self.feedforward = feedforward
        self.feedforward_norm = make_norm(norm, d_model, norm_eps)
        self.dropout = Dropout(dropout)
        self.pre = norm_place == "pre"

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
        scope = scope or Scope(None)
        y = self.attention_norm(x) if self.pre else x
        y = self.attention(
            y,
            mask=look.mask,
            bias=look.bias,
            turn=look.turn,
            cache=cache,
            ragged=look.ragged,
            pick=pick,
            scope=scope.inside("attention"),
        )
        x = self._add(x if pick is None else x.index_select(0, pick), y, self.attention_norm)
        if self.cross_attention is not None and self.cross_attention_norm is not None:
            y = self.cross_attention_norm(x) if self.pre else x
            y = self.cross_attention(
                y, look.memory, mask=look.memory_mask, cache=memory_cache, scope=scope.inside("cross_attention")
            )
            x = self._add(x, y, self.cross_attention_norm)
        y = self.feedforward(self.feedforward_norm(x) if self.pre else x)
        return scope.at("", self._add(x, scope.at("feedforward", y), self.feedforward_norm))

    def _add(self, x: Tensor, y: Tensor, norm: nn.Module) -> Tensor:
        total = x + self.dropout(y)
        result: Tensor = total if self.pre else norm(total)
        return result
