"""`regard train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import regard
from regard.cli.console import Columns, Json, parse_columns, print_json, print_metrics, say
from regard.cli.progress import Progress
from regard.config import overrides


def train(
    data: str | None = None,
    run: Path | None = None,
    /,
    *,
    task: str | None = None,
    model: str | None = None,
    eval: str | None = None,
    out: Path | None = None,
    columns: Columns = "",
    seed: int | None = None,
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    json: Json = False,
) -> None:
    """Train, evaluate and save a model. The same command on an unfinished folder resumes it.

    Parameters
    ----------
    data
        Training rows: a .csv .tsv .jsonl .json .parquet .txt file (also .gz, .xz), a folder, parallel
        files (train.en-de for train.en and train.de), or hub:owner/name.
    run
        A run file (RUN.toml); what is given on the command line wins.
    task
        What is learned: text-classification (the default).
    model
        Where to start: tiny, mini, small or base from scratch, a model folder, or a hub name. The default is mini.
    eval
        Rows that choose the best checkpoint; without them, a share of the training rows is held out.
    out
        Folder of the run.
    columns
        Which column serves as which: text=review,label=stars. Numbers count the columns of a file without a header.
    seed
        Decides data order, initial weights and dropout.
    set
        Any key of the run file: training.lr=2e-5, batch.tokens=2048.
    json
        Print one JSON object on standard output and nothing else there.
    """
    if data is not None and data.endswith(".toml") and run is None:
        run, data = Path(data), None
    try:
        with Progress() as progress:
            result = regard.train(
                data,
                task=task,
                model=model,
                eval=eval,
                out=out,
                columns=parse_columns(columns),
                seed=seed,
                settings=overrides(set),
                run_file=run,
                listeners=(progress,),
            )
    except KeyboardInterrupt:
        say("the same command goes on from the last checkpoint")
        raise
    if json:
        print_json(result.as_dict())
        return
    print_metrics(f"{result.task} on {result.evaluated_on}", result.metrics)
    say(f'model: {result.out}\ntry:   regard predict {result.out} "…"   |   regard evaluate {result.out} FILE')
