"""Packing: every token once, in order, in blocks that are never too long, and documents that stay whole."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.batch import Batches, Examples, Listed, take
from regard.data.pack import Blocks, Packing, apart, best_fit, stream
from regard.data.store import Store, write

LENGTHS = st.lists(st.integers(0, 30), max_size=40).map(lambda lengths: np.array(lengths, dtype=np.int64))
LENGTH = st.integers(1, 20)


def documents(lengths: np.ndarray) -> list[np.ndarray]:
    """Documents whose tokens are all different: 0, 1, 2 … through all of them."""
    return np.split(np.arange(lengths.sum()), np.cumsum(lengths)[:-1]) if len(lengths) else []


def examples(lengths: np.ndarray) -> Listed:
    return Listed([{"input_ids": ids, "truncated": 0} for ids in documents(lengths)])


def laid(documents: Examples, packing: Packing) -> Blocks:
    return Blocks(documents, lambda _: packing, start=-1, end=-2)


def blocks(lengths: np.ndarray, packing: Packing) -> list[list[int]]:
    gathered = laid(examples(lengths), packing).gather(np.arange(len(packing)))
    return [block.tolist() for block in gathered["input_ids"]]


def in_order(packing: Packing) -> list[tuple[int, int, int]]:
    """All stretches by document and place."""
    stretches = zip(packing.documents.tolist(), packing.starts.tolist(), packing.lengths.tolist(), strict=True)
    return sorted(stretches)


class TestStream:
    @given(lengths=LENGTHS, length=LENGTH)
    def test_is_all_tokens_in_order_cut_at_one_length(self, lengths: np.ndarray, length: int) -> None:
        found = blocks(lengths, stream(lengths, length=length))
        total = int(lengths.sum())
        assert found == [list(range(start, min(start + length, total))) for start in range(0, total, length)]

    @given(lengths=LENGTHS, length=st.integers(2, 20), data=st.data())
    def test_blocks_overlap(self, lengths: np.ndarray, length: int, data: st.DataObject) -> None:
        overlap = data.draw(st.integers(1, length - 1))
        found = blocks(lengths, stream(lengths, length=length, overlap=overlap))
        total = int(lengths.sum())
        assert [token for number, block in enumerate(found) for token in block[overlap if number else 0 :]] == [
            *range(total)
        ]
        for before, block in pairwise(found):
            assert len(before) == length
            assert before[-overlap:] == block[:overlap]
            assert len(block) > overlap, "a block has something of its own"

    def test_with_an_overlap_of_one_each_token_is_predicted_once(self) -> None:
        found = blocks(lengths := np.array([5, 4, 3]), stream(lengths, length=4, overlap=1))
        assert [token for block in found for token in block[1:]] == list(range(1, 12))

    def test_stretches(self) -> None:
        packing = stream(np.array([3, 0, 4]), length=5)
        assert in_order(packing) == [(0, 0, 3), (2, 0, 2), (2, 2, 2)]
        assert packing.blocks.tolist() == [0, 2, 3]
        assert packing.sizes.tolist() == [5, 2]


class TestBestFit:
    @given(lengths=LENGTHS, length=LENGTH)
    def test_every_token_is_in_one_block(self, lengths: np.ndarray, length: int) -> None:
        packing = best_fit(lengths, length=length)
        found = blocks(lengths, packing)
        assert sorted(token for block in found for token in block) == list(range(lengths.sum()))
        assert [len(block) for block in found] == packing.sizes.tolist()
        assert all(0 < len(block) <= length for block in found)

    @given(lengths=LENGTHS, length=LENGTH)
    def test_a_document_is_cut_only_where_a_block_ends(self, lengths: np.ndarray, length: int) -> None:
        expected = [
            (document, start, min(length, size - start))
            for document, size in enumerate(lengths.tolist())
            for start in range(0, size, length)
        ]
        assert in_order(best_fit(lengths, length=length)) == expected

    @given(lengths=LENGTHS, length=LENGTH)
    def test_no_two_blocks_fit_into_one(self, lengths: np.ndarray, length: int) -> None:
        sizes = sorted(best_fit(lengths, length=length).sizes.tolist())
        assert len(sizes) < 2 or sizes[0] + sizes[1] > length

    @given(lengths=LENGTHS, length=LENGTH)
    def test_the_order_of_blocks_and_in_them(self, lengths: np.ndarray, length: int) -> None:
        packing = best_fit(lengths, length=length)
        parts = [packing.stretches(block) for block in range(len(packing))]
        first = [min(zip(packing.documents[part], packing.starts[part], strict=True)) for part in parts]
        assert first == sorted(first)
        assert all((np.diff(packing.lengths[part]) >= 0).all() for part in parts)

    def test_the_least_room_is_filled(self) -> None:
        packing = best_fit(np.array([2, 3, 4, 5, 6]), length=10)
        assert packing.sizes.tolist() == [10, 10]
        # first fit would put the 2 to the 7 and leave the 8 with room for it
        packing = best_fit(lengths := np.array([7, 8, 2, 3]), length=10)
        assert blocks(lengths, packing) == [[*range(17, 20), *range(7)], [15, 16, *range(7, 15)]]

    def test_the_plan_does_not_change_between_versions(self) -> None:
        packing = best_fit(np.array([4, 9, 1, 4, 25, 2]), length=10)
        assert in_order(packing) == [
            (0, 0, 4),
            (1, 0, 9),
            (2, 0, 1),
            (3, 0, 4),
            (4, 0, 10),
            (4, 10, 10),
            (4, 20, 5),
            (5, 0, 2),
        ]
        assert packing.documents.tolist() == [2, 0, 4, 1, 5, 3, 4, 4]


class TestBlocks:
    def stored(self, lengths: np.ndarray, path: Path) -> Store:
        write(path, [[{"input_ids": ids.tolist()} for ids in documents(lengths)]])
        return Store.open(path)

    def test_of_a_store_are_those_of_a_list(self, tmp_path: Path) -> None:
        lengths = np.array([5, 1, 8, 3])
        packing = best_fit(lengths, length=6)
        stored: list[Examples] = [
            laid(self.stored(lengths, tmp_path / "x.arrow"), packing),
            laid(examples(lengths), packing),
        ]
        first, second = ([(e["input_ids"].tolist(), e["documents"].tolist()) for e in each] for each in stored)
        assert first == second
        assert len(stored[0]) == 3
        assert stored[0].lengths.tolist() == packing.sizes.tolist()

    @given(lengths=LENGTHS.filter(lambda lengths: lengths.sum() > 0), length=LENGTH)
    def test_are_batched_and_taken_apart(self, lengths: np.ndarray, length: int) -> None:
        packing = best_fit(lengths, length=length)
        each = laid(examples(lengths), packing)
        batches = Batches(each.lengths, tokens=3 * length, rows=None, pool=4, seed=0)
        stretches = []
        for rows in batches.epoch(0):
            together = take(each, rows)
            batch = apart(together)
            assert sorted(batch.input_ids.tolist()) == sorted(together.input_ids.tolist())
            assert np.concatenate(batch.targets["documents"]).tolist() == batch.ragged.lengths.tolist()
            real = batch.input_ids[: batch.ragged.tokens]
            for block, ids in zip(batch.rows, real.split(batch.ragged.lengths.tolist()), strict=True):
                stretches.append(ids.tolist())
                assert set(ids.tolist()) <= set(each.gather(np.array([block]))["input_ids"][0].tolist())
            starts = real[batch.ragged.starts].tolist()
            assert batch.ragged.positions[: batch.ragged.tokens].tolist() == [
                token - max(start for start in starts if start <= token) for token in real.tolist()
            ]
        ids = documents(lengths)
        assert sorted(stretches) == sorted(ids[d][s : s + n].tolist() for d, s, n in in_order(packing))

    @given(lengths=LENGTHS.filter(lambda lengths: lengths.sum() > 0), length=LENGTH, data=st.data())
    def test_know_the_token_before_each_stretch(self, lengths: np.ndarray, length: int, data: st.DataObject) -> None:
        ids = documents(lengths)
        ended = [data.draw(st.booleans()) for _ in ids]
        held = [[*each[:-1], -2] if end and len(each) else [*each] for each, end in zip(ids, ended, strict=True)]
        packing = data.draw(st.sampled_from([stream, best_fit]))(lengths, length=length)
        each = Blocks(Listed([{"input_ids": document} for document in held]), lambda _: packing, start=-1, end=-2)
        gathered = each.gather(np.arange(len(each)))
        stretches = list(zip(packing.starts.tolist(), np.concatenate(gathered["numbers"]).tolist(), strict=True))
        for (start, number), before in zip(stretches, np.concatenate(gathered["before"]).tolist(), strict=True):
            last = held[number - 1][-1:] if number else []
            assert before == (held[number][start - 1] if start else last[0] if last and last != [-2] else -1)

    def test_of_the_first_documents(self) -> None:
        each = Blocks(examples(np.array([5, 4, 3])), lambda lengths: stream(lengths, length=4), start=-1, end=-2)
        assert [example["input_ids"].tolist() for example in each.first(2)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
        assert len(each.first(9)) == len(each) == 3

    def test_nothing(self) -> None:
        none = np.array([], dtype=np.int64)
        for packing in (stream(none, length=4, overlap=1), best_fit(none, length=4), best_fit(np.array([0, 0]), length=4)):
            assert len(packing) == 0
            assert not any(laid(Listed([]), packing).gather(none).values())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"length": 0}, "at least one token, not 0"), ({"length": 4, "overlap": 4}, "blocks of 4 tokens cannot overlap by 4")],
)
def test_impossible_blocks(wrong: dict[str, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        stream(np.array([3]), **wrong)
    if "overlap" not in wrong:
        with pytest.raises(ValueError, match=says):
            best_fit(np.array([3]), **wrong)
