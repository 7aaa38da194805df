"""Intervals: against scipy, against known distributions, and what a resample is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array
from scipy.stats import bootstrap

from regard.errors import DataError
from regard.metrics import Metric, interval, interval_of_sums, mean_interval
from regard.metrics.bootstrap import CHUNK, resampled_sums, times_drawn

VALUES = arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6, allow_subnormal=False))


@given(VALUES)
def test_the_interval_of_a_mean_holds_the_mean_and_stays_within_the_values(values):
    metric = mean_interval(values, resamples=50)
    assert metric.value == pytest.approx(values.mean(), abs=1e-6)
    assert metric.low <= metric.value <= metric.high
    assert values.min() - 1e-6 <= metric.low
    assert metric.high <= values.max() + 1e-6


@given(VALUES, st.integers(0, 2**32))
def test_sums_and_row_numbers_draw_the_same_rows(values, seed):
    by_rows = interval(lambda rows: float(values[rows].mean()), len(values), resamples=20, seed=seed)
    by_sums = mean_interval(values, resamples=20, seed=seed)
    assert np.allclose(list(by_rows.as_dict().values()), list(by_sums.as_dict().values()), rtol=1e-9, atol=1e-6)


def test_it_is_the_percentile_bootstrap_of_scipy():
    values = np.random.default_rng(3).exponential(size=300)
    theirs = bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    ours = mean_interval(values, resamples=20_000)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01 * values.mean())


def test_a_95_percent_interval_holds_the_truth_95_times_in_100():
    random = np.random.default_rng(0)
    samples = random.normal(loc=2.0, size=(600, 60))
    metrics = [mean_interval(sample, resamples=400, seed=seed) for seed, sample in enumerate(samples)]
    covered = np.mean([metric.low <= 2.0 <= metric.high for metric in metrics])
    # The percentile interval is a little narrow for 60 rows; three standard errors of 600 trials are 0.027.
    assert 0.91 <= covered <= 0.97


def test_a_wider_level_gives_a_wider_interval():
    values = np.random.default_rng(0).normal(size=200)
    narrow, wide = mean_interval(values, level=0.5), mean_interval(values, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_an_f1_score_is_a_statistic_of_sums():
    rows = np.array([[1.0, 1, 1], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    metric = interval_of_sums(rows, lambda sums: 2 * sums[:, 0] / np.maximum(sums[:, 1] + sums[:, 2], 1))
    assert metric.value == pytest.approx(4 / 6)
    assert 0 <= metric.low < metric.value < metric.high <= 1


def test_a_biased_statistic_keeps_its_value_inside_the_interval():
    metric = interval(lambda rows: float(len(np.unique(rows))), 50)
    assert metric.high == metric.value == 50


@given(n_rows=st.integers(1, 50), resamples=st.integers(1, 30))
def test_every_resample_has_as_many_rows_as_the_sample(n_rows, resamples):
    times = np.concatenate(list(times_drawn(n_rows, resamples=resamples)))
    assert times.shape == (resamples, n_rows)
    assert (times.sum(axis=1) == n_rows).all()
    assert (times >= 0).all()


def test_chunks_bound_the_memory_and_change_nothing(monkeypatch):
    whole = np.concatenate(list(times_drawn(1000, resamples=30, seed=5)))
    monkeypatch.setattr("regard.metrics.bootstrap.CHUNK", 7000)
    chunks = list(times_drawn(1000, resamples=30, seed=5))
    assert max(chunk.size for chunk in chunks) == 7000 < CHUNK
    assert (np.concatenate(chunks) == whole).all()


def test_sparse_rows_sum_like_dense_ones():
    rows = np.random.default_rng(0).integers(0, 2, size=(30, 8)).astype(float)
    assert (resampled_sums(csr_array(rows)) == resampled_sums(rows)).all()


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = np.random.default_rng(0).normal(size=100)
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1) != mean_interval(values, seed=2)


def test_as_dict_is_what_the_command_line_prints():
    assert Metric(0.91, 0.89, 0.93).as_dict() == {"value": 0.91, "low": 0.89, "high": 0.93}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interval(lambda rows: 0.0, 0), "no rows to measure"),
        (lambda: mean_interval([]), "values hold no rows"),
        (lambda: mean_interval([1.0, np.nan]), "row 2: values hold NaN or infinity (1 of 2 rows)"),
        (lambda: mean_interval([[1.0]]), "values have shape (1, 1)"),
        (lambda: mean_interval([1.0], resamples=0), "0 resamples"),
        (lambda: mean_interval([1.0], level=95), "confidence level 95 is impossible"),
    ],
)
def test_errors(call, message):
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value).startswith(message)
    assert caught.value.problems[0].allowed
