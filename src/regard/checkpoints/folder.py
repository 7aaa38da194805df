"""Model folders: any one read, ours written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from regard.checkpoints.check import check_tensors
from regard.checkpoints.files import read_json, refilling, write_json
from regard.checkpoints.hub import fetch, looks_like_name
from regard.checkpoints.loaded import CONFIG, TASK, Loaded, Origin, read_tokenizer
from regard.checkpoints.presets import PRESETS, SHORT_NAMES
from regard.checkpoints.tensors import WEIGHTS, cast, read_weights, refuse_pickle, write_safetensors
from regard.checkpoints.theirs import read_theirs
from regard.config import Settings, parse
from regard.errors import CheckpointError, ConfigError, Problems, did_you_mean
from regard.models.config import HeadConfig, ModelConfig
from regard.models.model import Model
from regard.text.tokenizer import Tokenizer

FORMAT = "regard/1"


class FolderConfig(Settings):
    """The config.json of a model folder of ours."""

    format: str
    """`regard/1`."""
    model: ModelConfig
    """What the model is made of."""
    head: HeadConfig | None = None
    """Its output layer."""
    origin: Origin | None = None
    """Where its weights began; None for a model from scratch."""


def load(source: str | Path, *, dtype: torch.dtype | None = torch.float32, revision: str | None = None) -> Loaded:
    """Read a model folder of ours, a folder in Hugging Face layout, or a hub model.

    source: a folder, or a hub name: `owner/name`, a name of :data:`~regard.checkpoints.presets.SHORT_NAMES`, or either as
    `hub:NAME@REVISION`. A folder wins; a path into a folder that exists never opens the network, unless `hub:` stands
    before it. dtype: of all floating-point tensors; None keeps the stored one. revision: of a hub model.

    Raises :class:`~regard.errors.CheckpointError` or :class:`~regard.errors.ConfigError` that lists all that is wrong with
    the folder's tensors or with its config.json.
    """
    folder, commit = locate(source, revision)
    description = read_json(folder / CONFIG)
    read = _read_ours if "format" in description else read_theirs
    return replace(read(folder, description, dtype), source=str(source), revision=commit)


def locate(source: str | Path, revision: str | None = None) -> tuple[Path, str | None]:
    """The folder that a user means, and the commit if it came from the hub."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path, None
    if path.exists():
        refuse_pickle(path)
        raise CheckpointError("a file, not a model folder", where=str(source), fix=f"give its folder, {path.parent}")
    text = str(source)
    if text in PRESETS:
        raise CheckpointError("a preset is a size, it has no weights", where=text, fix="train a model of it first")
    name, _, tag = text.removeprefix("hub:").partition("@")
    name = SHORT_NAMES.get(name, name)
    near = path.parent.is_dir() and path.parent != Path() and not text.startswith("hub:")
    if isinstance(source, Path) or near or not looks_like_name(name):
        siblings = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise CheckpointError(
            "no such folder", where=text, allowed="a model folder or a hub name", fix=did_you_mean(path.name, siblings)
        )
    folder = fetch(name, revision or tag or None)
    return folder, folder.name


def save_model(
    folder: Path, model: Model, *, tokenizer: Tokenizer, task: Mapping[str, Any], origin: Origin | None = None
) -> None:
    """Write config.json, model.safetensors, task.json and the tokenizer; other files in the folder stay.

    task: `task` is the task's name; what else the task needs, such as `labels`, stands beside it. origin: that of the
    :class:`Loaded` that the model was fine-tuned from.

    Raises :class:`~regard.errors.WorkError` when the folder cannot be written; then what was in it is whole.
    """
    config = FolderConfig(format=FORMAT, model=model.config, head=model.head_config, origin=origin)
    with refilling(folder, seal=CONFIG) as staging:
        write_safetensors(staging / WEIGHTS, model.state_dict())
        write_json(staging / TASK, task)
        tokenizer.save(staging)
        write_json(staging / CONFIG, config.model_dump(mode="json"))


def _read_ours(folder: Path, description: Mapping[str, Any], dtype: torch.dtype | None) -> Loaded:
    where = str(folder / CONFIG)
    if description["format"] != FORMAT:
        raise ConfigError(
            f"key 'format' is {description['format']!r}", where=where, allowed=FORMAT, fix="a newer Regard may read it"
        )
    config = parse(FolderConfig, description, where=where)
    tensors = read_weights(folder)
    check_tensors(config.model, config.head, tensors, where=str(folder / WEIGHTS))
    task = read_json(folder / TASK) if (folder / TASK).is_file() else None
    if task is not None:
        _check_task(task, config.head, str(folder / TASK))
    tokenizer = read_tokenizer(folder, config.model)
    cast(tensors, dtype, tensors)
    return Loaded(
        config=config.model,
        head=config.head,
        tensors=tensors,
        tokenizer=tokenizer,
        task=task,
        source=str(folder),
        origin=config.origin,
    )


def _check_task(task: Mapping[str, Any], head: HeadConfig | None, where: str) -> None:
    problems = Problems(ConfigError)
    if not isinstance(task.get("task"), str):
        problems.add("key 'task' is not a name", where=where, allowed='{"task": "text-classification", …}')
    labels = task.get("labels")
    if labels is not None:
        if not (isinstance(labels, list) and all(isinstance(label, str) for label in labels)):
            problems.add("key 'labels' is not a list of texts", where=where)
        elif head is not None and head.n_outputs != len(labels):
            problems.add(f"{len(labels)} labels", where=where, allowed=f"{head.n_outputs}, one for each output of the model")
    problems.raise_if_any()
