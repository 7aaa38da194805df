"""softmax(q kᵀ · scale + bias) v without handing out the weights: which kernel, by device, dtype and length, as measured.

torch's fused kernel is built for long sequences. On a CPU and for sentences of some dozen tokens its cost is a fixed one per
(row, head), its backward pass in bfloat16 is slower still, and dropout sends it down an unfused path. There :class:`Short`
takes over: batched products over some rows and all heads at once, and a backward pass written out, all in float32.
`benchmarks/attention.py` prints the comparison that the bounds below rest on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from regard.layers.dropout import kept as draw_kept

SHORT_TRAINING = 192
"""Longest key length that :class:`Short` takes on a CPU where a gradient is wanted, or dropout."""
SHORT_PREDICTION = 40
"""The same for :func:`short` and a forward pass alone."""
CACHED = 512
"""Tokens whose attention is computed at once."""
MODERATE = 60.0
"""Scores between this and its negative have an exp, and a sum of exps, that float32 holds with full precision."""


def fused(q: Tensor, k: Tensor, v: Tensor, *, bias: Tensor | None, scale: float, dropout: float) -> Tensor:
    """The kernel for these inputs.

    Shapes: q (batch, heads, query, d_head), k and v (batch, heads, key, d_head), bias broadcastable to the scores, -inf =
    may not look. Returns (batch, heads, query, d_head); a query that may look nowhere gets 0.
    """
    given = (q, k, v) if bias is None else (q, k, v, bias)
    trains = dropout > 0 or (torch.is_grad_enabled() and any(x.requires_grad for x in given))
    if q.is_cpu and trains and k.shape[2] <= SHORT_TRAINING:
        out: Tensor = Short.apply(q, k, v, bias, scale, dropout)  # type: ignore[no-untyped-call]
        return out
    if q.is_cpu and not trains and k.shape[2] <= SHORT_PREDICTION:
        return short(q, k, v, bias=bias, scale=scale)
    if bias is not None:
        bias = bias.to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, scale=scale)


def softmax(scores: Tensor) -> Tensor:
    """Over the last axis; a row of -inf becomes 0 and has gradient 0, where torch.softmax gives NaN for both."""
    nowhere = scores.amax(-1, keepdim=True) == float("-inf")
    return scores.masked_fill(nowhere, 0.0).softmax(-1).masked_fill(nowhere, 0.0)


def softmax_(scores: Tensor) -> Tensor:
    """:func:`softmax` in place and without a gradient; scores float32. Short rows are far quicker this way than in
    torch.softmax, which treats each row by itself. Where no score is large, exp needs no help against overflow."""
    low, high = torch.aminmax(scores)
    if not (float(high) < MODERATE and float(low) > -MODERATE):
        scores.sub_(scores.amax(-1, keepdim=True).clamp_(min=torch.finfo(scores.dtype).min))
    weights = scores.exp_()
    return weights.div_(weights.sum(-1, keepdim=True).clamp_(min=torch.finfo(scores.dtype).tiny))


def short(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    bias: Tensor | None,
    scale: float,
    kept: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Attention over short rows as a few batched operations in float32, some rows at a time, without a gradient.

    float32 also for bfloat16 inputs: the products are too small to gain from the matrix unit, whose kernels are compiled
    anew for every number of rows and every length, while those of float32 are not.

    Shapes as in :func:`fused`. kept: what dropout multiplies the weights with; weights: where those before dropout are put;
    both (batch * heads, query, key) float32.
    """
    batch, heads, queries, width = q.shape
    out = q.new_empty(batch, queries, heads, width)
    for rows, flat in _parts(batch, heads, k.shape[2]):
        into = None if weights is None else weights[flat]
        scores = _product(_by_row(q[rows]), _by_row(k[rows]).transpose(1, 2), scale, out=into)
        if bias is not None:
            scores.unflatten(0, (-1, heads)).add_(bias if len(bias) == 1 else bias[rows])
        softmax_(scores)
        values = torch.bmm(scores if kept is None else scores * kept[flat], _by_row(v[rows]))
        out[rows] = values.unflatten(0, (-1, heads)).transpose(1, 2)
    return out.transpose(1, 2)


class Short(torch.autograd.Function):
    """:func:`short` with dropout and a gradient."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, dropout: float) -> Tensor:
        weights = q.new_empty(q.shape[0] * q.shape[1], q.shape[2], k.shape[2], dtype=torch.float32)
        kept = draw_kept(weights, dropout) if dropout else None
        out = short(q, k, v, bias=bias, scale=scale, kept=kept, weights=weights)
        ctx.save_for_backward(q, k, v, weights, kept)
        ctx.scale = scale
        ctx.bias_shape = None if bias is None or not ctx.needs_input_grad[3] else bias.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, kept = ctx.saved_tensors
        batch, heads = q.shape[:2]
        # in memory the heads of a token lie side by side, as projections write and read them
        grad_q, grad_k, grad_v = (
            torch.empty_like(x.transpose(1, 2), memory_format=torch.contiguous_format) for x in (q, k, v)
        )
        grad_bias = None if ctx.bias_shape is None else weights.new_zeros(ctx.bias_shape)
        for rows, flat in _parts(batch, heads, k.shape[2]):
            used, grad = weights[flat], _by_row(grads[0][rows])
            dropped = used if kept is None else used * kept[flat]
            grad_v[rows] = torch.bmm(dropped.transpose(1, 2), grad).unflatten(0, (-1, heads)).transpose(1, 2)
            grad_weights = torch.bmm(grad, _by_row(v[rows]).transpose(1, 2))
            if kept is not None:
                grad_weights.mul_(kept[flat])
            # d softmax: w * (g - sum(w g))
            grad_scores = grad_weights.mul_(used)
            grad_scores.addcmul_(used, grad_scores.sum(-1, keepdim=True), value=-1)
            if grad_bias is not None:
                of_bias = grad_bias if len(grad_bias) == 1 else grad_bias[rows]
                of_bias += grad_scores.unflatten(0, (-1, heads)).sum_to_size(of_bias.shape)
            of_q = _product(grad_scores, _by_row(k[rows]), ctx.scale)
            of_k = _product(grad_scores.transpose(1, 2), _by_row(q[rows]), ctx.scale)
            grad_q[rows] = of_q.unflatten(0, (-1, heads)).transpose(1, 2)
            grad_k[rows] = of_k.unflatten(0, (-1, heads)).transpose(1, 2)
        return (*(x.transpose(1, 2) for x in (grad_q, grad_k, grad_v)), grad_bias, None, None)


def _parts(batch: int, heads: int, length: int) -> Iterator[tuple[slice, slice]]:
    """Some rows at a time, about :data:`CACHED` tokens: what is made of them stays in a core's cache. The same rows as a
    part of (batch, …) and as one of (batch * heads, …)."""
    at_once = max(1, CACHED // length)
    for first in range(0, batch, at_once):
        last = min(batch, first + at_once)
        yield slice(first, last), slice(first * heads, last * heads)


def _by_row(x: Tensor) -> Tensor:
    """(batch, heads, tokens, d_head) -> (batch * heads, tokens, d_head) float32, copied at most once."""
    return x.to(torch.float32, memory_format=torch.contiguous_format).reshape(-1, *x.shape[2:])


def _product(a: Tensor, b: Tensor, scale: float, *, out: Tensor | None = None) -> Tensor:
    """scale · a b of batches of matrices, in one pass."""
    return torch.baddbmm(a.new_empty(1, 1, 1), a, b, beta=0, alpha=scale, out=out)
