"""What a task is: which columns it reads, what is learned from a row, how an answer reads, how good the answers are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field
from torch import Tensor

from regard.config import Settings
from regard.data.batch import Batch
from regard.data.check import Columns, Report
from regard.models.config import HeadConfig
from regard.registry import Registry
from regard.text.tokenizer import Tokenizer

Row = Mapping[str, Any]
Example = dict[str, Any]
"""What the training loop stores of a row: `input_ids` (list of int), `type_ids` for pairs, and the task's target columns."""

Prediction = dict[str, Any]
"""A JSON-ready answer."""


@dataclass(frozen=True)
class Defaults:
    """Settings that suit a task where the run file names none; each is from scratch, then for a pretrained model."""

    epochs: tuple[float, float]
    lr: tuple[float, float]
    tokens: tuple[int, int]


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


class Task(ABC):
    """One task, with what it has learned of its data (its labels). Subclasses are frozen values; all state is in `settings`.

    A task is made by `from_data` at the start of a run and by `from_settings` from a model folder's `task.json`.
    """

    name: ClassVar[str]
    defaults: ClassVar[Defaults]

    @classmethod
    @abstractmethod
    def columns(cls, options: Mapping[str, Any]) -> Columns:
        """The columns that the task reads under these options; wrong options raise ConfigError."""

    @classmethod
    @abstractmethod
    def metrics(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """Those that can choose the best checkpoint (larger is better), the usual one first."""

    @classmethod
    @abstractmethod
    def from_data(cls, options: Mapping[str, Any], report: Report) -> Self:
        """The task as the training data define it; `report` is that of :func:`regard.data.check.check`."""

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """The inverse of `settings`; wrong ones raise ConfigError."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """JSON-ready, for `task.json`; without the name."""

    @abstractmethod
    def head(self, found: HeadConfig | None) -> HeadConfig:
        """The head to train; `found` is the checkpoint's own, whose shape and dense layer are kept where they fit."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """The input columns, in order; a prediction needs these alone."""

    @abstractmethod
    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int | None) -> list[Example]:
        """Rows to examples; rows without the target column become examples without targets."""

    @abstractmethod
    def loss(self, outputs: Tensor, batch: Batch, *, smoothing: float) -> tuple[Tensor, int]:
        """(sum over the examples, their count); outputs is what the model's head gave for the batch."""

    def calibrated(self, outputs: np.ndarray, examples: Sequence[Mapping[str, Any]]) -> Self:
        """The task with its scores fitted to held-out rows; the same where scores need no fitting."""
        return self

    @abstractmethod
    def decode(self, outputs: np.ndarray) -> list[Prediction]:
        """Head outputs (rows, n_outputs) -> answers."""

    @abstractmethod
    def evaluate(self, outputs: np.ndarray, examples: Sequence[Mapping[str, Any]]) -> Evaluation:
        """Head outputs against the targets in `examples`."""


TASKS: Registry[type[Task]] = Registry("task")
