"""Filters that count tokens: against transformers' processors, and alike whatever is padded before a hypothesis."""

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    MinNewTokensLengthLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
)

from regard.decoding.filters import NEVER, Behind, Written
from regard.decoding.ngrams import MinimumLength, NoRepeat, Prefix, RepetitionPenalty
from regard.errors import ConfigError

VOCABULARY = 4
TEXTS = st.lists(st.lists(st.integers(0, VOCABULARY - 1), max_size=9), min_size=1, max_size=4)


def written(texts: Sequence[Sequence[int]], rows: Sequence[int] | None = None) -> Written:
    width = max(map(len, texts))
    tokens = torch.tensor([[-1] * (width - len(text)) + list(text) for text in texts], dtype=torch.int64)
    return Written(tokens.view(len(texts), width), torch.tensor(rows or range(len(texts))))


def scores(rows: int) -> Tensor:
    return torch.randn(rows, VOCABULARY, generator=torch.Generator().manual_seed(rows))


def same(filtered: Tensor, processor: Callable[[Tensor, Tensor], Tensor], texts: list[list[int]], before: Tensor) -> bool:
    """Whether each row is what the processor of transformers makes of it alone."""
    alone = [torch.tensor([text], dtype=torch.int64).view(1, -1) for text in texts]
    rows = [processor(ids, row.clone()) for ids, row in zip(alone, before.split(1), strict=True)]
    return torch.equal(filtered, torch.cat(rows))


@settings(deadline=None)
@given(texts=TEXTS, n=st.integers(1, 4))
def test_no_ngram_is_written_twice(texts: list[list[int]], n: int):
    before = scores(len(texts))
    given_scores = before.clone()
    assert same(NoRepeat(n)(before, written(texts)), NoRepeatNGramLogitsProcessor(n), texts, before)
    assert torch.equal(before, given_scores)


@settings(deadline=None)
@given(texts=TEXTS, penalty=st.floats(0.5, 3))
def test_the_penalty_of_repetition(texts: list[list[int]], penalty: float):
    before = scores(len(texts))
    assert same(RepetitionPenalty(penalty)(before, written(texts)), RepetitionPenaltyLogitsProcessor(penalty), texts, before)


@settings(deadline=None)
@given(texts=TEXTS, shortest=st.integers(0, 10))
def test_no_text_ends_too_early(texts: list[list[int]], shortest: int):
    before = scores(len(texts))
    theirs = MinNewTokensLengthLogitsProcessor(0, shortest, [0, 2])
    assert same(MinimumLength(shortest, {2, 0})(before, written(texts)), theirs, texts, before)


def test_each_input_begins_as_it_is_told():
    prefix = Prefix([[3, 1], [], [2]])
    rows = [2, 0, 1, 0, 0]
    filtered = prefix(scores(5), written([[], [3], [], [], [3, 1, 0]], rows))
    free = filtered[[2, 4]]
    assert torch.equal(free, scores(5)[[2, 4]])
    assert filtered[[0, 1, 3]].argmax(1).tolist() == [2, 1, 3]
    assert (filtered[[0, 1, 3]] == NEVER).sum(1).tolist() == [3, 3, 3]
    assert torch.equal(Prefix([[], []])(scores(2), written([[], []])), scores(2))


@pytest.mark.parametrize(
    "make", [lambda: NoRepeat(0), lambda: RepetitionPenalty(0.0), lambda: RepetitionPenalty(float("nan"))]
)
def test_what_makes_no_sense_is_refused(make: Callable[[], object]):
    with pytest.raises(ConfigError, match=r"allowed: .*\n  fix: "):
        make()


@given(texts=TEXTS, prompts=TEXTS)
def test_a_filter_behind_prompts_sees_them_and_what_was_written_without_a_gap(
    texts: list[list[int]], prompts: list[list[int]]
):
    rows = [number % len(prompts) for number in range(len(texts))]
    seen: list[list[int]] = []

    def watching(scores: Tensor, written: Written) -> Tensor:
        assert written.rows.tolist() == rows
        whole = [[*prompts[row], *text] for row, text in zip(rows, texts, strict=True)]
        seen.extend(written.tokens.tolist())
        assert written.lengths.tolist() == [len(row) for row in whole]
        assert [row[len(row) - len(each) :] for row, each in zip(seen, whole, strict=True)] == whole
        return scores

    Behind(prompts, watching)(scores(len(texts)), written(texts, rows))
    assert len(seen) == len(texts)
