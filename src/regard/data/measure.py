"""What is counted while a table passes by: lengths, and rows that say the same."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from regard.data.rows import Row
from regard.errors import Problem

Measure = Callable[[list[tuple[str, ...]]], list[int]]
"""The input texts of some rows -> the rows' lengths in tokens."""

LONG = 20_000
"""Characters from which on a row is worth a warning: most models cut it."""

_CHUNK_ROWS, _CHUNK_CHARACTERS = 1024, 1 << 20


class Lengths:
    """Lengths of rows: in tokens by `measure`, which is called with many rows at a time, or in characters without it."""

    def __init__(self, measure: Measure | None) -> None:
        self._measure = measure
        self._waiting: list[tuple[str, ...]] = []
        self._characters = 0
        self._counts: Counter[int] = Counter()
        self._long, self._first_long = 0, ""

    def add(self, row: Row, texts: tuple[str, ...]) -> None:
        """Measure one row."""
        size = sum(map(len, texts))
        if size >= LONG:
            self._first_long = self._first_long or row.where()
            self._long += 1
        if self._measure is None:
            self._counts[size] += 1
            return
        self._waiting.append(texts)
        self._characters += size
        if len(self._waiting) >= _CHUNK_ROWS or self._characters >= _CHUNK_CHARACTERS:
            self._measure_waiting()

    def _measure_waiting(self) -> None:
        if self._measure is not None and self._waiting:
            self._counts.update(self._measure(self._waiting))
            self._waiting, self._characters = [], 0

    def quantiles(self) -> dict[str, int | str]:
        """unit, min, median, p90, p99, max, total; empty without rows. A quantile is a length that occurs."""
        self._measure_waiting()
        if not self._counts:
            return {}
        lengths = np.array(sorted(self._counts))
        upto = np.cumsum([self._counts[int(length)] for length in lengths])
        at = {"min": 0.0, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
        found = {name: int(lengths[np.searchsorted(upto, share * upto[-1])]) for name, share in at.items()}
        total = sum(length * count for length, count in self._counts.items())
        return {"unit": "characters" if self._measure is None else "tokens", **found, "total": total}

    def warnings(self) -> list[Problem]:
        """Rows that are very long."""
        if not self._long:
            return []
        what = f"{_rows(self._long)} of {LONG:,} characters or more, the first here; what a model cannot hold is cut"
        return [Problem(what, self._first_long)]


@dataclass(frozen=True)
class Seen:
    """The rows of a table by what they say. All (rows,): hashes of texts and targets (0: none), row numbers."""

    texts: NDArray[np.uint64]
    targets: NDArray[np.uint64]
    numbers: NDArray[np.uint64]

    def repeats(self, source: str) -> list[Problem]:
        """Warnings about rows that say the same, and about the same text under different targets."""
        order = np.lexsort((self.targets, self.texts))
        texts, targets, numbers = self.texts[order], self.targets[order], self.numbers[order]
        same = texts[1:] == texts[:-1]
        torn = same & (targets[1:] != targets[:-1])
        told = []
        if same.any():
            told.append(Problem(f"repeated texts: {_rows(int(same.sum()))}{_first(numbers, same)}", source))
        if torn.any():
            count = len(np.unique(texts[1:][torn]))
            told.append(Problem(f"texts with different targets: {count}{_first(numbers, torn)}", source))
        return told

    def also_in(self, other: Seen) -> NDArray[np.uint64]:
        """Numbers of the rows whose text the other table has too."""
        return self.numbers[np.isin(self.texts, other.texts)]


class Fingerprints:
    """Collects hashes of rows: 24 bytes a row, whatever the rows hold."""

    def __init__(self) -> None:
        self._texts, self._targets, self._numbers = array("Q"), array("Q"), array("Q")

    def add(self, row: Row, texts: Iterable[str], target: str | None) -> None:
        """Remember one row by the digest of its texts and of its answer."""
        self._texts.append(_hash("\x1f".join(text.strip() for text in texts)))
        self._targets.append(0 if target is None else _hash(target))
        self._numbers.append(row.number)

    def seen(self) -> Seen:
        """All rows so far, sorted for comparison."""
        return Seen(*(np.frombuffer(part, dtype=np.uint64) for part in (self._texts, self._targets, self._numbers)))


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def _first(numbers: NDArray[np.uint64], at: NDArray[np.bool_]) -> str:
    place = int(np.argmax(at))
    first, second = sorted((int(numbers[place]), int(numbers[place + 1])))
    return f" (such as rows {first} and {second})"
