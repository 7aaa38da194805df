"""`regard predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import regard
from regard.cli.console import Columns, Json, parse_columns, print_json, print_line, say
from regard.errors import ConfigError


def predict(
    model: str,
    text: tuple[str, ...] = (),
    /,
    *,
    pair: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    input: str | None = None,
    output: Path | None = None,
    columns: Columns = "",
    precision: str = "auto",
    json: Json = False,
) -> None:
    """Answer for texts given on the command line or in a file.

    Parameters
    ----------
    model
        A model folder, or a hub name.
    text
        Texts, each one argument.
    pair
        The second text of each pair, for a model that reads pairs; as often as there are texts.
    input
        A file with one row a text; see `regard train --help`. A .txt file holds a text a line.
    output
        Where to write the answers: .jsonl, .csv or .tsv. Without it they are printed.
    columns
        Which column of the input serves as which: text=review. Without it, those of the training run.
    precision
        float32, bfloat16, or auto: bfloat16 where the hardware has it.
    json
        Print one JSON object on standard output and nothing else there.
    """
    if input is not None and (text or pair):
        raise ConfigError("texts and a file of texts", where="--input", fix="give one of the two")
    if input is None and columns:
        raise ConfigError("there is no file whose columns could be meant", where="--columns", fix="give --input FILE")
    predictor = regard.load(model, precision=precision)
    if input is None:
        results = predictor.answered(predictor.rows(text, pair))
    else:
        results = predictor.answered_file(input, columns=parse_columns(columns))
    if output is not None:
        count = predictor.write(results, output)
        if json:
            print_json({"rows": count, "output": str(output)})
        else:
            say(f"{count} answers written to {output}")
    elif json:
        print_json({"predictions": list(results)})
    else:
        for result in results:
            print_line(predictor.line(result))
