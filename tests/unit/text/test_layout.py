"""Cutting, as arithmetic."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.text.layout import cuts, shares, windows

LENGTHS = st.integers(0, 40)


@pytest.mark.parametrize(
    ("first", "second", "budget", "kept"),
    [
        (3, 4, 7, (3, 4)),
        (3, 9, 7, (3, 4)),
        (9, 3, 7, (4, 3)),
        (9, 8, 7, (4, 3)),
        (8, 9, 7, (3, 4)),
        (9, 9, 7, (3, 4)),
        (0, 9, 7, (0, 7)),
    ],
)
def test_the_longer_text_loses_first(first: int, second: int, budget: int, kept: tuple[int, int]) -> None:
    assert shares(first, second, budget) == kept


@given(LENGTHS, LENGTHS, st.integers(2, 50))
def test_shares_fill_the_budget_and_take_from_no_shorter_text(first: int, second: int, budget: int) -> None:
    kept = shares(first, second, budget)
    assert sum(kept) == min(budget, first + second)
    assert kept[0] <= first
    assert kept[1] <= second
    if kept[0] < first and kept[1] < second:
        assert abs(kept[0] - kept[1]) <= 1


@given(st.integers(0, 60), st.integers(1, 20), st.data())
def test_windows_cover_everything_and_share_the_stride(length: int, size: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(0, size - 1))
    spans = windows(length, size, stride)
    assert {place for span in spans for place in range(span.start, span.stop)} == set(range(length))
    assert all(before.stop - after.start == stride for before, after in pairwise(spans))
    assert all(span.stop - span.start == size for span in spans[:-1])
    assert spans[-1].stop == length


def test_the_left_side_keeps_the_end() -> None:
    assert cuts([9], 4, "longest", side="left") == [(slice(5, 9),)]


def test_a_text_that_may_not_be_cut_leaves_no_row() -> None:
    assert cuts([3, 9], 7, "first") == []
    assert cuts([3, 9], 7, "second") == [(slice(0, 3), slice(0, 4))]
    assert cuts([3, 9], 7, "refuse") == []
    assert cuts([9, 6], 7, "first", stride=1) == []
