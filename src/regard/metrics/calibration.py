"""Whether a probability can be taken at its word, and the one number that mends it (Guo et al. 2017)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from regard.errors import DataError
from regard.metrics.checks import Floats, class_labels, floats, same_length, unit_interval

BINS = 15
LOWEST, HIGHEST = 0.01, 100.0
"""Bounds of a fitted temperature: a model that is never wrong has none of its own (the likelihood rises for ever)."""


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> float:
    """Mean distance between how sure a model is and how often it is right (Guo et al. 2017, eq. 3); 0 is perfect.

    confidence: the probability of each given answer, (n,), 0 to 1. correct: whether the answer was right, (n,), 0 or 1.
    bins: equal widths, each open on the left. Raises DataError for no rows, NaN or numbers outside 0 to 1.
    """
    confident = unit_interval(confidence, "confidences", ndim=1)
    right = unit_interval(correct, "correct answers", ndim=1)
    same_length(confident, right, "confidences and correct answers")
    if bins < 1:
        raise DataError(f"{bins} calibration bins", allowed="1 or more")
    gaps = binned_gaps(confident[:, None], right[:, None], bins)
    return float(np.abs(gaps.sum(axis=0)).sum() / len(gaps))


def binned_gaps(confidence: Floats, correct: Floats, bins: int = BINS) -> Floats:
    """What each row adds to the gap (correct - confidence) of each bin: decisions (n, per row) -> (n, bins).

    The calibration error is the sum over bins of the absolute sum over rows, divided by the number of decisions; kept by row
    so that rows can be resampled.
    """
    # Bins are (low, high], as in the paper; a confidence of exactly 0 joins the first.
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.zeros((len(confidence), bins))
    np.add.at(gaps, (np.arange(len(confidence))[:, None], bin_of), correct - confidence)
    return gaps


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature T for which softmax(logits / T) gives held-out labels the highest likelihood (Guo et al. 2017, §4.2).

    logits: (n, classes). labels: (n,), class numbers. Above 1 the model was too sure, below 1 too timid; the most likely
    answer never changes. Stays within 0.01 and 100, and is 1 where nothing is better (all logits equal).
    Raises DataError for no rows, NaN or labels that are no class.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    scores = floats(logits, "logits", ndim=2)
    truth = class_labels(labels, scores.shape[1])
    same_length(scores, truth, "logits and labels")
    # Relative to the true class the loss of a row is logsumexp(margins / T): convex in 1 / T, so it has one valley in log T.
    margins = scores - scores[np.arange(len(truth)), truth][:, None]

    def loss(log_temperature: float) -> float:
        return float(logsumexp(margins * np.exp(-log_temperature), axis=1).mean())

    found = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0
