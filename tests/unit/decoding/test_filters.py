"""Filters are pure functions of the scores and of what was written, whatever lies beside a hypothesis."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from regard.decoding import Banned, Closed, Filter, Forced, Written

NEVER = float("-inf")


def written(*texts: list[int], rows: list[int] | None = None) -> Written:
    """Right-aligned, as a search gives them."""
    width = max(map(len, texts))
    tokens = torch.tensor([[-1] * (width - len(text)) + text for text in texts], dtype=torch.int64).view(len(texts), width)
    return Written(tokens, torch.tensor(rows or [0] * len(texts)))


def test_lengths_do_not_count_what_stands_before_the_first_token():
    assert written([4, 5, 6], [], [7]).lengths.tolist() == [3, 0, 1]


def test_a_sequence_may_not_be_completed():
    scores = Banned([3, [1, 2]])(torch.zeros(3, 5), written([0, 1], [2], [1]))
    assert (scores == NEVER).tolist() == [[0, 0, 1, 1, 0], [0, 0, 0, 1, 0], [0, 0, 1, 1, 0]]


def test_a_token_is_banned_or_forced_at_places_of_the_hypothesis_and_not_of_the_batch():
    so_far = written([], [4], [4, 4])
    first = Banned([2], first=True)
    assert (first(torch.zeros(3, 5), so_far)[:, 2] == NEVER).tolist() == [True, False, False]
    assert first.wakes(so_far) and not first.wakes(written([1], [1]))
    forced = Forced({1: 3})
    assert forced(torch.ones(3, 5), so_far)[:, [0, 3]].tolist() == [[1, 1], [NEVER, 0], [1, 1]]
    assert forced.wakes(so_far) and not forced.wakes(written([1, 1]))


def test_the_last_token_of_each_input_is_the_one_that_closes():
    closed = Closed(0, torch.tensor([2, 3]))
    so_far = written([4], [4], [4, 4], rows=[0, 1, 1])
    assert closed(torch.ones(3, 2), so_far).tolist() == [[0, NEVER], [1, 1], [0, NEVER]]
    assert closed.wakes(so_far) and not closed.wakes(written([4], rows=[1]))


@given(texts=st.lists(st.lists(st.integers(0, 4), max_size=5), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_a_hypothesis_is_filtered_alike_in_any_batch_and_what_is_given_stays(texts: list[list[int]], seed: int):
    filters: list[Filter] = [Banned([1, [0, 2]]), Banned([3], first=True), Forced({1: 2}), Closed(0, torch.tensor([3]))]
    scores = torch.randn(len(texts), 5, generator=torch.Generator().manual_seed(seed))
    together, before = written(*texts), scores.clone()
    for change in filters:
        alone = [change(scores[i : i + 1], written(text)) for i, text in enumerate(texts)]
        assert torch.equal(change(scores, together), torch.cat(alone))
        assert torch.equal(scores, before)
        if not change.wakes(together):
            assert torch.equal(change(scores, together), scores)
