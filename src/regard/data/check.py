"""Data lint: everything that is wrong or odd about a table, found in one pass over it, before any training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from regard.data.dialogue import COLUMNS, FORMS, dialogue
from regard.data.documents import Documents
from regard.data.lines import ROW_LIMIT
from regard.data.measure import Fingerprints, Lengths, Measure, Seen, Sides
from regard.data.read import Table
from regard.data.rows import HALF_PAIR, Row, is_missing, is_whole, kind_of, shown
from regard.data.targets import LabelsTarget, LabelTarget, NumberTarget, Target, TargetKind, TextTarget
from regard.errors import Problem, Problems, did_you_mean, listed


@dataclass(frozen=True)
class Columns:
    """The columns that a task reads. optional: the inputs that a row, or the whole file, may lack. target_kind: `label` one
    class, `labels` several (a JSON list, or text parted by `separator`), `number` a score, `text` a text to produce.
    input_kind: `text`, or `messages` for the one input `messages`: a conversation in any form that
    :func:`~regard.data.dialogue.dialogue` reads, whose last message is what is learned. languages: columns that a file may
    have, with the languages that a text is in and is translated into. documents: what a row of a `.txt` file is. if_empty:
    what to do about an empty text."""

    inputs: tuple[str, ...]
    target: str | None
    optional: tuple[str, ...] = ()
    target_kind: TargetKind = "label"
    separator: str = "|"
    input_kind: Literal["text", "messages"] = "text"
    languages: tuple[str, ...] = ()
    documents: Documents = "line"
    if_empty: str = "fill it in or remove the row"

    @property
    def names(self) -> tuple[str, ...]:
        """All columns that a file may have for the task, whatever form its conversations are in."""
        inputs = COLUMNS if self.input_kind == "messages" else self.inputs
        return (*inputs, *([] if self.target is None else [self.target]))


@dataclass(frozen=True)
class Report:
    """What a pass over a table found. rows: those that could be read; problems: errors, to be raised; warnings: what may be
    meant; labels: rows of each class; lengths: quantiles of the rows' lengths with their unit."""

    source: str
    paths: list[Path]
    rows: int
    problems: Problems
    warnings: list[Problem]
    labels: dict[str, int]
    lengths: dict[str, int | str]
    seen: Seen = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; of the problems the first ones and how many there are."""
        return {
            "source": self.source,
            "rows": self.rows,
            "problems": {"count": self.problems.count, "first": [str(problem) for problem in self.problems]},
            "warnings": [str(warning) for warning in self.warnings],
            "labels": self.labels,
            "lengths": self.lengths,
        }


def check(
    table: Table,
    columns: Columns,
    *,
    labels: Sequence[str] | None = None,
    against: Report | None = None,
    lengths: Measure | None = None,
) -> Report:
    """Read the table once and report. Errors join `table.problems`; nothing is raised but what stops the reading itself.

    labels: the classes there are (those of the training rows, of a trained model), any other is an error; None means that
    the rows define them. against: the report of the training rows, to find rows that both have. lengths: measures rows in
    tokens; without it lengths are in characters. Memory: 32 bytes a row.
    """
    missing = _missing(table, columns)
    target = _target(table, columns, labels) if columns.target not in {None, *missing} else None
    talk = columns.input_kind == "messages" and missing.isdisjoint(columns.inputs)
    read = _conversations(table) if talk else _texts(table, columns, target, missing)
    sizes, fingerprints, rows = Lengths(lengths), Fingerprints(), 0
    sides = Sides(columns.target or "", ratio=bool(columns.languages)) if isinstance(target, TextTarget) else None
    for row in table:
        rows += 1
        said = read(row)
        if said is None:
            continue
        sizes.add(row, said.measured)
        fingerprints.add(row, said.texts, said.answer, said.languages)
        if sides and said.answer is not None:
            sides.add(row, said.texts[0], said.answer)
    if not rows and not table.problems:
        table.problems.add("there are no rows", where=table.source, fix="check that the file was written whole")
    seen = fingerprints.seen()
    warnings = [*table.warnings(), *sizes.warnings(), *seen.repeats(table.source), *(sides.warnings() if sides else [])]
    if target:
        warnings += target.finish()
    if against:
        warnings += _shared(table, seen, against)
    counts = dict(target.labels) if target else {}
    return Report(table.source, table.paths, rows, table.problems, warnings, counts, sizes.quantiles(), seen)


@dataclass(frozen=True, slots=True)
class _Said:
    """A row that is in order. texts: what is given; answer: what is to be learned, None where that is wrong or nothing;
    measured: the texts whose lengths count."""

    texts: tuple[str, ...]
    answer: str | None
    measured: tuple[str, ...]
    languages: tuple[str, ...] = ()


def _texts(table: Table, columns: Columns, target: Target | None, missing: set[str]) -> Callable[[Row], _Said | None]:
    """What rows of texts say, None for one whose texts are wrong (and reported)."""
    inputs = [name for name in columns.inputs if name not in missing]
    languages = [name for name in columns.languages if name not in missing]

    def read(row: Row) -> _Said | None:
        texts = [_text(table, row, name, columns, optional=name in columns.optional) for name in inputs]
        tongues = [_text(table, row, name, columns, optional=True) for name in languages]
        answer = target.read(row) if target else None
        whole = tuple(text for text in texts if text is not None)
        named = tuple(code for code in tongues if code is not None)
        if not whole or len(whole) < len(texts) or len(named) < len(tongues):
            return None
        return _Said(whole, answer, whole, named)

    return read


def _conversations(table: Table) -> Callable[[Row], _Said | None]:
    """The same for rows that are conversations: all messages but the last are given, and all are measured."""

    def read(row: Row) -> _Said | None:
        with table.problems.collected():
            messages = dialogue(row.values, where=lambda column: row.where(table.theirs(column)))
            *given, answer = (message["content"] for message in messages)
            return _Said(tuple(given), answer, ("\n".join([*given, answer]),))
        return None

    return read


def _missing(table: Table, columns: Columns) -> set[str]:
    """Our columns that the file lacks; they are reported unless the task can do without and the user mapped none."""
    inputs = columns.inputs
    if columns.input_kind == "messages" and any({*map(table.theirs, form)} <= {*table.columns} for form in FORMS):
        inputs = ()
    required = {*inputs, columns.target} - {None, *columns.optional}
    wanted = dict.fromkeys([*inputs, *columns.languages, columns.target or "", *table.mapped])
    missing = [name for name in wanted if name and table.theirs(name) not in table.columns]
    for name in missing:
        theirs = table.theirs(name)
        if name in required or name in table.mapped:
            table.problems.add(
                f"no column {shown(theirs)}" + (f" (mapped to {name!r})" if name in table.mapped else ""),
                where=table.source,
                allowed=listed(map(shown, table.columns)),
                fix=did_you_mean(theirs, table.columns) or _map_hint(table, name, columns),
            )
    return set(missing)


def _map_hint(table: Table, name: str, columns: Columns) -> str:
    only = table.columns[0] if len(table.columns) == 1 else ""
    for separator, told in (("\t", "tabs: name the file .tsv"), (";", "semicolons: replace them by commas")):
        if separator in only:
            return f"the columns look separated by {told}"
    if name in table.mapped:
        return "map it to a column that is there"
    if columns.input_kind == "messages":
        others = " or ".join(" and ".join(form) for form in FORMS[1:])
        return f"map a column: --columns {name}=NAME; conversations may also be in {others}"
    return f"map a column: --columns {name}=NAME, or by number from 0 if the file has no header: --columns {name}=0"


def _target(table: Table, columns: Columns, labels: Sequence[str] | None) -> Target:
    name = columns.target or ""
    match columns.target_kind:
        case "label":
            return LabelTarget(table, name, known=labels)
        case "labels":
            return LabelsTarget(table, name, known=labels, separator=columns.separator)
        case "number":
            return NumberTarget(table, name)
        case "text":
            return TextTarget(table, name)


def _text(table: Table, row: Row, name: str, columns: Columns, *, optional: bool) -> str | None:
    """The row's input text, None when it is wrong (and reported); empty for an optional one that is not there."""
    value = row.values.get(name)
    if optional and is_missing(value):
        return ""
    fix = columns.if_empty
    if is_missing(value):
        blank = "the text is empty" if value == "" else "the text is nothing but white space"
        what = blank if isinstance(value, str) else "the text is missing"
    elif not isinstance(value, str):
        what, fix = f"{kind_of(value)} where text is meant", "write it as text"
    elif len(value) > ROW_LIMIT:
        what, fix = f"a text of {len(value) / 1e6:.1f} million characters", "split it into several rows"
    elif not is_whole(value):
        what, fix = HALF_PAIR, "write the file again as UTF-8"
    else:
        return value
    table.problems.add(what, where=row.where(table.theirs(name)), fix=fix)
    return None


def _shared(table: Table, seen: Seen, against: Report) -> list[Problem]:
    """Rows that are in the other table too: an error if both are the same file, else a warning."""
    if any(ours.samefile(theirs) for ours in table.paths for theirs in against.paths):
        what, fix = f"the same file as {against.source}", "evaluate on rows that were not trained on, or give no --eval"
        table.problems.add(what, where=table.source, fix=fix)
        return []
    both = seen.also_in(against.seen)
    if not both.size:
        return []
    share = f"{both.size} of {seen.numbers.size} rows"
    what = f"{share} are in {against.source} too (such as row {both[0]}), which flatters the scores"
    return [Problem(what, table.source)]
