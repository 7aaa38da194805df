"""Attention: the heart, and the only place where scores are made.

softmax(q kᵀ / sqrt(d_head)) v (Vaswani et al. 2017, §3.2.1), in two equal forms: fused when nobody asks for the weights,
explicit when somebody does (a law test says that both agree).

Shapes: q (batch, heads, query, d_head) · k, v (batch, kv_heads, key, d_head) · mask (batch|1, heads|1, query|1, key), True =
may look · bias like mask, added to the scores. A query that may look nowhere gets 0, not NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from regard.layers.cache import LayerCache
from regard.layers.checks import one_of, positive, share
from regard.layers.disentangled import Distances, PositionProjections
from regard.layers.dropout import kept
from regard.layers.kernels import fused, softmax
from regard.layers.linear import Linear, PackedLinear, QuantizedLinear
from regard.layers.norms import RMSNorm
from regard.layers.positions import Rotary
from regard.layers.ragged import Ragged
from regard.layers.trace import Edit, Scope

PerGroup = Tensor | Sequence[Tensor | None] | None
"""A mask or bias: one for the batch, or one for each group of a ragged batch."""


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
    need_weights: bool = False,
    edit: Edit | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Attention over heads; returns (batch, heads, query, d_head) and, if asked, the weights (batch, heads, query, key).

    scale: factor on q kᵀ, None = 1/sqrt(d_head). edit: changes the weights before they meet v; it implies `need_weights`.
    """
    if q.shape[1] % k.shape[1]:
        raise ValueError(f"{k.shape[1]} key-value heads do not divide {q.shape[1]} query heads")
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    if mask is not None:
        bias = (torch.zeros((), device=q.device) if bias is None else bias).masked_fill(~mask, float("-inf"))
    if not need_weights and edit is None:
        return fused(q, k, v, bias=bias, scale=scale, dropout=dropout), None
    dtype, q = q.dtype, q.to(k.dtype)
    if (groups := q.shape[1] // k.shape[1]) > 1:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    scores = (q @ k.transpose(-1, -2)).float() * scale
    weights = softmax(scores if bias is None else scores + bias)
    if edit is not None:
        weights = edit(weights)
    if dropout:
        weights = weights * kept(weights, dropout)
    return (weights.to(v.dtype) @ v).to(dtype), weights


BIASES = ("all", "none", "qkv", "no-key", "out")
"""Which of an attention's four projections have a bias: `qkv` all but the output's, `no-key` all but the keys', `out` that
of the output alone."""


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, §3.2.2), with grouped key-value heads (Ainslie et al. 2023).

    `attention(x)` is self-attention, `attention(x, memory)` cross-attention, `cache=` continues a running sequence.
    Differs from the paper: biases are optional, and positions may turn q and k (`turn`) or add to the scores (`bias`).

    d_head: width of a head, None = d_model / n_heads. bias: one of
    :data:`BIASES`. norm_eps: queries and keys are RMS-normalised head by head before positions turn them (Henry et al. 2020;
    Qwen3's form), with this epsilon; None = not. dropout: of the weights, while training.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        *,
        n_kv_heads: int | None = None,
        d_head: int | None = None,
        bias: str = "all",
        norm_eps: float | None = None,
        dropout: float = 0.0,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        one_of(BIASES, bias=bias)
        n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        positive(d_model=d_model, n_heads=n_heads, n_kv_heads=n_kv_heads)
        share(dropout=dropout)
        if d_head is None and d_model % n_heads:
            raise ValueError(
                f"n_heads={n_heads} does not divide d_model={d_model}: set d_head, or use another number of heads"
            )
        if n_heads % n_kv_heads:
            raise ValueError(f"n_kv_heads={n_kv_heads} does not divide n_heads={n_heads}")
        self.n_heads, self.n_kv_heads = n_heads, n_kv_heads
        self.d_head = d_model // n_heads if d_head is None else d_head
        positive(d_head=self.d_head)
        self.dropout, self.scale = dropout, scale
        self.q_proj = Linear(d_model, self.n_heads * self.d_head, bias=bias in ("all", "qkv", "no-key"))
        self.k_proj = Linear(d_model, self.n_kv_heads * self.d_head, bias=bias in ("all", "qkv"))
        self.v_proj = Linear(d_model, self.n_kv_heads * self.d_head, bias=bias in ("all", "qkv", "no-key"))
        self.o_proj = Linear(self.n_heads * self.d_head, d_model, bias=bias in ("all", "no-key", "out"))
        self.q_norm = None if norm_eps is None else RMSNorm(self.d_head, eps=norm_eps)
        self.k_norm = None if norm_eps is None else RMSNorm(self.d_head, eps=norm_eps)
        self.position: PositionProjections | None = None
        """What makes keys and queries of distances, in disentangled attention that does not use its own for it."""
        self.qkv_proj: PackedLinear | QuantizedLinear | None = None
        """All three projections at once, once the model is packed for prediction."""
        self.kv_proj: PackedLinear | QuantizedLinear | None = None
        """In its place where a memory is read: keys and values at once."""

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        *,
        mask: PerGroup = None,
        bias: PerGroup = None,
        turn: tuple[Tensor, Tensor] | None = None,
        relative: Distances | None = None,
        cache: LayerCache | None = None,
        ragged: Ragged | None = None,
        memory_ragged: Ragged | None = None,
        pick: Tensor | None = None,
        scope: Scope | None = None,
    ) -> Tensor:
        """Shapes: x (batch, query, d_model) · memory (batch, key, d_model) · returns x's shape. With `ragged`, x is
        (tokens, d_model), and so is the memory, whose rows are as long as those of x if `memory_ragged` does not say how
        long, in as many groups; mask and bias are one a group, and there is no cache.

        turn: from :meth:`Rotary.turn`, for the positions of x. relative: a bias that depends on queries and keys, in place
        of `bias`. cache: keys and values of earlier calls; for those of a memory see :meth:`remember`. pick:
        :meth:`Ragged.places` of the tokens whose output is wanted, one a row; the result is laid out as
        :attr:`Ragged.singles`. scope: where the weights and the output are traced.
        """
        scope = scope or Scope(None)
        q, k, v = self._project(x, memory, pick)
        if turn is not None:
            q, k = Rotary.turned(q, turn), Rotary.turned(k, turn)
        between = None if relative is None else relative.within(self)
        if ragged is not None:
            asking, asked, outs = ragged if pick is None else ragged.singles, memory_ragged or ragged, []
            for i, group in enumerate(zip(asking.split(q), asked.split(k), asked.split(v), strict=True)):
                q, k, v = (part.transpose(1, 2) for part in group)
                inside = scope.inside(f"group.{i}")
                added = _of_group(bias, i) if between is None else between(q, k)
                outs.append(self._attend(q, k, v, mask=_of_group(mask, i), bias=added, scope=inside))
            return self._out(asking.join(outs), scope)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        if cache is not None:
            first, held = cache.length == 0, cache.append(k, v)
            k, v = (k, v) if first else held  # what is read first need not be rounded as the cache rounds
        added = _of_group(bias, 0) if between is None else between(q, k)
        return self._out(self._attend(q, k, v, mask=_of_group(mask, 0), bias=added, scope=scope), scope)

    def remember(self, memory: Tensor, cache: LayerCache) -> None:
        """Keep the keys and values of a memory, (batch, key, d_model), for all queries to come."""
        k, v = (self._heads(part).transpose(1, 2) for part in self._keys(memory))
        cache.append(k if self.k_norm is None else self.k_norm(k), v)

    def recall(self, x: Tensor, cache: LayerCache, *, mask: Tensor | None = None, scope: Scope | None = None) -> Tensor:
        """Cross-attention over what was remembered: x (batch, query, d_model) -> the same shape."""
        scope = scope or Scope(None)
        q, (k, v) = self._heads(self.q_proj(x)).transpose(1, 2), cache.read()
        q = q if self.q_norm is None else self.q_norm(q)
        return self._out(self._attend(q, k, v, mask=mask, bias=None, scope=scope), scope)

    def _keys(self, source: Tensor) -> tuple[Tensor, Tensor]:
        if self.kv_proj is None:
            return self.k_proj(source), self.v_proj(source)
        k, v = self.kv_proj(source).chunk(2, dim=-1)
        return k, v

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None, bias: Tensor | None, scope: Scope) -> Tensor:
        """(batch, query, heads * d_head)."""
        out, _ = attend(
            q,
            k,
            v,
            mask=mask,
            bias=bias,
            scale=self.scale,
            dropout=self.dropout if self.training else 0.0,
            edit=(lambda weights: scope.at("weights", weights)) if scope.wants("weights") else None,
        )
        return out.transpose(1, 2).flatten(2)

    def _out(self, heads: Tensor, scope: Scope) -> Tensor:
        return scope.at("", self.o_proj(heads))

    def _project(self, x: Tensor, memory: Tensor | None, pick: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """(…, tokens, heads, d_head) each."""
        if self.qkv_proj is not None and memory is None:
            widths = [self.n_heads * self.d_head, *2 * [self.n_kv_heads * self.d_head]]
            q, k, v = self.qkv_proj(x).split(widths, dim=-1)
            q = q if pick is None else q.index_select(0, pick)
        else:
            asking = x if pick is None else x.index_select(0, pick)
            q, (k, v) = self.q_proj(asking), self._keys(x if memory is None else memory)
        q, k, v = self._heads(q), self._heads(k), self._heads(v)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        return q, k, v

    def _heads(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (-1, self.d_head))
        return heads


def _of_group(value: PerGroup, i: int) -> Tensor | None:
    return value if value is None or isinstance(value, Tensor) else value[i]
