"""A cache is a list of keys and values with four verbs: append, read, take, truncate."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.layers.cache import Cache, LayerCache

verbs = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 5)),
    st.tuples(st.just("truncate"), st.integers(0, 12)),
    st.tuples(st.just("take"), st.lists(st.integers(0, 9), min_size=1, max_size=4)),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(verbs, max_size=8))
def test_it_does_what_cat_index_and_slice_do(story: list[tuple[str, object]]) -> None:
    cache = LayerCache()
    k, v = cache.append(*torch.arange(2 * 2 * 3 * 2 * 2.0).view(2, 2, 3, 2, 2))
    for verb, value in story:
        if verb == "append":
            new = torch.randn(2, k.shape[0], 3, value, 2)
            cache.append(*new)
            k, v = torch.cat([k, new[0]], 2), torch.cat([v, new[1]], 2)
        elif verb == "truncate":
            length = min(value, cache.length)
            cache.truncate(length)
            k, v = k[:, :, :length], v[:, :, :length]
        else:
            rows = torch.tensor(value) % k.shape[0]
            cache.take(rows)
            k, v = k[rows], v[rows]
        assert cache.length == k.shape[2]
        assert all(map(torch.equal, cache.read(), (k, v)))


def test_rows_join_behind_the_others_and_slots_are_picked_row_by_row() -> None:
    mine, theirs = torch.randn(2, 2, 2, 3, 4), torch.randn(2, 1, 2, 5, 4)
    cache, other = LayerCache(), LayerCache()
    cache.append(*mine)
    other.append(*theirs)
    cache.join(other, 1)
    cache.join(LayerCache(), 2)
    for held, first, second in zip(cache.read(), mine, theirs, strict=True):
        assert held.shape == (5, 2, 5, 4)
        assert torch.equal(held[:2, :, :3], first)
        assert torch.equal(held[2:3], second)
        assert not held[:2, :, 3:].any() and not held[3:].any()
    cache.take(torch.tensor([2, 0]), torch.tensor([[4, 0], [1, 1]]))
    for held, first, second in zip(cache.read(), mine, theirs, strict=True):
        assert torch.equal(held, torch.stack([second[0][:, [4, 0]], first[0][:, [1, 1]]]))


def test_a_cache_keeps_its_own_dtype() -> None:
    cache = LayerCache(torch.float32)
    assert cache.append(*torch.ones(2, 1, 1, 1, 1, dtype=torch.bfloat16))[0].dtype == torch.float32


def test_what_was_read_earlier_does_not_change() -> None:
    cache = LayerCache()
    early, _ = cache.append(*torch.zeros(2, 1, 1, 2, 1))
    cache.append(*torch.ones(2, 1, 1, 1, 1))
    assert early.flatten().tolist() == [0, 0]


def test_misuse_is_refused() -> None:
    cache = LayerCache()
    with pytest.raises(ValueError, match="the cache is empty: append first"):
        cache.read()
    cache.append(*torch.zeros(2, 3, 2, 4, 1))
    with pytest.raises(ValueError, match="cannot truncate to 5: the cache holds 4 tokens"):
        cache.truncate(5)
    with pytest.raises(ValueError, match="cannot truncate to -1"):
        cache.truncate(-1)
    with pytest.raises(ValueError, match=r"the cache holds \(rows, heads\) \(3, 2\), not \(1, 2\)"):
        cache.append(*torch.zeros(2, 1, 2, 1, 1))  # would fill all three rows by broadcasting


def test_positions_follow_the_rows_and_the_length() -> None:
    cache = Cache(1)

    def read(positions: list[list[int]], rows: int) -> list[list[int]]:
        told = cache.place(torch.tensor(positions))
        cache.layers[0].append(*torch.zeros(2, rows, 1, len(positions[0]), 1))
        return told.tolist()

    assert read([[0, 1]], 2) == [[0, 1]]
    assert read([[2], [0]], 2) == [[0, 1, 2], [0, 1, 0]]
    cache.take(torch.tensor([1, 0, 1]))
    assert read([[7]], 3) == [[0, 1, 0, 7], [0, 1, 2, 7], [0, 1, 0, 7]]
    cache.truncate(1)
    assert read([[5]], 3) == [[0, 5], [0, 5], [0, 5]]
