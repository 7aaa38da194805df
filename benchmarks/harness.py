"""How the benchmarks compare: contenders take turns in one run, each in a process of its own.

A busy moment of the machine then hits all of them alike, and a peak of memory belongs to one alone. What counts is the ratio
of two rounds with the same number, so that a slow minute cancels; medians are given with the lowest and the highest value.
The first round is reported by itself: kernels are compiled and memory is fetched in it.

The parent imports neither torch nor transformers: a child's peak would start from what its parent held.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SPAWN = multiprocessing.get_context("spawn")
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Round:
    """What one contender did in one round. seconds: wall-clock; rows: sentences; steps: optimizer updates, if any."""

    seconds: float
    rows: int
    steps: int = 0

    @property
    def rate(self) -> float:
        """Sentences a second."""
        return self.rows / self.seconds


@dataclass(frozen=True)
class Spread:
    """A median with the lowest and the highest value that was seen."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of at least one value."""
        seen = list(values)
        return cls(statistics.median(seen), min(seen), max(seen))

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.low)}–{number(self.high)})"


class Contender:
    """An object in a process of its own. make(*args) creates it there; `facts` is what its method `facts` tells at once.

    group: contenders that differ in a setting alone, of which the best one counts.
    """

    def __init__(self, name: str, make: Callable[..., Any], *args: Any, group: str | None = None) -> None:
        self.name, self.group = name, group or name
        self._here, there = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(there, make, args), daemon=True)
        self._process.start()
        there.close()
        self.peak_mb = 0.0
        self.facts: dict[str, Any] = self.call("facts")
        self.loaded_mb = self.peak_mb

    def call(self, method: str, *args: Any) -> Any:
        """What the method returns; a contender that fails has printed its traceback, and ends the benchmark."""
        try:
            self._here.send((method, args))
            result, self.peak_mb = self._here.recv()
        except (EOFError, OSError):
            sys.exit(f"{self.name} ended before it answered {method!r}")
        return result

    def close(self) -> None:
        """End the process."""
        self._here.close()
        self._process.join()


def _serve(requests: Connection, make: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """The child's side: build, then answer until the parent hangs up."""
    contender = make(*args)
    while True:
        try:
            method, given = requests.recv()
        except EOFError:
            return
        result = getattr(contender, method)(*given)
        requests.send((result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def apart(work: Callable[..., None], *args: Any) -> None:
    """Do some preparation in a process of its own."""
    process = SPAWN.Process(target=work, args=args)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{work.__name__} failed")


def alternate(contenders: Sequence[Contender], rounds: int, method: str) -> dict[str, list[Any]]:
    """`method(number)` of every contender, round after round, every second round in reverse order."""
    answers: dict[str, list[Any]] = {contender.name: [] for contender in contenders}
    for turn in range(rounds):
        for contender in contenders if turn % 2 == 0 else reversed(contenders):
            answers[contender.name].append(contender.call(method, turn))
        print(f"{method}: round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
    return answers


def speeds(contenders: Sequence[Contender], rounds: Mapping[str, Sequence[Round]]) -> list[dict[str, Any]]:
    """One entry a contender, the first being the one that the others are compared with."""
    first = rounds[contenders[0].name]
    table = []
    for contender in contenders:
        mine = rounds[contender.name]
        table.append(
            {
                "contender": contender.name,
                "sentences/s": Spread.of(turn.rate for turn in mine[1:]),
                "first round": mine[0].rate,
                f"{contenders[0].name} is … times as fast": faster(first, mine),
                "peak memory, MB": contender.peak_mb,
                "when loaded, MB": contender.loaded_mb,
            }
        )
    return table


def faster(ours: Sequence[Round], theirs: Sequence[Round]) -> Spread:
    """How many times as fast one contender is as another, round by round, without the first."""
    return Spread.of(mine.rate / other.rate for mine, other in zip(ours[1:], theirs[1:], strict=True))


def fastest(contenders: Sequence[Contender], rounds: Mapping[str, Sequence[Round]]) -> dict[str, str]:
    """Group -> the name of its fastest contender."""
    best: dict[str, str] = {}
    medians = {name: statistics.median(turn.rate for turn in turns[1:]) for name, turns in rounds.items()}
    for contender in contenders:
        if contender.group not in best or medians[contender.name] > medians[best[contender.group]]:
            best[contender.group] = contender.name
    return best


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def markdown(rows: Rows) -> str:
    """A table with the first row's keys as its heading."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def cell(value: Any) -> str:
        return number(value) if isinstance(value, float) else str(value)

    heading = list(rows[0])
    rule = ["---" if isinstance(rows[0][key], str) else "---:" for key in heading]
    return "\n".join([line(heading), line(rule), *(line(cell(row[key]) for key in heading) for row in rows)])


def show(report: Mapping[str, Any], *, as_json: bool) -> None:
    """A report on standard output: JSON, or lists of rows as Markdown tables and the rest as a list of facts."""
    if as_json:
        print(json.dumps(report, default=lambda value: asdict(value) if is_dataclass(value) else str(value)))
        return
    for name, value in report.items():
        if isinstance(value, list):
            print(f"\n**{name}**\n\n{markdown(value)}\n")
        else:
            text = ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else str(value)
            print(f"- {name}: {text}")


def machine() -> dict[str, Any]:
    """What was measured on. Call it last: it imports torch."""
    from regard.machine import doctor

    facts = doctor()
    return {name: facts[name] for name in ("processor", "threads", "torch", "amx", "avx512_bf16")}


def options(doc: str | None, *, rounds: int | None = None) -> argparse.ArgumentParser:
    """The options that all comparisons have; rounds: their usual number, None = there are none."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help="after the first, which is reported by itself")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    return parser


def confine(threads: int) -> None:
    """This process and its children: so many threads, no GPU, no network."""
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), str(threads))
    os.environ.update(counts, CUDA_VISIBLE_DEVICES="", HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")


def shared() -> Path:
    """The folder of real data and weights: `REGARD_SHARED`, or `shared` beside the repository."""
    return _found(Path(os.environ.get("REGARD_SHARED") or Path(__file__).parents[2] / "shared"), "REGARD_SHARED")


def checkpoint(name: str) -> Path:
    """A real checkpoint: in `shared`, or built from its recipes in `REGARD_CHECKPOINTS`."""
    here = shared() / "checkpoints" / name
    built = Path(os.environ.get("REGARD_CHECKPOINTS") or Path.home() / ".cache/regard-checkpoints")
    return here if here.is_dir() else _found(built / name, "REGARD_CHECKPOINTS")


def _found(folder: Path, variable: str) -> Path:
    if not folder.is_dir():
        sys.exit(f"no folder {folder}: set {variable} to where it is")
    return folder
