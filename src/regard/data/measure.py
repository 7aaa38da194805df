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

RATIO = 9
"""How many times longer one side of a translation may be; the corpus cleaning of Moses (Koehn et al. 2007) has the same."""
EXAMPLES = 5
"""Odd rows that are named; of the rest only the count is."""

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
    """The rows of a table by what they say. All (rows,): hashes of texts, targets (0: none) and languages, row numbers."""

    texts: NDArray[np.uint64]
    targets: NDArray[np.uint64]
    languages: NDArray[np.uint64]
    numbers: NDArray[np.uint64]

    def repeats(self, source: str) -> list[Problem]:
        """Warnings about rows that say the same, and about the same text under different targets; a text that is translated
        into another language is no repetition."""
        order = np.lexsort((self.targets, self.languages, self.texts))
        texts, targets, numbers = self.texts[order], self.targets[order], self.numbers[order]
        languages = self.languages[order]
        same = (texts[1:] == texts[:-1]) & (languages[1:] == languages[:-1])
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
    """Collects hashes of rows: 32 bytes a row, whatever the rows hold."""

    def __init__(self) -> None:
        self._texts, self._targets, self._languages, self._numbers = array("Q"), array("Q"), array("Q"), array("Q")

    def add(self, row: Row, texts: Iterable[str], target: str | None, languages: Iterable[str] = ()) -> None:
        """Remember one row by the digests of its texts, of its answer and of the languages of both."""
        self._texts.append(_hash("\x1f".join(text.strip() for text in texts)))
        self._targets.append(0 if target is None else _hash(target))
        self._languages.append(_hash("\x1f".join(languages)))
        self._numbers.append(row.number)

    def seen(self) -> Seen:
        """All rows so far, sorted for comparison."""
        parts = (self._texts, self._targets, self._languages, self._numbers)
        return Seen(*(np.frombuffer(part, dtype=np.uint64) for part in parts))


class Sides:
    """Texts beside the texts to be made of them: rows where both are the same, or one is far longer.

    target: what messages call the second; ratio: whether their lengths say something, as they do in a translation and not in
    a summary. Lengths are in bytes of UTF-8, in which scripts that write a word in a letter or two do not look short.
    """

    def __init__(self, target: str, *, ratio: bool) -> None:
        self._ratio = ratio
        self._same = _Odd(f"{target} that is the text itself")
        self._uneven = _Odd(f"{target} more than {RATIO} times as long as the text, or the other way round")

    def add(self, row: Row, text: str, target: str) -> None:
        """Compare the two sides of one row."""
        if text.strip() == target.strip():
            self._same.add(row)
        elif self._ratio:
            short, long = sorted((len(text.strip().encode()), len(target.strip().encode())))
            if long > RATIO * short:
                self._uneven.add(row)

    def warnings(self) -> list[Problem]:
        """What is odd, with the first rows that are."""
        return [problem for odd in (self._same, self._uneven) for problem in odd.told()]


class _Odd:
    """Rows that are odd in one way: how many, where the first is, and some of the numbers of those in the same file."""

    def __init__(self, what: str) -> None:
        self._what, self._count = what, 0
        self._first: Row | None = None
        self._numbers: list[int] = []

    def add(self, row: Row) -> None:
        self._count += 1
        self._first = first = self._first or row
        if (row.file, row.files) == (first.file, first.files) and len(self._numbers) < EXAMPLES:
            self._numbers.append(row.number)

    def told(self) -> list[Problem]:
        if self._first is None:
            return []
        numbers = ", ".join(map(str, self._numbers)) + (" …" if self._count > len(self._numbers) else "")
        return [Problem(f"{_rows(self._count)} ({numbers}) with a {self._what}, the first here", self._first.where())]


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def _first(numbers: NDArray[np.uint64], at: NDArray[np.bool_]) -> str:
    place = int(np.argmax(at))
    first, second = sorted((int(numbers[place]), int(numbers[place + 1])))
    return f" (such as rows {first} and {second})"
