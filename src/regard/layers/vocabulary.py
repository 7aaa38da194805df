"""How likely the right words are among all of a vocabulary, without ever holding the scores of a whole batch.

8,000 tokens by 10,000 words are 80 million scores, three times over with their gradient. Here some hundred tokens at a time
are scored, weighed, and turned into the gradient at once, while they lie in the processor's cache; only the gradients of the
states and of the words remain. What autograd would do in the backward pass is done by then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy

SCORES = 5_000_000
"""Scores that are held at once: in bfloat16 they fit the cache that the cores of a processor share."""
ROUND = 64
"""Tokens are taken in multiples of this, so that the matrix kernels meet few sizes."""
MEASURED = 512
"""Tokens whose costs are measured at once."""
LEAST = torch.finfo(torch.float32).tiny
"""A probability below this counts as this: -log of it is 87."""


def word_loss(
    states: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    *,
    smoothing: float = 0.0,
    never: int | None = None,
) -> Tensor:
    """Sum over tokens of -log p(label), float32, p = softmax(states · weightᵀ + bias) computed in the states' dtype.

    states: (tokens, width). weight: (words, width), bias: (words,). labels: (tokens,) int64, negative = not counted.
    smoothing: share of the target's mass that goes to all words evenly (Szegedy et al. 2016, §7). never: a word that is no
    word (padding): it has no probability and no gradient.
    """
    loss: Tensor = _WordLoss.apply(states, weight, bias, labels, smoothing, never)  # type: ignore[no-untyped-call]
    return loss


@torch.inference_mode()
def word_costs(score: Callable[[Tensor], Tensor], states: Tensor, labels: Tensor, *, never: int | None = None) -> Tensor:
    """-log p(label) of each token, (tokens,) float32, 0 where the label is negative; for a measurement.

    score: an output layer, (tokens, width) -> (tokens, words); the rest as in :func:`word_loss`.
    """
    costs = torch.zeros(len(states), device=states.device)
    for start in range(0, len(states), MEASURED):
        part = slice(start, start + MEASURED)
        scores = score(states[part]).float()
        if never is not None:
            scores[:, never] = float("-inf")
        costs[part] = cross_entropy(scores, labels[part].clamp(min=-1), ignore_index=-1, reduction="none")
    return costs


class _WordLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        smoothing: float,
        never: int | None,
    ) -> Tensor:
        words, dtype, trains = len(weight), states.dtype, any(ctx.needs_input_grad[:3])
        table, shift = weight.to(dtype), None if bias is None else bias.to(dtype)
        grad_states = torch.empty_like(states)
        grad_weight, grad_bias = (torch.zeros(size, device=states.device) for size in (weight.shape, words))
        real = labels >= 0
        right = labels.clamp(min=0)[:, None]
        centre = _centre(states, weight, bias, never)
        loss = torch.zeros((), device=states.device)
        step = max(1, SCORES // words // ROUND) * ROUND
        scored, weighed = states.new_empty(2, min(step, len(states)), words)
        for start in range(0, len(states), step):
            part = slice(start, start + step)
            rows = len(right[part])
            scores, chances = scored[:rows], weighed[:rows]
            _scored(states[part], table, shift, scores)
            if never is not None:
                scores[:, never] = float("-inf")
            torch.softmax(scores, 1, out=chances)
            said = -chances.gather(1, right[part]).float().clamp_(min=LEAST).log_()[:, 0]
            if smoothing:
                said += smoothing * (scores.gather(1, right[part]).float()[:, 0] - centre[part])
            loss += said[real[part]].sum()
            if trains:  # the gradient of the scores: the chances, less what was to be said
                chances.scatter_add_(1, right[part], chances.new_full((rows, 1), smoothing - 1))
                if not real[part].all():
                    chances *= real[part, None]
                torch.mm(chances, table, out=grad_states[part])
                grad_weight += chances.T @ states[part]
                if bias is not None:
                    grad_bias += (chances.new_ones(1, rows) @ chances)[0]
        if trains and smoothing:
            _even(smoothing, states, table, real, never, grad_states, grad_weight, grad_bias)
        ctx.save_for_backward(grad_states, grad_weight.to(weight.dtype), None if bias is None else grad_bias.to(bias.dtype))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (None if grad is None else grad * grads[0].to(grad.dtype) for grad in ctx.saved_tensors)
        return (*scaled, None, None, None)


def _scored(states: Tensor, table: Tensor, shift: Tensor | None, out: Tensor) -> None:
    if shift is None:
        torch.mm(states, table.T, out=out)
    else:
        torch.addmm(shift, states, table.T, out=out)


def _centre(states: Tensor, weight: Tensor, bias: Tensor | None, never: int | None) -> Tensor:
    """(tokens,): the mean score of all words, which is the score of the mean word."""
    count = len(weight) - (never is not None)
    word = weight.sum(0, dtype=torch.float32)
    shift = torch.zeros((), device=weight.device) if bias is None else bias.sum(dtype=torch.float32)
    if never is not None:
        word = word - weight[never]
        shift = shift if bias is None else shift - bias[never]
    return (states.float() @ word + shift) / count


def _even(
    smoothing: float,
    states: Tensor,
    table: Tensor,
    real: Tensor,
    never: int | None,
    grad_states: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
) -> None:
    """Takes the share that is to go to all words evenly off the gradients: the same number for every score, so that it need
    not be subtracted from each."""
    words = torch.ones(len(table), device=table.device)
    if never is not None:
        words[never] = 0
    share = smoothing / float(words.sum())
    told = real.to(states.dtype)[:, None]
    grad_states -= told * (share * (words @ table.float())).to(states.dtype)
    grad_weight -= share * words[:, None] * (states * told).sum(0, dtype=torch.float32)
    grad_bias -= share * words * float(real.sum())
