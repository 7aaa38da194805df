"""A saved model at work: texts in, answers out; files in, files or metrics out (floor 6)."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from regard.checkpoints.families import FAMILIES
from regard.checkpoints.files import replacing
from regard.checkpoints.folder import load as load_checkpoint
from regard.checkpoints.loaded import Loaded
from regard.config import parse
from regard.data.batch import Listed
from regard.errors import CheckpointError, ConfigError, DataError, Problems, listed
from regard.layers.linear import QuantizedLinear
from regard.models.build import filled
from regard.models.model import Model
from regard.models.pack import packed
from regard.tasks.chatting import Conversation
from regard.tasks.generation import decoded
from regard.tasks.inputs import columns_of, lacking, rows_of
from regard.tasks.inspect import labelled, opened
from regard.tasks.task import TASKS, Evaluation, Fault, Learnable, Learned, Prediction, Task, only_predicts
from regard.tasks.text_generation import TextGeneration
from regard.text.tokenizer import Tokenizer
from regard.training.precision import compute_dtype, device

CHUNK = 8192
"""Rows of a file that are encoded, sorted by length and answered together."""

OUTPUTS = (".jsonl", ".csv", ".tsv")
"""Endings of files that answers can be written to."""


def load(source: str | Path, *, precision: str = "auto", decoding: Mapping[str, Any] | None = None) -> Predictor:
    """The model of a folder or hub name, ready to predict.

    precision: `float32`, `bfloat16`, `auto`: bfloat16 where the hardware has it, or `int8`: matrices in eight bits.
    decoding: how a model that writes is to do it, keys of :class:`~regard.tasks.decoding.Decoding`; the rest is as the
    checkpoint says. Raises ConfigError for settings that are wrong, CheckpointError for a folder that is no model, or a
    model that no task has been learned with.
    """
    loaded = load_checkpoint(source)
    on = device()
    int8 = precision == "int8"
    if int8 and not (on.type == "cpu" and QuantizedLinear.available()):
        raise ConfigError("int8 is not quicker here", where="precision", fix="it needs a CPU with VNNI: use auto")
    dtype = compute_dtype("auto" if int8 else precision, on)
    if loaded.task is None:
        raise _no_task(loaded)
    where = f"{source}: task.json"
    learned = parse(Learned, loaded.task, where=where)
    try:
        task = TASKS[learned.task].from_settings(loaded.task)
    except ConfigError as error:
        raise error.at(where) from None
    _check_parts(loaded, task)
    if decoding:
        task = decoded(task, decoding, loaded.tokenizer)
    model = filled(loaded.config, loaded.head, loaded.tensors)
    model = packed(model, dtype, int8=int8) if on.type == "cpu" else model.to(dtype)
    return Predictor(
        model.to(on),
        task,
        loaded.tokenizer,
        dtype=dtype,
        columns=learned.columns,
        max_length=learned.max_length or loaded.config.max_positions,
    )


def _no_task(loaded: Loaded) -> CheckpointError:
    """The error for a model that answers nothing."""
    what = "the model has learned no task: it has no output layer"
    if loaded.origin is not None and loaded.origin.architecture != FAMILIES[loaded.origin.family].base.name:
        what = f"Regard knows no task for the output layer of {loaded.origin.architecture}"
    fix = f"fine-tune it: regard train DATA --model {loaded.source}"
    return CheckpointError(what, where=loaded.source, allowed=listed(TASKS), fix=fix)


def _check_parts(loaded: Loaded, task: Task) -> None:
    """Refuse a model that lacks what the task answers with."""
    problems = Problems(CheckpointError)
    if task.needs_tokenizer and loaded.tokenizer is None:
        fix = "add its tokenizer.json or vocab.txt"
        problems.add("the folder has no tokenizer", where=loaded.source, fix=fix)
    over, n_outputs = (None, 0) if loaded.head is None else (loaded.head.over, loaded.head.n_outputs)
    if over not in task.over:
        found = "the model has no output layer" if over is None else f"the output layer is over {over!r}"
        problems.add(found, where=loaded.source, allowed=f"one over {listed(map(repr, task.over))}, for {task.name}")
    elif task.n_outputs not in (None, n_outputs):
        allowed = f"{task.n_outputs}, for {task.name}"
        problems.add(f"the output layer has {n_outputs} rows", where=loaded.source, allowed=allowed)
    problems.raise_if_any()


class Predictor:
    """A model, its task and its tokenizer. columns: which file columns the training run read; max_length: in tokens."""

    def __init__(
        self,
        model: Model,
        task: Task,
        tokenizer: Tokenizer | None,
        *,
        dtype: torch.dtype = torch.float32,
        columns: Mapping[str, str | int] | None = None,
        max_length: int | None = None,
    ) -> None:
        self.model, self.task, self.tokenizer = model, task, tokenizer
        self._dtype, self._remembered, self._max_length = dtype, dict(columns or {}), max_length

    def predict(
        self, texts: Sequence[Any] | None = None, pairs: Sequence[Any] | None = None, **columns: Any
    ) -> list[Prediction]:
        """One answer a row, in order; what is asked is given as in :meth:`rows`."""
        return self._answers(self.rows(texts, pairs, **columns))

    def rows(
        self, texts: Sequence[Any] | None = None, pairs: Sequence[Any] | None = None, **columns: Any
    ) -> list[dict[str, Any]]:
        """Rows of the task's input columns.

        texts and pairs: the first column and the second, one value a row. columns: any of them by name; a single value
        instead of a list stands for all rows (`rows(["Who?", "When?"], context="…")`).
        """
        inputs = self.task.inputs
        if isinstance(texts, str):
            raise DataError("one text where a list of texts is meant", fix="put it into a list: [text]")
        if pairs is not None and len(pairs) and len(inputs) < 2:  # a column of a table has no truth value
            raise DataError("this model reads one text, and a second one was given", fix="leave out the pairs")
        names = (each.name for each in inputs)
        placed = {name: values for name, values in zip(names, (texts, pairs), strict=False) if values is not None}
        rows = rows_of(inputs, {**placed, **columns})
        problems = Problems()
        for fault in self._faults(rows):
            problems.append(replace(fault.problem, where=f"{fault.column} {fault.row + 1}"))
        problems.raise_if_any()
        return rows

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
        task = self.task
        if not isinstance(task, Learnable):
            raise only_predicts(task.name)
        assert self.tokenizer is not None
        table = labelled(task, source, columns=columns, remembered=self._remembered)
        examples = task.encode([row.values for row in table], self.tokenizer, max_length=self._max_length)
        held = task.arranged(Listed(examples), self.tokenizer, max_length=self._max_length)
        return task.measure(self.model, held, self.tokenizer, dtype=self._dtype)

    def conversation(self, *, system: str | None = None) -> Conversation:
        """A conversation to be begun; see there. system: what the model is told before all else.

        Raises ConfigError for a model that does not write on, CheckpointError for one that has no chat template.
        """
        if not isinstance(self.task, TextGeneration) or self.tokenizer is None:
            raise ConfigError(f"a model for {self.task.name} does not converse", allowed="text-generation", where="task")
        return Conversation(
            self.model,
            self.task.generation,
            self.tokenizer,
            system=system,
            max_length=self._max_length,
            dtype=self._dtype,
        )

    def line(self, result: Mapping[str, Any]) -> str:
        """One answer on one line: the answer first, then what was asked; tab-separated."""
        return "\t".join(re.sub(r"[\t\r\n]", " ", cell) for cell in self.task.told(result))

    def write(self, results: Iterable[Mapping[str, Any]], path: Path) -> int:
        """Answers into a .jsonl, .csv or .tsv file; returns how many. The file appears when it is whole.

        What cells a .csv or .tsv holds is the task's business. Tabs and line ends inside a cell of a .tsv become blanks: the
        format has no others.
        """
        if path.suffix not in OUTPUTS:
            ending = path.suffix or "a file without an ending"
            raise ConfigError(f"cannot write {ending}", where=str(path), allowed=listed(OUTPUTS))
        count = 0
        with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
            for count, result in enumerate(results, start=1):
                if path.suffix == ".jsonl":
                    file.write(json.dumps(result, ensure_ascii=False) + "\n")
                else:
                    cells = self.task.cells(result)
                    line = LINES[path.suffix]
                    file.write((line(list(cells)) if count == 1 else "") + line(list(cells.values())))
        return count

    def _answers(self, rows: Sequence[Mapping[str, Any]]) -> list[Prediction]:
        return self.task.answers(self.model, rows, self.tokenizer, max_length=self._max_length, dtype=self._dtype)

    def _faults(self, rows: Sequence[Mapping[str, Any]]) -> Iterable[Fault]:
        return self.task.faults(rows, self.tokenizer, max_length=self._max_length)

    def _chunks(self, source: str, columns: Mapping[str, str | int] | None) -> Iterator[list[dict[str, Any]]]:
        problems = Problems()
        table = opened(
            source,
            [each.name for each in self.task.inputs],
            columns=columns,
            remembered=self._remembered,
            problems=problems,
            lacking=lambda table: lacking(self.task.inputs, table),
        )
        inputs = columns_of(self.task.inputs, table, problems)
        problems.raise_if_any()
        rows, count = iter(table), 0
        while chunk := list(islice(rows, CHUNK)):
            count += len(chunk)
            values = [{each.name: each.cell(row.values.get(each.name)) for each in inputs} for row in chunk]
            wrong = [
                Fault(number, each.name, problem)
                for number, row in enumerate(values)
                for each in inputs
                for problem in each.faults(row[each.name])
            ]
            for fault in wrong or self._faults(values):
                place = chunk[fault.row].where(table.theirs(fault.column))
                problems.append(replace(fault.problem, where=place))
            problems.raise_if_any()
            yield values
        if not count:
            problems.add("there are no rows", where=source, fix="check that the file was written whole")
        problems.raise_if_any()


def _csv_line(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # quotes cells that hold a character of the line's end
    return text.getvalue().removesuffix("\r\n") + "\n"


def _tsv_line(cells: list[str]) -> str:
    return "\t".join(re.sub(r"[\t\r\n]", " ", cell) for cell in cells) + "\n"


LINES = {".csv": _csv_line, ".tsv": _tsv_line}
"""How cells become a line of a table."""
