"""Where a run stands, on disk: enough to go on bit by bit after any kill.

A checkpoint is `checkpoints/step-N/`: `state.safetensors` (float32 masters and moments), `progress.json`, and a manifest of
digests. It is written beside and renamed, so that a folder called step-N is whole or is not there. The order of the data and
the dropout of a step are functions of the seed and the step number: they need no saving.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from regard.checkpoints.files import read_json, write_json
from regard.checkpoints.manifest import atomic_folder, latest
from regard.checkpoints.tensors import read_safetensors, write_safetensors
from regard.training.average import Average
from regard.training.optimizers import AdamW


@dataclass(frozen=True)
class Progress:
    """What a run knows at a step. evaluations: one entry each, oldest first."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int = 0
    waited: int = 0
    """Evaluations since the best one."""
    evaluations: tuple[dict[str, Any], ...] = ()

    def evaluated(self, value: float, entry: dict[str, Any], *, better: bool) -> Progress:
        """After an evaluation that gave `value`, better than the best so far or not."""
        return replace(
            self,
            best=value if better else self.best,
            best_step=self.step if better else self.best_step,
            waited=0 if better else self.waited + 1,
            evaluations=(*self.evaluations, entry),
        )


AVERAGE = "average."
"""Before the names of what :class:`Average` keeps."""


class Checkpoints:
    """The checkpoints of one run. keep: how many besides the best weights."""

    def __init__(self, out: Path, *, keep: int) -> None:
        self.folder, self._keep = out / "checkpoints", keep

    def save(self, optimizer: AdamW, average: Average, progress: Progress) -> None:
        """Write step-N, then drop what is older than the last `keep`, and best weights that are the best no more.

        Best weights go only here: until a checkpoint says that others are better, a killed run comes back to these.
        """
        with atomic_folder(self.folder / f"step-{progress.step}") as folder:
            means = {AVERAGE + name: tensor for name, tensor in average.state().items()}
            write_safetensors(folder / "state.safetensors", {**optimizer.state(), **means})
            write_json(folder / "progress.json", asdict(progress))
        steps = sorted(self.folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))
        beaten = [path for path in self.folder.glob("best-*") if path != self._best(progress.best_step)]
        for old in [*steps[: -self._keep], *beaten]:
            shutil.rmtree(old)

    def _best(self, step: int) -> Path:
        return self.folder / f"best-{step}"

    def save_best(self, optimizer: AdamW, step: int) -> None:
        """Keep the float32 weights of now, which are those of `step`."""
        with atomic_folder(self._best(step)) as folder:
            write_safetensors(folder / "weights.safetensors", dict(optimizer.masters()))

    def load_best(self, optimizer: AdamW, step: int) -> None:
        """Put the weights that :meth:`save_best` kept of `step` into the optimizer's masters."""
        saved = read_safetensors(self._best(step) / "weights.safetensors")
        for name, master in optimizer.masters():
            master.copy_(saved[name])

    def restore(self, optimizer: AdamW, average: Average) -> Progress | None:
        """Load the newest whole checkpoint; None when there is none."""
        folder = latest(self.folder)
        if folder is None:
            return None
        state = read_safetensors(folder / "state.safetensors")
        means = {name.removeprefix(AVERAGE): tensor for name, tensor in state.items() if name.startswith(AVERAGE)}
        optimizer.load(state)
        average.load(means)
        values = read_json(folder / "progress.json")
        return Progress(**{**values, "evaluations": tuple(values["evaluations"])})
