"""What tasks share whose model has an output for each of the labels that it learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from regard.config import Settings, parse
from regard.tasks.task import Task


class Saved(Settings, extra="ignore"):
    """What `task.json` says."""

    labels: tuple[str, ...]


@dataclass(frozen=True)
class Labelled(Task):
    """A task that knows its labels, in the order of the head's outputs."""

    labels: tuple[str, ...]

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """From `task.json`."""
        return cls(parse(Saved, settings, where="task.json").labels)

    def settings(self) -> dict[str, Any]:
        """The labels."""
        return {"labels": self.labels}

    @property
    def n_outputs(self) -> int:
        """One a label."""
        return len(self.labels)
