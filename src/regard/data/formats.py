"""One function a file format: a context that gives the file's columns and its rows, streaming.

`READERS` holds them by name. A reader yields rows under the file's own column names; renaming is the table's work.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from shutil import copyfileobj
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from regard.data.jsonlist import Value, elements
from regard.data.lines import COMPRESSED, ROW_LIMIT, UNREADABLE, File, Line, damaged, open_bytes, open_lines
from regard.data.rows import Row, kind_of, shown
from regard.errors import Problems, listed
from regard.registry import Registry

PEEK = 100
"""Rows of a JSON file whose keys are taken for its columns."""

# A row is bounded by ROW_LIMIT before the csv module sees it; its own limit of 128 KB a cell would refuse long texts.
csv.field_size_limit(max(ROW_LIMIT, csv.field_size_limit()))


@dataclass(frozen=True)
class Sheet:
    """An open file: the names of its columns in order, and its rows, to be read once."""

    columns: list[str]
    rows: Iterator[Row]


@dataclass(frozen=True)
class Part:
    """What a table reads in one go. paths: the files, one as a rule; open: given where problems go, a context with what they
    hold."""

    paths: tuple[Path, ...]
    open: Callable[[Problems], AbstractContextManager[Sheet]]


Reader = Callable[[File], AbstractContextManager[Sheet]]
READERS: Registry[Reader] = Registry("format")

Record = tuple[int, list[str] | None]
"""The line where a row starts and its cells; None for a row that is broken and reported, but counts."""


@READERS.register("csv")
@contextmanager
def read_csv(file: File) -> Iterator[Sheet]:
    """Comma-separated, with quotes as RFC 4180 has them: doubled inside a quoted cell, which may span lines."""
    with open_lines(file) as lines:
        yield _table_sheet(file, _csv_records(file, lines), "put a cell that contains a comma in double quotes")


@READERS.register("tsv")
@contextmanager
def read_tsv(file: File) -> Iterator[Sheet]:
    """Tab-separated; quotes are characters like any other."""
    with open_lines(file) as lines:
        records = ((number, None if text is None else bare(text).split("\t")) for number, text in lines)
        yield _table_sheet(file, (record for record in records if record[1] != [""]), "replace tabs inside a cell")


@READERS.register("txt")
@contextmanager
def read_txt(file: File) -> Iterator[Sheet]:
    """One text a line, in the column `text`; an empty line is a row with an empty text."""
    with open_lines(file) as lines:
        first = next(lines, None) or file.fail_empty()
        column = "0" if file.headerless else "text"
        yield Sheet([column], _txt_rows(file, chain([first], lines), column))


@READERS.register("jsonl")
@contextmanager
def read_jsonl(file: File) -> Iterator[Sheet]:
    """One JSON object a line. The columns are the keys of the first rows."""
    with open_lines(file) as lines:
        yield _json_sheet(file, _jsonl_values(file, lines))


@READERS.register("json")
@contextmanager
def read_json(file: File) -> Iterator[Sheet]:
    """A JSON list of objects; also one object a line, as many datasets name `.json` what is `.jsonl`."""
    if _is_list(file):
        with open_bytes(file) as stream:
            yield _json_sheet(file, elements(file, stream))
    else:
        with read_jsonl(file) as sheet:
            yield sheet


@READERS.register("parquet")
@contextmanager
def read_parquet(file: File) -> Iterator[Sheet]:
    """Apache Parquet, read one batch of rows at a time; a compressed one is unpacked to a temporary file first."""
    refuse_numbers(file)
    with _seekable(file) as stream:
        try:
            parquet = pq.ParquetFile(stream)
        except (pa.ArrowException, OSError) as error:
            file.fail(f"is not a whole Parquet file: {error}", fix="download or write it again")
        yield Sheet(list(parquet.schema_arrow.names), _parquet_rows(file, parquet))


@READERS.register("folders")
@contextmanager
def read_folders(file: File) -> Iterator[Sheet]:
    """A folder with one sub-folder a class, and in it one `.txt` file a text: columns `text` and `label`."""
    refuse_numbers(file)
    yield Sheet(["text", "label"], _folder_rows(file))


def bare(text: str) -> str:
    """A line without its line end."""
    return text.removesuffix("\n").removesuffix("\r")


def _csv_records(file: File, lines: Iterator[Line]) -> Iterator[Record]:
    waiting: deque[Line] = deque()
    """Lines that a quote which was never closed had swallowed: they are read again, each as a row of its own."""
    while (line := waiting.popleft() if waiting else next(lines, None)) is not None:
        number, text = line
        if text is None:
            yield number, None
        elif '"' not in text:
            if bare(text):
                yield number, bare(text).split(",")
        else:
            swallowed: list[Line] = []
            try:
                cells = next(csv.reader(_until_closed(text, chain(waiting, lines), swallowed), strict=True))
            except csv.Error as error:
                waiting.extend(swallowed[len(waiting) :])
                file.problems.add(
                    _quote_problem(error),
                    where=file.where(line=number),
                    fix='double each quote inside a quoted cell ("a ""good"" film"), or use .tsv, where quotes are literal',
                )
                yield number, None
            else:
                for _ in range(min(len(swallowed), len(waiting))):
                    waiting.popleft()
                yield number, cells


def _until_closed(text: str, lines: Iterable[Line], swallowed: list[Line]) -> Iterator[str]:
    """The line and as many more as the csv module asks for, noted in `swallowed`; at most ROW_LIMIT characters in all."""
    yield text
    size = len(text)
    for number, more in lines:
        swallowed.append((number, more))
        size += ROW_LIMIT if more is None else len(more)
        if more is None or size > ROW_LIMIT:
            return
        yield more


def _quote_problem(error: csv.Error) -> str:
    if "unexpected end of data" in str(error):
        return "a double quote is opened and never closed"
    if "expected after" in str(error):
        return "text follows a closing double quote"
    return str(error)


def _table_sheet(file: File, records: Iterator[Record], width_fix: str) -> Sheet:
    line, cells = next(records, None) or file.fail_empty()
    if cells is None:
        file.fail("the first row cannot be read, so the columns are not known", line=line)
    if file.headerless:
        names = [str(i) for i in range(len(cells))]
        return Sheet(names, _cell_rows(file, chain([(line, cells)], records), names, width_fix))
    names = [cell.strip() for cell in cells]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        file.fail(f"the header names {listed(map(shown, twice))} more than once", line=line, fix="rename the columns")
    return Sheet(names, _cell_rows(file, records, names, width_fix))


def _cell_rows(file: File, records: Iterator[Record], names: list[str], width_fix: str) -> Iterator[Row]:
    told = "the first row" if file.headerless else "the header"
    for number, (line, cells) in enumerate(records, start=1):
        if cells is None:
            continue
        if len(cells) != len(names):
            file.problems.add(
                f"the row has {len(cells)} cells, {told} has {len(names)}",
                where=file.where(row=number, line=line),
                fix=width_fix if len(cells) > len(names) else "add the missing cells",
            )
            continue
        yield Row(number, line, dict(zip(names, cells, strict=True)), file.name)


def _txt_rows(file: File, lines: Iterator[Line], column: str) -> Iterator[Row]:
    for number, text in lines:
        if text is not None:
            yield Row(number, number, {column: bare(text)}, file.name)


def _jsonl_values(file: File, lines: Iterator[Line]) -> Iterator[Value]:
    rows = ((number, text) for number, text in lines if text is None or text.strip())
    for row, (number, text) in enumerate(rows, start=1):
        if text is None:
            continue
        try:
            yield row, number, json.loads(text)
        except (ValueError, RecursionError) as error:
            file.problems.add(
                f"the line is not JSON: {error}",
                where=file.where(row=row, line=number),
                allowed='one JSON object a line: {"text": "…", "label": "…"}',
            )


def _json_sheet(file: File, values: Iterator[Value]) -> Sheet:
    refuse_numbers(file)
    head = list(islice(values, PEEK))
    if not head:
        file.fail_empty()
    columns = list(dict.fromkeys(key for _, _, value in head if isinstance(value, dict) for key in value))
    return Sheet(columns, _json_rows(file, chain(head, values)))


def _json_rows(file: File, values: Iterator[Value]) -> Iterator[Row]:
    for row, line, value in values:
        if isinstance(value, dict):
            yield Row(row, line, value, file.name)
        else:
            file.problems.add(
                f"the row is {kind_of(value)}, not an object",
                where=file.where(row=row, line=line),
                allowed='an object: {"text": "…", "label": "…"}',
            )


def refuse_numbers(file: File) -> None:
    """Give up where columns were given by number though the format has names for them."""
    if file.headerless:
        file.fail("columns are given by number, but the columns of this format have names", fix="--columns text=review")


def _is_list(file: File) -> bool:
    """Whether a .json file holds a list; False when it holds one object a line; anything else raises."""
    probe = replace(file, problems=Problems())  # the pass over the rows meets every line again and reports it
    with open_lines(probe) as lines:
        # A first line that is too long for a row is taken for a list without line ends.
        text = next((text or "[" for _, text in lines if text is None or text.strip()), None) or probe.fail_empty()
    if text.lstrip().startswith("["):
        return True
    try:
        lines_of_objects = isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        lines_of_objects = False
    if not lines_of_objects:
        file.fail("the JSON is not a list", allowed='a list of objects: [{"text": "…"}, …], or one object a line')
    return False


@contextmanager
def _seekable(file: File) -> Iterator[IO[bytes]]:
    with open_bytes(file) as stream:
        if file.path.suffix.lower() not in COMPRESSED:
            yield stream
            return
        with tempfile.TemporaryFile() as unpacked:
            try:
                copyfileobj(stream, unpacked)
            except UNREADABLE as error:
                file.fail(damaged(file, error), fix="download or pack the file again")
            unpacked.seek(0)
            yield unpacked


def _parquet_rows(file: File, parquet: pq.ParquetFile) -> Iterator[Row]:
    number = 0
    try:
        for batch in parquet.iter_batches(batch_size=1024):
            for i in range(batch.num_rows):
                number += 1
                try:
                    values = batch.slice(i, 1).to_pylist()[0]
                except UnicodeDecodeError as error:
                    file.problems.add(f"text that is not UTF-8: {error.reason}", where=file.where(row=number))
                    continue
                yield Row(number, None, values, file.name)
    except (pa.ArrowException, OSError) as error:
        file.problems.add(f"is damaged: {error}", where=file.where(row=number + 1), fix="download or write it again")


def _folder_rows(file: File) -> Iterator[Row]:
    number = 0
    for folder in sorted(path for path in file.path.iterdir() if path.is_dir() and not path.name.startswith(".")):
        for path in sorted(folder.glob("*.txt")):
            number += 1
            text = _whole_text(File(path, str(Path(file.name, folder.name, path.name)), problems=file.problems))
            if text is not None:
                yield Row(number, None, {"text": text, "label": folder.name}, file.name)


def _whole_text(file: File) -> str | None:
    size = file.path.stat().st_size
    if size > ROW_LIMIT:
        file.problems.add(f"a text of {size / 1e6:.1f} MB", where=file.name, allowed=f"up to {ROW_LIMIT / 1e6:.1f} MB")
        return None
    with open_lines(file) as lines:
        return "".join(text or "" for _, text in lines)
