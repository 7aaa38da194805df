"""The best words by blocks are those of a whole sort, with the log-probabilities of a whole softmax."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.layers.output import best


@settings(deadline=None, max_examples=60)
@given(
    hypotheses=st.integers(1, 5),
    words=st.sampled_from([3, 63, 64, 65, 130, 1000, 9001]),
    count=st.integers(1, 9),
    scale=st.sampled_from([0.0, 1.0, 30.0, 300.0]),
    banned=st.lists(st.integers(0, 2), max_size=2, unique=True),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 99),
)
def test_the_best_are_those_of_a_whole_sort(
    hypotheses: int, words: int, count: int, scale: float, banned: list[int], dtype: torch.dtype, seed: int
):
    count = min(count, words)
    logits = (torch.randn(hypotheses, words, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype)
    whole = logits.float().log_softmax(1)
    open_to = whole.index_fill(1, torch.tensor(banned, dtype=torch.int64), float("-inf"))
    logs, tokens = best(logits.clone(), count, never=torch.tensor(banned, dtype=torch.int64))
    torch.testing.assert_close(logs, open_to.topk(count, 1).values, atol=1e-4, rtol=1e-5)
    there = logs > float("-inf")
    torch.testing.assert_close(open_to.gather(1, tokens)[there], logs[there], atol=1e-4, rtol=1e-5)
    for row, scores in zip(tokens.tolist(), logs.tolist(), strict=True):
        open_row = [token for token, log in zip(row, scores, strict=True) if log > float("-inf")]
        assert len(set(open_row)) == len(open_row) == min(count, words - len(banned))


def test_of_equal_words_the_first_is_best():
    assert best(torch.zeros(2, 200), 1).tokens.tolist() == [[0], [0]]
    assert best(torch.zeros(2, 200), 1, never=torch.tensor([0, 1])).tokens.tolist() == [[2], [2]]


@pytest.mark.parametrize("far", [-200.0, 200.0])
def test_logits_far_from_zero_have_their_probabilities(far: float):
    logs, tokens = best(torch.tensor([[far, far + 1.0, far]]), 3)
    torch.testing.assert_close(logs[0].exp().sum(), torch.tensor(1.0))
    assert tokens[0, 0] == 1
