"""What happens in a run, as it happens: events for whoever listens, and the same in `events.jsonl`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regard.checkpoints.files import writing

Event = dict[str, Any]
"""`event` is one of start, step, evaluation, checkpoint, done; the other keys depend on it and are JSON values."""

Listener = Callable[[Event], None]


class Events:
    """Appends to `events.jsonl` and tells the listeners. A resumed run forgets what the killed one wrote after its last
    checkpoint: those steps are made again."""

    def __init__(self, path: Path, *, listeners: tuple[Listener, ...] = (), resume_step: int = 0) -> None:
        self._path, self._listeners = path, listeners
        kept = [line for line in _lines(path) if line.get("step", 0) <= resume_step and line["event"] != "done"]
        beside = path.with_suffix(".new")
        with writing(path):
            beside.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept), encoding="utf-8")
            beside.replace(path)
            # unbuffered: a line that found no room is not tried again by close
            self._file = path.open("ab", buffering=0)

    def tell(self, event: str, **values: Any) -> None:
        """Write and pass on one event. Raises :class:`~regard.errors.WorkError` when the disk refuses."""
        record = {"event": event, "time": round(time.time(), 3), **values}
        with writing(self._path):
            self._file.write((json.dumps(record, ensure_ascii=False) + "\n").encode())
        for listener in self._listeners:
            listener(record)

    def close(self) -> None:
        """No more events."""
        self._file.close()


def _lines(path: Path) -> list[Event]:
    if not path.exists():
        return []
    events = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:  # the line that a kill cut short
            break
    return events
