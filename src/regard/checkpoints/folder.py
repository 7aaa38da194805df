"""Model folders: ours, and Hugging Face's layout in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regard.checkpoints.check import check_tensors
from regard.checkpoints.families import FAMILIES, Architecture, Description, Family
from regard.checkpoints.files import read_json, refilling, write_json
from regard.checkpoints.hub import fetch, looks_like_name
from regard.checkpoints.presets import PRESETS, SHORT_NAMES
from regard.checkpoints.rules import EXTRA, Entry, apply, their_name
from regard.checkpoints.tensors import INDEX, WEIGHTS, read_weights, refuse_pickle, write_safetensors
from regard.config import Settings, parse
from regard.errors import CheckpointError, ConfigError, Problems, did_you_mean, listed
from regard.models.config import HeadConfig, ModelConfig
from regard.models.model import Model
from regard.text.tokenizer import Tokenizer

FORMAT = "regard/1"
CONFIG, TASK = "config.json", "task.json"
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "*.spm")


class Origin(Settings):
    """The checkpoint that a model began as, kept so that export gives back what it came with."""

    family: str
    """Its `model_type`, a name of :data:`~regard.checkpoints.families.FAMILIES`."""
    architecture: str
    """Its model class."""
    config: dict[str, Any]
    """Its config.json, whole."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model folder in memory. `build(config, head)` makes the model, `load_state_dict(tensors)` fills it."""

    config: ModelConfig
    head: HeadConfig | None
    tensors: Mapping[str, Tensor]
    """By our names. In the stored dtype they are views of the mapped file."""
    tokenizer: Tokenizer | None
    """None when the folder has no tokenizer."""
    task: dict[str, Any] | None
    """What task.json says, or what their config.json says of labels; None for a model without an output layer."""
    source: str
    """What the user asked for."""
    revision: str | None = None
    """The commit of a hub model."""
    origin: Origin | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors of a head that Regard does not use, such as a masked-language-model's, by their names: export writes them."""


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
    read = _read_ours if "format" in description else _read_theirs
    loaded = read(folder, description)
    _check_tokenizer(loaded, folder)
    return replace(
        loaded,
        source=str(source),
        revision=commit,
        tensors={name: _cast(tensor, dtype) for name, tensor in loaded.tensors.items()},
        extra={name: _cast(tensor, dtype) for name, tensor in loaded.extra.items()},
    )


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


def export_hf(loaded: Loaded, folder: Path, *, family: str | None = None) -> None:
    """Write a folder that transformers and everything that reads its layout can load. Tensors keep the dtype they have here.

    family: a name of :data:`~regard.checkpoints.families.FAMILIES`; None means the one that the model came from. Raises
    :class:`~regard.errors.ConfigError` that lists every setting that the family cannot have, and
    :class:`~regard.errors.WorkError` when the folder cannot be written.
    """
    origin = loaded.origin
    name = family or (origin.family if origin else None)
    if name is None:
        fix = "name the family that it shall become"
        raise ConfigError("this model was made from scratch", where=loaded.source, allowed=listed(FAMILIES), fix=fix)
    tables = FAMILIES[name]
    if origin is None or origin.family != name:
        origin = Origin(family=name, architecture="", config={})
    architecture, entries = _table_for(loaded, tables, origin)
    wanted = Description(loaded.config, loaded.head, loaded.task)
    config = tables.write(wanted, origin.config, architecture=architecture, where=loaded.source)
    ours = {**loaded.tensors, **{EXTRA + name: tensor for name, tensor in loaded.extra.items()}}
    theirs = apply(ours, entries, reverse=True, where=loaded.source)
    key = "torch_dtype" if "torch_dtype" in config else "dtype"
    config[key] = str(next(iter(loaded.tensors.values())).dtype).removeprefix("torch.")
    with refilling(folder, seal=CONFIG) as staging:
        write_safetensors(staging / WEIGHTS, theirs)
        if loaded.tokenizer is not None:
            loaded.tokenizer.save(staging)
        write_json(staging / CONFIG, config)


def _table_for(loaded: Loaded, family: Family, origin: Origin) -> tuple[Architecture, tuple[Entry, ...]]:
    """The model class to write: the one it came as while it still has that one's tensors, else the one its head needs."""
    if loaded.extra:
        architecture = family.architectures.get(origin.architecture, family.base)
    else:
        architecture = family.classifier if loaded.head and loaded.head.n_outputs else family.base
    return architecture, architecture.entries("" if architecture is family.base else family.prefix)


def _read_ours(folder: Path, description: Mapping[str, Any]) -> Loaded:
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
    return Loaded(
        config=config.model,
        head=config.head,
        tensors=tensors,
        tokenizer=_read_tokenizer(folder),
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


def _read_theirs(folder: Path, theirs: dict[str, Any]) -> Loaded:
    where = str(folder / CONFIG)
    kind = theirs.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        what = "missing key 'model_type'" if kind is None else f"unknown model_type {kind!r}"
        fix = did_you_mean(kind, FAMILIES) if isinstance(kind, str) else ""
        raise ConfigError(what, where=where, allowed=listed(FAMILIES), fix=fix)
    family = FAMILIES[kind]
    stored = read_weights(folder)
    architecture, entries = family.recognise(theirs, list(stored))
    file = str(folder / (WEIGHTS if (folder / WEIGHTS).is_file() else INDEX))
    ours = apply(stored, entries, where=file)
    extra = {name.removeprefix(EXTRA): ours.pop(name) for name in list(ours) if name.startswith(EXTRA)}
    config, head, task = family.read(theirs, _outputs(ours, file), where=where)
    check_tensors(config, head, ours, where=file, key=family.key_of, name=lambda name: their_name(name, entries))
    return Loaded(
        config=config,
        head=head,
        tensors=ours,
        tokenizer=_read_tokenizer(folder),
        task=task,
        source=str(folder),
        origin=Origin(family=kind, architecture=architecture.name, config=theirs),
        extra=extra,
    )


def _outputs(tensors: Mapping[str, Tensor], where: str) -> int | None:
    """Rows of the output layer; 0 where there is only a pooler, None where there is neither."""
    output = tensors.get("head.out.weight")
    if output is None:
        return 0 if "head.dense.weight" in tensors else None
    if output.ndim != 2:
        raise CheckpointError(f"the output layer has shape {tuple(output.shape)}", where=where, allowed="(outputs, d_model)")
    return output.shape[0]


def _read_tokenizer(folder: Path) -> Tokenizer | None:
    present = any(path.is_file() for pattern in TOKENIZER_FILES for path in folder.glob(pattern))
    return Tokenizer.load(folder) if present else None


def _check_tokenizer(loaded: Loaded, folder: Path) -> None:
    if loaded.tokenizer is not None and loaded.tokenizer.vocab_size > loaded.config.vocab_size:
        raise CheckpointError(
            f"the tokenizer knows {loaded.tokenizer.vocab_size} tokens",
            where=str(folder),
            allowed=f"at most {loaded.config.vocab_size}, the rows of the model's embedding table",
            fix="the tokenizer is another model's: get the folder anew",
        )


def _cast(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)
