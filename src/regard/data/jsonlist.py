"""A JSON list of any length, one element at a time, in the memory of one element."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import IO, Any

from regard.data.lines import ROW_LIMIT, UNREADABLE, File, add_undecodable, damaged, not_utf8

CHUNK = 1 << 16

Value = tuple[int, int, Any]
"""A JSON value with its row number and the line where it starts, both from 1."""


class _BrokenError(Exception):
    """The list cannot be read any further; why is reported."""


def elements(file: File, stream: IO[bytes]) -> Iterator[Value]:
    """The list's elements. What is wrong with the list is added to the file's problems and ends it: unlike lines, the rest
    of a broken list cannot be told apart."""
    cursor = _Cursor(file, stream)
    row = 0
    try:
        cursor.expect("[")
        while cursor.peek() != "]":
            if row:
                cursor.expect(",")
            row += 1
            cursor.peek()
            yield row, cursor.line, cursor.value()
        cursor.expect("]")
        if cursor.peek():
            cursor.give_up("something follows the end of the list")
    except _BrokenError:
        return


class _Cursor:
    """A place in the text of a stream, of which only the part being parsed is kept."""

    def __init__(self, file: File, stream: IO[bytes]) -> None:
        self._file, self._stream = file, stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._json = json.JSONDecoder()
        self._text, self._at, self._ended = "", 0, False
        self.line = 1

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            for i in range(self._at, len(self._text)):
                if self._text[i] not in " \t\r\n":
                    self._advance(i)
                    return self._text[i]
            self._advance(len(self._text))
            if self._ended:
                return ""
            self._fill()

    def expect(self, character: str) -> None:
        found = self.peek()
        if found != character:
            what = f"{found!r} where {character!r} is meant" if found else "the list ends too early"
            self.give_up(f"the JSON is broken: {what}")
        self._advance(self._at + 1)

    def value(self) -> Any:
        """The JSON value that starts here."""
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # What looks broken may only be unfinished, until the text ends or no row is that long.
                if self._ended or len(self._text) - self._at > ROW_LIMIT:
                    self.line += self._text.count("\n", self._at, error.pos)
                    self.give_up(f"the JSON is broken: {error.msg}")
            except (ValueError, RecursionError) as error:
                self.give_up(f"the JSON cannot be read: {error}")
            else:
                if end < len(self._text) or self._ended:
                    self._advance(end)
                    return value
            self._fill()

    def give_up(self, what: str) -> None:
        self._file.problems.add(
            what, where=self._file.where(line=self.line), allowed='a list of objects: [{"text": "…", "label": "…"}, …]'
        )
        raise _BrokenError

    def _advance(self, to: int) -> None:
        self.line += self._text.count("\n", self._at, to)
        self._at = to

    def _fill(self) -> None:
        try:
            raw = self._stream.read(CHUNK)
        except UNREADABLE as error:
            self.give_up(damaged(self._file, error))
        self._ended = not raw
        try:
            more = self._decode(raw, final=self._ended)
        except UnicodeDecodeError as error:
            line = self.line + self._text.count("\n", self._at) + error.object.count(b"\n", 0, error.start)
            add_undecodable(self._file, not_utf8(error), line=line, sample=error.object)
            raise _BrokenError from None
        self._text, self._at = self._text[self._at :] + more, 0
