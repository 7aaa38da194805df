"""Teacher forcing: at each token a model knows the ones that should have come before, so that a whole text is learned from
at once (Williams and Zipser 1989)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from regard.data.batch import SIDES, Batch
from regard.layers.ragged import ROUND, Ragged, Unpadded
from regard.layers.vocabulary import word_loss
from regard.models.heads import Head
from regard.models.model import Model

UNCOUNTED = -100
"""Label of a token that is not to be learned."""


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
    return word_loss(head.states(hidden), head.out.weight, head.out.bias, labels, smoothing=smoothing, never=never)
