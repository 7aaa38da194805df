"""A data source by name, as rows: a file, a folder or a hub name; streaming, and every problem told with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from regard.data.documents import TEXTS, Documents
from regard.data.formats import READERS, Part, Reader
from regard.data.hub import HUB, fetch
from regard.data.lines import COMPRESSED, File
from regard.data.parallel import is_parallel, parallel
from regard.data.rows import Row
from regard.errors import DataError, Problem, Problems, did_you_mean, listed

FORMATS = ("csv", "tsv", "jsonl", "json", "parquet", "txt")
"""File endings that are data, each also with `.gz` or `.xz`."""


class Table:
    """Rows of one source, to be read as often as one likes; each pass opens the files anew and holds one row at a time.

    Yields :class:`~regard.data.rows.Row` whose `values` carry our names for mapped columns and the file's for the others
    (a column of the file that has one of our mapped names gives way). A pass adds what it finds wrong to `problems` and
    leaves such rows out: raise the problems after the first pass, before anything is done with the rows.
    """

    def __init__(self, source: str, parts: Sequence[Part], *, problems: Problems, columns: Mapping[str, str | int]) -> None:
        self.source = source
        """The source as the user gave it."""
        self.problems = problems
        self.mapped = {ours: str(theirs) for ours, theirs in columns.items()}
        """Our column -> the file's, as the user mapped them; numbers as text."""
        self._parts = parts
        # The first pass over the rows reports what is wrong with them; here only what makes the file unreadable counts.
        with parts[0].open(Problems()) as sheet:
            self.columns = sheet.columns
            """The file's own column names in order; "0", "1", … where the columns were given by number."""

    @property
    def paths(self) -> list[Path]:
        """The files that are read, in order; one that is read twice is there twice."""
        return [path for part in self._parts for path in part.paths]

    def theirs(self, ours: str) -> str:
        """The name that the file has for our column; the same name when it is not mapped."""
        return self.mapped.get(ours, ours)

    def warnings(self) -> list[Problem]:
        """What is odd about the source as a whole but does no harm."""
        nameless = [i for i, name in enumerate(self.columns) if not name]
        if not nameless:
            return []
        return [Problem(f"column {listed(nameless)} (counted from 0) has no name in the header", self.source, fix="name it")]

    def __iter__(self) -> Iterator[Row]:
        gone = {*self.mapped, *self.mapped.values()}
        for part in self._parts:
            with part.open(self.problems) as sheet:
                for row in sheet.rows:
                    yield self._renamed(row, gone) if gone else row

    def _renamed(self, row: Row, gone: set[str]) -> Row:
        kept = {name: value for name, value in row.values.items() if name not in gone}
        ours = {ours: row.values[theirs] for ours, theirs in self.mapped.items() if theirs in row.values}
        return replace(row, values=kept | ours)


def read(
    source: str | Path,
    *,
    columns: Mapping[str, str | int] | None = None,
    format: str | None = None,
    documents: Documents = "line",
    problems: Problems | None = None,
) -> Table:
    """Open a source and learn its columns; rows are read when the table is iterated.

    source: a file (see :data:`FORMATS`), a folder that holds one such file or one sub-folder of `.txt` files a class,
    parallel files (`train.en-de`, see :mod:`regard.data.parallel`), or `hub:owner/name[/config][@revision][#split]`.
    columns: our column -> its name in the file, or its number from 0 in a file without a header. format: a name in
    `READERS`, for a file whose ending does not tell. documents: what a document of a `.txt` file is; unless it is a line, a
    folder may hold many such files, and a long document takes several rows (see :mod:`regard.data.documents`). problems:
    collects what the passes over the rows find wrong; None means the table's own collector.

    Raises DataError for what makes the source unreadable (together with what `problems` held before).
    """
    problems = Problems() if problems is None else problems
    columns = columns or {}
    try:
        _check_map(columns)
        headerless = any(isinstance(theirs, int) for theirs in columns.values())
        parts = _parts(str(source), format, documents, headerless=headerless)
        return Table(str(source), parts, problems=problems, columns=columns)
    except DataError as error:
        for problem in error.problems:
            problems.append(problem)
        raise DataError(problems, count=problems.count) from None


def _check_map(columns: Mapping[str, str | int]) -> None:
    problems = Problems()
    where = "the column map"
    if len({isinstance(theirs, int) for theirs in columns.values()}) > 1:
        problems.add("names and numbers are mixed", where=where, fix="give numbers for a file without a header, else names")
    for ours, theirs in columns.items():
        if isinstance(theirs, int) and theirs < 0:
            problems.add(f"{ours}={theirs} is negative", where=where, allowed="numbers from 0, the first column")
    for theirs in dict.fromkeys(columns.values()):
        sharing = [ours for ours, other in columns.items() if other == theirs]
        if len(sharing) > 1:
            what = f"{' and '.join(sharing)} are both mapped to column {theirs}"
            problems.add(what, where=where, fix="map each to a column of its own")
    problems.raise_if_any()


def _parts(source: str, format: str | None, documents: Documents, *, headerless: bool) -> list[Part]:
    if format is None and not source.startswith(HUB) and is_parallel(Path(source)):
        return parallel(source, headerless=headerless)
    files, found = _files(source, format, many=documents != "line")
    reader = TEXTS[documents] if found == "txt" else READERS[found]
    return [_part(path, name, reader, headerless=headerless) for path, name in files]


def _part(path: Path, name: str, reader: Reader, *, headerless: bool) -> Part:
    return Part((path,), lambda problems: reader(File(path, name, headerless=headerless, problems=problems)))


def _files(source: str, format: str | None, *, many: bool) -> tuple[list[tuple[Path, str]], str]:
    """The files of a source with the names that messages give them, and their format. many: whether a folder may hold more
    than one `.txt` file."""
    if source.startswith(HUB):
        files = fetch(source)
        return [(path, f"{source}: {path.name}") for path in files], format or _format(files[0], str(files[0].name))
    path = Path(source)
    if path.is_dir():
        return _folder(path, format, many=many)
    if not path.exists():
        raise DataError("no such file", where=source, fix=_missing_fix(path))
    if not path.is_file():
        raise DataError("is not a regular file", where=source, fix="save the rows to a file first: they are read twice")
    return [(path, source)], format or _format(path, source)


def _folder(folder: Path, format: str | None, *, many: bool) -> tuple[list[tuple[Path, str]], str]:
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"the folder cannot be read: {error.strerror}", where=str(folder), fix="check your rights") from None
    files = [path for path in entries if path.is_file() and ending(path) in FORMATS and not _is_about(path)]
    if many and files and all(ending(path) == "txt" for path in files):
        return [(path, str(path)) for path in files], "txt"
    if len(files) > 1:
        what, names = f"the folder holds {len(files)} data files", listed(path.name for path in files)
        raise DataError(what, where=str(folder), allowed="one", fix=f"name one of them: {names}")
    if files:
        return [(files[0], str(files[0]))], format or ending(files[0])
    if format == "folders" or any(path.is_dir() and any(path.glob("*.txt")) for path in entries):
        return [(folder, str(folder))], "folders"
    raise DataError(
        "the folder holds no data",
        where=str(folder),
        allowed=f"one file of {listed(FORMATS)}, or one sub-folder of .txt files a class",
    )


def _is_about(path: Path) -> bool:
    return path.name.lower().startswith(("readme", "license", "licence"))


def ending(path: Path) -> str:
    """A path's format by its name: `csv` for `reviews.csv.gz`; empty when there is none."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1].removeprefix(".") if suffixes else ""


def _format(path: Path, name: str) -> str:
    found = ending(path)
    if found in FORMATS:
        return found
    raise DataError(
        f"unknown ending .{found}" if found else "the name has no ending that tells the format",
        where=name,
        allowed=listed(f".{name}" for name in FORMATS) + ", each also with .gz or .xz",
        fix=did_you_mean(found, FORMATS) or "rename the file, or convert it",
    )


def _missing_fix(path: Path) -> str:
    beside = [str(other.name) for other in path.parent.iterdir()] if path.parent.is_dir() else []
    hint = f"for a hub dataset write {HUB}{path}" if len(path.parts) == 2 and not path.suffix else "check the path"
    return did_you_mean(path.name, beside) or hint
