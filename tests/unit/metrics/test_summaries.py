"""ROUGE: rouge-score's own values for every text, with and without its stemmer, and Chinese by characters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from regard.errors import ConfigError, DataError
from regard.metrics import Metric, summarized
from regard.metrics.bootstrap import times_drawn
from regard.metrics.tokens import unicode_words

NAMES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
WORDS = ["a", "b", "c", "cats", "running", "runs", "relational", "relate.", "the\n", "\n\n"]
"""Few of them, with line breaks: subsequences of equal length and repeated words are common."""
TEXTS = st.lists(st.sampled_from(WORDS), max_size=16).map(" ".join)
CASES = st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)), min_size=1, max_size=6)


def theirs(scorer, hypotheses, references):
    scores = [scorer.score_multi(row, text) for text, row in zip(hypotheses, references, strict=True)]
    return np.array([[score[name].fmeasure for name in NAMES] for score in scores])


def values(report):
    return [report.metrics[name].value for name in NAMES]


@pytest.mark.parametrize(("tokenize", "stemmed"), [("ascii", False), ("porter", True), ("unicode", False)])
@given(CASES)
def test_values_are_those_of_rouge_score(tokenize, stemmed, case):
    hypotheses, references = zip(*case, strict=True)
    report = summarized(hypotheses, references, tokenize=tokenize)
    means = theirs(RougeScorer(NAMES, use_stemmer=stemmed), hypotheses, references).mean(axis=0)
    assert values(report) == pytest.approx(means, abs=1e-12)
    assert all(metric.low <= metric.value <= metric.high for metric in report.metrics.values())


@given(st.lists(st.sampled_from("ab"), max_size=30), st.lists(st.sampled_from("abc"), max_size=30))
def test_long_texts_of_few_words_have_the_same_subsequences(one, other):
    case = [" ".join(one)], [[" ".join(other)]]
    assert values(summarized(*case)) == pytest.approx(theirs(RougeScorer(NAMES), *case)[0], abs=1e-12)


class Characters:
    """Our words, for their scorer."""

    def tokenize(self, text):
        return unicode_words(text)


@given(st.lists(st.tuples(*[st.text("我你猫狗爱，。 \nab", max_size=12)] * 2), min_size=1, max_size=4))
def test_chinese_is_measured_by_characters(case):
    hypotheses, references = zip(*case, strict=True)
    means = theirs(RougeScorer(NAMES, tokenizer=Characters()), hypotheses, [[row] for row in references]).mean(axis=0)
    assert values(summarized(hypotheses, references)) == pytest.approx(means, abs=1e-12)


def test_values_that_can_be_counted_by_hand():
    report = summarized(["我爱猫"], ["我爱大猫"])
    assert values(report) == pytest.approx([6 / 7, 2 / 5, 6 / 7, 6 / 7])
    assert report.as_dict()["hypothesis_length"] == 3
    assert report.tables["reference_length"] == 4


def test_intervals_are_those_of_the_mean_over_the_same_resamples():
    hypotheses = ["the cat sat", "a dog ran home", "", "birds fly high up", "we all live here"]
    references = [
        ["the cat sat down"],
        ["a dog ran", "the dog went home"],
        ["nothing"],
        ["up fly birds"],
        ["we all live here"],
    ]
    report = summarized(hypotheses, references, seed=2)
    rows = theirs(RougeScorer(NAMES), hypotheses, references)
    times = np.concatenate([np.ones((1, 5)), *times_drawn(5, seed=2)])
    for name, draws in zip(NAMES, (times @ rows / 5).T, strict=True):
        brute = Metric.of(draws)
        assert list(report.metrics[name].as_dict().values()) == pytest.approx(list(brute.as_dict().values()), abs=1e-12)
        assert brute.low < brute.value < brute.high


def test_lines_are_the_sentences_of_rouge_lsum():
    metrics = summarized(["we sleep\nbirds sing"], ["birds sing\nwe sleep"]).metrics
    assert metrics["rougeL"].value == 0.5
    assert metrics["rougeLsum"].value == 1


def test_the_signature_says_how_it_was_measured():
    one, some = summarized(["a"], ["a"]), summarized(["a", "b"], ["a", ["b", "c"]], tokenize="porter")
    assert one.tables["signatures"] == {"rouge": "f1|refs:1|multi:best|tok:unicode|sentences:lines"}
    assert some.tables["signatures"] == {"rouge": "f1|refs:var|multi:best|tok:porter|sentences:lines"}


def test_errors():
    with pytest.raises(DataError, match="hypotheses and references differ in rows: 1 and 2"):
        summarized(["a"], ["a", "b"])
    with pytest.raises(ConfigError, match="no way 'portr' to cut words") as caught:
        summarized(["a"], ["a"], tokenize="portr")
    assert caught.value.problems[0].fix == "did you mean 'porter'?"
