"""Perplexities and bits: the formulas by hand, on the sample and on every resample."""

from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import DataError
from regard.metrics import interval, modelled

ROWS = st.lists(st.tuples(st.floats(0, 1e4), *[st.integers(1, 500)] * 4), min_size=1, max_size=20)


@given(ROWS)
def test_values_are_sums_divided_by_sums(rows):
    nll, tokens, words, characters, octets = np.array(rows).T
    metrics = modelled(nll, tokens, words=words, characters=characters, octets=octets)
    assert list(metrics) == ["perplexity", "loss", "word_perplexity", "bits_per_character", "bits_per_byte"]
    assert metrics["loss"].value == pytest.approx(nll.sum() / tokens.sum())
    assert metrics["perplexity"].value == pytest.approx(exp(min(700, nll.sum() / tokens.sum())), rel=1e-9)
    assert metrics["word_perplexity"].value == pytest.approx(exp(min(700, nll.sum() / words.sum())), rel=1e-9)
    assert metrics["bits_per_character"].value == pytest.approx(nll.sum() / characters.sum() / log(2))
    assert metrics["bits_per_byte"].value == pytest.approx(nll.sum() / octets.sum() / log(2))
    assert all(metric.low <= metric.value <= metric.high for metric in metrics.values())


def test_intervals_are_those_of_the_same_resamples_of_whole_texts():
    random = np.random.default_rng(0)
    tokens = random.integers(1, 50, size=30)
    nll = tokens * random.uniform(2, 5, size=30)
    brute = interval(lambda rows: exp(nll[rows].sum() / tokens[rows].sum()), 30, seed=6)
    ours = modelled(nll, tokens, seed=6)["perplexity"]
    assert list(ours.as_dict().values()) == pytest.approx(list(brute.as_dict().values()), rel=1e-9)


def test_a_fair_coin_costs_one_bit():
    metrics = modelled([10 * log(2)], [10], characters=[10])
    assert metrics["perplexity"].value == pytest.approx(2)
    assert metrics["bits_per_character"].value == pytest.approx(1)
    assert "word_perplexity" not in metrics


def test_texts_without_tokens_are_no_harm_and_a_diverged_model_overflows_nothing():
    assert modelled([0.0, 3.0], [0, 3])["loss"].value == pytest.approx(1)
    assert np.isfinite(modelled([1e9], [1])["perplexity"].high)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: modelled([], []), "negative log-likelihoods hold no rows"),
        (lambda: modelled([np.nan], [1]), "row 1: negative log-likelihoods hold NaN or infinity"),
        (lambda: modelled([1.0, -2.0], [1, 1]), "row 2: negative log-likelihoods hold -2"),
        (lambda: modelled([1.0], [1, 2]), "negative log-likelihoods and tokens differ in rows: 1 and 2"),
        (lambda: modelled([1.0], [1], words=[1, 2]), "negative log-likelihoods and words differ in rows"),
        (lambda: modelled([1.0], [1], characters=[-1]), "row 1: characters hold -1"),
        (lambda: modelled([1.0], [0]), "no tokens"),
        (lambda: modelled([1.0], [1], octets=[0]), "no bytes"),
    ],
)
def test_errors(call, message):
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value).startswith(message)
    assert caught.value.problems[0].allowed
