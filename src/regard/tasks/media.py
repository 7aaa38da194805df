"""What tasks share that hear or see and answer with a label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from regard.config import Settings, parse
from regard.errors import Problem
from regard.tasks.labelled import Labelled
from regard.tasks.task import Fault, Prediction, Row


class Saved(Settings, extra="ignore"):
    """What `task.json` says."""

    labels: tuple[str, ...] = ()
    """In the order of the head's outputs."""
    features: dict[str, Any]
    """The checkpoint's preprocessor_config.json."""


@dataclass(frozen=True)
class LabelledMedia(Labelled):
    """A task whose labels the model has learned. features: the checkpoint's preprocessor_config.json."""

    over: ClassVar[tuple[str, ...]] = ("sequence",)
    needs_tokenizer: ClassVar[bool] = False

    features: Mapping[str, Any]

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """From `task.json`."""
        saved = parse(Saved, settings, where="task.json")
        return cls(saved.labels, saved.features)

    def settings(self) -> dict[str, Any]:
        """Labels, and what is fed to the model."""
        return {"labels": list(self.labels), "features": dict(self.features)}


def missing(rows: Sequence[Row], column: str, *, fix: str) -> Iterator[Fault]:
    """Files that are not there."""
    for number, row in enumerate(rows):
        if not Path(row[column]).is_file():
            yield Fault(number, column, Problem(f"no such file: {row[column]}", fix=fix))


def best(labels: Sequence[str], probabilities: Sequence[float]) -> Prediction:
    """{label, score, scores} of labels with their probabilities."""
    scores = dict(zip(labels, probabilities, strict=True))
    label = max(scores, key=scores.__getitem__)
    return Prediction(label=label, score=scores[label], scores=scores)
