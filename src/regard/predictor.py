"""A saved model at work: texts in, answers out; files in, files or metrics out (floor 6)."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from regard.checkpoints.files import replacing
from regard.checkpoints.folder import load as load_checkpoint
from regard.config import parse
from regard.data.batch import Listed
from regard.data.rows import HALF_PAIR, is_whole, kind_of
from regard.errors import CheckpointError, ConfigError, DataError, Problems, did_you_mean, listed
from regard.models.build import build
from regard.models.model import Model
from regard.models.pack import packed
from regard.tasks.infer import infer
from regard.tasks.inspect import labelled, opened
from regard.tasks.task import TASKS, Evaluation, Learned, Prediction, Task
from regard.text.tokenizer import Tokenizer
from regard.training.precision import compute_dtype, device

CHUNK = 8192
"""Rows of a file that are encoded, sorted by length and answered together."""

OUTPUTS = (".jsonl", ".csv", ".tsv")
"""Endings of files that answers can be written to."""


def load(source: str | Path, *, precision: str = "auto") -> Predictor:
    """The model of a folder or hub name, ready to predict.

    precision: `float32`, `bfloat16`, or `auto`: bfloat16 where the hardware has it. Raises CheckpointError for a folder that
    is no model, or a model that no task has been learned with.
    """
    loaded = load_checkpoint(source)
    on = device()
    dtype = compute_dtype(precision, on)
    model = build(loaded.config, loaded.head)
    model.load_state_dict(loaded.tensors)
    model.eval().requires_grad_(False)
    if loaded.task is None:
        fix = f"fine-tune it: regard train DATA --model {source}"
        raise CheckpointError("the model has learned no task: it has no output layer", where=str(source), fix=fix)
    if loaded.tokenizer is None:
        raise CheckpointError("the folder has no tokenizer", where=str(source), fix="add its tokenizer.json or vocab.txt")
    learned = parse(Learned, loaded.task, where=f"{source}: task.json")
    try:
        task = TASKS[learned.task].from_settings(loaded.task)
    except ConfigError as error:
        raise error.at(f"{source}: task.json") from None
    if dtype == torch.bfloat16:
        model = packed(model) if on.type == "cpu" else model.to(dtype)
    return Predictor(
        model.to(on),
        task,
        loaded.tokenizer,
        dtype=dtype,
        columns=learned.columns,
        max_length=learned.max_length or loaded.config.max_positions,
    )


class Predictor:
    """A model, its task and its tokenizer. columns: which file columns the training run read; max_length: in tokens."""

    def __init__(
        self,
        model: Model,
        task: Task,
        tokenizer: Tokenizer,
        *,
        dtype: torch.dtype = torch.float32,
        columns: Mapping[str, str | int] | None = None,
        max_length: int | None = None,
    ) -> None:
        self.model, self.task, self.tokenizer = model, task, tokenizer
        self._dtype, self._remembered, self._max_length = dtype, dict(columns or {}), max_length

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Prediction]:
        """One answer a text, in order; `pairs` holds the second texts for a task that reads pairs."""
        return self._answers(self.rows(texts, () if pairs is None else pairs))

    def rows(self, texts: Sequence[str], pairs: Sequence[str] = ()) -> list[dict[str, str]]:
        """Texts as rows of the task's input columns."""
        if isinstance(texts, str) or isinstance(pairs, str):
            raise DataError("one text where a list of texts is meant", fix="put it into a list: [text]")
        texts, pairs = list(texts), list(pairs)  # a column of a table has no truth value
        if not texts:
            raise DataError("no text was given", fix="give a text, or --input FILE")
        inputs = self.task.inputs
        if len(inputs) == 1:
            if pairs:
                raise DataError("this model reads one text, and a second one was given", fix="leave out the pairs")
        elif len(texts) != len(pairs):
            what = f"{len(texts)} texts and {len(pairs)} second texts"
            raise DataError(what, allowed="as many of these as of those", fix="regard predict MODEL TEXT --pair TEXT")
        problems = Problems()
        for number, text in enumerate([*texts, *pairs], start=1):
            if not isinstance(text, str):
                problems.add(f"{kind_of(text)} where text is meant", where=f"text {number}", fix="give it as a string")
            elif not is_whole(text):
                problems.add(HALF_PAIR, where=f"text {number}", fix="give the text as UTF-8")
        problems.raise_if_any()
        columns = (texts, pairs)[: len(inputs)]
        return [dict(zip(inputs, both, strict=True)) for both in zip(*columns, strict=True)]

    def answered(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Each row of input columns with its answer's keys beside them."""
        for row, answer in zip(rows, self._answers(rows), strict=True):
            yield {**row, **answer}

    def answered_file(self, source: str, *, columns: Mapping[str, str | int] | None = None) -> Iterator[dict[str, Any]]:
        """The same for the rows of a file, streaming, however long it is."""
        for rows in self._chunks(source, columns):
            yield from self.answered(rows)

    def evaluate(self, source: str, *, columns: Mapping[str, str | int] | None = None) -> Evaluation:
        """Metrics on labelled rows, each with a 95% bootstrap interval; a label that training did not know is an error."""
        table = labelled(self.task, source, columns=columns, remembered=self._remembered)
        rows = [row.values for row in table]
        examples = self.task.encode(rows, self.tokenizer, max_length=self._max_length)
        outputs = infer(self.model, Listed(examples), dtype=self._dtype)
        return self.task.evaluate(outputs, examples)

    def line(self, result: Mapping[str, Any]) -> str:
        """One answer on one line: the answer, its score, the text; tab-separated."""
        answer = result.get("label", ",".join(result.get("labels", ())))
        score = f"{result['score']:.4f}" if "score" in result else ""
        texts = [str(result[name]).replace("\n", " ").replace("\t", " ") for name in self.task.inputs]
        return "\t".join([str(answer), score, *texts])

    def write(self, results: Iterable[Mapping[str, Any]], path: Path) -> int:
        """Answers into a .jsonl, .csv or .tsv file; returns how many. The file appears when it is whole.

        A .csv or .tsv holds no `scores`. Tabs and line ends inside a cell of a .tsv become blanks: the format has no others.
        """
        if path.suffix not in OUTPUTS:
            ending = path.suffix or "a file without an ending"
            raise ConfigError(f"cannot write {ending}", where=str(path), allowed=listed(OUTPUTS))
        count = 0
        with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
            for count, result in enumerate(results, start=1):
                file.write(_written(result, path.suffix, header=count == 1))
        return count

    def _answers(self, rows: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        examples = Listed(self.task.encode(rows, self.tokenizer, max_length=self._max_length))
        return self.task.decode(infer(self.model, examples, dtype=self._dtype))

    def _chunks(self, source: str, columns: Mapping[str, str | int] | None) -> Iterator[list[dict[str, str]]]:
        inputs = self.task.inputs
        problems = Problems()
        table = opened(source, inputs, columns=columns, remembered=self._remembered, problems=problems)
        for name in inputs:
            if (theirs := table.theirs(name)) not in table.columns:
                fix = did_you_mean(theirs, table.columns) or f"map a column: --columns {name}=NAME"
                problems.add(f"no column {theirs!r}", where=source, allowed=listed(table.columns), fix=fix)
        problems.raise_if_any()
        rows, count = iter(table), 0
        while chunk := list(islice(rows, CHUNK)):
            count += len(chunk)
            for row in chunk:
                for name in inputs:
                    value = row.values.get(name)
                    if not isinstance(value, str):
                        fix = "write it as text, or remove the row"
                        problems.add(f"{kind_of(value)} where text is meant", where=row.where(table.theirs(name)), fix=fix)
                    elif not is_whole(value):
                        problems.add(HALF_PAIR, where=row.where(table.theirs(name)), fix="write the file again as UTF-8")
            problems.raise_if_any()
            yield [{name: row.values[name] for name in inputs} for row in chunk]
        if not count:
            problems.add("there are no rows", where=source, fix="check that the file was written whole")
        problems.raise_if_any()


def _written(result: Mapping[str, Any], ending: str, *, header: bool) -> str:
    """One answer as a line of a file, below the names of the columns where these are asked for."""
    if ending == ".jsonl":
        return json.dumps(result, ensure_ascii=False) + "\n"
    flat = {
        name: "|".join(cell) if isinstance(cell, list) else str(cell) for name, cell in result.items() if name != "scores"
    }
    lines = [list(flat), list(flat.values())] if header else [list(flat.values())]
    if ending == ".tsv":
        return "".join("\t".join(re.sub(r"[\t\r\n]", " ", cell) for cell in line) + "\n" for line in lines)
    return "".join(map(_csv_line, lines))


def _csv_line(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # quotes cells that hold a character of the line's end
    return text.getvalue().removesuffix("\r\n") + "\n"
