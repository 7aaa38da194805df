"""A run from a run file to a model folder: read, check, encode, train, choose the best, evaluate, save (floor 5).

The folder is the run's memory. `run.toml` and the tokenizer are written first; a run that finds them, and finds them equal,
goes on from the newest whole checkpoint; a run that finds `metrics.json` is finished already.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from regard.checkpoints.files import read_json, replacing, write_json
from regard.checkpoints.folder import save_model
from regard.config import RunConfig, merged, parse, read_toml
from regard.data.batch import Batch, Batches, take
from regard.errors import ConfigError, Problems, did_you_mean, listed
from regard.metrics import is_better
from regard.models.model import Model
from regard.tasks.task import Learnable, learnable
from regard.training.average import Average
from regard.training.card import model_card
from regard.training.fit import fit
from regard.training.optimizers import optimizer_for
from regard.training.precision import compute_dtype, device
from regard.training.prepare import Prepared, prepare
from regard.training.resume import Checkpoints, Progress
from regard.training.schedules import SCHEDULES, learning_rate, warmup_steps
from regard.training.tracking import Events, Listener

TASK = "text-classification"
"""What is learned where no task is named."""


@dataclass(frozen=True)
class Result:
    """A finished run. metrics: name -> {value, low, high}, on the rows named by `evaluated_on`."""

    out: str
    task: str
    metrics: dict[str, dict[str, float]]
    evaluated_on: str
    steps: int
    best_step: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**self.__dict__}


def train(
    data: str | None = None,
    *,
    task: str | None = None,
    model: str | None = None,
    eval: str | None = None,
    out: str | Path | None = None,
    columns: Mapping[str, str | int] | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    run_file: Path | None = None,
    listeners: Sequence[Listener] = (),
) -> Result:
    """Train a model, or go on with the run in `out`. What is given here wins over `settings`, and those over `run_file`.

    data, eval: files, folders or hub names. settings: nested keys of :class:`~regard.config.RunConfig`, as
    {"training": {"lr": 2e-5}}. Raises InputError for whatever is wrong with config, data or checkpoint, before training.
    """
    given = {"task": task, "model": model, "out": None if out is None else str(out), "seed": seed}
    files = {"train": data, "eval": eval, "columns": dict(columns) if columns else None}
    layers = [read_toml(run_file) if run_file else {}, settings or {}, _given(given), {"data": _given(files)}]
    problems = Problems(ConfigError)
    for where, values in ((str(run_file), layers[0]), ("settings", merged(*layers[1:]))):
        with problems.collected():
            parse(RunConfig, {"task": TASK, **values}, where=where)
    problems.raise_if_any()
    return run(parse(RunConfig, {"task": TASK, **merged(*layers)}, where="settings"), listeners=listeners)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def run(config: RunConfig, *, listeners: Sequence[Listener] = ()) -> Result:
    """Train as `config` says; see :func:`train`."""
    config = resolved(config)
    assert config.out is not None
    out = Path(config.out)
    if (done := _finished(config, out)) is not None:
        _tidy(out)  # a kill may have come between the last file and this
        for listener in listeners:
            listener({"event": "note", "text": f"{out} holds this run, finished; nothing was trained"})
        return done
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    prepared = prepare(config, out)
    for listener in listeners:
        for note in prepared.notes:
            listener({"event": "note", "text": note})
    return Run(config, out, prepared).finish(listeners)


def resolved(config: RunConfig) -> RunConfig:
    """With `out` filled in, and all names checked."""
    problems = Problems(ConfigError)
    with problems.collected("training.schedule"):
        SCHEDULES[config.training.schedule]
    with problems.collected("task"):
        metrics = learnable(config.task).metrics(config.options)
        if (metric := config.training.metric) not in (None, *metrics):
            fix = did_you_mean(str(metric), metrics)
            problems.add(f"unknown metric {metric!r}", where="training.metric", allowed=listed(metrics), fix=fix)
    if config.data.train is None:
        problems.add("no training data", where="data.train", fix="regard train FILE …, or data.train in the run file")
    problems.raise_if_any()
    if config.out:
        return config
    stem = Path(str(config.data.train).rstrip("/")).name.split(".")[0].split(":")[-1]
    return config.model_copy(update={"out": f"runs/{config.task}-{stem}"})


def _finished(config: RunConfig, out: Path) -> Result | None:
    """The result, if `out` holds this very run, finished; an error if it holds another one."""
    if not (out / "run.toml").exists():
        # a run killed at its first write leaves a hidden file
        if out.exists() and not (out.is_dir() and all(path.name.endswith(".partial") for path in out.iterdir())):
            what = "the folder holds something that is not a run" if out.is_dir() else "a file has this name"
            raise ConfigError(what, where=str(out), fix="choose another --out, or clear the place")
        return None
    before = parse(RunConfig, read_toml(out / "run.toml"), where=str(out / "run.toml"))
    # where the run lies is no part of what it is: a moved folder is the same run
    changed = _differences(before.model_copy(update={"out": config.out}), config)
    if changed:
        raise ConfigError(
            f"the folder holds a run with other settings: {'; '.join(changed)}",
            where=str(out),
            fix="choose another --out, or repeat the settings of its run.toml",
        )
    if not (out / "metrics.json").exists():
        return None
    saved = read_json(out / "metrics.json")
    try:
        return Result(out=str(out), metrics=saved["metrics"], **saved["run"])
    except (KeyError, TypeError):
        raise ConfigError(
            "not the metrics of a run", where=str(out / "metrics.json"), fix="choose another --out, or restore the file"
        ) from None


def _tidy(out: Path) -> None:
    """Remove what only an unfinished run needs."""
    for name in ("checkpoints", "encoded"):
        shutil.rmtree(out / name, ignore_errors=True)


def _differences(before: RunConfig, now: RunConfig) -> list[str]:
    def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
        for key, value in values.items():
            if isinstance(value, Mapping):
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield prefix + key, value

    old, new = dict(flat(before.model_dump(mode="json"))), dict(flat(now.model_dump(mode="json")))
    keys = sorted(old.keys() | new.keys())
    return [f"{key} was {old.get(key)!r}, now {new.get(key)!r}" for key in keys if old.get(key) != new.get(key)]


class Run:
    """One run while it goes on."""

    def __init__(self, config: RunConfig, out: Path, prepared: Prepared) -> None:
        self.config, self.out, self.prepared = config, out, prepared
        self.task: Learnable = prepared.task
        self.model: Model = prepared.model
        settings, defaults = config.training, prepared.task.defaults
        kind = int(prepared.pretrained)
        self.dtype = compute_dtype(settings.precision, device())
        self.optimizer = optimizer_for(self.model, settings, self.dtype)
        self.average = Average(self.optimizer, last=settings.average, ema=settings.ema)
        self.checkpoints = Checkpoints(out, keep=settings.keep_checkpoints)
        self.batches = Batches(
            prepared.train.sizes,
            tokens=config.batch.tokens or (None if config.batch.rows else defaults.tokens[kind]),
            rows=config.batch.rows,
            pool=config.batch.pool,
            seed=config.seed,
            accumulate=config.batch.accumulate,
        )
        per_epoch = self.batches.steps_per_epoch
        self.total = settings.steps or max(1, round((settings.epochs or defaults.epochs[kind]) * per_epoch))
        self.eval_every = settings.eval_every or per_epoch
        self.checkpoint_every = settings.checkpoint_every or self.eval_every
        self.peak = settings.lr or defaults.lr[kind]
        self.smoothing = defaults.smoothing[kind] if settings.label_smoothing is None else settings.label_smoothing
        self.warmup = warmup_steps(settings.warmup, self.total)
        self.metric = settings.metric or self.task.metrics(config.options)[0]

    def finish(self, listeners: Sequence[Listener]) -> Result:
        """Train to the end, then save the best weights as the model folder."""
        progress = self.checkpoints.restore(self.optimizer, self.average) or Progress()
        events = Events(self.out / "events.jsonl", listeners=tuple(listeners), resume_step=progress.step)
        try:
            events.tell("start", step=progress.step, steps=self.total, rows=len(self.prepared.train))
            progress = self._train(progress, events)
            result = self._save(progress)
            events.tell("done", step=progress.step, metrics=result.metrics)
        finally:
            events.close()
        _tidy(self.out)
        return result

    def _train(self, progress: Progress, events: Events) -> Progress:
        settings = self.config.training
        steps = fit(
            self.model,
            self.task,
            itertools.islice(self._batches(progress.step), max(0, self.total - progress.step)),
            self.optimizer,
            rate=self._rate,
            first=progress.step + 1,
            seed=self.config.seed,
            clip=settings.clip,
            smoothing=self.smoothing,
            dtype=self.dtype,
        )
        for step in [] if self._stops(progress) else steps:
            progress = replace(
                progress, step=step.number, tokens=progress.tokens + step.tokens, seconds=progress.seconds + step.seconds
            )
            self.average.step(step.number)
            events.tell("step", **step.as_dict())
            last = step.number == self.total
            if last or step.number % self.eval_every == 0:
                with self.average.lent():
                    progress = self._evaluate(progress, events)
            if last or self._stops(progress) or step.number % self.checkpoint_every == 0:
                self.checkpoints.save(self.optimizer, self.average, progress)
                events.tell("checkpoint", step=step.number)
            if self._stops(progress):
                break
        return progress

    def _stops(self, progress: Progress) -> bool:
        patience = self.config.training.patience
        return patience is not None and progress.waited >= patience

    def _rate(self, step: int) -> float:
        schedule = self.config.training.schedule
        return learning_rate(schedule, step, peak=self.peak, warmup=self.warmup, total=self.total)

    def _batches(self, done: int) -> Iterator[list[Batch]]:
        for group in self.batches.steps(after=done):
            yield [take(self.prepared.train, rows).to(device()) for rows in group]

    def _evaluate(self, progress: Progress, events: Events) -> Progress:
        held, tokenizer = self.prepared.eval, self.prepared.tokenizer
        evaluation = self.task.measure(self.model, held, tokenizer, dtype=self.dtype, quick=True)
        values = {name: metric["value"] for name, metric in evaluation.metrics.items()}
        value = values[self.metric]
        better = progress.best is None or is_better(self.metric, value, progress.best)
        progress = progress.evaluated(value, {"step": progress.step, **values}, better=better)
        best = progress.best_step == progress.step
        if best:
            self.checkpoints.save_best(self.optimizer, progress.step)
        events.tell("evaluation", step=progress.step, metric=self.metric, value=value, best=best, values=values)
        return progress

    def _save(self, progress: Progress) -> Result:
        if progress.best_step != progress.step or not self.average.plain:
            self.checkpoints.load_best(self.optimizer, progress.best_step)
        self.optimizer.widen()
        held, tokenizer = self.prepared.eval, self.prepared.tokenizer
        task, evaluation = self.task.concluded(self.model, held, tokenizer, dtype=self.dtype)
        run: dict[str, Any] = {
            "task": task.name,
            "evaluated_on": self.prepared.evaluated_on,
            "steps": progress.step,
            "best_step": progress.best_step,
            "seconds": round(progress.seconds, 3),
        }
        settings = {"task": task.name, "columns": self.config.data.columns, "max_length": self.prepared.max_length}
        save_model(
            self.out,
            self.model,
            tokenizer=self.prepared.tokenizer,
            task={**settings, **task.settings()},
            origin=self.prepared.origin,
        )
        with replacing(self.out / "README.md") as path:
            path.write_text(model_card(self.config, self.prepared, evaluation, run), encoding="utf-8")
        # last: a folder with metrics.json is a finished run
        with replacing(self.out / "metrics.json") as path:
            write_json(path, {"run": run, **evaluation.as_dict()})
        return Result(out=str(self.out), metrics=evaluation.metrics, **run)
