"""Ranking of candidates: against sacrebleu, against counting by hand, and on ties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu import sentence_chrf

from regard.decoding.rank import chrf, expected_utility, likeliest, minimum_bayes_risk


@pytest.mark.parametrize(
    ("candidate", "reference"), [("the cat sat", "the cat sits"), ("北京很冷", "北京冷"), ("", "a"), ("a", "a")]
)
def test_chrf_is_that_of_sacrebleu(candidate: str, reference: str):
    assert chrf(candidate, reference) == pytest.approx(sentence_chrf(candidate, [reference]).score / 100)


def test_the_candidate_that_others_agree_with_comes_first():
    candidates = ["the cat sat on a mat", "a dog ran", "the cat sat on the mat", "the cat sat on the mat!"]
    assert minimum_bayes_risk(candidates)[0] in (2, 3)
    assert minimum_bayes_risk(candidates)[-1] == 1


def test_a_sample_that_came_twice_counts_twice():
    def same(candidate: str, reference: str) -> float:
        asked.append((candidate, reference))
        return float(candidate == reference)

    asked: list[tuple[str, str]] = []
    assert expected_utility(["a", "b", "b", "c"], utility=same) == [0.25, 0.5, 0.5, 0.25]
    assert len(asked) == 9
    assert minimum_bayes_risk(["a", "b", "b", "c"], utility=same) == [1, 2, 0, 3]
    assert expected_utility(["a", "c"], ["a", "a", "b"], utility=same) == [2 / 3, 0.0]


@given(st.lists(st.sampled_from(["a", "ab", "abc", "b"]), min_size=1, max_size=6))
def test_expected_utility_is_the_mean_over_all_pairs(candidates: list[str]):
    def utility(candidate: str, reference: str) -> float:
        return 2.0 * len(candidate) + len(reference)

    means = [sum(utility(one, other) for other in candidates) / len(candidates) for one in candidates]
    assert expected_utility(candidates, utility=utility) == pytest.approx(means)


def test_the_likeliest_for_its_length():
    scores, lengths = [-3.0, -4.0, -1.0, -3.0], [3, 5, 1, 3]
    assert likeliest(scores, lengths) == [1, 0, 2, 3]
    assert likeliest(scores, lengths, length_penalty=0.0) == [2, 0, 3, 1]
    assert likeliest(scores, lengths, length_penalty=2.0) == [1, 0, 3, 2]
    assert likeliest([-1.0, -0.5], [0, 1]) == [1, 0]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="no references"):
        minimum_bayes_risk([])
    with pytest.raises(ValueError, match="zip"):
        likeliest([-1.0], [])
