"""Teacher forcing: at each token a model knows the ones that should have come before, so that a whole text is learned from
at once (Williams and Zipser 1989)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from regard.data.batch import SIDES, Batch
from regard.layers.linear import Linear
from regard.layers.ragged import ROUND, Ragged, Unpadded
from regard.layers.vocabulary import word_loss
from regard.models.heads import Head, TiedLinear
from regard.models.model import Model

UNCOUNTED = -100
"""Label of a token that is not to be learned."""
TOGETHER = 512
"""Tokens that are scored at once where there is nothing to learn."""


@dataclass(frozen=True)
class Told:
    """What a decoder is told while it learns to write, without padding: ids (tokens + spare,), the texts one place on behind
    the token that begins them; labels (tokens + spare,), the texts themselves, :data:`UNCOUNTED` for spare tokens."""

    ids: Tensor
    labels: Tensor
    layout: Unpadded
    count: int

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> Told:
        """What a decoder beside an encoder is told of a batch with `target_ids` and `start`, which each begins with."""
        texts = batch.targets[SIDES[1]]
        lengths = np.array([len(text) for text in texts])
        layout = Unpadded.lined(Ragged.of(lengths.tolist(), multiple=ROUND), device=device)
        labels = np.concatenate([*texts, np.full(layout.spare, UNCOUNTED)], dtype=np.int64, casting="unsafe")
        ids = np.roll(labels, 1)
        ids[np.cumsum(lengths) - lengths] = batch.targets["start"]
        ids[ids == UNCOUNTED] = 0
        return cls(torch.from_numpy(ids).to(device), torch.from_numpy(labels).to(device), layout, int(lengths.sum()))


def forced_loss(model: Model, hidden: Tensor, labels: Tensor, *, smoothing: float) -> Tensor:
    """Sum over tokens of -log p(label), all labels below 0 left out; hidden: (tokens, d_model), those of the last stack."""
    head, config = model.head, model.config
    assert isinstance(head, Head) and head.out is not None
    never = config.pad_id if config.pad_is_zero else None
    states = head.states(hidden)
    if isinstance(head.out, Linear | TiedLinear):
        return word_loss(states, head.out.weight, head.out.bias, labels, smoothing=smoothing, never=never)
    loss = torch.zeros((), device=labels.device)  # an output layer that only predicts shows no weights
    for part, right in zip(states.split(TOGETHER), labels.split(TOGETHER), strict=True):
        scores = head.out(part).float()
        if never is not None:
            scores[:, never] = float("-inf")
        loss += F.cross_entropy(scores, right, reduction="sum", ignore_index=UNCOUNTED, label_smoothing=smoothing)
    return loss
