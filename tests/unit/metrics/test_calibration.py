"""Calibration error by its definition, and temperatures that are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from sklearn.metrics import log_loss

from regard.errors import DataError
from regard.metrics import expected_calibration_error, fit_temperature


def by_definition(confidence, correct, bins):
    """Guo et al. 2017, equations 2 and 3, word for word: bin m holds the rows in ((m-1)/M, m/M]."""
    total = 0.0
    for number in range(bins):
        inside = (confidence > number / bins) & (confidence <= (number + 1) / bins)
        if inside.any():
            total += inside.sum() / len(confidence) * abs(correct[inside].mean() - confidence[inside].mean())
    return total


@given(arrays(np.float64, st.integers(1, 50), elements=st.floats(0.001, 1)), st.integers(1, 20), st.integers(0, 2**32))
def test_it_is_the_sum_of_the_paper(confidence, bins, seed):
    # An edge such as 0.3 * 10 falls to either side by rounding; the definition does not say which.
    confidence = np.where(np.isclose(confidence * bins, np.round(confidence * bins)), 0.5 / bins, confidence)
    correct = np.random.default_rng(seed).integers(2, size=len(confidence)).astype(float)
    assert expected_calibration_error(confidence, correct, bins) == pytest.approx(by_definition(confidence, correct, bins))


@pytest.mark.parametrize(("confidence", "correct", "expected"), [(1, 1, 0), (1, 0, 1), (0, 0, 0), (0.75, 1, 0.25)])
def test_known_values(confidence, correct, expected):
    assert expected_calibration_error([confidence], [correct]) == expected


def test_gaps_within_a_bin_cancel_and_between_bins_do_not():
    assert expected_calibration_error([0.5, 0.5], [1, 0]) == 0
    assert expected_calibration_error([0.5, 0.9], [1, 0], bins=2) == pytest.approx((0.5 + 0.9) / 2)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(temperature):
    random = np.random.default_rng(0)
    logits = random.normal(scale=4, size=(20_000, 4))
    chances = softmax(logits / temperature, axis=1)
    labels = (chances.cumsum(axis=1) < random.random((20_000, 1))).sum(axis=1).clip(max=3)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


@given(st.integers(0, 2**32), st.floats(0.1, 10))
def test_no_other_temperature_is_more_likely(seed, other):
    random = np.random.default_rng(seed)
    logits, labels = random.normal(size=(20, 3)), random.integers(3, size=20)
    fitted = fit_temperature(logits, labels)
    loss, other_loss = (log_loss(labels, softmax(logits / t, axis=1), labels=range(3)) for t in (fitted, other))
    assert loss <= other_loss + 1e-6


def test_scaled_logits_scale_the_temperature():
    random = np.random.default_rng(1)
    logits, labels = random.normal(size=(200, 3)), random.integers(3, size=200)
    logits[np.arange(200), labels] += 1
    assert fit_temperature(7 * logits, labels) == pytest.approx(7 * fit_temperature(logits, labels), rel=1e-4)


def test_a_model_that_is_never_wrong_stays_within_the_bounds():
    assert 0.01 <= fit_temperature(100 * np.eye(3), [0, 1, 2]) <= 1


def test_a_model_that_knows_nothing_keeps_its_temperature():
    assert fit_temperature(np.zeros((5, 3)), [0, 1, 2, 0, 1]) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: expected_calibration_error([], []), "confidences hold no rows"),
        (lambda: expected_calibration_error([1.2], [1]), "row 1: confidences lie outside 0 to 1"),
        (lambda: expected_calibration_error([0.2], [3]), "row 1: correct answers lie outside 0 to 1"),
        (lambda: expected_calibration_error([0.2, 0.3], [1]), "confidences and correct answers differ in rows: 2 and 1"),
        (lambda: expected_calibration_error([0.2], [1], bins=0), "0 calibration bins"),
        (lambda: fit_temperature([[0.0, np.inf]], [0]), "row 1: logits hold NaN or infinity"),
        (lambda: fit_temperature([[0.0, 1.0]], [2]), "row 1: label 2 is no class"),
        (lambda: fit_temperature([[0.0, 1.0]], [0, 1]), "logits and labels differ in rows: 1 and 2"),
        (lambda: fit_temperature(np.empty((0, 2)), []), "logits hold no rows"),
    ],
)
def test_errors(call, message):
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value).startswith(message)
    assert caught.value.problems[0].allowed
