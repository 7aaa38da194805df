"""The columns that a prediction reads, and rows made of what a caller gives for them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from regard.data.read import Table
from regard.data.rows import HALF_PAIR, is_missing, is_whole, kind_of
from regard.data.targets import split_labels
from regard.errors import Problem, Problems, did_you_mean, listed


@dataclass(frozen=True, slots=True)
class Input:
    """One column. separator: of a column that holds lists of texts, what parts them where a file's cell holds one text; None
    means that it holds a text. optional: whether a row may lack it. instead: the column in whose place it may be given."""

    name: str
    separator: str | None = None
    optional: bool = False
    instead: str | None = None

    def cell(self, value: Any) -> Any:
        """The value that a file's cell stands for."""
        if self.optional and is_missing(value):
            return "" if self.separator is None else []
        if self.separator is not None and isinstance(value, str):
            return split_labels(value, self.separator)
        return value

    def faults(self, value: Any) -> Iterator[Problem]:
        """What is wrong with a row's value."""
        if self.separator is None:
            yield from _text_faults(value)
        elif isinstance(value, list):
            for text in value:
                yield from _text_faults(text)
        else:
            yield Problem(f"{kind_of(value)} where a list of texts is meant", fix="give a list of strings")

    def is_single(self, value: Any) -> bool:
        """Whether what was given for the column is one row's value, and not a list of them."""
        if isinstance(value, str) or self.separator is None:
            return isinstance(value, str)
        return all(isinstance(item, str) for item in value)


def _text_faults(value: Any) -> Iterator[Problem]:
    if not isinstance(value, str):
        yield Problem(f"{kind_of(value)} where text is meant", fix="give it as a string")
    elif not is_whole(value):
        yield Problem(HALF_PAIR, fix="give the text as UTF-8")


def rows_of(inputs: Sequence[Input], given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows from values by column: a list has a value a row, a single value stands for all rows; an empty list is none.

    Raises one DataError for all that is wrong: columns that are missing, unknown or of different lengths, values that are
    not of their column's kind.
    """
    problems = Problems()
    values = {name: value if isinstance(value, str) else _listed(name, value, problems) for name, value in given.items()}
    held = {name: value for name, value in values.items() if isinstance(value, str) or value}
    problems.raise_if_any()
    _check_names(inputs, held, problems)
    problems.raise_if_any()
    read = [each for each in inputs if each.name in held]
    many = [each.name for each in read if not each.is_single(held[each.name])]
    counts = {name: len(held[name]) for name in many}
    if len(set(counts.values())) > 1:
        what = "unequal numbers of values: " + ", ".join(f"{count} of {name}" for name, count in counts.items())
        problems.add(what, allowed="as many of these as of those", fix="give one for each row")
    problems.raise_if_any()
    n_rows = next(iter(counts.values()), 1)
    columns = {each.name: held[each.name] if each.name in many else [held[each.name]] * n_rows for each in read}
    for each in read:
        for number, value in enumerate(columns[each.name], start=1):
            for problem in each.faults(value):
                problems.append(replace(problem, where=f"{each.name} {number}"))
    problems.raise_if_any()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _check_names(inputs: Sequence[Input], given: Mapping[str, Any], problems: Problems) -> None:
    names = [each.name for each in inputs]
    for name in given:
        if name not in names:
            what = f"this model reads no {name}, and one was given"
            problems.add(what, allowed=listed(names), fix=f"leave out the {name}")
    for each in inputs:
        if each.instead in given and each.name in given:
            problems.add(f"{each.instead} and {each.name} were given", fix="give one of the two")
        elif each.name not in given and not _spared(each, inputs, given):
            more = f"regard predict MODEL {names[0].upper()} --{each.name} …"
            fix = f"give a {each.name}, or --input FILE" if each is inputs[0] else more
            problems.add(f"no {each.name} was given", fix=fix)


def _listed(name: str, value: Any, problems: Problems) -> list[Any]:
    if isinstance(value, Iterable):
        return [list(item) if isinstance(item, tuple) else item for item in value]
    problems.add(f"{kind_of(value)} where a list is meant", where=name, fix="give one value a row")
    return []


def columns_of(inputs: Sequence[Input], table: Table, problems: Problems) -> list[Input]:
    """What a file has of the columns; one that it lacks and must have is a problem."""
    for each in lacking(inputs, table):
        theirs = table.theirs(each.name)
        fix = did_you_mean(theirs, table.columns) or f"map a column: --columns {each.name}=NAME"
        problems.add(f"no column {theirs!r}", where=table.source, allowed=listed(table.columns), fix=fix)
    there = {each.name: each for each in inputs if table.theirs(each.name) in table.columns}
    return [each for each in there.values() if each.instead not in there]


def lacking(inputs: Sequence[Input], table: Table) -> list[Input]:
    """The columns that a file must have, or that the user says it has, and has not."""
    there = {each.name for each in inputs if table.theirs(each.name) in table.columns}
    return [
        each
        for each in inputs
        if each.name not in there and (each.name in table.mapped or not _spared(each, inputs, there | table.mapped.keys()))
    ]


def _spared(wanted: Input, inputs: Sequence[Input], given: Container[str]) -> bool:
    """Whether a column need not be there: it is optional, stands for another, or another stands for it."""
    return (
        wanted.optional
        or wanted.instead is not None
        or any(each.instead == wanted.name and each.name in given for each in inputs)
    )
