"""`regard evaluate`."""

from __future__ import annotations

import regard
from regard.cli.console import Columns, Json, parse_columns, print_json, print_metrics, print_table


def evaluate(
    model: str,
    data: str,
    /,
    *,
    columns: Columns = "",
    precision: str = "auto",
    json: Json = False,
) -> None:
    """Measure a model on labelled rows: each metric with a 95% bootstrap interval.

    Parameters
    ----------
    model
        A model folder, or a hub name.
    data
        The labelled rows; see `regard train --help`.
    columns
        Which column serves as which: text=review,label=stars. Without it, those of the training run.
    precision
        float32, bfloat16, or auto: bfloat16 where the hardware has it.
    json
        Print one JSON object on standard output and nothing else there.
    """
    evaluation = regard.load(model, precision=precision).evaluate(data, columns=parse_columns(columns))
    if json:
        print_json({**evaluation.as_dict(), "model": model, "data": data})
        return
    print_metrics(f"{model} on {data}", evaluation.metrics)
    for name, table in evaluation.tables.items():
        if isinstance(table, list) and table and isinstance(table[0], dict):
            rows = [[cell["value"] if isinstance(cell, dict) else cell for cell in row.values()] for row in table]
            print_table(name, list(table[0]), rows)
