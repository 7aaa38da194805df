"""Model folders for other tools: what `regard export` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from regard.checkpoints.families import FAMILIES, Architecture, Description, Family
from regard.checkpoints.files import refilling, write_json
from regard.checkpoints.folder import load
from regard.checkpoints.loaded import CONFIG, GENERATION, Loaded, Origin
from regard.checkpoints.rules import EXTRA, apply
from regard.checkpoints.shared import spread
from regard.checkpoints.tensors import WEIGHTS, write_safetensors
from regard.errors import ConfigError, listed
from regard.registry import Registry

Exporter = Callable[[Loaded, Path, str | None], None]
"""Writes a model to a folder; the last argument is the family that it shall become, None for the one it came from."""

FORMATS: Registry[Exporter] = Registry("export format", plural="exports")
"""Layouts that a model can be written in."""

DTYPES = {"stored": None, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""How numbers are written; `stored` is as they are in the model's own folder."""


@FORMATS.register("hf")
def _hf(loaded: Loaded, folder: Path, family: str | None) -> None:
    export_hf(loaded, folder, family=family)


def export(model: str | Path, out: str | Path, *, to: str = "hf", family: str | None = None, dtype: str = "stored") -> Path:
    """Write a model in another tool's layout; returns the folder.

    model: a model folder of ours, one in Hugging Face layout, or a hub name. to: a name of :data:`FORMATS`; `hf` is what
    transformers and everything that reads its folders can load. family: what a model trained from scratch shall become, a
    name of :data:`~regard.checkpoints.families.FAMILIES`; a fine-tuned one stays what it was. dtype: a name of
    :data:`DTYPES`.

    Raises :class:`~regard.errors.ConfigError` for a format, family or dtype that there is not, and for settings that the
    family cannot have, all at once; :class:`~regard.errors.WorkError` when the folder cannot be written.
    """
    write = FORMATS[to]
    if dtype not in DTYPES:
        raise ConfigError(f"dtype is {dtype!r}", allowed=listed(DTYPES))
    folder = Path(out)
    if folder.exists() and Path(model).exists() and folder.samefile(model):
        raise ConfigError("the model's own folder", where=str(out), fix="export to another folder")
    write(load(model, dtype=DTYPES[dtype]), folder, family)
    return folder


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
    architecture = _architecture_for(loaded, tables, origin)
    wanted = Description(loaded.config, loaded.head, loaded.task)
    config = tables.write(wanted, origin.config, architecture=architecture, where=loaded.source)
    ours = {**loaded.tensors, **{EXTRA + name: tensor for name, tensor in loaded.extra.items()}}
    whole = architecture is not tables.base or origin.prefixed
    entries = architecture.entries(tables.prefix_of(architecture) if whole else "", config)
    spread(ours, entries, config)
    theirs = apply(ours, entries, reverse=True, where=loaded.source)
    files = dict(origin.files)
    if not origin.config and (said := (loaded.task or {}).get("generation")):
        files[GENERATION] = said
        config |= {key: value for key, value in said.items() if key.endswith("token_id")}  # where older versions look
    key = "torch_dtype" if "torch_dtype" in config else "dtype"
    config[key] = str(next(iter(loaded.tensors.values())).dtype).removeprefix("torch.")
    with refilling(folder, seal=CONFIG) as staging:
        write_safetensors(staging / WEIGHTS, theirs)
        if loaded.tokenizer is not None:
            loaded.tokenizer.save(staging)
        for file, values in files.items():
            write_json(staging / file, values)
        write_json(staging / CONFIG, config)


def _architecture_for(loaded: Loaded, family: Family, origin: Origin) -> Architecture:
    """The model class to write: the one it came as while its head is that one's, else the usual one for its task."""
    came = family.architectures.get(origin.architecture)
    task = None if loaded.task is None else loaded.task.get("task")
    task = "text-classification" if task == "regression" else task  # there a regression is one with numbers for labels
    if loaded.head is None or (loaded.head.n_outputs == 0 and loaded.head.over != "pair"):
        same = came is not None and came.task is None and came.fields is not None and loaded.head is not None
        return came if came is not None and (loaded.extra or same or not came.head) else family.base
    if came is not None and came.over == loaded.head.over and (came.task is None or came.serves(task)):
        return came
    found = None if task is None else family.serving(task)
    if found is None:
        tasks = listed(dict.fromkeys(each.task for each in family.architectures.values() if each.task))
        raise ConfigError(f"the family {family.name!r} has no model class for {task}", where=loaded.source, allowed=tasks)
    return found
