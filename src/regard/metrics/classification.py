"""Metrics of classifiers, for one label a row and for any number of labels a row.

Both kinds are counts over a table (rows, classes) of what is true and what was predicted, so they share one path: a row with
one label is a table row with a single one. A ratio whose denominator is 0 counts as 0, as in scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regard.errors import DataError
from regard.metrics.bootstrap import Metric, ratio, resampled_sums
from regard.metrics.calibration import BINS, binned_gaps
from regard.metrics.checks import Floats, class_labels, distributions, floats, same_length, unit_interval


@dataclass(frozen=True, slots=True)
class ClassScores:
    """How one class fares. support: rows that truly have the label."""

    label: str
    precision: Metric
    recall: Metric
    f1: Metric
    support: int


@dataclass(frozen=True, slots=True)
class ClassificationReport:
    """All that is measured of a classifier on one data set."""

    metrics: dict[str, Metric]
    """By name: the headline numbers."""
    per_class: list[ClassScores]
    """In the order of the model's labels."""
    confusion: list[list[int]]
    """One label a row: `confusion[true][predicted]` rows. Many labels: one list a class, [true negatives, false positives,
    false negatives, true positives]."""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain dictionaries and lists, ready for JSON."""
        return asdict(self)


def single_label(
    labels: ArrayLike, probabilities: ArrayLike, names: Sequence[str], *, seed: int = 0
) -> ClassificationReport:
    """Accuracy, macro-F1, calibration error and log-loss of a classifier that gives each row one of k labels.

    labels: (n,), class numbers. probabilities: (n, k), rows sum to 1; the largest is the prediction. names: the k labels.
    Macro-F1 averages the classes that occur, truly or as a prediction. Log-loss is in nats a row; calibration error is
    Guo et al. 2017 with 15 bins. Raises DataError for no rows, NaN, labels out of range or rows that do not sum to 1.
    """
    given = distributions(probabilities)
    n_rows, n_classes = given.shape
    _same_classes(names, n_classes)
    truth = class_labels(labels, n_classes)
    same_length(truth, given, "labels and probabilities")
    guess = given.argmax(axis=1)
    right = guess == truth

    # Clipped like scikit-learn: a probability that underflowed to 0 costs 36 nats, not infinity.
    loss = -np.log(np.maximum(given[np.arange(n_rows), truth], np.finfo(np.float64).eps))
    gaps = binned_gaps(given.max(axis=1, keepdims=True), right[:, None].astype(np.float64))
    one_hot = np.eye(n_classes, dtype=bool)
    draws = _Draws(one_hot[truth], one_hot[guess], np.column_stack([right, loss, gaps]), seed)
    metrics = {
        "accuracy": draws.mean(0),
        "macro-f1": draws.macro_f1(),
        "calibration-error": draws.calibration_error(slice(2, 2 + BINS)),
        "log-loss": draws.mean(1),
    }
    confusion = np.bincount(truth * n_classes + guess, minlength=n_classes**2).reshape(n_classes, n_classes)
    return ClassificationReport(metrics, draws.per_class(names), confusion.tolist())


def multi_label(
    labels: ArrayLike, probabilities: ArrayLike, names: Sequence[str], *, threshold: float = 0.5, seed: int = 0
) -> ClassificationReport:
    """Micro-F1, macro-F1, accuracy and calibration error of a classifier that gives each row any of k labels.

    labels: (n, k) of 0 and 1. probabilities: (n, k), each label's own; predicted from `threshold` on. names: the k labels.
    Accuracy asks for all labels of a row (subset accuracy). Calibration error is over all n·k decisions, each as sure as the
    probability of what was decided. Raises DataError for no rows, NaN, labels other than 0 and 1, or shapes that differ.
    """
    given = unit_interval(probabilities, "probabilities")
    _same_classes(names, given.shape[1])
    truth = _zeros_and_ones(labels)
    if truth.shape != given.shape:
        raise DataError(
            f"labels have shape {truth.shape}, probabilities {given.shape}", allowed="one label for every probability"
        )
    guess = given >= threshold
    right = guess == truth

    gaps = binned_gaps(np.where(guess, given, 1 - given), right.astype(np.float64))
    draws = _Draws(truth, guess, np.column_stack([right.all(axis=1), gaps / given.shape[1]]), seed)
    metrics = {
        "micro-f1": draws.micro_f1(),
        "macro-f1": draws.macro_f1(),
        "accuracy": draws.mean(0),
        "calibration-error": draws.calibration_error(slice(1, 1 + BINS)),
    }
    cells = [(~truth & ~guess), (~truth & guess), (truth & ~guess), (truth & guess)]
    return ClassificationReport(
        metrics, draws.per_class(names), np.stack([cell.sum(axis=0) for cell in cells], axis=1).tolist()
    )


class _Draws:
    """Counts of the sample and of its resamples: (draws, classes) each; and sums of other columns (n, columns)."""

    def __init__(self, truth: NDArray[np.bool_], guess: NDArray[np.bool_], columns: Floats, seed: int) -> None:
        from scipy.sparse import csr_array

        self._n_rows, n_classes = truth.shape
        # Sparse, since nearly all entries of tables with many classes are zeros.
        counts = csr_array(np.hstack([truth & guess, guess, truth]).astype(np.float64))
        sums = resampled_sums(counts, seed=seed)
        self.hits, self.predicted, self.actual = np.split(sums, [n_classes, 2 * n_classes], axis=1)
        self._sums = resampled_sums(columns, seed=seed)

    def mean(self, column: int) -> Metric:
        return Metric.of(self._sums[:, column] / self._n_rows)

    def calibration_error(self, columns: slice) -> Metric:
        return Metric.of(np.abs(self._sums[:, columns]).sum(axis=1) / self._n_rows)

    def micro_f1(self) -> Metric:
        return Metric.of(ratio(2 * self.hits.sum(axis=1), (self.predicted + self.actual).sum(axis=1)))

    def macro_f1(self) -> Metric:
        seen = (self.predicted + self.actual > 0).sum(axis=1)
        return Metric.of(ratio(self._f1().sum(axis=1), seen))

    def per_class(self, names: Sequence[str]) -> list[ClassScores]:
        columns = zip(
            names,
            ratio(self.hits, self.predicted).T,
            ratio(self.hits, self.actual).T,
            self._f1().T,
            self.actual[0],
            strict=True,
        )
        return [
            ClassScores(name, Metric.of(precision), Metric.of(recall), Metric.of(f1), int(support))
            for name, precision, recall, f1, support in columns
        ]

    def _f1(self) -> Floats:
        return ratio(2 * self.hits, self.predicted + self.actual)


def _same_classes(names: Sequence[str], n_classes: int) -> None:
    if len(names) != n_classes:
        raise DataError(
            f"{len(names)} label names for {n_classes} columns of probabilities", allowed="one name for each column"
        )


def _zeros_and_ones(labels: ArrayLike) -> NDArray[np.bool_]:
    array = floats(labels, "labels", ndim=2)
    wrong = (array != 0) & (array != 1)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(f"label {array[row, column]:g}", where=f"row {row + 1}, class {column + 1}", allowed="0 or 1")
    return array.astype(bool)
