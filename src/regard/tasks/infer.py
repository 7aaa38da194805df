"""A model over many examples: length by length, without padding, answers in the order asked."""

from __future__ import annotations

import numpy as np
import torch

from regard.data.batch import Batch, Examples, plan, take
from regard.models.model import Model


def forward(model: Model, batch: Batch, *, dtype: torch.dtype) -> torch.Tensor:
    """The head's outputs for one ragged batch, (rows, n_outputs) float32."""
    outputs: torch.Tensor = model(batch.input_ids, type_ids=batch.type_ids, ragged=batch.ragged, dtype=dtype)
    return outputs


@torch.inference_mode()
def infer(model: Model, examples: Examples, *, dtype: torch.dtype, tokens: int = 4096) -> np.ndarray:
    """Head outputs (rows, n_outputs) float32, in the order of the examples. tokens: in one forward pass.

    The model is left in the mode (training or not) in which it came.
    """
    on, was_training = next(model.parameters()).device, model.training
    model.eval()
    parts, order = [], []
    for rows in plan(examples.lengths, tokens=tokens, sort=True):
        batch = take(examples, rows).to(on)
        parts.append(forward(model, batch, dtype=dtype).cpu())
        order.append(batch.rows)
    model.train(was_training)
    outputs = torch.cat(parts).numpy()
    back = np.empty_like(outputs)
    back[np.concatenate(order)] = outputs
    return back
