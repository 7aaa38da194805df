"""Parallel files: one sentence a line, one file a language.

`train.en-de` names train.en and train.de, read side by side; `train.en-de,de-en,en-fr` names three pairs, read in turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path

from regard.data.formats import Part, Sheet, bare, refuse_numbers
from regard.data.lines import COMPRESSED, File, Line, open_lines
from regard.data.rows import Row
from regard.errors import DataError, Problems, listed

COLUMNS = ("text", "translation", "source_language", "target_language")
"""What a row of parallel files holds."""

_DIRECTION = re.compile(r"([A-Za-z0-9_]+)-([A-Za-z0-9_]+)")
_ALLOWED = "train.en-de, or several directions: train.en-de,de-en; codes of letters, digits and _, such as zh_CN"


@dataclass(frozen=True)
class Direction:
    """From one language to another: their codes, which are the endings of the files."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}-{self.target}"


def is_parallel(path: Path) -> bool:
    """Whether a name is one of parallel files: its ending has a hyphen, its folder is there, and there is no such file."""
    return "-" in path.suffix and path.parent.is_dir() and not path.exists()


def parallel(source: str, *, headerless: bool) -> list[Part]:
    """The pairs of files that a name stands for, one a direction, in the order of the name; each file may also end in `.gz`
    or `.xz`. headerless: whether the user gave columns by number.

    Raises DataError for an ending that names no directions and for every file that is not there.
    """
    path = Path(source)
    problems = Problems()
    directions = _directions(path.suffix.removeprefix("."), source)
    codes = dict.fromkeys(code for direction in directions for code in (direction.source, direction.target))
    files = {code: _found(path.with_suffix(f".{code}")) for code in codes}
    beside = _beside(path)
    for code, file in files.items():
        if file is None:
            name = f"{path.stem}.{code}"
            what = f"no such file, and no parallel file {name}, {' or '.join(name + ending for ending in COMPRESSED)} either"
            fix = "name languages whose files are there" if beside else "check the path"
            problems.add(what, where=source, allowed=listed(beside), fix=fix)
    problems.raise_if_any()
    there = {code: file for code, file in files.items() if file is not None}
    return [_part(there[each.source], there[each.target], each, headerless=headerless) for each in directions]


def _directions(ending: str, source: str) -> list[Direction]:
    """The directions that an ending names: `en-de,de-en`."""
    directions: list[Direction] = []
    for word in ending.split(","):
        found = _DIRECTION.fullmatch(word)
        direction = Direction(*found.groups()) if found else None
        if direction is None:
            what = f"no such file, and {word!r} does not name the two languages of parallel files"
        elif direction.source == direction.target:
            what = f"{word!r} names one language twice"
        elif direction in directions:
            what = f"the direction {word!r} is named twice"
        else:
            directions.append(direction)
            continue
        raise DataError(what, where=source, allowed=_ALLOWED, fix="check the path, or name the directions like that")
    return directions


def _found(path: Path) -> Path | None:
    """The file of a language, plain or compressed."""
    candidates = [path, *(path.with_name(path.name + ending) for ending in COMPRESSED)]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _beside(path: Path) -> list[str]:
    """The files in the folder that share the name up to its ending."""
    return sorted(file.name for file in path.parent.iterdir() if file.name.startswith(f"{path.stem}.") and file.is_file())


def _part(source: Path, target: Path, direction: Direction, *, headerless: bool) -> Part:
    return Part((source, target), partial(_read, source, target, direction, headerless))


@contextmanager
def _read(source: Path, target: Path, direction: Direction, headerless: bool, problems: Problems) -> Iterator[Sheet]:
    """The rows of two files. A line that is blank in both is no row."""
    ours, theirs = (File(path, str(path), headerless=headerless, problems=problems) for path in (source, target))
    refuse_numbers(ours)
    with open_lines(ours) as texts, open_lines(theirs) as translations:
        first = next(texts, None) or ours.fail_empty(), next(translations, None) or theirs.fail_empty()
        both = chain([first], zip_longest(texts, translations))
        yield Sheet(list(COLUMNS), _rows(ours, theirs, both, direction))


def _rows(ours: File, theirs: File, lines: Iterator[tuple[Line | None, Line | None]], direction: Direction) -> Iterator[Row]:
    files = {"text": ours.name, "translation": theirs.name}
    for source, target in lines:
        if source is None or target is None:
            longer, shorter = (theirs, ours) if source is None else (ours, theirs)
            _report_surplus(longer, shorter, (right or left for left, right in chain([(source, target)], lines)))
            return
        (number, text), (_, translation) = source, target
        if text is None or translation is None or not (text.strip() or translation.strip()):
            continue
        values = {
            "text": bare(text),
            "translation": bare(translation),
            "source_language": direction.source,
            "target_language": direction.target,
        }
        yield Row(number, number, values, ours.name, files)


def _report_surplus(longer: File, shorter: File, lines: Iterator[Line | None]) -> None:
    """Read the lines that only one of two files has, and report them."""
    first, last, blank = 0, 0, True
    for line in lines:
        if line is not None:
            last = line[0]
            first = first or last
            blank = blank and not (line[1] or "x").strip()
    longer.problems.add(
        f"the file has {last} lines and {shorter.name} has {first - 1}: line {first} stands alone",
        where=longer.name,
        allowed="as many lines in the one as in the other, line by line the same sentence",
        fix="remove the blank lines at its end" if blank else "find the line where they part, and align them again",
    )
