"""Plain text as documents, for language modelling: a line each, parted by blank lines, or a whole file; streaming."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, groupby
from typing import Literal

from regard.data.formats import Reader, Sheet, bare, read_txt, refuse_numbers
from regard.data.lines import File, Line, open_lines
from regard.data.rows import Row

Documents = Literal["line", "blank", "file"]
"""What a document of a `.txt` file is: a line, the lines between blank ones, or the whole file."""

PIECE = 16_384
"""Characters of a document in one row: a longer one goes on in the next rows, so that memory does not grow with it."""


def _documents(is_border: Callable[[str], bool]) -> Reader:
    """A reader of documents between lines for which `is_border` is true.

    Columns: `text`, with line ends as newlines, the document's last one left out; `continues`, whether the document goes on
    in the next row, so that no end belongs after this one.
    """

    @contextmanager
    def read(file: File) -> Iterator[Sheet]:
        refuse_numbers(file)
        with open_lines(file) as lines:
            first = next(lines, None) or file.fail_empty()
            yield Sheet(["text", "continues"], _rows(file, chain([first], lines), is_border))

    return read


def _rows(file: File, lines: Iterator[Line], is_border: Callable[[str], bool]) -> Iterator[Row]:
    number = 0
    for border, document in groupby(lines, key=lambda line: line[1] is not None and is_border(line[1])):
        for line, text, continues in () if border else _pieces(document):
            number += 1
            yield Row(number, line, {"text": text, "continues": continues}, file.name)


def _pieces(document: Iterator[Line]) -> Iterator[tuple[int, str, bool]]:
    """A document cut at line ends: where each piece starts, its text, and whether another follows.

    A line longer than :data:`PIECE` is a piece; a blank line never begins one, or a piece could be nothing but white space.
    """
    start, size = 0, 0
    held: list[str] = []
    for number, text in document:
        if text is None:
            continue
        line = f"{bare(text)}\n"
        if held and size + len(line) > PIECE and not line.isspace():
            yield start, "".join(held), True
            held, size = [], 0
        start = start if held else number
        held.append(line)
        size += len(line)
    if held:
        yield start, "".join(held).removesuffix("\n"), False


TEXTS: Mapping[Documents, Reader] = {
    "line": read_txt,
    "blank": _documents(lambda line: not line.strip()),
    "file": _documents(lambda _: False),
}
"""How a `.txt` file is read, by what a document is."""
