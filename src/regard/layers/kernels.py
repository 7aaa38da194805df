"""softmax(q kᵀ · scale + bias) v without handing out the weights: which kernel, by device, dtype and length, as measured.

torch's fused kernel is built for long sequences. On a CPU and for sentences of some dozen tokens its cost is a fixed one per
(row, head), its backward pass in bfloat16 is slower still, and dropout sends it down an unfused path. There :class:`Short`
takes over: batched products over all rows and heads at once, and a backward pass written out, all in float32.
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
FEW_QUERIES = 16
"""Most queries of a row, as in a step of decoding, for which a forward pass alone is short whatever the length."""
MODERATE = 60.0
"""Scores between this and its negative have an exp, and a sum of exps, that float32 holds with full precision."""


def fused(q: Tensor, k: Tensor, v: Tensor, *, bias: Tensor | None, scale: float, dropout: float) -> Tensor:
    """The kernel for these inputs.

    Shapes: q (batch, heads, query, d_head), k and v (batch, kv_heads, key, d_head) in a dtype of their own, bias
    broadcastable to the scores, -inf = may not look. Returns (batch, heads, query, d_head); a query that may look nowhere
    gets 0.
    """
    if (groups := q.shape[1] // k.shape[1]) > 1:  # its queries stand below each other over the one key head, no copy of it
        bias = None if bias is None else _folded_bias(bias, groups, q.shape[2])
        stacked = fused(_folded(q, groups), k, v, bias=bias, scale=scale, dropout=dropout)
        unfolded: Tensor = stacked.unflatten(2, (groups, -1)).flatten(1, 2)
        return unfolded
    given = (q, k, v) if bias is None else (q, k, v, bias)
    trains = dropout > 0 or (torch.is_grad_enabled() and any(x.requires_grad for x in given))
    if q.is_cpu and trains and k.shape[2] <= SHORT_TRAINING:
        out: Tensor = Short.apply(q, k, v, bias, scale, dropout)  # type: ignore[no-untyped-call]
        return out
    if q.is_cpu and not trains and (k.shape[2] <= SHORT_PREDICTION or q.shape[2] <= FEW_QUERIES):
        return _like(q, torch.bmm(_weights(q, k, bias, scale), _by_row(v)))
    bias = None if bias is None else bias.to(k.dtype)
    return F.scaled_dot_product_attention(q.to(k.dtype), k, v, attn_mask=bias, dropout_p=dropout, scale=scale).to(q.dtype)


def _folded(x: Tensor, groups: int) -> Tensor:
    """(batch, kv_heads * groups, query, …) -> (batch, kv_heads, groups * query, …)."""
    folded: Tensor = x.unflatten(1, (-1, groups)).flatten(2, 3)
    return folded


def _folded_bias(bias: Tensor, groups: int, queries: int) -> Tensor:
    if bias.ndim < 4 or bias.shape[1] == bias.shape[2] == 1:  # the same for every head and query
        return bias
    bias = bias.expand(-1, groups if bias.shape[1] == 1 else -1, queries, -1)
    return _folded(bias, groups)


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


class Short(torch.autograd.Function):
    """Attention over short rows as a few batched operations, forward and backward, all in float32.

    float32 also for bfloat16 inputs: the products are too small to gain from the matrix unit, whose kernels are compiled
    anew for every number of rows and every length, while those of float32 are not.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, dropout: float) -> Tensor:
        weights = _weights(q, k, bias, scale)
        kept = draw_kept(weights, dropout) if dropout else None
        ctx.save_for_backward(q, k, v, weights, kept)
        ctx.scale = scale
        ctx.bias_shape = None if bias is None or not ctx.needs_input_grad[3] else bias.shape
        return _like(q, torch.bmm(weights if kept is None else weights * kept, _by_row(v)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, kept = ctx.saved_tensors
        grad = _by_row(grads[0])
        grad_v = torch.bmm((weights if kept is None else weights * kept).transpose(1, 2), grad)
        grad_weights = torch.bmm(grad, _by_row(v).transpose(1, 2))
        if kept is not None:
            grad_weights.mul_(kept)
        # d softmax: w * (g - sum(w g))
        grad_scores = grad_weights.mul_(weights)
        grad_scores.addcmul_(weights, grad_scores.sum(-1, keepdim=True), value=-1)
        grad_bias = None if ctx.bias_shape is None else grad_scores.unflatten(0, q.shape[:2]).sum_to_size(ctx.bias_shape)
        grad_q = _product(grad_scores, _by_row(k), ctx.scale)
        grad_k = _product(grad_scores.transpose(1, 2), _by_row(q), ctx.scale)
        return _like(q, grad_q), _like(k, grad_k), _like(v, grad_v), grad_bias, None, None


def _weights(q: Tensor, k: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """(batch * heads, query, key) float32."""
    scores = _product(_by_row(q), _by_row(k).transpose(1, 2), scale)
    if bias is not None:
        scores.unflatten(0, q.shape[:2]).add_(bias)
    return softmax_(scores)


def _by_row(x: Tensor) -> Tensor:
    """(batch, heads, tokens, d_head) -> (batch * heads, tokens, d_head) float32, copied at most once; what a float32 cache
    holds is not."""
    return x.to(torch.float32).reshape(-1, *x.shape[2:])


def _like(x: Tensor, values: Tensor) -> Tensor:
    """(batch * heads, tokens, d_head) -> x's shape and dtype. In memory the heads of a token lie side by side, as a
    projection writes and reads them."""
    beside = x.new_empty(x.transpose(1, 2).shape).transpose(1, 2)
    return beside.copy_(values.view(x.shape))


def _product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """scale · a b of batches of matrices, in one pass."""
    return torch.baddbmm(a.new_empty(1, 1, 1), a, b, beta=0, alpha=scale)
