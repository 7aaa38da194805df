"""Looking a task's data over: what `regard check` shows and what every training starts with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from regard.checkpoints.folder import load
from regard.data.check import Columns, Report
from regard.data.check import check as check_table
from regard.data.documents import Documents
from regard.data.measure import Measure
from regard.data.read import Table, read
from regard.errors import DataError, Problems
from regard.tasks.task import Learnable, learnable
from regard.text.tokenizer import Tokenizer


def check(
    data: str,
    *,
    task: str = "text-classification",
    model: str | None = None,
    against: str | None = None,
    columns: Mapping[str, str | int] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Report:
    """Everything that is wrong or odd about a data file, in one pass; the errors are in `report.problems`, not raised.

    model: whose tokenizer measures the rows; None measures in characters. against: a second file that must not share rows
    with the first. options: the task's own settings. Raises InputError for what cannot be looked over at all.
    """
    wanted = learnable(task).columns(options or {})
    tokenizer = load(model).tokenizer if model else None
    problems = Problems()
    other = check_table(_read(against, wanted, columns, problems), wanted) if against else None
    table = _read(data, wanted, columns, problems)
    return check_table(table, wanted, against=other, lengths=measure(tokenizer) if tokenizer else None)


def measure(tokenizer: Tokenizer) -> Measure:
    """Lengths of rows in this tokenizer's tokens, special ones included."""

    def lengths(rows: list[tuple[str, ...]]) -> list[int]:
        firsts = [row[0] for row in rows]
        seconds = [row[1] for row in rows] if rows and len(rows[0]) > 1 else None
        return [len(ids) for ids in tokenizer.ids(firsts, seconds)[0]]

    return lengths


def both(
    train: str, held_out: str | None, task: str, *, columns: Mapping[str, str | int], options: Mapping[str, Any]
) -> tuple[Table, Report, Table | None, Report | None]:
    """The training rows and, if there are, the evaluation rows, read and found in order.

    Raises one DataError with the problems of both files.
    """
    wanted = learnable(task).columns(options)
    problems = Problems()
    table = _open(train, wanted, columns, problems)
    report = check_table(table, wanted) if table else None
    other = _open(held_out, wanted, columns, problems) if held_out else None
    # labels are judged against the training rows only where those could be read
    known = list(report.labels) if report and report.labels and not report.problems else None
    other_report = check_table(other, wanted, labels=known, against=report) if other else None
    problems.raise_if_any()
    assert table is not None and report is not None
    return table, report, other, other_report


def _read(source: str, wanted: Columns, columns: Mapping[str, str | int] | None, problems: Problems) -> Table:
    return read(source, columns=columns, documents=wanted.documents, problems=problems)


def _open(source: str, wanted: Columns, columns: Mapping[str, str | int], problems: Problems) -> Table | None:
    try:
        return _read(source, wanted, columns, problems)
    except DataError:  # its problems are in the collector already
        return None


def opened(
    source: str,
    names: Sequence[str],
    *,
    columns: Mapping[str, str | int] | None,
    remembered: Mapping[str, str | int],
    problems: Problems,
    lacking: Callable[[Table], Sequence[object]],
    documents: Documents = "line",
) -> Table:
    """A file for a trained model. names: those of our columns that it may have. columns: what the user maps now; without it,
    as the training file was mapped (`remembered`) where this file has such columns, else as it is where that gives all that
    is needed. lacking: what a file lacks of that. documents: what a row of a `.txt` file is."""
    ours = {name: theirs for name, theirs in (columns or remembered).items() if name in names}
    for mapped in [] if columns else [ours, {}]:
        try:
            table = read(source, columns=mapped, documents=documents)
        except DataError:  # numbers for a file that has names, or what the reading below reports
            continue
        if not lacking(table):
            ours = mapped
            break
    return read(source, columns=ours, documents=documents, problems=problems)


def labelled(
    task: Learnable, source: str, *, columns: Mapping[str, str | int] | None, remembered: Mapping[str, str | int]
) -> Table:
    """The rows of a file with the targets of a trained task, found in order; see :func:`opened`."""
    settings = task.settings()
    wanted = task.columns(settings["options"])
    needed = [*wanted.inputs, *([wanted.target] if wanted.target else [])]

    def lacking(table: Table) -> list[str]:
        return [name for name in needed if table.theirs(name) not in table.columns]

    table = opened(
        source,
        wanted.names,
        columns=columns,
        remembered=remembered,
        problems=Problems(),
        lacking=lacking,
        documents=wanted.documents,
    )
    known: Sequence[str] | None = settings.get("labels")
    # one class alone is nothing to train on, but may well be evaluated on
    check_table(table, wanted, labels=known).problems.raise_if_any()
    return table
