"""Regression metrics: equal to scipy's and scikit-learn's, on the sample and on every resample."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from regard.errors import DataError
from regard.metrics import regression
from regard.metrics.bootstrap import times_drawn
from regard.metrics.regression import _pearson, _spearman


@st.composite
def pairs(draw):
    """Two columns of few distinct values: ties are common."""
    n_rows = draw(st.integers(2, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return random.integers(-4, 5, size=n_rows) / 2, random.integers(-4, 5, size=n_rows) / 4


def varies(*columns):
    return all(len(np.unique(column)) > 1 for column in columns)


@given(pairs())
def test_values_equal_scipy_and_scikit_learn(case):
    truth, guess = case
    assume(varies(truth, guess))
    metrics = regression(truth, guess)
    assert metrics["pearson"].value == pytest.approx(stats.pearsonr(truth, guess).statistic, abs=1e-12)
    assert metrics["spearman"].value == pytest.approx(stats.spearmanr(truth, guess).statistic, abs=1e-12)
    assert metrics["rmse"].value == pytest.approx(root_mean_squared_error(truth, guess), abs=1e-12)
    assert metrics["mae"].value == pytest.approx(mean_absolute_error(truth, guess), abs=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), [(_pearson, stats.pearsonr), (_spearman, stats.spearmanr)])
def test_every_resample_is_what_scipy_says_of_its_rows(ours, theirs):
    random = np.random.default_rng(0)
    truth = random.integers(6, size=25).astype(float)
    guess = truth + random.integers(6, size=25)
    draws = ours(truth, guess, seed=4)
    samples = [np.repeat(np.arange(25), row.astype(int)) for times in times_drawn(25, seed=4) for row in times]
    assert draws[1:] == pytest.approx([theirs(truth[rows], guess[rows]).statistic for rows in samples], abs=1e-12)


@given(pairs())
def test_intervals_hold_their_value_within_the_range_of_the_metric(case):
    metrics = regression(*case)
    for name, metric in metrics.items():
        assert metric.low <= metric.value <= metric.high
        assert metric.low >= (-1 if name in ("pearson", "spearman") else 0)
    assert max(metrics[name].high for name in ("pearson", "spearman")) <= 1


@given(pairs(), st.floats(0.1, 1e6), st.floats(-1e6, 1e6))
def test_correlations_do_not_see_scale_and_shift(case, scale, shift):
    truth, guess = case
    assume(varies(truth, guess))
    plain, moved = regression(truth, guess), regression(truth, guess * scale + shift)
    for name in ("pearson", "spearman"):
        assert moved[name].value == pytest.approx(plain[name].value, abs=1e-6)


def test_perfect_predictions_are_certain():
    metrics = regression(np.arange(20.0), np.arange(20.0))
    for name, metric in metrics.items():
        assert metric.value == metric.low == metric.high == pytest.approx(1 if name in ("pearson", "spearman") else 0)


def test_huge_and_distant_numbers_lose_nothing():
    truth = 1e12 + np.array([0.0, 1, 2, 3, 4])
    guess = 1e200 * np.array([0.0, 1, 2, 4, 3])
    assert regression(truth, guess / 1e195)["pearson"].value == pytest.approx(0.9)
    assert _pearson(truth, guess, seed=0)[0] == pytest.approx(0.9)


def test_a_constant_correlates_with_nothing():
    metrics = regression([1.0, 2.0, 3.0], [2.0, 2.0, 2.0])
    assert metrics["pearson"].as_dict() == metrics["spearman"].as_dict() == {"value": 0, "low": 0, "high": 0}
    assert metrics["mae"].value == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: regression([], []), "targets hold no rows"),
        (lambda: regression([1.0], [np.nan]), "row 1: predictions hold NaN or infinity"),
        (lambda: regression([1.0, 2.0], [1.0]), "targets and predictions differ in rows: 2 and 1"),
        (lambda: regression([[1.0]], [[1.0]]), "targets have shape (1, 1)"),
    ],
)
def test_errors(call, message):
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value).startswith(message)
    assert caught.value.problems[0].allowed
