"""A file's bytes as lines of text: compression, encoding, line ends, and all that can be wrong with them.

What is wrong with one line is added to the file's problems and reading goes on; what makes the whole file unreadable raises.
Memory: one line of at most :data:`ROW_LIMIT` bytes.
"""

from __future__ import annotations

import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NoReturn

from regard.errors import Problem, Problems

ROW_LIMIT = 1 << 20
"""Bytes of the longest row that is read; a longer one is a mistake (an unclosed quote, a file without line ends)."""

COMPRESSED = (".gz", ".xz")
"""Endings that may follow that of any format."""

UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What reading a damaged or lost file raises; `gzip.BadGzipFile` is an OSError."""

_SIGNATURES = {
    b"\x1f\x8b": ("gzip-compressed", "add .gz to its name"),
    b"\xfd7zXZ\x00": ("xz-compressed", "add .xz to its name"),
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "unpack it, or export it as CSV"),
    b"PAR1": ("a Parquet file", "name it .parquet"),
    b"\xff\xfe": ("UTF-16 text", "save it as UTF-8, as with: iconv -f utf-16 -t utf-8 OLD > NEW"),
    b"\xfe\xff": ("UTF-16 text", "save it as UTF-8, as with: iconv -f utf-16 -t utf-8 OLD > NEW"),
}

Line = tuple[int, str | None]
"""Its number from 1, and its text with its line end, or None for one that was too long and is reported."""


@dataclass(frozen=True)
class File:
    """A file being read. name: what messages call it; headerless: its first row is data and its columns are numbers."""

    path: Path
    name: str
    headerless: bool = False
    problems: Problems = field(default_factory=Problems)

    def where(self, *, row: int | None = None, line: int | None = None, column: str | None = None) -> str:
        """The place as messages give it: `reviews.csv, row 3 (line 4), column label`."""
        return place(self.name, row=row, line=line, column=column)

    def fail_empty(self) -> NoReturn:
        """Give up on a file without content; if damage is the reason, only the damage is reported."""
        self.problems.raise_if_any()
        self.fail("the file is empty", fix="check that it was written or downloaded whole")

    def fail(self, what: str, *, line: int | None = None, allowed: str = "", fix: str = "") -> NoReturn:
        """Give up: raise this problem together with all that were found before."""
        self.problems.append(Problem(what, self.where(line=line), allowed, fix))
        self.problems.raise_if_any()
        raise AssertionError("a problem was just added")


def place(name: str, *, row: int | None = None, line: int | None = None, column: str | None = None) -> str:
    """A place in a file, in words."""
    parts = [name]
    if row is not None:
        parts.append(f"row {row}" if line is None else f"row {row} (line {line})")
    elif line is not None:
        parts.append(f"line {line}")
    if column is not None:
        parts.append(f"column {column}")
    return ", ".join(parts)


@contextmanager
def open_bytes(file: File) -> Iterator[IO[bytes]]:
    """The file's bytes, decompressed by its ending; a file that cannot be opened raises DataError."""
    try:
        stream: IO[bytes] = file.path.open("rb")
    except OSError as error:
        file.fail(f"cannot be read: {error.strerror}", fix="check the path and your rights to it")
    with stream:
        match file.path.suffix.lower():
            case ".gz":
                with io.BufferedReader(gzip.GzipFile(fileobj=stream)) as unpacked:
                    yield unpacked
            case ".xz":
                with io.BufferedReader(lzma.LZMAFile(stream)) as unpacked:
                    yield unpacked
            case _:
                yield stream


def damaged(file: File, error: Exception) -> str:
    """What is wrong with a file whose reading raised one of :data:`UNREADABLE`."""
    match file.path.suffix.lower(), error:
        case ".gz", gzip.BadGzipFile() if "Not a gzipped" in str(error):
            return "is not gzip-compressed, though its name says so"
        case ((".gz" | ".xz"), EOFError()):
            return "is cut off: the compressed data ends too early"
        case ((".gz" | ".xz"), _):
            return f"is damaged: {error}"
    return f"cannot be read: {error}"


@contextmanager
def open_lines(file: File) -> Iterator[Iterator[Line]]:
    """The file's lines as text. A byte-order mark is dropped; lines end in a newline, or a carriage return and a newline."""
    with open_bytes(file) as stream:
        yield _lines(file, stream)


def _lines(file: File, stream: IO[bytes]) -> Iterator[Line]:
    undecodable = _Undecodable()
    for number, raw in enumerate(_raw_lines(file, stream), start=1):
        if number == 1:
            raw = _checked_start(file, raw)
        if len(raw) > ROW_LIMIT:
            size = (len(raw) + _skip_line(file, stream)) / 1e6
            file.problems.add(
                f"a line of {size:.1f} MB",
                where=file.where(line=number),
                allowed=f"rows of up to {ROW_LIMIT / 1e6:.1f} MB",
                fix="split the text into several rows; if it is short, look for a missing line end",
            )
            yield number, None
            continue
        if b"\0" in raw:
            position = raw.index(b"\0") + 1
            file.problems.add(f"a NUL byte (byte {position} of the line)", where=file.where(line=number), fix="remove it")
            raw = raw.replace(b"\0", b"")
        try:
            yield number, raw.decode("utf-8")
        except UnicodeDecodeError as error:
            undecodable.add(number, raw, error)
            # The line goes on with the bad bytes marked: what else is wrong with its row can still be found.
            yield number, raw.decode("utf-8", "replace")
    undecodable.report(file)


def _raw_lines(file: File, stream: IO[bytes]) -> Iterator[bytes]:
    number = 1
    while True:
        try:
            raw = stream.readline(ROW_LIMIT + 1)
        except UNREADABLE as error:
            file.problems.add(damaged(file, error), where=file.where(line=number), fix="download or pack the file again")
            return
        if not raw:
            return
        yield raw
        number += 1


def _skip_line(file: File, stream: IO[bytes]) -> int:
    """Read to the end of a line that is too long, piece by piece; returns the bytes read."""
    size = 0
    while True:
        try:
            piece = stream.readline(ROW_LIMIT)
        except UNREADABLE:
            return size  # the next read meets the same damage and reports it
        size += len(piece)
        if not piece or piece.endswith(b"\n"):
            return size


def _checked_start(file: File, raw: bytes) -> bytes:
    for signature, (what, fix) in _SIGNATURES.items():
        if raw.startswith(signature):
            file.fail(f"is {what}", allowed="UTF-8 text", fix=fix)
    if raw.count(b"\0") > len(raw) // 4:
        file.fail("looks like UTF-16 text", allowed="UTF-8 text", fix=_SIGNATURES[b"\xff\xfe"][1])
    if b"\r" in raw.rstrip(b"\r\n") and b"\n" not in raw:
        file.fail("its lines end in carriage returns alone", allowed="newlines", fix=r"tr '\r' '\n' < OLD > NEW")
    return raw.removeprefix(b"\xef\xbb\xbf")


class _Undecodable:
    """Lines that are not UTF-8: one problem for the file, because they have one cause."""

    def __init__(self) -> None:
        self._count = 0
        self._first = ""
        self._line = 0
        self._sample = b""

    def add(self, number: int, raw: bytes, error: UnicodeDecodeError) -> None:
        if not self._count:
            self._line = number
            self._first = f"{not_utf8(error)} (byte {error.start + 1} of the line)"
        self._count += 1
        if len(self._sample) < ROW_LIMIT:
            self._sample += raw

    def report(self, file: File) -> None:
        if not self._count:
            return
        more = f", and so it is in {self._count - 1} more lines" if self._count > 1 else ""
        add_undecodable(file, self._first + more, line=self._line, sample=self._sample)


def add_undecodable(file: File, what: str, *, line: int, sample: bytes) -> None:
    """Report bytes that are not UTF-8, with the encoding that they most likely have."""
    likely = _likely_encoding(sample)
    fix = f"it looks like {likely}; save it as UTF-8, as with: iconv -f {likely} -t utf-8 OLD > NEW"
    file.problems.add(what, where=file.where(line=line), allowed="UTF-8 text", fix=fix)


def not_utf8(error: UnicodeDecodeError) -> str:
    """What a decoding error found."""
    return f"byte 0x{error.object[error.start]:02x} is not UTF-8"


def _likely_encoding(sample: bytes) -> str:
    try:
        text = sample.decode("gb18030")
    except UnicodeDecodeError:
        return "latin1"
    foreign = re.findall(r"[^\x00-\x7f]", text)
    chinese = re.findall(r"[\u4e00-\u9fff\u3000-\u303f\uff00-\uffef]", text)
    # Two Latin letters in a row often make a valid Chinese one: a few characters prove nothing.
    return "gb18030" if len(chinese) > max(3, len(foreign) // 2) else "latin1"
