"""Encoded examples on disk, memory-mapped: training reads a file that is larger than memory as if it were a list.

The file is Arrow IPC: one record batch a chunk of examples. A list of numbers becomes a ragged column (flat values and
offsets), a number a fixed one. Integers are int32 in lists and int64 alone; others are float32 in lists and float64 alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from regard.data.batch import SIDES
from regard.errors import WorkError

Example = Mapping[str, Any]
"""Column -> a list of numbers or a number. Every example of a store has the same columns; `input_ids` must be one."""

Indices = NDArray[np.integer[Any]]

_FORMAT = {b"regard": b"store/1"}
_PARTIAL = ".partial"
_ABANDONED = 24 * 3600
"""Seconds after which a partial file is taken for one whose writer was killed."""


class Store:
    """Examples by number. Reading touches only the pages of the examples asked for; safe from several threads."""

    def __init__(self, chunks: Sequence[pa.RecordBatch]) -> None:
        self._columns = [{name: _Column(chunk.column(name)) for name in chunk.schema.names} for chunk in chunks]
        self._starts = np.cumsum([0, *(chunk.num_rows for chunk in chunks)])
        sides = [side for side in SIDES if side in (self._columns[0] if self._columns else SIDES[:1])]
        sizes = [np.stack([columns[side].lengths for side in sides], axis=1) for columns in self._columns]
        self._sizes = np.concatenate([np.zeros((0, len(sides)), np.int64), *sizes])

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map a file that :func:`write` made. Raises WorkError when it is not there or not whole."""
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            if (reader.schema.metadata or {}) != _FORMAT:
                raise WorkError("is not a store of examples, or one of another version", where=str(path), fix="delete it")
            return cls([reader.get_batch(i) for i in range(reader.num_record_batches)])
        except (OSError, pa.ArrowException) as error:
            raise WorkError(f"cannot be read as examples: {error}", where=str(path), fix="delete it") from None

    @classmethod
    def cached(cls, path: Path, make: Callable[[], Iterable[Sequence[Example]]]) -> Self:
        """The store at `path`; where there is none, or no whole one, it is written first from what `make` gives."""
        if path.exists():
            with suppress(WorkError):
                return cls.open(path)
        write(path, make())
        return cls.open(path)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(examples,): how many `input_ids` each has. Held in memory."""
        return self._sizes[:, 0]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(examples, sides): the lengths of each of :data:`~regard.data.batch.SIDES` that there is. Held in memory."""
        return self._sizes

    def gather(self, indices: Indices) -> dict[str, NDArray[Any] | list[NDArray[Any]]]:
        """The examples at `indices`, in their order, column by column: a fixed column as one array, a ragged one as a list
        of views of the file."""
        rows = np.asarray(indices)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"there are {len(self)} examples, no {rows.min()} to {rows.max()}")
        chunks = np.searchsorted(self._starts, rows, side="right") - 1
        places = list(zip(chunks.tolist(), (rows - self._starts[chunks]).tolist(), strict=True))
        gathered: dict[str, NDArray[Any] | list[NDArray[Any]]] = {}
        for name, column in (self._columns[0] if self._columns else {}).items():
            cells = [self._columns[chunk][name][row] for chunk, row in places]
            gathered[name] = cells if column.ragged else np.array(cells)
        return gathered

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: cells[0] for name, cells in self.gather(np.array([index])).items()}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for columns in self._columns:
            for row in range(len(columns["input_ids"].lengths)):
                yield {name: column[row] for name, column in columns.items()}

    def __len__(self) -> int:
        return int(self._starts[-1])


class _Column:
    """One column of one chunk, as numpy views of the mapped file."""

    def __init__(self, column: pa.Array) -> None:
        self.ragged = pa.types.is_list(column.type)
        self._values = (column.values if self.ragged else column).to_numpy(zero_copy_only=True)
        self._offsets = column.offsets.to_numpy(zero_copy_only=True) if self.ragged else None

    @property
    def lengths(self) -> NDArray[np.int64]:
        if self._offsets is None:
            raise ValueError("input_ids must be lists")
        lengths: NDArray[np.int64] = np.diff(self._offsets).astype(np.int64)
        return lengths

    def __getitem__(self, row: int) -> Any:
        if self._offsets is None:
            return self._values[row]
        return self._values[self._offsets[row] : self._offsets[row + 1]]


def write(path: Path, chunks: Iterable[Sequence[Example]]) -> None:
    """Write examples chunk by chunk; only one chunk is in memory. A chunk of about 1,000 examples reads well.

    The file appears under its name only when it is whole: it is written beside, synced and renamed, so a killed writer
    leaves no store. Raises ValueError for examples of different columns, WorkError when the disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        with _appearing(path) as partial:
            _write_chunks(partial, (chunk for chunk in chunks if chunk))
    except OSError as error:
        fix = "free some space, or choose another folder"
        raise WorkError(f"the examples cannot be written: {error.strerror or error}", where=str(path), fix=fix) from error


def _write_chunks(partial: Path, chunks: Iterator[Sequence[Example]]) -> None:
    schema, writer = None, None
    with partial.open("wb") as file:
        for chunk in chunks:
            batch = _record_batch(chunk, schema)
            if writer is None:
                schema = batch.schema.with_metadata(_FORMAT)
                writer = pa.ipc.new_file(file, schema)
            writer.write_batch(batch)
        (writer or pa.ipc.new_file(file, pa.schema([], metadata=_FORMAT))).close()
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its name when the block is done, and goes when it fails."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=_PARTIAL)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # else a power cut may forget the new name
    finally:
        os.close(folder)


def _sweep(folder: Path) -> None:
    for partial in folder.glob(f"*{_PARTIAL}"):
        with suppress(FileNotFoundError):  # another process may sweep too
            if time.time() - partial.stat().st_mtime > _ABANDONED:
                partial.unlink()


def _record_batch(examples: Sequence[Example], schema: pa.Schema | None) -> pa.RecordBatch:
    names = list(examples[0]) if schema is None else schema.names
    for example in examples:
        if example.keys() != set(names):
            raise ValueError(f"an example has the columns {sorted(example)}, others have {sorted(names)}")
    arrays = [pa.array([example[name] for example in examples]) for name in names]
    if any(array.null_count or (_is_ragged(array) and array.values.null_count) for array in arrays):
        raise ValueError("an example holds None; leave the column out, or give it a number")
    fields = (
        [pa.field(name, _stored(array)) for name, array in zip(names, arrays, strict=True)] if schema is None else schema
    )
    for array, kept in zip(arrays, fields, strict=True):
        # The cast below would cut decimals off; numbers too large for the type it refuses itself.
        if _holds(array.type, pa.types.is_floating) and not _holds(kept.type, pa.types.is_floating):
            raise ValueError(f"column {kept.name!r} held whole numbers so far, now others")
    return pa.RecordBatch.from_arrays(
        [array.cast(kept.type) for array, kept in zip(arrays, fields, strict=True)], schema=pa.schema(fields)
    )


def _is_ragged(array: pa.Array) -> bool:
    return bool(pa.types.is_list(array.type))


def _holds(kind: pa.DataType, what: Callable[[pa.DataType], bool]) -> bool:
    return what(kind.value_type if pa.types.is_list(kind) else kind)


def _stored(array: pa.Array) -> pa.DataType:
    """The type in which numbers are kept; a column of empty lists is taken for whole numbers."""
    real = _holds(array.type, pa.types.is_floating)
    if _is_ragged(array):
        return pa.list_(pa.float32() if real else pa.int32())
    return pa.float64() if real else pa.int64()


def fingerprint(paths: Iterable[Path], **settings: Any) -> str:
    """A name for a store: 32 hexadecimal digits that change with the bytes of the files and with any JSON-ready setting
    (the digest of the tokenizer, the task, the longest length)."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]
