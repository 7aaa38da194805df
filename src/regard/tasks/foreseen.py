"""How well a decoder foresees each token of a text from those before it, row by row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from regard.data.batch import Batch, Examples, plan, take
from regard.models.model import Model
from regard.tasks.forcing import Told, forced_costs

TOKENS = 4096
"""In one forward pass."""


@torch.inference_mode()
def foreseen(
    model: Model, examples: Examples, forced: Callable[[Batch], Told], *, rows: int, dtype: torch.dtype
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(rows,) nats, the summed -log p of the tokens of each row that count, and (rows,) how many these are.

    forced: what the model is told of a batch; its `rows` are numbers below `rows`. The model is left in the mode (training
    or not) in which it came.
    """
    nats, tokens = np.zeros(rows), np.zeros(rows, np.int64)
    was_training = model.training
    model.eval()
    try:
        for numbers in plan(examples.sizes, tokens=TOKENS, sort=True):
            told = forced(take(examples, numbers).to(model.device))
            hidden = model.hidden(told.ids, ragged=told.layout, dtype=dtype)
            costs = forced_costs(model, hidden, told.labels)[: len(told.rows)]
            np.add.at(nats, told.rows, costs.double().cpu().numpy())
            np.add.at(tokens, told.rows, (told.labels[: len(told.rows)] >= 0).cpu().numpy())
    finally:
        model.train(was_training)
    return nats, tokens
