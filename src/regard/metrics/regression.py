"""Metrics of predicted numbers: do they rise together (Pearson, Spearman), and how far off are they (RMSE, MAE)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from regard.metrics.bootstrap import Metric, resampled_sums, times_drawn
from regard.metrics.checks import Floats, floats, same_length


def regression(targets: ArrayLike, predictions: ArrayLike, *, seed: int = 0) -> dict[str, Metric]:
    """`{"pearson", "spearman", "rmse", "mae"}` of predictions (n,) against targets (n,), each with its interval.

    RMSE and MAE are in the unit of the targets. Where one side is constant a correlation is not defined and counts as 0.
    Spearman's ranks are taken anew in every resample; ties share their mean rank. Raises DataError for no rows and NaN.
    """
    truth = floats(targets, "targets", ndim=1)
    guess = floats(predictions, "predictions", ndim=1)
    same_length(truth, guess, "targets and predictions")
    error = guess - truth
    sums = resampled_sums(np.column_stack([error**2, np.abs(error)]), seed=seed) / len(error)
    return {
        "pearson": Metric.of(_pearson(truth, guess, seed)),
        "spearman": Metric.of(_spearman(truth, guess, seed)),
        "rmse": Metric.of(np.sqrt(sums[:, 0])),
        "mae": Metric.of(sums[:, 1]),
    }


def _pearson(x: Floats, y: Floats, seed: int) -> Floats:
    x, y = _standard(x), _standard(y)
    n_rows = len(x)
    mean_x, mean_y, xx, yy, xy = (resampled_sums(np.column_stack([x, y, x * x, y * y, x * y]), seed=seed) / n_rows).T
    return _correlation(xy - mean_x * mean_y, xx - mean_x**2, yy - mean_y**2)


def _standard(values: Floats) -> Floats:
    """Centred and scaled to at most 1, which no correlation notices: sums of squares then neither cancel nor overflow."""
    centred: Floats = values - values.mean()
    widest = float(np.abs(centred).max())
    return centred / widest if widest > 0 else centred


def _spearman(x: Floats, y: Floats, seed: int) -> Floats:
    rank_x, rank_y = _Ranks(x), _Ranks(y)
    chunks = [np.ones((1, len(x))), *times_drawn(len(x), seed=seed)]
    return np.concatenate([_weighted_correlation(rank_x(times), rank_y(times), times) for times in chunks])


class _Ranks:
    """Mean ranks of rows in samples that hold each row some number of times, without sorting each sample."""

    def __init__(self, values: Floats) -> None:
        _, self._group, sizes = np.unique(values, return_inverse=True, return_counts=True)
        self._order = np.argsort(self._group, kind="stable")
        self._starts = np.cumsum(sizes) - sizes

    def __call__(self, times: Floats) -> Floats:
        """times: (samples, n) -> ranks from 1, (samples, n)."""
        in_group: Floats = np.add.reduceat(times[:, self._order], self._starts, axis=1)
        ranks: Floats = np.cumsum(in_group, axis=1) - (in_group - 1) / 2
        return ranks[:, self._group]


def _weighted_correlation(x: Floats, y: Floats, times: Floats) -> Floats:
    # The ranks 1 … n of any sample have the same mean, ties or not.
    x, y = x - (times.shape[1] + 1) / 2, y - (times.shape[1] + 1) / 2
    return _correlation((times * x * y).sum(axis=1), (times * x * x).sum(axis=1), (times * y * y).sum(axis=1))


def _correlation(covariance: Floats, variance_x: Floats, variance_y: Floats) -> Floats:
    # A resample of one row drawn n times has no variance but that of rounding.
    defined = (variance_x > 1e-14) & (variance_y > 1e-14)
    scale = np.sqrt(np.where(defined, variance_x * variance_y, 1.0))
    return np.clip(np.where(defined, covariance / scale, 0.0), -1.0, 1.0)
