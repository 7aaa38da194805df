"""Teacher forcing: at each token a model knows the ones that should have come before, so that a whole text is learned from
at once (Williams and Zipser 1989)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from regard.data.batch import SIDES, Batch, Rows
from regard.layers.linear import Linear
from regard.layers.ragged import ROUND, Ragged, Unpadded
from regard.layers.vocabulary import word_costs, word_loss
from regard.models.heads import Head, TiedLinear
from regard.models.model import Model

UNCOUNTED = -100
"""Label of a token that is not to be learned."""


@dataclass(frozen=True)
class Told:
    """What a decoder is told while it learns to write, without padding: ids (tokens + spare,), the texts one place on behind
    the token that begins them; labels (tokens + spare,), the texts themselves, :data:`UNCOUNTED` for spare tokens; rows
    (tokens,), the example or document that each token belongs to; count, how many labels are counted."""

    ids: Tensor
    labels: Tensor
    layout: Ragged
    rows: Rows
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
        rows = np.repeat(batch.rows, lengths)
        return cls(torch.from_numpy(ids).to(device), torch.from_numpy(labels).to(device), layout, rows, len(rows))

    @classmethod
    def alone(cls, batch: Batch) -> Told:
        """What a decoder by itself is told of a batch: of one of :class:`~regard.data.pack.Blocks`, or of texts with
        `start`, the token before each, and `learned`, 1 for the tokens that are to be learned and 0 for the others."""
        columns, device = batch.targets, batch.input_ids.device
        if "documents" in columns:
            lengths, before, numbers = (np.concatenate(columns[name]) for name in ("documents", "before", "numbers"))
            learned = np.ones(lengths.sum())
        else:
            lengths, before, numbers = batch.ragged.lengths.numpy(), np.asarray(columns["start"]), batch.rows
            learned = np.concatenate(columns["learned"])
        ids, labels = batch.input_ids.roll(1), batch.input_ids.clone()
        ids[np.cumsum(lengths) - lengths] = torch.from_numpy(before).to(device, torch.int64)
        ids[len(learned) :] = 0
        labels[np.flatnonzero(learned == 0)] = UNCOUNTED
        labels[len(learned) :] = UNCOUNTED
        return cls(ids, labels, batch.ragged, np.repeat(numbers, lengths), int(np.count_nonzero(learned)))


def forced_loss(model: Model, hidden: Tensor, labels: Tensor, *, smoothing: float) -> Tensor:
    """Sum over tokens of -log p(label), all labels below 0 left out; hidden: (tokens, d_model), those of the last stack."""
    out = _head(model).out
    if not isinstance(out, Linear | TiedLinear):  # it only predicts
        return forced_costs(model, hidden, labels).sum()
    states = _head(model).states(hidden)
    return word_loss(states, out.weight, out.bias, labels, smoothing=smoothing, never=_never(model))


def forced_costs(model: Model, hidden: Tensor, labels: Tensor) -> Tensor:
    """-log p(label) of each token by itself, (tokens,), 0 for labels below 0; for a measurement."""
    head = _head(model)
    states, out = head.states(hidden), head.out
    assert out is not None
    return word_costs(out, states, labels, never=_never(model))


def _head(model: Model) -> Head:
    assert isinstance(model.head, Head) and model.head.out is not None
    return model.head


def _never(model: Model) -> int | None:
    """The word that is none."""
    return model.config.pad_id if model.config.pad_is_zero else None
