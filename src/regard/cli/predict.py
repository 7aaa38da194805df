"""`regard predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import regard
from regard.cli.console import Columns, Json, parse_columns, print_json, print_line, say, section
from regard.errors import ConfigError

Texts = Annotated[tuple[str, ...], Parameter(negative="")]


def predict(
    model: str,
    /,
    *text: str,
    pair: Texts = (),
    context: Texts = (),
    choice: Annotated[tuple[str, ...], Parameter(name=("--choice", "--choices"), negative="")] = (),
    target_language: str | None = None,
    source_language: str | None = None,
    input: str | None = None,
    output: Path | None = None,
    columns: Columns = "",
    precision: str = "auto",
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    json: Json = False,
) -> None:
    """Answer for texts given on the command line or in a file, whatever the model has learned.

    Parameters
    ----------
    model
        A model folder, or a hub name.
    text
        Texts, each one argument: what the model classifies, fills, translates or is asked; files of sound or images.
    pair
        The second text of each pair, for a model that reads pairs; as often as there are texts.
    context
        Where the answers to questions are looked for; once for all questions, or once for each.
    choice
        What is to be chosen from; as often as there are choices.
    target_language
        What to translate into, for a model of many languages, by its own code for it.
    source_language
        What the texts are written in, likewise.
    input
        A file with one row a text; see `regard train --help`. A .txt file holds a text a line.
    output
        Where to write the answers: .jsonl, .csv or .tsv. Without it they are printed.
    columns
        Which column of the input serves as which: text=review. Without it, those of the training run.
    precision
        float32, bfloat16, auto: bfloat16 where the hardware has it, or int8: matrices in eight bits, quicker still.
    set
        How a model that writes is to do it, and what: decoding.beams=4, decoding.sample=true, decoding.regex='[0-9]+'.
    json
        Print one JSON object on standard output and nothing else there.
    """
    languages = {"target_language": target_language, "source_language": source_language}
    named = {"context": context[0] if len(context) == 1 else context, "choices": choice, **languages}
    given = {name: values for name, values in named.items() if values}
    if input is not None and (text or pair or given):
        raise ConfigError("texts and a file of texts", where="--input", fix="give one of the two")
    if input is None and columns:
        raise ConfigError("there is no file whose columns could be meant", where="--columns", fix="give --input FILE")
    predictor = regard.load(model, precision=precision, decoding=section(set, "decoding"))
    if input is None:
        results = predictor.answered(predictor.rows(text, pair, **given))
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
