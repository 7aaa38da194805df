"""Means of weights over the steps of a run: what is evaluated and kept in place of the weights of one step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count

import torch
from torch import Tensor

from regard.training.optimizers import AdamW

Weights = dict[str, Tensor]


class Average:
    """Of the weights at the last `last` evaluations (Vaswani et al. 2017, §6.1), or, with `ema`, of all steps, older ones
    weighing less (Polyak and Juditsky 1992; ema: what stays of the mean at each step, less at the beginning).

    With both, the means of the last evaluations are averaged. With neither it is the weights as they are. Memory: a copy of
    the model in float32 for each of the last evaluations but one, and one for `ema`.
    """

    def __init__(self, optimizer: AdamW, *, last: int = 1, ema: float | None = None) -> None:
        self._optimizer, self._ema = optimizer, ema
        self._kept: deque[Weights] = deque(maxlen=last)
        self._mean = self._copy() if ema is not None else None

    def _copy(self) -> Weights:
        return {name: master.clone() for name, master in self._optimizer.masters()}

    @property
    def plain(self) -> bool:
        """Whether it is the weights as they are."""
        return self._ema is None and self._kept.maxlen == 1

    def step(self, number: int) -> None:
        """After the update of step `number`, counted from 1."""
        if self._ema is not None and self._mean is not None:
            stays = min(self._ema, number / (number + 10))  # the first weights are random
            for name, master in self._optimizer.masters():
                self._mean[name].lerp_(master, 1 - stays)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """The model has the mean in this block, those of now among the evaluations; after it, its own weights again."""
        if self.plain:
            yield
            return
        self._kept.append(self._copy() if self._mean is None else {name: mean.clone() for name, mean in self._mean.items()})
        own = self._copy()
        mean = {name: torch.stack([weights[name] for weights in self._kept]).mean(0) for name in own}
        self._optimizer.put(mean)
        try:
            yield
        finally:
            self._optimizer.put(own)

    def state(self) -> Weights:
        """What a checkpoint keeps."""
        kept = {f"{number}.{name}": tensor for number, each in enumerate(self._kept) for name, tensor in each.items()}
        return kept | {f"mean.{name}": tensor for name, tensor in (self._mean or {}).items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state`."""
        self._kept.clear()
        for number in count():
            found = {name: state.get(f"{number}.{name}") for name, _ in self._optimizer.masters()}
            there = {name: tensor for name, tensor in found.items() if tensor is not None}
            if not there:
                break
            self._kept.append(there)
        for name, mean in (self._mean or {}).items():
            mean.copy_(state[f"mean.{name}"])
