"""Learning rate over time: linear warm-up to the peak, then one of these shapes."""

from __future__ import annotations

import math
from collections.abc import Callable

from regard.registry import Registry

Schedule = Callable[[int, int, int], float]
"""(step, warm-up steps, steps in all) -> factor on the peak learning rate, for a step after warm-up, counted from 1."""

SCHEDULES: Registry[Schedule] = Registry("schedule")


@SCHEDULES.register("linear")
def linear(step: int, warmup: int, total: int) -> float:
    """Down to 0 on a straight line (Devlin et al. 2019, §A.2)."""
    return max(0.0, (total - step) / max(1, total - warmup))


@SCHEDULES.register("cosine")
def cosine(step: int, warmup: int, total: int) -> float:
    """Down to 0 on half a cosine wave (Loshchilov and Hutter 2017)."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


@SCHEDULES.register("constant")
def constant(step: int, warmup: int, total: int) -> float:
    """The peak, for ever."""
    return 1.0


@SCHEDULES.register("inverse-sqrt")
def inverse_sqrt(step: int, warmup: int, total: int) -> float:
    """Down with the square root of the step (Vaswani et al. 2017, §5.3, scaled to 1 at the end of warm-up)."""
    return math.sqrt(max(1, warmup) / step)


def learning_rate(schedule: str, step: int, *, peak: float, warmup: int, total: int) -> float:
    """The rate of `step`, counted from 1: the last warm-up step has the peak."""
    if step <= warmup:
        return peak * step / warmup
    return peak * SCHEDULES[schedule](step, warmup, total)


def warmup_steps(warmup: float, total: int) -> int:
    """A share of all steps below 1, a number of steps from 1 on."""
    return round(warmup * total) if warmup < 1 else int(warmup)
