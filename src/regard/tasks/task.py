"""What a task is: what a row holds, how a model answers it, how an answer reads; and what training needs beside."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import torch
from pydantic import Field
from torch import Tensor

from regard.config import Settings, TokenizerConfig
from regard.data.batch import Batch, Examples, Listed
from regard.data.check import Columns, Report
from regard.errors import ConfigError, Problem, listed
from regard.models.config import HeadConfig, Kind, ModelConfig
from regard.models.model import Model
from regard.registry import Registry
from regard.tasks.infer import Outputs, forward, infer
from regard.tasks.inputs import Input
from regard.text.tokenizer import Tokenizer
from regard.text.train import train_tokenizer

Row = Mapping[str, Any]
"""Column -> value, under the names of the task's inputs."""

Example = dict[str, Any]
"""A row as a model reads it: `input_ids` (list of int), `type_ids` for pairs, `places` for a head over tokens (see
:func:`~regard.tasks.infer.forward`), `row` where one row may become several examples, and what the task itself wants back.
Every other value is a number or a list of numbers too, and all examples have the same columns."""

Prediction = dict[str, Any]
"""A JSON-ready answer."""


@dataclass(frozen=True)
class Defaults:
    """Settings that suit a task where the run file names none; each is from scratch, then for a pretrained model."""

    epochs: tuple[float, float]
    lr: tuple[float, float]
    tokens: tuple[int, int]
    smoothing: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Evaluation:
    """How good: `metrics` maps a name to {value, low, high}; `tables` holds what does not fit one number."""

    metrics: dict[str, dict[str, float]]
    tables: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"metrics": self.metrics, **self.tables}


class Learned(Settings, extra="allow"):
    """What every task's `task.json` holds; the task's own keys stand beside these."""

    task: str
    """The task's name."""
    columns: Mapping[str, str | int] = Field(default_factory=dict)
    """Which column of the training file served as which."""
    max_length: int | None = Field(None, ge=1)
    """Longest example in tokens; None means what the model allows."""


class Fault(NamedTuple):
    """What a task cannot answer: the row, counted from 0, its column, and a problem that needs no place of its own."""

    row: int
    column: str
    problem: Problem


class Task(ABC):
    """What a model is asked, with what it knows of its answers (its labels). Subclasses are frozen values; all state is in
    `settings`.

    A task that only predicts implements what is here. :class:`OnePass` does the loop where one pass through the model gives
    the answer; :class:`Learnable` says what training needs beside.
    """

    name: ClassVar[str]
    over: ClassVar[tuple[str, ...]]
    """What the model's head may answer for, see :class:`~regard.models.config.HeadConfig`."""
    needs_tokenizer: ClassVar[bool] = True
    """False where neither question nor answer is text."""

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """The inverse of `settings`, which a model folder's `task.json` holds; wrong ones raise ConfigError."""
        return cls()

    def settings(self) -> dict[str, Any]:
        """JSON-ready, for `task.json`; without the name, which is all that some tasks know."""
        return {}

    @property
    @abstractmethod
    def inputs(self) -> tuple[Input, ...]:
        """The columns that a row holds, in order; a prediction needs these alone."""

    @property
    def n_outputs(self) -> int | None:
        """How many outputs the head must have; None means any number."""
        return None

    def faults(self, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None) -> Iterable[Fault]:
        """What cannot be answered, told before any work; that every value is of its column's kind is known already."""
        return ()

    @abstractmethod
    def answers(
        self,
        model: Model,
        rows: Sequence[Row],
        tokenizer: Tokenizer | None,
        *,
        max_length: int | None,
        dtype: torch.dtype,
    ) -> list[Prediction]:
        """One answer a row, in order. tokenizer: None only where `needs_tokenizer` is false; max_length: of what the model
        reads, in tokens; dtype: of the activations."""

    @abstractmethod
    def told(self, result: Mapping[str, Any]) -> list[str]:
        """What a terminal shows of a result, which is a row with its answer: the cells of one line, the answer first."""

    def cells(self, result: Mapping[str, Any]) -> dict[str, str]:
        """What a table holds of a result: a list of texts joined by `|`, anything deeper as JSON."""
        return {name: _cell(value) for name, value in result.items()}


class OnePass(Task):
    """A task whose answers are read off what the model's head gives in one pass, whatever rows share a batch."""

    @abstractmethod
    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int | None) -> list[Example]:
        """Rows to examples, one or several a row, in order; rows without the target column become examples without
        targets."""

    @abstractmethod
    def decode(self, outputs: Outputs, examples: Sequence[Example], rows: Sequence[Row]) -> list[Prediction]:
        """What the head gave for each example -> one answer a row."""

    def answers(
        self,
        model: Model,
        rows: Sequence[Row],
        tokenizer: Tokenizer | None,
        *,
        max_length: int | None,
        dtype: torch.dtype,
    ) -> list[Prediction]:
        """Encode, run in batches without padding, decode."""
        assert tokenizer is not None
        examples = self.encode(rows, tokenizer, max_length=max_length)
        return self.decode(infer(model, Listed(examples), dtype=dtype), examples, rows)


class Learnable(Task):
    """A task that can also be trained and measured. `from_data` makes it at the start of a run, `starting` when the model
    and its tokenizer are there."""

    defaults: ClassVar[Defaults]
    kind: ClassVar[Kind] = "encoder"
    """Which stacks a model has that is trained from scratch."""

    @classmethod
    @abstractmethod
    def columns(cls, options: Mapping[str, Any]) -> Columns:
        """The columns that the task reads under these options; wrong options raise ConfigError."""

    @classmethod
    @abstractmethod
    def metrics(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """Those that can choose the best checkpoint, the usual one first; of those in
        :data:`~regard.metrics.SMALLER_IS_BETTER` the smallest value wins, else the largest."""

    @classmethod
    @abstractmethod
    def from_data(cls, options: Mapping[str, Any], report: Report) -> Self:
        """The task as the training data define it; `report` is that of :func:`regard.data.check.check`."""

    def learn_tokenizer(self, rows: Iterable[Row], settings: TokenizerConfig) -> Tokenizer:
        """The vocabulary of a model that is trained from scratch, learned from the training rows."""
        texts = (str(row[each.name]) for row in rows for each in self.inputs)
        lower_case = settings.lower_case is not False
        return train_tokenizer(
            texts, kind=settings.kind or "wordpiece", vocab_size=settings.vocab_size, lower_case=lower_case
        )

    def starting(self, tokenizer: Tokenizer, found: Mapping[str, Any] | None) -> Self:
        """The task with what the tokenizer says, and what a checkpoint's `task.json` says (`found`, None from scratch)."""
        return self

    @abstractmethod
    def head(self, found: HeadConfig | None, model: ModelConfig) -> HeadConfig:
        """The head to train on a model; `found` is the checkpoint's own, whose shape and dense layer are kept where they
        fit."""

    @abstractmethod
    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int | None) -> list[Example]:
        """As :meth:`OnePass.encode`."""

    def arranged(self, examples: Examples, tokenizer: Tokenizer, *, max_length: int | None) -> Examples:
        """The encoded rows as a run learns from them or measures them: some may be laid together, or left out; only after
        those that evaluate were parted from those that train. It must depend on nothing but the examples."""
        return examples

    def noted(self, examples: Examples, *, max_length: int) -> Iterable[str]:
        """What a person should know of the encoded rows before a run."""
        cut = sum(int(example["truncated"]) for example in examples)
        if cut:
            yield f"{cut} of {len(examples)} rows are longer than {max_length} tokens and were cut (batch.max_length)"

    @abstractmethod
    def loss(self, model: Model, batch: Batch, *, smoothing: float, dtype: torch.dtype) -> tuple[Tensor, int]:
        """(sum, count): over what is counted, be it examples or tokens. dtype: of the activations."""

    @abstractmethod
    def measure(
        self, model: Model, examples: Examples, tokenizer: Tokenizer, *, dtype: torch.dtype, quick: bool = False
    ) -> Evaluation:
        """How good the model is on examples with targets; quick: as well as can be told in little time, during training."""

    def concluded(
        self, model: Model, examples: Examples, tokenizer: Tokenizer, *, dtype: torch.dtype
    ) -> tuple[Self, Evaluation]:
        """The task as a trained model is saved with, and how good it is; examples: those that chose the best weights."""
        return self, self.measure(model, examples, tokenizer, dtype=dtype)


class LearnedInOnePass(OnePass, Learnable):
    """A learnable task whose loss and metrics are read off what the model's head gives in one pass."""

    @abstractmethod
    def cost(self, outputs: Tensor, batch: Batch, *, smoothing: float) -> tuple[Tensor, int]:
        """(sum over the examples, their count); outputs is what the model's head gave for the batch."""

    def calibrated(self, outputs: Outputs, examples: Sequence[Mapping[str, Any]]) -> Self:
        """The task with its scores fitted to held-out rows; the same where scores need no fitting."""
        return self

    @abstractmethod
    def evaluate(self, outputs: Outputs, examples: Sequence[Mapping[str, Any]]) -> Evaluation:
        """Head outputs against the targets in `examples`."""

    def loss(self, model: Model, batch: Batch, *, smoothing: float, dtype: torch.dtype) -> tuple[Tensor, int]:
        """See :class:`Learnable`."""
        return self.cost(forward(model, batch, dtype=dtype), batch, smoothing=smoothing)

    def measure(
        self, model: Model, examples: Examples, tokenizer: Tokenizer, *, dtype: torch.dtype, quick: bool = False
    ) -> Evaluation:
        """See :class:`Learnable`; one pass is always quick."""
        return self.evaluate(infer(model, examples, dtype=dtype), list(examples))

    def concluded(
        self, model: Model, examples: Examples, tokenizer: Tokenizer, *, dtype: torch.dtype
    ) -> tuple[Self, Evaluation]:
        """With its scores calibrated on these examples."""
        outputs, held = infer(model, examples, dtype=dtype), list(examples)
        task = self.calibrated(outputs, held)
        return task, task.evaluate(outputs, held)


TASKS: Registry[type[Task]] = Registry("task")


def learnable(name: str) -> type[Learnable]:
    """The task of this name; ConfigError if there is none, or if it can only predict."""
    kind = TASKS[name]
    if not issubclass(kind, Learnable):
        raise only_predicts(name)
    return kind


def only_predicts(name: str) -> ConfigError:
    """The error where a task was to be trained or measured."""
    known = listed(other for other, kind in TASKS.items() if issubclass(kind, Learnable))
    what = f"{name} can predict, it cannot be trained or evaluated yet"
    return ConfigError(what, where="task", allowed=known, fix="regard predict MODEL …")


def by_row(examples: Sequence[Mapping[str, Any]], n_rows: int) -> list[list[int]]:
    """Which examples each row became, by their column `row`."""
    numbers: list[list[int]] = [[] for _ in range(n_rows)]
    for number, example in enumerate(examples):
        numbers[example["row"]].append(number)
    return numbers


def _cell(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "|".join(value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)
