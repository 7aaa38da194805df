"""Everything a run needs before its first step; whatever is wrong with the input is found here, all at once.

The settings of the run, a tokenizer learned from the rows and the digest of what it trains on are written into the run's
folder first; a resumed run compares them, and reads the tokenizer from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regard.checkpoints.files import read_json, replacing, write_json
from regard.checkpoints.folder import load, locate
from regard.checkpoints.loaded import Loaded, Origin
from regard.checkpoints.manifest import digests
from regard.checkpoints.presets import PRESETS, preset
from regard.checkpoints.start import start_for
from regard.config import RunConfig, dump_toml, parse
from regard.data.batch import Examples, Part
from regard.data.read import Table
from regard.data.store import Store, fingerprint
from regard.errors import ConfigError, DataError, listed
from regard.models.build import build
from regard.models.config import Kind, ModelConfig
from regard.models.model import Model
from regard.tasks.inspect import both
from regard.tasks.task import Example, Learnable, Row, learnable
from regard.text.tokenizer import Tokenizer
from regard.training.precision import device

CHUNK = 2048
"""Rows encoded at a time."""

START = Path("checkpoints", "start.json")
"""In the run's folder: the digest of the data that it began with; it goes with the checkpoints."""


@dataclass(frozen=True)
class Prepared:
    """A run, ready to train. rows: how many train and how many evaluate, whatever number of examples the task has laid them
    in; notes: for the person."""

    task: Learnable
    model: Model
    tokenizer: Tokenizer
    origin: Origin | None
    train: Examples
    eval: Examples
    rows: tuple[int, int]
    evaluated_on: str
    max_length: int
    notes: tuple[str, ...]

    @property
    def pretrained(self) -> bool:
        """Whether the weights came from a checkpoint."""
        return self.origin is not None


def prepare(config: RunConfig, out: Path) -> Prepared:
    """Read, check, build, encode. Raises InputError for all that is wrong with the input; nothing is written before that."""
    assert config.data.train is not None
    table, report, other, other_report = both(
        config.data.train, config.data.eval, config.task, columns=config.data.columns, options=config.options
    )
    n_held_out = 0 if other else _held_out(report.rows, config)
    task = learnable(config.task).from_data(config.options, report)
    torch.manual_seed(config.seed)
    task, model, tokenizer, origin = _start(config, out, task, table)
    max_length = _max_length(config, model.config, tokenizer, task, next(iter(table)).values)
    settings = {"task": task.settings(), "tokenizer": tokenizer.digest, "max_length": max_length, "v": 1}
    prints = [fingerprint(rows.paths, **settings, columns=rows.mapped) for rows in (table, other) if rows is not None]
    _begin(out, config, tokenizer, data="".join(prints), origin=origin)

    def encoded(rows: Table, digest: str) -> Store:
        path = out / "encoded" / f"{digest}.arrow"
        return Store.cached(path, lambda: _encode(rows, task, tokenizer, max_length=max_length))

    train = encoded(table, prints[0])
    learned: Examples
    held: Examples
    notes = [str(warning) for warning in report.warnings]
    if other is not None and other_report is not None:
        learned, held = train, encoded(other, prints[1])
        evaluated_on = str(config.data.eval)
        notes += [str(warning) for warning in other_report.warnings]
    else:
        learned, held = _split(train, n_held_out, seed=config.seed)
        evaluated_on = f"{config.data.eval_share:.0%} of {config.data.train}, held out"
    notes += task.noted(train, max_length=max_length)
    rows = len(learned), len(held)
    learned, held = (task.arranged(part, tokenizer, max_length=max_length) for part in (learned, held))
    return Prepared(task, model, tokenizer, origin, learned, held, rows, evaluated_on, max_length, tuple(notes))


def _held_out(rows: int, config: RunConfig) -> int:
    """How many of the training rows evaluate."""
    n = round(rows * config.data.eval_share)
    if not 0 < n < rows:
        raise DataError(
            f"{rows} rows are too few to hold {config.data.eval_share:.0%} out",
            where=str(config.data.train),
            fix="give --eval FILE, or raise data.eval_share",
        )
    return n


def _start(config: RunConfig, out: Path, task: Learnable, table: Table) -> tuple[Learnable, Model, Tokenizer, Origin | None]:
    """The model with its first weights: a checkpoint's, or fresh ones with a vocabulary learned from the training rows; and
    the task that knows them."""
    tensors: dict[str, torch.Tensor] = {}
    origin = None
    if config.model in PRESETS:
        if (out / START).exists():
            tokenizer = Tokenizer.load(out)
        else:
            tokenizer = task.learn_tokenizer((row.values for row in table), config.tokenizer)
        model_config = _architecture(config, tokenizer, task.kind)
        task = task.starting(tokenizer, None)
        head = task.head(None, model_config)
    else:
        if config.architecture:
            raise ConfigError(
                "a pretrained model has an architecture of its own",
                where="architecture",
                allowed=f"with a preset: {listed(PRESETS)}",
                fix="leave it out, or train from scratch",
            )
        loaded = load(config.model, revision=_revision(out))
        if loaded.tokenizer is None:
            raise ConfigError(
                "the checkpoint has no tokenizer", where=config.model, fix="add its tokenizer.json or vocab.txt"
            )
        tokenizer, model_config = loaded.tokenizer, loaded.config
        origin = _origin(loaded, out)
        task = task.starting(tokenizer, loaded.task or {})
        found, given = start_for(loaded, task.name)
        head, tensors = task.head(found, model_config), dict(given)
        same_outputs = head == loaded.head and (loaded.task or {}).get("labels") == task.settings().get("labels")
        if not same_outputs:  # the checkpoint's outputs mean something else: draw fresh ones
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("head.out.")}
    if config.training.dropout is not None:
        rates = {"dropout": config.training.dropout, "attention_dropout": config.training.dropout}
        model_config = model_config.model_copy(update=rates)
    model = build(model_config, head)
    model.load_state_dict(tensors, strict=False)
    return task, model.to(device()), tokenizer, origin


def _origin(loaded: Loaded, out: Path) -> Origin | None:
    """Where the weights come from, to the commit and the bits."""
    if loaded.origin is None:
        return None
    if (out / START).exists():  # a resumed run began with what it noted then
        noted = read_json(out / START).get("model")
        return (
            loaded.origin
            if noted is None
            else parse(Origin, {**loaded.origin.model_dump(), **noted}, where=str(out / START))
        )
    folder, revision = locate(loaded.source, loaded.revision)
    known = {"source": loaded.source, "revision": revision, "digests": digests(folder)}
    return loaded.origin.model_copy(update=known)


def _revision(out: Path) -> str | None:
    """The commit that a resumed run began with, so that a hub model that moved on does not change it."""
    noted = read_json(out / START).get("model") if (out / START).exists() else None
    return None if not isinstance(noted, dict) else noted.get("revision")


def _architecture(config: RunConfig, tokenizer: Tokenizer, kind: Kind) -> ModelConfig:
    """The preset with the run's changes."""
    learned: dict[str, Any] = {"vocab_size": tokenizer.vocab_size, "pad_id": tokenizer.pad_id or 0, "kind": kind}
    if given := sorted(learned.keys() & config.architecture.keys()):
        source, fix = ("the task", "choose another task")
        if given[0] != "kind":
            source, fix = ("the tokenizer", "set tokenizer.vocab_size")
        raise ConfigError(f"{given[0]} comes from {source}", where="architecture", fix=fix)
    if kind == "encoder-decoder" and not config.tokenizer.joint:
        learned |= {"decoder_vocab_size": tokenizer.target.vocab_size, "share_embeddings": False}
    return preset(config.model, **learned, **config.architecture)


def _max_length(config: RunConfig, model: ModelConfig, tokenizer: Tokenizer, task: Learnable, row: Row) -> int:
    """Longest example in tokens; row: any of those to learn from."""
    most = min(model.max_positions, tokenizer.max_length or model.max_positions)
    asked = config.batch.max_length
    if asked is not None and asked > model.max_positions:
        raise ConfigError(
            f"{asked} tokens",
            where="batch.max_length",
            allowed=f"at most {model.max_positions}, the model's positions",
        )
    chosen = asked or most
    try:
        task.encode([row], tokenizer, max_length=chosen)
    except ConfigError as error:  # no room for text between the special tokens
        raise error.at("batch.max_length") from None
    return chosen


def _begin(out: Path, config: RunConfig, tokenizer: Tokenizer, *, data: str, origin: Origin | None) -> None:
    """Write what a resumed run reads again, or compare the data with those that the run began with."""
    start = out / START
    if start.exists():
        if read_json(start).get("data") != data:
            raise ConfigError(
                "the data changed since this run began", where=str(out), fix="restore the files, or choose another --out"
            )
        return
    with replacing(out / "run.toml") as path:
        path.write_text(dump_toml(config), encoding="utf-8")
    tokenizer.save(out)
    # last: where it is, the rest is there too
    model = None if origin is None else origin.model_dump(include={"source", "revision", "digests"})
    write_json(start, {"data": data, "model": model})


def _encode(table: Table, task: Learnable, tokenizer: Tokenizer, *, max_length: int) -> Iterator[Sequence[Example]]:
    """The table's rows as examples, chunk by chunk."""
    rows = iter(table)
    while chunk := [row.values for row in islice(rows, CHUNK)]:
        yield task.encode(chunk, tokenizer, max_length=max_length)


def _split(store: Store, n_held_out: int, *, seed: int) -> tuple[Part, Part]:
    """Training and held-out rows, drawn by the seed; row order is kept."""
    order = np.random.Generator(np.random.PCG64([seed, 1])).permutation(len(store))
    return Part(store, np.sort(order[n_held_out:])), Part(store, np.sort(order[:n_held_out]))
