"""Losses as sums: a task adds up, the training loop divides once by the global count (law 3)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor, *, weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Sum over rows of weight[label] · -log p(label); logits (rows, classes) float32, labels (rows,) int64.

    smoothing moves that share of the target's mass to all classes evenly (Szegedy et al. 2016, §7). Unlike torch's `mean`,
    the sum is not divided by the weights: a weight is how many examples one row stands for.
    """
    logp = logits.log_softmax(-1)
    loss = -logp.gather(1, labels[:, None])[:, 0]
    if smoothing:
        loss = (1 - smoothing) * loss - smoothing * logp.mean(-1)
    return (loss if weights is None else loss * weights[labels]).sum()


def binary_cross_entropy(
    logits: Tensor, targets: Tensor, *, weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Sum over rows of the mean over classes; logits, 0/1 targets (rows, classes); weights (classes,) of the positives."""
    if smoothing:
        targets = targets * (1 - smoothing) + smoothing / 2
    loss = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="none")
    return loss.mean(-1).sum()


def balanced_weights(counts: Tensor) -> Tensor:
    """Class counts (classes,) -> weights inversely proportional to them, 1 on average over the rows (King and Zeng 2001)."""
    return counts.sum() / (len(counts) * counts.clamp(min=1))
