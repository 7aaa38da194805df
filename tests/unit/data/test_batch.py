"""Batches: every row once, within the budget, in an order that seed and epoch alone decide."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regard.data.batch import Batches, Examples, Listed, plan, take
from regard.data.store import Store, write
from regard.errors import ConfigError

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=120).map(np.array)
BOUND = st.fixed_dictionaries({"tokens": st.integers(1, 200), "rows": st.integers(1, 12)}) | st.sampled_from(
    [{"tokens": 64, "rows": None}, {"tokens": None, "rows": 4}]
)
ORDER = st.fixed_dictionaries({"seed": st.integers(0, 2**32 - 1), "epoch": st.integers(0, 9), "pool": st.integers(1, 5)})
MODE = st.sampled_from([{}, {"sort": True}])


def as_lists(batches: list[Any]) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


PINNED = [[7, 5, 4, 3], [2], [6, 1, 0], [11, 8], [10, 9]]


class TestPlan:
    @given(lengths=LENGTHS, bound=BOUND, order=ORDER, mode=MODE)
    def test_every_row_is_in_one_batch_within_the_budget(
        self, lengths: np.ndarray, bound: dict[str, int | None], order: dict[str, int], mode: dict[str, bool]
    ) -> None:
        batches = plan(lengths, **bound, **order, **mode)
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
        for batch in batches:
            assert bound["tokens"] is None or lengths[batch].sum() <= bound["tokens"] or len(batch) == 1
            assert bound["rows"] is None or len(batch) <= bound["rows"]

    @given(lengths=LENGTHS, bound=BOUND, order=ORDER)
    def test_the_order_is_a_function_of_seed_and_epoch(
        self, lengths: np.ndarray, bound: dict[str, int | None], order: dict[str, int]
    ) -> None:
        np.random.seed(order["epoch"])  # the global generator must not matter
        once = plan(lengths, **bound, **order)
        assert as_lists(once) == as_lists(plan(lengths.copy(), **bound, **order))

    def test_epochs_and_seeds_differ(self) -> None:
        lengths = np.full(100, 5)
        plans = [as_lists(plan(lengths, rows=10, seed=seed, epoch=epoch)) for seed in (0, 1) for epoch in (0, 1)]
        assert all(plans[i] != plans[j] for i in range(4) for j in range(i))

    def test_the_order_of_a_seed_does_not_change_between_versions(self) -> None:
        lengths = np.arange(1, 13)
        assert as_lists(plan(lengths, tokens=24, pool=2, seed=7, epoch=3)) == PINNED

    def test_pools_bring_equal_lengths_together(self) -> None:
        lengths = np.random.default_rng(0).integers(3, 100, 5000)

        def different(pool: int) -> float:
            return float(np.mean([len(set(lengths[batch])) for batch in plan(lengths, tokens=1024, pool=pool)]))

        assert different(64) < 4 < 15 < different(1)

    def test_batches_are_filled(self) -> None:
        lengths = np.random.default_rng(0).integers(3, 100, 5000)
        tokens = sorted(int(lengths[batch].sum()) for batch in plan(lengths, tokens=1024, pool=64))
        assert tokens[len(tokens) // 10] > 1024 - 100

    def test_sorted_batches_start_with_the_longest(self) -> None:
        assert as_lists(plan(np.array([3, 9, 5, 9]), tokens=18, sort=True)) == [[1, 3], [2, 0]]

    def test_a_bound_is_needed(self) -> None:
        with pytest.raises(ConfigError, match=r"batches without a bound\n  fix: set batch.tokens or batch.rows"):
            plan(np.array([1]))

    @given(order=ORDER, sizes=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=60))
    def test_the_bound_holds_for_each_side(self, order: dict[str, int], sizes: list[tuple[int, int]]) -> None:
        table = np.array(sizes)
        batches = plan(table, tokens=40, **order)
        assert sorted(np.concatenate(batches).tolist()) == [*range(len(sizes))]
        assert all((table[batch].sum(0) <= 40).all() for batch in batches if len(batch) > 1)

    def test_the_last_side_counts_first_in_sorting(self) -> None:
        table = np.array([[3, 5], [9, 5], [4, 7], [1, 7]])
        assert as_lists(plan(table, rows=4, sort=True)) == [[2, 3, 1, 0]]

    def test_no_rows_no_batches(self) -> None:
        assert plan(np.array([], dtype=np.int64), rows=4) == plan(np.array([], dtype=np.int64), rows=4, sort=True) == []


def batches(lengths: np.ndarray, **options: Any) -> Batches:
    return Batches(lengths, **{"tokens": 100, "rows": None, "pool": 2, "seed": 5, **options})


class TestBatches:
    @given(lengths=LENGTHS, skip=st.integers(0, 60))
    def test_a_run_goes_on_where_it_stopped(self, lengths: np.ndarray, skip: int) -> None:
        through, first = batches(lengths), batches(lengths)
        expected = [(epoch, index, rows.tolist()) for epoch, index, rows in islice(through, skip + 10)][skip:]
        for _ in range(skip):
            next(first)
        again = batches(lengths).seek(*first.position)
        assert [(epoch, index, rows.tolist()) for epoch, index, rows in islice(again, 10)] == expected
        by_count = batches(lengths).seek(0, skip)
        assert by_count.position == first.position

    @given(lengths=LENGTHS, world=st.integers(1, 5))
    def test_ranks_share_every_batch_of_the_same_order(self, lengths: np.ndarray, world: int) -> None:
        alone = list(islice(batches(lengths), 12))
        ranks = [list(islice(batches(lengths, rank=rank, world=world), 12)) for rank in range(world)]
        for place, (epoch, index, rows) in enumerate(alone):
            shares = [rank[place] for rank in ranks]
            assert {(share[0], share[1]) for share in shares} == {(epoch, index)}
            assert sorted(np.concatenate([share[2] for share in shares]).tolist()) == sorted(rows.tolist())
            sizes = [len(share[2]) for share in shares]
            assert max(sizes) - min(sizes) <= 1

    def test_epochs_follow_each_other_whole(self) -> None:
        running = batches(np.full(10, 25))
        epochs = [epoch for epoch, _, _ in islice(running, 9)]
        assert epochs == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert running.position == (3, 0)
        assert len(running.epoch(1)) == 3

    @given(lengths=LENGTHS, accumulate=st.integers(1, 4), after=st.integers(0, 12))
    def test_steps_are_batches_in_order(self, lengths: np.ndarray, accumulate: int, after: int) -> None:
        flat = [rows.tolist() for _, _, rows in islice(batches(lengths), (after + 3) * accumulate)]
        steps = islice(batches(lengths, accumulate=accumulate).steps(after=after), 3)
        expected = [flat[i : i + accumulate] for i in range(after * accumulate, len(flat), accumulate)]
        assert [as_lists(step) for step in steps] == expected

    def test_steps_per_epoch(self) -> None:
        assert batches(np.full(40, 25)).steps_per_epoch == 10
        assert batches(np.full(40, 25), accumulate=4).steps_per_epoch == 2
        assert batches(np.full(1, 25), accumulate=4).steps_per_epoch == 1

    def test_no_examples(self) -> None:
        with pytest.raises(ValueError, match="no examples"):
            batches(np.array([], dtype=np.int64))


EXAMPLES = [
    {"input_ids": [5, 6, 7], "type_ids": [0, 0, 1], "label": 1, "labels": [2], "score": 0.5},
    {"input_ids": [8], "type_ids": [0], "label": 0, "labels": [], "score": 1.5},
    {"input_ids": [9, 10, 11], "type_ids": [0, 1, 1], "label": 2, "labels": [0, 1], "score": 2.5},
]


@pytest.fixture(params=["listed", "store"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Examples:
    if request.param == "listed":
        return Listed(EXAMPLES)
    write(tmp_path / "x", [EXAMPLES[:2], EXAMPLES[2:]])
    return Store.open(tmp_path / "x")


class TestTake:
    def test_rows_lie_end_to_end_by_length(self, source: Examples) -> None:
        batch = take(source, np.array([2, 1, 0]))
        assert batch.rows.tolist() == [1, 2, 0]
        assert batch.ragged.groups == ((1, 1), (2, 3))
        assert batch.input_ids[: batch.ragged.tokens].tolist() == [8, 9, 10, 11, 5, 6, 7]
        assert batch.input_ids.dtype == torch.int64
        assert batch.type_ids is not None
        assert batch.type_ids[: batch.ragged.tokens].tolist() == [0, 0, 1, 1, 0, 0, 1]
        assert set(batch.targets) == {"label", "labels", "score"}
        assert np.asarray(batch.targets["label"]).tolist() == [0, 2, 1]
        assert [cell.tolist() for cell in batch.targets["labels"]] == [[], [0, 1], [2]]

    def test_examples_come_back_one_by_one(self, source: Examples) -> None:
        assert len(source) == 3
        assert source.lengths.tolist() == [3, 1, 3]
        assert [int(example["label"]) for example in source] == [1, 0, 2]

    def test_batches_move(self, source: Examples) -> None:
        assert take(source, np.array([0])).to(torch.device("meta")).input_ids.device.type == "meta"

    def test_without_types(self) -> None:
        assert take(Listed([{"input_ids": [1, 2]}]), np.array([0])).type_ids is None
