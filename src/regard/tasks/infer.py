"""A model over many examples: length by length, without padding, answers in the order asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from regard.data.batch import Batch, Examples, plan, take
from regard.models.heads import Head
from regard.models.model import Model

Outputs: TypeAlias = np.ndarray | list[np.ndarray]
"""What a head gives for examples, float32: (examples, n_outputs), or over tokens a list, (places, n_outputs) an example."""


def forward(model: Model, batch: Batch, *, dtype: torch.dtype) -> Tensor:
    """The head's outputs for one ragged batch, float32: (rows, n_outputs), or of a head over tokens (tokens, n_outputs).

    Where the examples have a column `places`, these tokens of each alone are asked about: (all their places, n_outputs).
    """
    places = _places(batch)
    if places is None:
        outputs: Tensor = model(batch.input_ids, type_ids=batch.type_ids, ragged=batch.ragged, dtype=dtype)
        return outputs[: batch.ragged.tokens]  # spare tokens are nobody's
    assert isinstance(model.head, Head)
    hidden = model.hidden(batch.input_ids, type_ids=batch.type_ids, ragged=batch.ragged, dtype=dtype)
    asked: Tensor = model.head(hidden[places.to(hidden.device)])
    return asked


def _places(batch: Batch) -> Tensor | None:
    """Where in the batch the tokens lie that are asked about."""
    if "places" not in batch.targets:
        return None
    starts = batch.ragged.starts.tolist()
    within = [start + np.asarray(places, np.int64) for start, places in zip(starts, batch.targets["places"], strict=True)]
    return torch.from_numpy(np.concatenate(within))


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """The model in evaluation mode; after the block in the mode (training or not) in which it came."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@torch.inference_mode()
def passes(model: Model, examples: Examples, *, dtype: torch.dtype, tokens: int = 4096) -> Iterator[tuple[Batch, Tensor]]:
    """Each batch with the head's outputs, as :func:`forward` gives them. tokens: in one forward pass.

    The model is left in the mode (training or not) in which it came.
    """
    with evaluating(model):
        for rows in plan(examples.lengths, tokens=tokens, sort=True):
            batch = take(examples, rows).to(model.device)
            yield batch, forward(model, batch, dtype=dtype)


def infer(model: Model, examples: Examples, *, dtype: torch.dtype, tokens: int = 4096) -> Outputs:
    """Head outputs in the order of the examples; see :func:`passes`."""
    parts, order = [], []
    by_token = isinstance(model.head, Head) and model.head.pool is None
    for batch, outputs in passes(model, examples, dtype=dtype, tokens=tokens):
        parts += by_example(outputs.cpu().numpy(), batch) if by_token else [outputs.cpu().numpy()]
        order.append(batch.rows)
    places = np.argsort(np.concatenate([np.zeros(0, np.int64), *order]))
    return [parts[place] for place in places] if by_token else np.concatenate(parts)[places]


def by_example(outputs: np.ndarray, batch: Batch) -> list[np.ndarray]:
    """Outputs of a head over tokens, or what was made of them -> those of each row of the batch, (places, …) each."""
    places = batch.targets.get("places")
    counts = batch.ragged.lengths.tolist() if places is None else [len(row) for row in places]
    return np.split(outputs, np.cumsum(counts)[:-1])
