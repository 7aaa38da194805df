"""softmax(q kᵀ · scale + bias) v without handing out the weights: which kernel, by device, dtype and length, as measured.

torch's fused kernel is built for long sequences. On a CPU and for sentences of some dozen tokens its cost is a fixed one per
(row, head), its backward pass in bfloat16 is slower still, and dropout sends it down an unfused path. There :class:`Short`
takes over: batched products over all rows and heads at once, statistics in float32, and a backward pass written out.
`benchmarks/attention.py` prints the comparison that the bounds below rest on.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from regard.layers.dropout import kept as draw_kept

SHORT_TRAINING = 192
"""Longest key length that :class:`Short` takes on a CPU where a gradient is wanted, or dropout."""
SHORT_PREDICTION = 40
"""The same for a forward pass alone."""


CACHED = 512
"""Tokens whose attention is computed at once in a forward pass alone: what is made of them fits into a core's cache."""
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


def short(q: Tensor, k: Tensor, v: Tensor, *, bias: Tensor | None, scale: float) -> Tensor:
    """What :class:`Short` computes, without a gradient: a few rows at a time, so that all of it stays in the cache."""
    batch, heads, queries, width = q.shape
    out = q.new_empty(batch, queries, heads, width)
    at_once = max(1, CACHED // k.shape[2])
    for first in range(0, batch, at_once):
        rows = slice(first, first + at_once)
        some = bias if bias is None or len(bias) == 1 else bias[rows]
        values = torch.bmm(_weights(_by_row(q[rows]), _by_row(k[rows]), some, scale, heads), _by_row(v[rows]))
        out[rows] = values.view(-1, heads, queries, width).transpose(1, 2)
    return out.transpose(1, 2)


class Short(torch.autograd.Function):
    """Attention over short rows as a few batched operations, forward and backward, all in float32.

    float32 also for bfloat16 inputs: the products are too small to gain from the matrix unit, whose kernels are compiled
    anew for every number of rows and every length, while those of float32 are not.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, dropout: float) -> Tensor:
        shape, dtype = q.shape, q.dtype
        q, k, v = (_by_row(x) for x in (q, k, v))
        weights = _weights(q, k, bias, scale, shape[1])
        kept = draw_kept(weights, dropout) if dropout else None
        ctx.save_for_backward(q, k, v, weights, kept)
        ctx.scale, ctx.dtype, ctx.shape = scale, dtype, shape
        ctx.bias_shape = None if bias is None or not ctx.needs_input_grad[3] else bias.shape
        return _by_head(torch.bmm(weights if kept is None else weights * kept, v), shape, dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, kept = ctx.saved_tensors
        grad = _by_row(grads[0])
        grad_v = torch.bmm((weights if kept is None else weights * kept).transpose(1, 2), grad)
        grad_weights = torch.bmm(grad, v.transpose(1, 2))
        if kept is not None:
            grad_weights.mul_(kept)
        # d softmax: w * (g - sum(w g))
        grad_scores = grad_weights.mul_(weights)
        grad_scores.addcmul_(weights, grad_scores.sum(-1, keepdim=True), value=-1)
        grad_bias = None
        if ctx.bias_shape is not None:
            grad_bias = grad_scores.view(*ctx.shape[:3], -1).sum_to_size(ctx.bias_shape)
        grad_q = _product(grad_scores, k, ctx.scale)
        grad_k = _product(grad_scores.transpose(1, 2), q, ctx.scale)
        return (*(_by_head(x, ctx.shape, ctx.dtype) for x in (grad_q, grad_k, grad_v)), grad_bias, None, None)


def _weights(q: Tensor, k: Tensor, bias: Tensor | None, scale: float, heads: int) -> Tensor:
    """(batch * heads, query, key)."""
    scores = _product(q, k.transpose(1, 2), scale)
    if bias is not None:
        scores.unflatten(0, (-1, heads)).add_(bias)
    return softmax_(scores)


def _by_row(x: Tensor) -> Tensor:
    """(batch, heads, tokens, d_head) -> (batch * heads, tokens, d_head) float32, copied at most once."""
    return x.to(torch.float32, memory_format=torch.contiguous_format).reshape(-1, *x.shape[2:])


def _by_head(x: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """(batch * heads, tokens, d_head) -> (batch, heads, tokens, d_head), where batch and heads are those of `shape`. In
    memory the heads of a token lie side by side, as projections write and read them."""
    batch, heads = shape[:2]
    out = x.new_empty((batch, x.shape[1], heads, x.shape[2]), dtype=dtype).transpose(1, 2)
    return out.copy_(x.view(batch, heads, x.shape[1], x.shape[2]))


def _product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """scale · a b of batches of matrices, in one pass."""
    return torch.baddbmm(a.new_empty(1, 1, 1), a, b, beta=0, alpha=scale)
