"""What the verbs share: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from regard.config import overrides
from regard.errors import ConfigError

# texts, labels and paths are the user's: `[/x]` and `:x:` in them are no markup
ERR = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
OUT = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)

Json = Annotated[bool, Parameter(name="--json", negative="")]
"""Print one JSON object on standard output and nothing else there."""

Columns = Annotated[str, Parameter(name="--columns")]
"""Which column of the file serves as which: text=review,label=stars; numbers count the columns of a headerless file."""


def say(text: str) -> None:
    """A line for the person, on standard error."""
    ERR.print(text)


def print_line(text: str) -> None:
    """A line of a result on standard output, as it is: a table would turn tabs into blanks."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_json(result: Mapping[str, Any]) -> None:
    """The one JSON object of `--json`."""
    sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A small table on standard output; the first column is text, the others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row))
    OUT.print(table)


def print_metrics(title: str, metrics: Mapping[str, Mapping[str, float]]) -> None:
    """Each metric with its interval."""
    rows = [(name, m["value"], f"{m['low']:.4f} to {m['high']:.4f}") for name, m in metrics.items()]
    print_table(title, ("metric", "value", "95% interval"), rows)


def section(assignments: Iterable[str], name: str) -> dict[str, Any]:
    """What `--set name.key=value` says, by key; any other section is an error."""
    values = overrides(assignments)
    if other := next((key for key in values if key != name), None):
        raise ConfigError(f"unknown section {other!r}", where="--set", allowed=f"{name}.key=value")
    if not isinstance(found := values.get(name, {}), dict):
        raise ConfigError(f"{name!r} is a section", where="--set", allowed=f"{name}.key=value")
    return found


def parse_columns(text: str) -> dict[str, str | int]:
    """`text=review,label=2` -> {"text": "review", "label": 2}."""
    columns: dict[str, str | int] = {}
    for part in filter(None, text.split(",")):
        ours, equals, theirs = (piece.strip() for piece in part.partition("="))
        if not (ours and equals and theirs) or ours in columns:
            what = f"{ours!r} is mapped twice" if ours in columns else f"{part!r} is not name=column"
            raise ConfigError(what, where="--columns", allowed="text=review,label=stars, or text=0,label=1")
        columns[ours] = int(theirs) if theirs.isdecimal() else theirs
    return columns
