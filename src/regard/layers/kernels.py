"""softmax(q kᵀ · scale + bias) v without handing out the weights: which kernel, by device, dtype and length, as measured.

torch's fused kernel is built for long sequences. On a CPU and for sentences of some dozen tokens its cost is a fixed one per
(row, head), its backward pass in bfloat16 is slower still, and dropout sends it down an unfused path. There :class:`Short`
takes over: batched products over all rows and heads at once, statistics in float32, and a backward pass written out.
`benchmarks/attention.py` prints the comparison that :data:`SHORT` rests on.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from regard.layers.dropout import kept as draw_kept

SHORT = 96
"""Longest key length that :class:`Short` takes on a CPU."""


def fused(q: Tensor, k: Tensor, v: Tensor, *, bias: Tensor | None, scale: float, dropout: float) -> Tensor:
    """The kernel for these inputs.

    Shapes: q (batch, heads, query, d_head), k and v (batch, heads, key, d_head), bias broadcastable to the scores, -inf =
    may not look. Returns (batch, heads, query, d_head); a query that may look nowhere gets 0.
    """
    if q.is_cpu and k.shape[2] <= SHORT:
        out: Tensor = Short.apply(q, k, v, bias, scale, dropout)  # type: ignore[no-untyped-call]
        return out
    if bias is not None:
        bias = bias.to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, scale=scale)


def softmax(scores: Tensor) -> Tensor:
    """Over the last axis; a row of -inf becomes 0 and has gradient 0, where torch.softmax gives NaN for both."""
    nowhere = scores.amax(-1, keepdim=True) == float("-inf")
    return scores.masked_fill(nowhere, 0.0).softmax(-1).masked_fill(nowhere, 0.0)


def softmax_(scores: Tensor) -> Tensor:
    """:func:`softmax` in place and without a gradient. Short rows are far quicker this way than in torch.softmax, which
    treats each row by itself."""
    highest = scores.amax(-1, keepdim=True).clamp_(min=torch.finfo(scores.dtype).min)
    weights = scores.sub_(highest).exp_()
    return weights.div_(weights.sum(-1, keepdim=True).clamp_(min=torch.finfo(scores.dtype).tiny))


class Short(torch.autograd.Function):
    """Attention over short rows as a few batched operations, forward and backward, all in float32.

    float32 also for bfloat16 inputs: the products are too small to gain from the matrix unit, whose kernels are compiled
    anew for every number of rows and every length, while those of float32 are not.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, dropout: float) -> Tensor:
        shape, dtype = q.shape, q.dtype
        q, k, v = (_by_row(x) for x in (q, k, v))
        scores = torch.bmm(q, k.transpose(1, 2)).mul_(scale)
        if bias is not None:
            scores.view(*shape[:3], -1).add_(bias)
        weights = softmax_(scores)
        kept = draw_kept(weights, dropout) if dropout else None
        ctx.save_for_backward(q, k, v, weights, kept)
        ctx.scale, ctx.shape, ctx.dtype = scale, shape, dtype
        ctx.bias_shape = None if bias is None or not ctx.needs_input_grad[3] else bias.shape
        return torch.bmm(weights if kept is None else weights * kept, v).view(shape).to(dtype)

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
            # of a bias that is not broadcast, sum_to_size gives the very same memory, and that is scaled in place below
            grad_bias = grad_scores.view(*ctx.shape[:3], -1).sum_to_size(ctx.bias_shape).clone()
        grad_scores.mul_(ctx.scale)
        grad_q = torch.bmm(grad_scores, k)
        grad_k = torch.bmm(grad_scores.transpose(1, 2), q)
        batch, heads = ctx.shape[:2]
        by_head = (x.view(batch, heads, x.shape[1], x.shape[2]).to(ctx.dtype) for x in (grad_q, grad_k, grad_v))
        return (*by_head, grad_bias, None, None)


def _by_row(x: Tensor) -> Tensor:
    """(batch, heads, tokens, d_head) -> (batch * heads, tokens, d_head) float32, copied at most once."""
    return x.to(torch.float32, memory_format=torch.contiguous_format).reshape(-1, *x.shape[2:])
