"""What tasks share that hear or see and answer with a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from regard.config import Settings, parse
from regard.tasks.task import Prediction, Task


class Saved(Settings, extra="ignore"):
    """What `task.json` says."""

    labels: tuple[str, ...] = ()
    """In the order of the head's outputs."""
    features: dict[str, Any]
    """The checkpoint's preprocessor_config.json."""


@dataclass(frozen=True)
class Labelled(Task):
    """A task whose labels the model has learned. features: the checkpoint's preprocessor_config.json."""

    over: ClassVar[tuple[str, ...]] = ("sequence",)
    needs_tokenizer: ClassVar[bool] = False

    labels: tuple[str, ...]
    features: Mapping[str, Any]

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """From `task.json`."""
        saved = parse(Saved, settings, where="task.json")
        return cls(saved.labels, saved.features)

    def settings(self) -> dict[str, Any]:
        """Labels, and what is fed to the model."""
        return {"labels": list(self.labels), "features": dict(self.features)}

    @property
    def n_outputs(self) -> int:
        """One a label."""
        return len(self.labels)


def best(labels: Sequence[str], probabilities: Sequence[float]) -> Prediction:
    """{label, score, scores} of labels with their probabilities."""
    scores = dict(zip(labels, probabilities, strict=True))
    label = max(scores, key=scores.__getitem__)
    return Prediction(label=label, score=scores[label], scores=scores)
