"""Documents laid into blocks of one length, for a decoder: one stream cut anywhere, or whole documents that fit together.

A plan is made of lengths alone. The token that ends a document is one of its tokens: it is added where the document is
encoded, and left out where a row goes on in the next one (:mod:`regard.data.documents`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regard.data.batch import Batch, Examples, Gathered, Part, Rows
from regard.layers.ragged import ROUND, Ragged


@dataclass(frozen=True)
class Packing:
    """Which stretch of which document lies where.

    A stretch is `lengths` tokens, at least 1, of the document `documents` from its token `starts`; all (stretches,). Block b
    is the stretches from `blocks[b]` up to `blocks[b + 1]`, end to end; (blocks + 1,).
    """

    documents: Rows
    starts: Rows
    lengths: Rows
    blocks: Rows

    @property
    def sizes(self) -> Rows:
        """(blocks,): tokens of each block."""
        return np.diff(np.append(0, np.cumsum(self.lengths))[self.blocks])

    def stretches(self, block: int) -> slice:
        """Where the stretches of a block stand."""
        return slice(int(self.blocks[block]), int(self.blocks[block + 1]))

    def __len__(self) -> int:
        return len(self.blocks) - 1


def stream(lengths: Rows, *, length: int, overlap: int = 0) -> Packing:
    """All documents end to end, cut after every `length` tokens, wherever that is; only the last block may be shorter.

    lengths: (documents,) in tokens. overlap: tokens with which a block repeats the end of the one before. The first token of
    a block is never predicted; with an overlap of 1 every token of the stream but its first is predicted exactly once. In a
    block a token sees the documents before its own, as in GPT-3 (Brown et al. 2020, appendix B).
    """
    _check(length)
    if not 0 <= overlap < length:
        raise ValueError(f"blocks of {length} tokens cannot overlap by {overlap}")
    real = np.flatnonzero(lengths)
    ends = np.cumsum(lengths[real])
    heads = ends - lengths[real]
    total = int(ends[-1]) if len(ends) else 0
    begins = np.arange(0, max(total - overlap, min(total, 1)), length - overlap)
    stops = np.minimum(begins + length, total)
    # the documents of a block's first and last token
    first, last = np.searchsorted(ends, begins, side="right"), np.searchsorted(ends, stops, side="left")
    counts = last - first + 1
    blocks = np.append(0, np.cumsum(counts))
    at = np.arange(blocks[-1]) - np.repeat(blocks[:-1] - first, counts)
    starts = np.maximum(np.repeat(begins, counts), heads[at])
    return Packing(real[at], starts - heads[at], np.minimum(np.repeat(stops, counts), ends[at]) - starts, blocks)


def best_fit(lengths: Rows, *, length: int) -> Packing:
    """Whole documents in blocks of at most `length` tokens; only one that is longer is cut, into blocks and a rest.

    lengths: (documents,) in tokens. The longest come first, and each goes where it leaves the least room (best-fit packing,
    Ding et al. 2024, "Fewer Truncations Improve Language Modeling"). Blocks are in the order of the first document of each;
    in a block the shortest documents come first, so that those of equal length lie side by side (see :func:`apart`).
    """
    _check(length)
    counts = -(-lengths // length)
    documents = np.repeat(np.arange(len(lengths)), counts)
    starts = (np.arange(len(documents)) - np.repeat(np.cumsum(counts) - counts, counts)) * length
    sizes = np.minimum(lengths[documents] - starts, length)
    block = _fitted(sizes, length)
    _, first, block = np.unique(block, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))[block]
    order = np.lexsort((np.arange(len(sizes)), sizes, rank))
    blocks = np.append(0, np.cumsum(np.bincount(rank)))
    return Packing(documents[order], starts[order], sizes[order], blocks)


def _check(length: int) -> None:
    if length < 1:
        raise ValueError(f"a block has at least one token, not {length}")


def _fitted(sizes: Rows, length: int) -> Rows:
    """(stretches,): the block of each, by best fit, the longest first."""
    block = np.zeros(len(sizes), dtype=np.int64)
    room: list[list[int]] = [[] for _ in range(length + 1)]
    """Blocks by the tokens that they still hold."""
    open_rooms = 0
    """Bit r is set where a block has room for r tokens: the lowest one above a size is found in a single step."""
    n_blocks = 0
    for stretch in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[stretch])
        fits = open_rooms >> size
        if fits:
            left = size + (fits & -fits).bit_length() - 1
            block[stretch] = chosen = room[left].pop()
            if not room[left]:
                open_rooms ^= 1 << left
        else:
            left, chosen = length, n_blocks
            block[stretch], n_blocks = chosen, n_blocks + 1
        if left > size:
            room[left - size].append(chosen)
            open_rooms |= 1 << (left - size)
    return block


Pack = Callable[[Rows], Packing]
"""Lengths of documents (documents,) -> where they lie."""


class Blocks:
    """Documents as examples of one length (see :class:`~regard.data.batch.Examples`): an example is a block of a packing.

    Columns: `input_ids`, and for each stretch of a document in the block its length in `documents`, the document in
    `numbers`, and in `before` the token that comes before it: of a document's first token `start`, or the last one of the
    document before, if that goes on in this one and does not end in `end`. Other columns of the documents are not carried
    along.
    """

    def __init__(self, documents: Examples, pack: Pack, *, start: int, end: int) -> None:
        self.documents, self._pack, self._start, self._end = documents, pack, start, end
        self._packing = pack(documents.lengths)
        self._sizes = self._packing.sizes[:, None]

    @property
    def lengths(self) -> Rows:
        """(blocks,): tokens of each."""
        return self._sizes[:, 0]

    @property
    def sizes(self) -> Rows:
        """(blocks, 1): the same."""
        return self._sizes

    def first(self, documents: int) -> Blocks:
        """The same for the first so many documents alone."""
        few = Part(self.documents, np.arange(min(documents, len(self.documents))))
        return Blocks(few, self._pack, start=self._start, end=self._end)

    def gather(self, indices: Rows) -> Gathered:
        """The blocks at `indices`, column by column."""
        packing = self._packing
        parts = [packing.stretches(int(block)) for block in indices]
        read = np.concatenate([packing.documents[part] for part in parts]) if parts else packing.documents[:0]
        wanted = np.unique(np.concatenate([read, (read - 1).clip(min=0)]))
        found = self.documents.gather(wanted)["input_ids"] if parts else []
        ids = dict(zip(wanted.tolist(), found, strict=True))
        return {
            "input_ids": [np.concatenate(self._cut(ids, part)) for part in parts],
            "documents": [packing.lengths[part] for part in parts],
            "numbers": [packing.documents[part] for part in parts],
            "before": [self._before(ids, part) for part in parts],
        }

    def _cut(self, ids: Mapping[int, NDArray[Any]], part: slice) -> list[NDArray[Any]]:
        documents, starts, lengths = (
            values[part].tolist() for values in (self._packing.documents, self._packing.starts, self._packing.lengths)
        )
        return [ids[d][start : start + size] for d, start, size in zip(documents, starts, lengths, strict=True)]

    def _before(self, ids: Mapping[int, NDArray[Any]], part: slice) -> Rows:
        documents, starts = (values[part].tolist() for values in (self._packing.documents, self._packing.starts))
        return np.array([self._token_before(ids, d, start) for d, start in zip(documents, starts, strict=True)], np.int64)

    def _token_before(self, ids: Mapping[int, NDArray[Any]], document: int, place: int) -> int:
        if place:
            return int(ids[document][place - 1])
        last = ids[document - 1][-1:].tolist() if document else []
        return last[0] if last and last[0] != self._end else self._start

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for block in range(len(self)):
            yield {name: cells[0] for name, cells in self.gather(np.array([block])).items()}

    def __len__(self) -> int:
        return len(self._packing)


def apart(batch: Batch) -> Batch:
    """A batch of :class:`Blocks` with each stretch of a document a row of its own, the shortest first: positions begin anew
    in each and none sees another. `rows` then has the block of each, and the columns of stretches one entry a row."""
    lengths = np.concatenate(batch.targets["documents"])
    order = np.argsort(lengths, kind="stable")
    parts = batch.input_ids[: len(batch.input_ids) - batch.ragged.spare].split(lengths.tolist())
    ragged = Ragged.of(lengths[order].tolist(), multiple=ROUND)
    ids = torch.cat([*(parts[i] for i in order), batch.input_ids.new_zeros(ragged.spare)])
    blocks = np.repeat(batch.rows, [len(part) for part in batch.targets["documents"]])
    columns = {name: np.concatenate(values)[order][:, None] for name, values in batch.targets.items()}
    return replace(batch, input_ids=ids, ragged=ragged, rows=blocks[order], targets=columns)
