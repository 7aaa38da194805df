"""How a running training looks: a bar where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from regard.cli.console import ERR, say

PLAIN_EVERY = 10.0
"""Seconds between plain lines."""


class Progress:
    """Listens to a run's events and shows them on standard error."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[numbers]}"))
        self._bar = Bar(*columns, TimeRemainingColumn(), console=ERR, transient=True, disable=not ERR.is_terminal)
        self._job = self._bar.add_task("training", total=None, numbers="")
        self._total, self._last_line = 0, 0.0
        self._speed = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """One event; see :mod:`regard.training.tracking`."""
        match event["event"]:
            case "note":
                say(event["text"])
            case "start":
                self._total = event["steps"]
                self._bar.update(self._job, total=self._total, completed=event["step"])
            case "step":
                self._step(event)
            case "evaluation":
                best = "  best so far" if event["best"] else ""
                say(f"step {event['step']}: {event['metric']} {event['value']:.4f}{best}")

    def _step(self, event: dict[str, Any]) -> None:
        now = event["tokens"] / max(event["seconds"], 1e-9)
        self._speed = now if not self._speed else 0.9 * self._speed + 0.1 * now
        numbers = f"loss {event['loss']:.4f}  lr {event['lr']:.2e}  {self._speed:,.0f} tokens/s"
        if ERR.is_terminal:
            self._bar.update(self._job, completed=event["step"], numbers=numbers)
        elif time.monotonic() - self._last_line > PLAIN_EVERY or event["step"] == self._total:
            self._last_line = time.monotonic()
            left = (self._total - event["step"]) * event["seconds"]
            say(f"step {event['step']}/{self._total}  {numbers}  about {left:.0f} s left")
