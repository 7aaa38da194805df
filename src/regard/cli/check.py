"""`regard check`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

import regard
from regard.cli.console import Columns, Json, parse_columns, print_json, print_table, say
from regard.config import overrides
from regard.errors import ConfigError


def check(
    data: str,
    /,
    *,
    task: str = "text-classification",
    model: str | None = None,
    against: str | None = None,
    columns: Columns = "",
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    json: Json = False,
) -> None:
    """Look a data file over before training: row-level problems, label balance, lengths, duplicates, leaks.

    Parameters
    ----------
    data
        The rows; see `regard train --help`.
    task
        What is to be learned from them.
    model
        Whose tokenizer measures the lengths; without it they are counted in characters.
    against
        A second file (the evaluation rows) that must not share texts with the first.
    columns
        Which column serves as which: text=review,label=stars.
    set
        The task's own settings: options.pair=true, options.multi_label=true.
    json
        Print one JSON object on standard output and nothing else there.
    """
    settings = overrides(set)
    options = settings.pop("options", {})
    if settings or not isinstance(options, dict):
        raise ConfigError(f"unknown key {next(iter(settings), 'options')!r}", where="--set", allowed="options.KEY=VALUE")
    report = regard.check(
        data,
        task=task,
        model=model,
        against=against,
        columns=parse_columns(columns),
        options=options,
    )
    if json:
        print_json(report.as_dict())
    else:
        print_table(f"{data}: {report.rows} rows", ("label", "rows"), report.labels.items())
        unit = "tokens" if model else "characters"
        print_table(f"length in {unit}", ("quantile", unit), report.lengths.items())
        for warning in report.warnings:
            say(f"warning: {warning}")
    report.problems.raise_if_any()
