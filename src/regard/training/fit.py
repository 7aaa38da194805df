"""The one loop. It yields after every step and knows nothing of files, evaluation or screens."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import torch

from regard.data.batch import Batch
from regard.errors import WorkError
from regard.models.model import Model
from regard.tasks.task import Learnable
from regard.training.optimizers import AdamW


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer update. loss: mean over what the task counts, examples or tokens; norm: of the mean gradient, before
    clipping; tokens: real ones, read and to be written; seconds: wall-clock time."""

    number: int
    loss: float
    lr: float
    norm: float
    rows: int
    tokens: int
    seconds: float

    def as_dict(self) -> dict[str, float]:
        """For an event: JSON values by the names that events have."""
        values = asdict(self)
        return {"step": values.pop("number"), **values}


def fit(
    model: Model,
    task: Learnable,
    batches: Iterable[Sequence[Batch]],
    optimizer: AdamW,
    *,
    rate: Callable[[int], float],
    first: int = 1,
    seed: int = 0,
    clip: float | None = None,
    smoothing: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Step]:
    """Train on `batches`: each entry is one step's forward passes, whose summed losses are divided once by their count.

    first: number of the first step; rate: step number -> learning rate. All randomness inside a step (dropout) is drawn from
    a generator seeded by (seed, step number), so that nothing of it needs to be saved.
    """
    for number, passes in enumerate(batches, start=first):
        started = time.perf_counter()
        model.train()
        torch.manual_seed(step_seed(seed, number))
        loss_sum, count = 0.0, 0
        for batch in passes:
            loss, n = task.loss(model, batch, smoothing=smoothing, dtype=dtype)
            torch.autograd.backward(loss)
            loss_sum, count = loss_sum + float(loss.detach()), count + n
        norm = optimizer.step(lr=rate(number), count=count, clip=clip)
        if not (math.isfinite(loss_sum) and math.isfinite(norm)):
            raise WorkError(
                f"the loss of step {number} is {loss_sum / count}, its gradient's norm {norm}",
                fix="start again in another --out with a lower training.lr, training.clip or training.precision=float32",
            )
        rows, tokens = (sum(counts) for counts in zip(*((batch.ragged.rows, batch.tokens) for batch in passes), strict=True))
        yield Step(number, loss_sum / count, rate(number), norm, rows, tokens, time.perf_counter() - started)


def step_seed(seed: int, number: int) -> int:
    """A 63-bit seed from a run's seed and a step number (the finaliser of SplitMix64, so that neighbours are unrelated)."""
    x = (seed * 0x9E3779B97F4A7C15 + number) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return (x ^ (x >> 31)) >> 1
