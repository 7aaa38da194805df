"""Words that must occur: progress against counting by hand, and a beam that finds the best texts which have them."""

import itertools
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regard.decoding.constraints import Lexicon, Required, survivors
from regard.decoding.filters import NEVER, Written
from regard.errors import ConfigError

END, LONGEST = 0, 6


def test_progress_is_counted_in_tokens():
    lexicon = Lexicon([[[1, 2, 3]], [[4]], [[5, 6], [7]]])
    assert lexicon.tokens == 5
    texts = [[], [1], [1, 2], [1, 2, 9], [1, 2, 3], [4, 1], [1, 4], [5], [5, 6], [7], [7, 4, 1, 2, 3], [1, 2, 1, 2, 3]]
    assert [lexicon.progress(text) for text in texts] == [0, 1, 2, 0, 3, 2, 1, 0, 1, 1, 5, 3]
    assert [text for text in texts if lexicon.met(text)] == [[7, 4, 1, 2, 3]]


def test_what_is_wanted_begins_a_phrase_or_goes_on_with_it():
    lexicon = Lexicon([[[1, 2, 3]], [[4]], [[5, 6], [7]]])
    assert lexicon.wanted([]) == {1, 4, 5, 7}
    assert lexicon.wanted([4, 1]) == {2, 5, 7}
    assert lexicon.wanted([5, 1, 2]) == {3, 4, 5, 7}
    assert lexicon.wanted([7, 1, 2, 3, 4]) == set()
    assert Lexicon([[[1, 1, 2]]]).wanted([1, 1, 1]) == {2}


def test_only_one_phrase_is_under_way():
    lexicon = Lexicon([[[1, 2, 3]], [[1, 2, 4]]])
    assert [lexicon.progress(text) for text in ([1, 2], [1, 2, 3], [1, 2, 3, 1], [1, 2, 3, 1, 2, 4])] == [2, 3, 4, 6]


def test_phrases_may_overlap():
    lexicon = Lexicon([[[1, 2]], [[2, 3]]])
    assert [lexicon.progress(text) for text in ([1], [1, 2], [1, 2, 3])] == [1, 3, 4]
    assert Lexicon([]).met([])


PHRASES = st.lists(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=2), max_size=3)


@settings(deadline=None)
@given(phrases=PHRASES, text=st.lists(st.integers(1, 4), max_size=8))
def test_progress_is_whole_exactly_when_every_phrase_has_come(phrases: list[list[list[int]]], text: list[int]):
    def has(spelling: list[int]) -> bool:
        return f",{','.join(map(str, spelling))}," in f",{','.join(map(str, text))},"

    lexicon = Lexicon(phrases)
    met = all(any(map(has, phrase)) for phrase in phrases)
    assert lexicon.met(text) == met == (lexicon.progress(text) == lexicon.tokens)
    assert 0 <= lexicon.progress(text) <= lexicon.tokens
    assert lexicon.ahead(text, range(5)) == [lexicon.progress([*text, token]) for token in range(5)]
    if not met:
        assert lexicon.wanted(text)


def test_no_text_ends_before_it_has_its_phrases():
    required = Required([Lexicon([[[1, 2]]]), Lexicon([])], [END])
    tokens = torch.tensor([[-1, 1, 2], [1, 2, 3], [2, 1, 3], [2, 1, 3]])
    scores = required(torch.zeros(4, 5), Written(tokens, torch.tensor([0, 0, 0, 1])))
    assert (scores[:, END] == NEVER).tolist() == [False, False, True, False]
    assert (scores[:, 1:] == 0).all()


@pytest.mark.parametrize(
    ("scores", "progress", "keep", "survive"),
    [
        # Three banks, a place each; then two, the fuller bank first.
        ([9.0, 8.0, 7.0, 1.0, 0.5, 0.1], [0, 0, 0, 1, 1, 2], 3, [0, 3, 5]),
        ([9.0, 8.0, 7.0, 1.0, 0.5, 0.1], [0, 0, 0, 1, 1, 2], 4, [0, 3, 4, 5]),
        ([9.0, 8.0, 7.0, 1.0, 0.5, 0.1], [0, 0, 0, 1, 1, 2], 2, [3, 5]),
        # One bank: a beam as ever.
        ([1.0, 3.0, 2.0], [1, 1, 1], 2, [1, 2]),
        # Equal scores: the earlier one. What cannot come stands back.
        ([1.0, 1.0, 1.0], [0, 0, 0], 2, [0, 1]),
        ([1.0, NEVER, 0.5], [0, 1, 0], 2, [0, 2]),
        ([1.0, NEVER], [0, 1], 3, [0, 1]),
    ],
)
def test_banks_share_the_beam(scores: list[float], progress: list[int], keep: int, survive: list[int]):
    assert survivors(torch.tensor([scores]), torch.tensor([progress]), keep=keep).tolist() == [survive]


@settings(deadline=None)
@given(st.data())
def test_every_bank_has_its_share(data: st.DataObject):
    n, keep = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    scores = torch.tensor(data.draw(st.lists(st.lists(st.integers(-5, 5), min_size=n, max_size=n), min_size=1, max_size=3)))
    progress = torch.tensor([data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)) for _ in scores])
    for row, places in enumerate(survivors(scores.float(), progress, keep=keep).tolist()):
        assert len(set(places)) == len(places) == min(keep, n)
        banks = progress[row].unique().tolist()
        for bank in banks:
            inside = [place for place in range(n) if progress[row, place] == bank]
            kept = [place for place in places if place in inside]
            assert len(kept) >= min(len(inside), keep // len(banks))
            assert kept == sorted(inside, key=lambda place: (-int(scores[row, place]), place))[: len(kept)]


def best_by_enumeration(table: Tensor, lexicon: Lexicon) -> tuple[float, list[int]]:
    """The likeliest text that ends and has its phrases, of all there are; table: log-probabilities after each token."""

    def score(text: Sequence[int]) -> float:
        return sum(float(table[a, b]) for a, b in itertools.pairwise([END, *text, END]))

    texts = [text for n in range(LONGEST) for text in itertools.product(range(1, len(table)), repeat=n)]
    return max((score(text), list(text)) for text in texts if lexicon.met(text))


def beam(table: Tensor, lexicon: Lexicon, *, size: int, likeliest: int) -> tuple[float, list[int]]:
    """The likeliest text that a beam finds: candidates are each hypothesis' likeliest tokens, and those it wants."""
    hypotheses, done = [(0.0, [])], []
    required = Required([lexicon], [END])
    for _ in range(LONGEST):
        width = max(len(text) for _, text in hypotheses)
        tokens = torch.tensor([[-1] * (width - len(text)) + text for _, text in hypotheses], dtype=torch.int64)
        written = Written(tokens.view(len(hypotheses), width), torch.zeros(len(hypotheses), dtype=torch.int64))
        scores = required(table[torch.tensor([text[-1] if text else END for _, text in hypotheses])], written)
        candidates = [
            (sum_so_far + float(row[token]), text, token)
            for (sum_so_far, text), row in zip(hypotheses, scores, strict=True)
            for token in {*row.topk(likeliest).indices.tolist(), *lexicon.wanted(text)}
        ]
        done += [(score, text) for score, text, token in candidates if token == END and score > NEVER]
        going = [candidate for candidate in candidates if candidate[2] != END]
        places = survivors(
            torch.tensor([[score for score, _, _ in going]]),
            torch.tensor([[lexicon.ahead(text, [token])[0] for _, text, token in going]]),
            keep=size,
        )[0]
        hypotheses = [(going[place][0], [*going[place][1], going[place][2]]) for place in places.tolist()]
    return max(done)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("phrases", [[[[4]]], [[[4, 2]], [[3]]], [[[1], [4, 4]], [[2, 3]]], []])
def test_a_beam_finds_the_best_text_that_has_its_phrases(seed: int, phrases: list[list[list[int]]]):
    table = (2 * torch.randn(5, 5, generator=torch.Generator().manual_seed(seed))).log_softmax(1)
    lexicon = Lexicon(phrases)
    score, text = beam(table, lexicon, size=40, likeliest=5)
    assert lexicon.met(text)
    assert (pytest.approx(score, abs=1e-5), text) == best_by_enumeration(table, lexicon)


def test_a_small_beam_has_its_phrases_too():
    table = torch.full((6, 6), -1.0)
    table[:, END], table[:, 5], table[:, 4] = 0.0, -9.0, -8.0
    _, text = beam(table.log_softmax(1), Lexicon([[[5, 4]], [[4, 5]]]), size=2, likeliest=1)
    assert Lexicon([[[5, 4]], [[4, 5]]]).met(text)
    assert text in ([5, 4, 5], [4, 5, 4])


def test_phrases_without_tokens_are_named_at_once():
    with pytest.raises(ConfigError, match="2 problems") as raised:
        Lexicon([[], [[1]], [[2], []]])
    assert [problem.where for problem in raised.value.problems] == ["phrase 1", "phrase 3"]
