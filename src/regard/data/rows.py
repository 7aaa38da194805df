"""A row of a table, and what its values can be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regard.data.lines import place

HALF_PAIR = r"half a surrogate pair (\ud800 to \udfff), which is no character"
"""What :func:`is_whole` finds wrong."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row. number: as the user would count the data rows, from 1; line: where it starts in the file, from 1, None where
    lines mean nothing; file: what messages call its file; files: for a row that lies in several files, the name of each
    column's."""

    number: int
    line: int | None
    values: Mapping[str, Any]
    file: str
    files: Mapping[str, str] | None = None

    def where(self, column: str | None = None) -> str:
        """The row's place in words: `reviews.csv, row 3 (line 4), column label`; of one in several
        files `train.de, line 3 (beside train.en, line 3)`, the column's first."""
        if self.files is None:
            return place(self.file, row=self.number, line=self.line, column=column)
        here = self.files.get(column or "", self.file)
        others = (place(name, line=self.line) for name in self.files.values() if name != here)
        return f"{place(here, line=self.line)} (beside {', '.join(others)})"


def kind_of(value: object) -> str:
    """What a value read from a file is, in words with an article."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
    return f"a value of type {type(value).__name__}"


def shown(value: object) -> str:
    """A value as messages quote it: cut where it would fill the screen."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def is_whole(text: str) -> bool:
    """Whether all of a text is characters; half a surrogate pair is none and cannot be written."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_missing(value: object) -> bool:
    """Whether a value read from a file stands for nothing: null, a number that is none, an empty or blank text."""
    match value:
        case None:
            return True
        case float():
            return math.isnan(value)
        case str():
            return not value.strip()
    return False
