"""What a row's target may be, kind by kind: one class, several, a number, a text."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from regard.data.read import Table
from regard.data.rows import HALF_PAIR, Row, is_missing, is_whole, kind_of, shown
from regard.errors import SHOWN, Problem, did_you_mean, listed

TargetKind = Literal["label", "labels", "number", "text"]

MANY_CLASSES = 10_000
"""Classes from which on the column is no label column."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")

RARE, UNEVEN = 5, 20
"""Rows below which a class is rare, and the ratio of the largest class to the smallest that is worth a warning."""


class Target(ABC):
    """Sees the target of every row. name: our column; table: where the rows come from and wrong ones are reported."""

    def __init__(self, table: Table, name: str) -> None:
        self.name, self.column = name, table.theirs(name)
        self.source, self.problems = table.source, table.problems
        self.labels: Counter[str] = Counter()
        """Rows of each class; empty for targets that have no classes."""

    def read(self, row: Row) -> str | None:
        """Check one row's target; returns its canonical text, None when it is missing or wrong (and reported)."""
        value = row.values.get(self.name)
        if is_missing(value):
            self.bad(row, f"the {self.name} is missing", fix="fill it in or remove the row")
        elif isinstance(value, str) and not is_whole(value):
            self.bad(row, HALF_PAIR, fix="write the file again as UTF-8")
        else:
            return self.add(row, value)
        return None

    @abstractmethod
    def add(self, row: Row, value: Any) -> str | None:
        """The same for a target that is not missing."""

    def finish(self) -> list[Problem]:
        """After the last row: add the errors that only all rows together show, return the warnings."""
        return []

    def bad(self, row: Row, what: str, *, allowed: str = "", fix: str = "") -> None:
        """Report a row whose answer cannot be used."""
        self.problems.add(what, where=row.where(self.column), allowed=allowed, fix=fix)


class LabelTarget(Target):
    """One class a row. known: the classes there are; None means that the rows define them."""

    def __init__(self, table: Table, name: str, *, known: Sequence[str] | None) -> None:
        super().__init__(table, name)
        self._known = known
        self._known_set = None if known is None else frozenset(known)
        self._kinds: dict[str, str] = {}
        """Kind of value -> where the first is."""

    def add(self, row: Row, value: Any) -> str | None:
        if isinstance(value, float):
            what = f"the label is {value!r}, a number with a decimal point"
            self.bad(row, what, fix="write classes as whole numbers or words")
            return None
        if not isinstance(value, str | int):
            self.bad(row, f"{kind_of(value)} where one label is meant", allowed="one class a row, as text or a whole number")
            return None
        kind = kind_of(value)
        if kind not in self._kinds:
            self._kinds[kind] = f"row {row.number}"
        return self.count(row, str(value))

    def count(self, row: Row, label: str) -> str | None:
        """Count one class; None when it is not a known one."""
        if self._known_set is not None and label not in self._known_set:
            # Looking for close names is slow and only the first problems are shown.
            hint = did_you_mean(label, self._known_set) if self.problems.count < SHOWN else ""
            self.bad(row, f"unknown label {shown(label)}", allowed=listed(map(shown, self._known or ())), fix=hint)
            return None
        if len(self.labels) < MANY_CLASSES or label in self.labels:
            self.labels[label] += 1
        return label

    def finish(self) -> list[Problem]:
        """Errors: mixed types, one class only, too many classes. Warnings: rare, uneven, alike or number-like classes."""
        if len(self._kinds) > 1:
            kinds = ", ".join(f"{kind} ({first})" for kind, first in self._kinds.items())
            self._whole(f"the labels are of mixed types: {kinds}", fix="write them all as text, or all as numbers")
        if len(self.labels) >= MANY_CLASSES:
            self._whole(f"{MANY_CLASSES:,} different labels or more", fix="map another column, or use --task regression")
        # Where rows could not be read, the other classes may be in those.
        if len(self.labels) == 1 and self._known is None and not self.problems:
            what = f"only one class, {shown(next(iter(self.labels)))}"
            self._whole(what, allowed="two or more", fix="add rows of another class; a sorted file may have been cut")
        return [Problem(what, self.source) for what in self._odd()]

    def _whole(self, what: str, *, allowed: str = "", fix: str = "") -> None:
        self.problems.add(what, where=f"{self.source}, column {self.column}", allowed=allowed, fix=fix)

    def _odd(self) -> list[str]:
        counts = self.labels.most_common()
        if len(counts) < 2:
            return []
        (most, large), (least, small) = counts[0], counts[-1]
        odd = []
        rare = [label for label, count in counts if count < RARE]
        if rare:
            odd.append(f"fewer than {RARE} rows of label {listed(map(shown, rare))}")
        if large > UNEVEN * small:
            odd.append(f"uneven classes: {large} rows of {shown(most)}, {small} of {shown(least)}")
        if sum(self.labels.values()) > 100 and 2 * len(counts) > sum(self.labels.values()):
            odd.append(f"{len(counts)} different labels for {sum(self.labels.values())} rows: is this the label column?")
        return odd + self._number_like() + self._alike()

    def _number_like(self) -> list[str]:
        numbers = [label for label in self.labels if _NUMBER.fullmatch(label)]
        words = [label for label in self.labels if not _NUMBER.fullmatch(label)]
        if numbers and words and len(self._kinds) == 1:
            return [f"some labels are numbers ({listed(map(shown, numbers))}), others words ({listed(map(shown, words))})"]
        if not words and any("." in label for label in numbers):
            return ["the labels look like scores: if their order matters, use --task regression"]
        return []

    def _alike(self) -> list[str]:
        spellings: dict[str, list[str]] = {}
        for label in self.labels:
            spellings.setdefault(label.strip().casefold(), []).append(label)
        alike = [names for names in spellings.values() if len(names) > 1]
        return [f"labels that differ by case or white space alone: {listed(map(shown, names))}" for names in alike]


class LabelsTarget(LabelTarget):
    """Any number of classes a row: a list, or text parted by `separator`; empty means none."""

    def __init__(self, table: Table, name: str, *, known: Sequence[str] | None, separator: str) -> None:
        super().__init__(table, name, known=known)
        self._separator = separator

    def read(self, row: Row) -> str | None:
        """As for any target, but an empty text is a row without labels."""
        return "" if row.values.get(self.name) == "" else super().read(row)

    def add(self, row: Row, value: Any) -> str | None:
        if not isinstance(value, str | list):
            allowed = f"a list of labels, or text parted by {self._separator!r}"
            self.bad(row, f"{kind_of(value)} where labels are meant", allowed=allowed)
            return None
        names = split_labels(value, self._separator)
        wrong = [name for name in names if not isinstance(name, str)]
        if wrong:
            self.bad(row, f"{kind_of(wrong[0])} among the labels", allowed="labels that are text")
            return None
        return self._separator.join(sorted(name for name in names if self.count(row, name) is not None))


def split_labels(value: str | list[str], separator: str) -> list[str]:
    """The labels of a row that may have several: a list as it is, text parted at `separator`."""
    return value if isinstance(value, list) else [part.strip() for part in value.split(separator) if part.strip()]


class NumberTarget(Target):
    """A finite number, or text that is one."""

    def add(self, row: Row, value: Any) -> str | None:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            self.bad(
                row, f"{shown(value)} is not a number", allowed="a number such as 4.5", fix="correct it or remove the row"
            )
            return None
        return str(number)


class TextTarget(Target):
    """A text to produce."""

    def add(self, row: Row, value: Any) -> str | None:
        if not isinstance(value, str):
            self.bad(row, f"{kind_of(value)} where text is meant", fix="write it as text")
            return None
        return value
