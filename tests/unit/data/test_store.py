"""Examples on disk: what is written comes back, is never in memory as a whole, and a killed writer leaves nothing."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.store import Store, fingerprint, write
from regard.errors import WorkError

INT32 = st.integers(-(2**31), 2**31 - 1)
EXAMPLES = st.lists(
    st.fixed_dictionaries(
        {
            "input_ids": st.lists(INT32, min_size=1, max_size=5),
            "labels": st.lists(INT32, max_size=3),
            "label": st.integers(-(2**63), 2**63 - 1),
            "score": st.floats(allow_nan=False),
        }
    ),
    max_size=12,
)


def examples(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"input_ids": [n, n + 1, n + 2], "label": n} for n in range(first, first + count)]


def same(stored: dict[str, Any], example: dict[str, Any]) -> bool:
    return stored.keys() == example.keys() and all(np.array_equal(stored[name], example[name]) for name in example)


@given(rows=EXAMPLES, size=st.integers(1, 5), data=st.data())
def test_what_is_written_comes_back(
    rows: list[dict[str, Any]], size: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "x.arrow"
    write(path, (rows[i : i + size] for i in range(0, len(rows), size)))
    store = Store.open(path)
    assert len(store) == len(rows)
    assert store.lengths.tolist() == [len(row["input_ids"]) for row in rows]
    assert all(same(stored, row) for stored, row in zip(store, rows, strict=True))
    if rows:
        indices = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1))
        assert same(store[indices[0]], rows[indices[0]])
        gathered = store.gather(np.array(indices))
        for place, index in enumerate(indices):
            assert same({name: cells[place] for name, cells in gathered.items()}, rows[index])


def test_an_index_outside_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "x", [examples(3)])
    for index in (-1, 3):
        with pytest.raises(IndexError, match="there are 3 examples"):
            Store.open(tmp_path / "x").gather(np.array([0, index]))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"input_ids": [1]}, "an example has the columns"),
        ({"input_ids": [1], "label": None}, "an example holds None"),
        ({"input_ids": [None], "label": 1}, "an example holds None"),
        ({"input_ids": [2**31], "label": 1}, "2147483648"),
        ({"input_ids": [0.5], "label": 1}, "column 'input_ids' held whole numbers so far"),
        ({"input_ids": [1], "label": 0.5}, "column 'label' held whole numbers so far"),
    ],
)
def test_examples_that_do_not_fit_are_refused(second: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "x", [examples(1), [second]])
    assert list(tmp_path.iterdir()) == []


def test_neither_writing_nor_reading_holds_the_file_in_memory(tmp_path: Path) -> None:
    def chunks() -> Iterator[list[dict[str, Any]]]:
        for _ in range(200):
            yield [{"input_ids": np.arange(1000, dtype=np.int32), "label": 1}] * 100

    path, pool = tmp_path / "x", pa.system_memory_pool()
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        write(path, chunks())
        assert path.stat().st_size > 80_000_000
        assert pool.max_memory() < 2_000_000
        store = Store.open(path)
        assert store.gather(np.array([0, 9999, 19_999]))["input_ids"][2][999] == 999
        assert pool.bytes_allocated() < 200_000
    finally:
        pa.set_memory_pool(before)


class TestWhole:
    def test_no_prefix_is_taken_for_the_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        write(path, [examples(10), examples(10)])
        whole = path.read_bytes()
        for size in range(0, len(whole), 7):
            path.write_bytes(whole[:size])
            with pytest.raises(WorkError, match=r"cannot be read as examples[\s\S]*fix: delete it"):
                Store.open(path)

    def test_another_arrow_file_is_refused(self, tmp_path: Path) -> None:
        table = pa.table({"input_ids": [[1]]})
        with pa.ipc.new_file(str(tmp_path / "x"), table.schema) as writer:
            writer.write_table(table)
        with pytest.raises(WorkError, match="is not a store of examples"):
            Store.open(tmp_path / "x")

    def test_a_killed_writer_leaves_no_store(self, tmp_path: Path) -> None:
        program = (
            "import sys; from itertools import repeat; from pathlib import Path; from regard.data.store import write\n"
            "write(Path(sys.argv[1]), repeat([{'input_ids': [1, 2, 3] * 1000}] * 10))"
        )
        path = tmp_path / "x"
        writer = subprocess.Popen([sys.executable, "-c", program, str(path)])
        try:
            deadline = time.monotonic() + 60
            while not any(partial.stat().st_size > 1_000_000 for partial in tmp_path.glob("x.*.partial")):
                assert writer.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        assert not path.exists()
        (partial,) = tmp_path.iterdir()
        with pytest.raises(WorkError):
            Store.open(partial)
        assert len(Store.cached(path, lambda: [examples(2)])) == 2

    def test_what_a_killed_writer_left_is_swept_after_a_day(self, tmp_path: Path) -> None:
        old, new = tmp_path / "x.1.partial", tmp_path / "x.2.partial"
        for path in (old, new):
            path.touch()
        os.utime(old, (0, 0))
        write(tmp_path / "x", [examples(1)])
        assert not old.exists()
        assert new.exists()

    def test_a_full_disk_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        path = tmp_path / "x"
        write(path, [examples(3)])
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(WorkError, match="No space left on device\n  fix: free some space"):
            write(path, [examples(5)])
        assert len(Store.open(path)) == 3
        assert list(tmp_path.iterdir()) == [path]


class TestCached:
    def test_is_made_once(self, tmp_path: Path) -> None:
        made = []

        def make() -> list[list[dict[str, Any]]]:
            made.append(1)
            return [examples(4)]

        path = tmp_path / "folder" / "x"
        assert len(Store.cached(path, make)) == len(Store.cached(path, make)) == 4
        assert len(made) == 1

    def test_is_made_again_when_it_is_damaged(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.write_bytes(b"half")
        assert len(Store.cached(path, lambda: [examples(4)])) == 4

    def test_fingerprint_follows_bytes_and_settings(self, tmp_path: Path) -> None:
        path, twin = tmp_path / "x", tmp_path / "y"
        path.write_bytes(b"rows")
        twin.write_bytes(b"rows")
        name = fingerprint([path], tokenizer="abc", max_length=128)
        assert len(name) == 32
        assert name == fingerprint([twin], max_length=128, tokenizer="abc")
        assert name != fingerprint([path], tokenizer="abc", max_length=64)
        assert name != fingerprint([path, twin], tokenizer="abc", max_length=128)
        path.write_bytes(b"Rows")
        assert name != fingerprint([path], tokenizer="abc", max_length=128)
