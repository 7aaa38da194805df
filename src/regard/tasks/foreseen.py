"""How well a model foresees each token of a text from those before it, row by row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.data.batch import Batch, Examples, plan, take
from regard.models.model import Model
from regard.tasks.forcing import Told, forced_costs
from regard.tasks.infer import evaluating

TOKENS = 4096
"""In one forward pass."""


@torch.inference_mode()
def foreseen(
    model: Model, examples: Examples, read: Callable[[Batch], tuple[Told, Tensor]], *, rows: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(rows,) nats, the summed -log p of the tokens of each row that count, and (rows,) how many these are.

    read: what the model is told of a batch, whose `rows` are numbers below `rows`, and its last hidden states then. The
    model is left in the mode (training or not) in which it came.
    """
    nats, tokens = np.zeros(rows), np.zeros(rows, np.int64)
    with evaluating(model):
        for numbers in plan(examples.sizes, tokens=TOKENS, sort=True):
            told, hidden = read(take(examples, numbers).to(model.device))
            costs = forced_costs(model, hidden, told.labels)[: len(told.rows)]
            np.add.at(nats, told.rows, costs.double().cpu().numpy())
            np.add.at(tokens, told.rows, (told.labels[: len(told.rows)] >= 0).cpu().numpy())
    return nats, tokens
