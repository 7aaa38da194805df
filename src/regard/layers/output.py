"""The best words out of a large vocabulary, without sorting it and without spreading its probabilities out in memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 64
"""Words that are looked at together: only blocks with one of the largest maxima can hold one of the largest scores."""
CACHED = 2**18
"""Float32 values that are worked on at once: they stay in the processor's second cache."""
LOG2_E = 1.4426950408889634
"""e^x is 2 to x times this, and torch's powers of 2 take a third of the time of its powers of e."""
SAFE = 80.0
"""Logits up to this have an exp in float32, and so has the sum of many."""


class Best(NamedTuple):
    """The likeliest next tokens of each hypothesis, best first.

    logs: (hypotheses, count) float32, their log-probabilities. tokens: (hypotheses, count) int64.
    """

    logs: Tensor
    tokens: Tensor


def best(logits: Tensor, count: int, *, never: Tensor | None = None) -> Best:
    """The `count` likeliest tokens and their log-probabilities among all tokens.

    logits: (hypotheses, vocab_size), float32 or bfloat16; it is written into. never: tokens (n,) int64 that have a
    probability but are not to be chosen. Of equal logits the smaller token comes first where one is asked for.
    """
    hypotheses, words = logits.shape
    if hypotheses == 0:
        return Best(logits.new_empty(0, count, dtype=torch.float32), torch.empty(0, count, dtype=torch.int64))
    banned = None
    if never is not None and len(never):
        banned = logits.index_select(1, never).float()
        logits.index_fill_(1, never, float("-inf"))
    whole = words - words % BLOCK
    maxima = torch.empty(hypotheses, -(-words // BLOCK), device=logits.device)
    sums = torch.zeros(hypotheses, device=logits.device)
    width = max(1, CACHED // hypotheses // BLOCK) * BLOCK
    for start in range(0, whole, width):
        part = logits[:, start : min(start + width, whole)].to(torch.float32, copy=True)
        first, blocks = start // BLOCK, part.unflatten(1, (-1, BLOCK))
        maxima[:, first : first + blocks.shape[1]] = blocks.amax(-1)
        sums += part.mul_(LOG2_E).exp2_().sum(1)
    if whole < words:
        part = logits[:, whole:].float()
        maxima[:, -1] = part.amax(1)
        sums += part.exp().sum(1)
    logs, tokens = _largest(logits, maxima, count)
    top = logs[:, :1]
    # exp overflows, or leaves nothing, where logits are far from 0
    total = sums.log() if bool((top.abs() < SAFE).all()) else logits.float().logsumexp(1)
    if banned is not None:
        total = torch.logaddexp(total, banned.logsumexp(1))
    return Best(logs - total[:, None], tokens)


def _largest(logits: Tensor, maxima: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Values and places of the largest logits, those of the largest blocks alone being looked at."""
    words = logits.shape[1]
    most = min(count, maxima.shape[1])
    blocks = maxima.argmax(1, keepdim=True) if count == 1 else maxima.topk(most, dim=1).indices
    places = (blocks[:, :, None] * BLOCK + torch.arange(BLOCK, device=logits.device)).flatten(1)
    beyond = places >= words
    places = places.clamp(max=words - 1)
    values = logits.gather(1, places).float().masked_fill(beyond, float("-inf"))
    if count == 1:
        at = values.argmax(1, keepdim=True)
        return values.gather(1, at), places.gather(1, at)
    largest, at = values.topk(min(count, values.shape[1]), dim=1)
    return largest, places.gather(1, at)
