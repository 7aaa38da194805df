"""Which rows go together, in which order, and how they become tensors.

The order is a function of the lengths, the settings, the seed and the epoch alone: not of workers, of ranks, or of where a
run was interrupted. So a position (epoch, batch), or a step number, is all that a resumed run needs to go on exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.errors import ConfigError
from regard.layers.ragged import ROUND, Ragged

Rows = NDArray[np.int64]
"""Numbers of examples."""

SIDES = ("input_ids", "target_ids")
"""Columns of tokens that an example may have: what is read, and what an encoder-decoder is to write."""


def plan(
    lengths: Rows,
    *,
    tokens: int | None = None,
    rows: int | None = None,
    pool: int = 64,
    seed: int = 0,
    epoch: int = 0,
    sort: bool = False,
) -> list[Rows]:
    """Cut examples of these lengths, (examples,) in tokens, into batches; every example is in exactly one.

    lengths: also (examples, sides), where the bound of tokens holds for each side by itself and the last one counts first in
    sorting. tokens: most tokens in a batch (an example longer than that is a batch of its own); rows: most rows. For
    training the rows are shuffled by (seed, epoch); pools of about `pool` batches are sorted by length, so that a batch has
    few different lengths; then the batches are shuffled. For prediction, where order means nothing, `sort` sorts all rows by
    length, the longest first, so that what does not fit fails at once. Raises ConfigError without any bound.
    """
    if tokens is None and rows is None:
        raise ConfigError("batches without a bound", where="batch", fix="set batch.tokens or batch.rows")
    lengths = lengths[:, None] if lengths.ndim == 1 else lengths
    if sort:
        return _cut(np.lexsort(-lengths.T), lengths, tokens=tokens, rows=rows)
    random = np.random.Generator(np.random.PCG64([seed, epoch]))
    order = random.permutation(len(lengths))
    batches: list[Rows] = []
    for start, stop in _pools(order, lengths, tokens=tokens, rows=rows, pool=pool):
        part = order[start:stop]
        by_length = part[np.lexsort(-lengths[part].T)]
        batches += _cut(by_length, lengths, tokens=tokens, rows=rows)
    return [batches[i] for i in random.permutation(len(batches))]


def _pools(order: Rows, lengths: Rows, *, tokens: int | None, rows: int | None, pool: int) -> Iterator[tuple[int, int]]:
    """Where pools of about `pool` batches start and stop in the shuffled order."""
    upto = np.cumsum(lengths[order], axis=0)
    start = 0
    while start < len(order):
        stop = len(order)
        if tokens is not None:
            stop = _full(upto, start, pool * tokens)
        if rows is not None:
            stop = min(stop, start + pool * rows)
        stop = max(stop, start + 1)
        yield start, stop
        start = stop


def _cut(order: Rows, lengths: Rows, *, tokens: int | None, rows: int | None) -> list[Rows]:
    """Cut rows, in this order, wherever the next one would not fit."""
    upto = np.cumsum(lengths[order], axis=0)
    batches = []
    start = 0
    while start < len(order):
        stop = len(order) if rows is None else start + rows
        if tokens is not None:
            stop = min(stop, max(start + 1, _full(upto, start, tokens)))
        batches.append(order[start:stop])
        start = stop
    return batches


def _full(upto: Rows, start: int, tokens: int) -> int:
    """Where a batch that begins at `start` has no room left on one of its sides; upto: (rows, sides) sums of lengths."""
    before = upto[start - 1] if start else np.zeros_like(upto[0])
    return int(min(np.searchsorted(side, bound, side="right") for side, bound in zip(upto.T, before + tokens, strict=True)))


class Batches:
    """The training order over endless epochs, from any position.

    Iteration gives (epoch, index in the epoch, rows). With several ranks the batches stay the same and each rank gets its
    share of the rows of every one (maybe none of a small one); the shares of a batch together are the batch. accumulate:
    batches in one optimizer step.
    """

    def __init__(
        self,
        lengths: Rows,
        *,
        tokens: int | None,
        rows: int | None,
        pool: int,
        seed: int,
        accumulate: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not len(lengths):
            raise ValueError("no examples")
        self._lengths = lengths
        self._settings: dict[str, Any] = {"tokens": tokens, "rows": rows, "pool": pool, "seed": seed}
        self._accumulate, self._rank, self._world = accumulate, rank, world
        self._epoch, self._index = 0, 0
        self._planned: tuple[int, list[Rows]] = (-1, [])

    def epoch(self, number: int) -> list[Rows]:
        """The batches of an epoch, whole, in order."""
        if self._planned[0] != number:
            self._planned = number, plan(self._lengths, epoch=number, **self._settings)
        return self._planned[1]

    @property
    def position(self) -> tuple[int, int]:
        """(epoch, index) of the batch that comes next."""
        return self._epoch, self._index

    def seek(self, epoch: int, index: int) -> Self:
        """Go to a position; an index at or after the end of its epoch goes on into the next ones."""
        while index >= len(self.epoch(epoch)):
            index -= len(self.epoch(epoch))
            epoch += 1
        self._epoch, self._index = epoch, index
        return self

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch, at least 1; those of the first epoch stand for all, which may differ by a few."""
        return max(1, round(len(self.epoch(0)) / self._accumulate))

    def steps(self, *, after: int) -> Iterator[list[Rows]]:
        """The batches of one optimizer step after the other, without end, once `after` steps are done."""
        self.seek(0, after * self._accumulate)
        while True:
            yield [rows for _, _, rows in islice(self, self._accumulate)]

    def __iter__(self) -> Iterator[tuple[int, int, Rows]]:
        return self

    def __next__(self) -> tuple[int, int, Rows]:
        epoch, index = self.position
        rows = self.epoch(epoch)[index]
        self.seek(epoch, index + 1)
        return epoch, index, rows[self._rank :: self._world]


Gathered = dict[str, NDArray[Any] | list[NDArray[Any]]]
"""Column -> one array for a column of numbers, a list of arrays for a column of lists; an entry an example."""


class Examples(Protocol):
    """What a batch is taken from: a :class:`Listed` in memory, or a :class:`regard.data.store.Store` on disk."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(examples,): tokens that are read of each."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(examples, sides): the lengths of each of :data:`SIDES` that there is."""

    def gather(self, indices: Rows, /) -> Gathered:
        """The examples at `indices`, column by column."""

    def __iter__(self) -> Iterator[Mapping[str, Any]]: ...

    def __len__(self) -> int: ...


class Listed:
    """Examples in memory, all with the same columns: lists of numbers or numbers, `input_ids` among them."""

    def __init__(self, examples: Sequence[Mapping[str, Any]]) -> None:
        self._examples = examples
        sides = [side for side in SIDES if side in (examples[0] if examples else SIDES[:1])]
        sizes = [[len(example[side]) for side in sides] for example in examples]
        self._sizes = np.array(sizes, dtype=np.int64).reshape(-1, len(sides))

    @property
    def lengths(self) -> Rows:
        """(examples,): tokens that are read of each."""
        return self._sizes[:, 0]

    @property
    def sizes(self) -> Rows:
        """(examples, sides): the lengths of each of :data:`SIDES` that there is."""
        return self._sizes

    def gather(self, indices: Rows) -> Gathered:
        """The examples at `indices`, column by column."""
        picked = [self._examples[i] for i in indices]
        gathered: Gathered = {}
        for name, first in (picked[0] if picked else {}).items():
            cells = [example[name] for example in picked]
            gathered[name] = np.array(cells) if np.ndim(first) == 0 else [np.asarray(cell) for cell in cells]
        return gathered

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._examples)

    def __len__(self) -> int:
        return len(self._examples)


class Part:
    """Some of other examples: `indices` (examples,) in them."""

    def __init__(self, examples: Examples, indices: Rows) -> None:
        self._examples, self._indices = examples, indices
        self._sizes = examples.sizes[indices]

    @property
    def lengths(self) -> Rows:
        """See :class:`Examples`."""
        return self._sizes[:, 0]

    @property
    def sizes(self) -> Rows:
        """See :class:`Examples`."""
        return self._sizes

    def gather(self, indices: Rows) -> Gathered:
        """See :class:`Examples`."""
        return self._examples.gather(self._indices[indices])

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for index in self._indices:
            yield {name: cells[0] for name, cells in self._examples.gather(np.array([index])).items()}

    def __len__(self) -> int:
        return len(self._indices)


@dataclass(frozen=True)
class Batch:
    """Examples end to end, without padding. input_ids, type_ids: (tokens + spare,) int64; rows: (rows,) numbers of the
    examples, in the order in which they lie here; targets: every other column, an entry a row."""

    input_ids: Tensor
    type_ids: Tensor | None
    ragged: Ragged
    rows: Rows
    targets: Mapping[str, NDArray[Any] | list[NDArray[Any]]] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Real ones, those to be written included."""
        return self.ragged.tokens + sum(len(row) for row in self.targets.get(SIDES[1], ()))

    def to(self, device: torch.device) -> Batch:
        """The same with its tensors on a device."""
        types = None if self.type_ids is None else self.type_ids.to(device)
        return replace(self, input_ids=self.input_ids.to(device), type_ids=types)


def take(examples: Examples, rows: Rows) -> Batch:
    """One batch of the examples `rows`, put in order of their lengths so that equal lengths lie side by side."""
    lengths = examples.lengths[rows]
    order = np.argsort(lengths, kind="stable")
    columns = examples.gather(rows[order])
    types = columns.pop("type_ids", None)
    ragged = Ragged.of(lengths[order].tolist(), multiple=ROUND)
    return Batch(
        input_ids=_flat(columns.pop("input_ids"), ragged.spare),
        type_ids=None if types is None else _flat(types, ragged.spare),
        ragged=ragged,
        rows=rows[order],
        targets=columns,
    )


def _flat(cells: Sequence[NDArray[Any]] | NDArray[Any], spare: int) -> Tensor:
    return torch.from_numpy(np.concatenate([*cells, np.zeros(spare, np.int64)], dtype=np.int64, casting="unsafe"))
