"""Answers by hand, distinct n-grams by counting, and which metrics are better small."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import ConfigError, DataError
from regard.metrics import SMALLER_IS_BETTER, answered, is_better, modelled, regression, single_label, translated, varied
from regard.metrics.bootstrap import times_drawn
from regard.metrics.generation import _distinct
from regard.metrics.tokens import n_grams

ROWS = st.lists(st.lists(st.sampled_from("abcde"), max_size=6), min_size=1, max_size=10)


@pytest.mark.parametrize(
    ("answer", "right", "exact", "f1"),
    [
        ("The Eiffel Tower.", "eiffel tower", 1, 1),
        ("in Paris", "Paris", 0, 2 / 3),
        ("Paris", ["London", "in Paris", "Paris, France"], 0, 2 / 3),
        ("no no no", "no yes", 0, 2 / 5),
        ("北京大学", "北京，大学。", 1, 1),
        ("北京市", "北京", 0, 4 / 5),
        ("", "", 1, 1),
        ("the", "", 1, 1),
        ("", "Paris", 0, 0),
    ],
)
def test_answers(answer, right, exact, f1):
    metrics = answered([answer, answer], [right, right])
    assert metrics["exact_match"].as_dict() == {"value": exact, "low": exact, "high": exact}
    assert metrics["f1"].value == pytest.approx(f1)


def test_answers_are_averaged_over_rows():
    metrics = answered(["in b", "c", "d", "e"], ["b", "c", "x", "y"])
    assert metrics["exact_match"].value == 0.25
    assert metrics["f1"].value == pytest.approx((1 + 2 / 3) / 4)
    assert metrics["f1"].low < metrics["f1"].value < metrics["f1"].high


@given(ROWS, st.integers(1, 2))
def test_every_resample_counts_the_distinct_n_grams_of_its_rows(rows, n):
    grams = [n_grams(row, n) for row in rows]
    draws = _distinct(grams, seed=1)
    samples = [np.arange(len(rows))]
    samples += [
        np.repeat(np.arange(len(rows)), row.astype(int)) for times in times_drawn(len(rows), seed=1) for row in times
    ]
    for draw, sample in zip(draws[:200], samples[:200], strict=True):
        drawn = [gram for row in sample for gram in grams[row]]
        assert draw == pytest.approx(len(set(drawn)) / len(drawn) if drawn else 0)


def test_tables_of_few_columns_change_nothing(monkeypatch):
    rows = [n_grams(list(text), 2) for text in ("abab", "abba", "cab", "ca")]
    whole = _distinct(rows, seed=0)
    monkeypatch.setattr("regard.metrics.generation.COLUMNS", 1)
    assert (_distinct(rows, seed=0) == whole).all()


def test_replies_that_are_all_the_same_are_not_varied():
    dull = varied(["I do not know."] * 25)
    assert dull.metrics["distinct1"].value == 4 / 100
    assert dull.metrics["distinct2"].value == 3 / 75
    assert dull.metrics["distinct1"].low == dull.metrics["distinct1"].high == pytest.approx(0.04)
    assert dull.tables["words"] == 100


def test_an_interval_of_distinct_words_lies_on_both_sides_of_the_value():
    random = np.random.default_rng(0)
    metric = varied([" ".join(map(str, random.integers(30, size=4))) for _ in range(40)]).metrics["distinct1"]
    assert metric.low < metric.value < metric.high <= 1


def test_nothing_written_is_not_varied():
    assert varied(["", "…"]).metrics["distinct2"].as_dict() == {"value": 0, "low": 0, "high": 0}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: answered(["a"], []), DataError, "hypotheses and references differ in rows: 1 and 0"),
        (lambda: varied([]), DataError, "hypotheses hold no rows"),
        (lambda: varied(["a", None]), DataError, "row 2: hypotheses hold nothing"),
        (lambda: varied(["a"], tokenize="words"), ConfigError, "no way 'words' to cut words"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(message)
    assert caught.value.problems[0].allowed


def test_better_is_smaller_for_faults_and_larger_for_the_rest():
    assert is_better("ter", 30.0, than=40.0)
    assert is_better("bleu", 40.0, than=30.0)
    assert not is_better("bleu", 30.0, than=30.0)
    assert not is_better("perplexity", math.nan, than=30.0)


def test_every_fault_is_the_name_of_a_metric():
    text = modelled([1.0], [1], words=[1], characters=[1], octets=[1])
    names = {*text, *regression([1.0], [1.0]), *single_label([0], [[1.0]], ["a"]).metrics, *translated(["a"], ["a"]).metrics}
    assert names >= SMALLER_IS_BETTER
