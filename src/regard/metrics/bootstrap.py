"""Intervals by resampling rows: the percentile bootstrap (Efron & Tibshirani 1993, ch. 13).

A resample draws as many rows as there are, with replacement. Most statistics are functions of *sums over rows* (a mean, an
F1 score, a correlation, BLEU, a word error rate): :func:`interval_of_sums` computes all their resamples by matrix products.
:func:`interval` takes any statistic and calls it once a resample. Both draw the same rows for the same seed.

Draws are arrays whose axis 0 is (the sample itself, resample 1, resample 2, …).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from regard.errors import DataError
from regard.metrics.checks import Floats, Ints, floats

RESAMPLES = 1000
LEVEL = 0.95
CHUNK = 4_000_000
"""Row draws held in memory at once (32 MB of float64)."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A statistic of the sample and the interval that holds the population's value with 95% confidence (or `level`).

    The interval always holds `value`: where resampling is biased (calibration error, macro-F1 with rare classes) the
    percentiles can miss it, and are stretched to it.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: Floats, *, level: float = LEVEL) -> Metric:
        """From draws (1 + resamples,) whose first entry is the sample's own value."""
        if not 0 < level < 1:
            raise DataError(f"confidence level {level} is impossible", allowed="between 0 and 1, both excluded")
        tail = (1 - level) / 2
        low, high = np.quantile(draws[1:], (tail, 1 - tail))
        value = float(draws[0])
        return cls(value, min(float(low), value), max(float(high), value))

    def as_dict(self) -> dict[str, float]:
        """`{"value": …, "low": …, "high": …}`, ready for JSON."""
        return asdict(self)


def interval(
    statistic: Callable[[Ints], float], n_rows: int, *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Metric:
    """The interval of any statistic of `n_rows` rows.

    statistic: row numbers (n_rows,), repeats included -> its value; called 1 + resamples times, so where it is a function of
    sums over rows prefer :func:`interval_of_sums`. Raises DataError when there are no rows.
    """
    draws = [
        statistic(np.arange(n_rows)),
        *(statistic(rows) for chunk in _rows_drawn(n_rows, resamples, seed) for rows in chunk),
    ]
    return Metric.of(np.array(draws, dtype=np.float64), level=level)


def interval_of_sums(
    rows: ArrayLike,
    statistic: Callable[[Floats], Floats],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Metric:
    """The interval of a statistic that needs only the sums of some columns over all rows.

    rows: what each row adds, (n, columns). statistic: sums (draws, columns) -> values (draws,), vectorised over draws.
    F1 from rows of (hits, predicted, actual): ``interval_of_sums(rows, lambda s: 2 * s[:, 0] / (s[:, 1] + s[:, 2]))``.
    Raises DataError for no rows and for NaN.
    """
    sums = resampled_sums(floats(rows, "rows", ndim=2), resamples=resamples, seed=seed)
    return Metric.of(statistic(sums), level=level)


def mean_interval(values: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL) -> Metric:
    """The mean of values (n,) and its interval; raises DataError for no rows and for NaN."""
    rows = floats(values, "values", ndim=1)[:, None]
    return interval_of_sums(rows, lambda sums: sums[:, 0] / len(rows), resamples=resamples, seed=seed, level=level)


def resampled_sums(rows: Any, *, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Sums over the rows of the sample and of each resample: (1 + resamples, columns).

    rows: (n, columns), a numpy array or a scipy sparse array (counts of many classes are mostly zeros).
    """
    chunks = [np.ones((1, rows.shape[0])), *times_drawn(rows.shape[0], resamples=resamples, seed=seed)]
    return np.concatenate([np.asarray(times @ rows, dtype=np.float64) for times in chunks])


def ratio(part: Floats, whole: Floats | Ints) -> Floats:
    """`part / whole`, which is 0 where `whole` is 0: what a resample without a single case of something counts as."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def times_drawn(n_rows: int, *, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[Floats]:
    """How often each resample holds each row, as chunks (some resamples, n_rows) of at most :data:`CHUNK` entries."""
    for rows in _rows_drawn(n_rows, resamples, seed):
        numbered = rows + n_rows * np.arange(len(rows))[:, None]
        counts = np.bincount(numbered.ravel(), minlength=rows.size)
        yield counts.reshape(rows.shape).astype(np.float64)


def _rows_drawn(n_rows: int, resamples: int, seed: int) -> Iterator[Ints]:
    if n_rows < 1:
        raise DataError("no rows to measure", allowed="at least one row", fix="check that the evaluation data is not empty")
    if resamples < 1:
        raise DataError(f"{resamples} resamples", allowed="1 or more")
    random = np.random.default_rng(seed)
    step = max(1, CHUNK // n_rows)
    for start in range(0, resamples, step):
        yield random.integers(n_rows, size=(min(step, resamples - start), n_rows))
