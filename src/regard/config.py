"""The run file: every setting of a run, frozen, validated as a whole before anything starts (floor 0).

A run is described by TOML (`run.toml`), by `--set section.key=value`, or by keyword arguments; all three end in one
:class:`RunConfig`. Every field's docstring is its help text. Wrong keys and values are reported all at once.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from regard.errors import ConfigError, Problem, did_you_mean, listed


def offline() -> bool:
    """Whether the user forbids the network: REGARD_OFFLINE or HF_HUB_OFFLINE is set to anything but 0, false, no or off."""
    settings = (os.environ.get(name, "") for name in ("REGARD_OFFLINE", "HF_HUB_OFFLINE"))
    return any(setting.lower() not in ("", "0", "false", "no", "off") for setting in settings)


class Settings(BaseModel):
    """Base of every settings class: frozen, no unknown keys, no silent conversion of wrong types, finite numbers."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )


class DataConfig(Settings):
    """Where the rows are and what their columns mean."""

    train: str | None = None
    """File, folder or hub name with the training rows."""
    eval: str | None = None
    """The same for the rows that choose the best checkpoint; without it a share of the training rows is held out."""
    eval_share: float = Field(0.1, gt=0, lt=1)
    """Share of the training rows held out when there is no `eval`."""
    columns: dict[str, str | int] = {}
    """Which column of the file serves as which column of the task: `{text = "review", label = "stars"}`; a number counts
    the columns of a file without a header from 0."""


class TokenizerConfig(Settings):
    """The vocabulary of a model trained from scratch; a pretrained model brings its own."""

    kind: Literal["wordpiece", "bpe", "unigram", "byte", "char", "word"] | None = None
    """How text is cut: into learned pieces (`wordpiece`, `bpe`, `unigram`), bytes, characters, or words at white space; None
    means what suits the task."""
    vocab_size: int = Field(8000, ge=2)
    """Entries of the vocabulary, special tokens included; a small corpus may fill fewer."""
    lower_case: bool | None = None
    """Fold upper case into lower case before cutting; None means where the task only reads, and not where it writes."""
    joint: bool = True
    """One vocabulary for what an encoder-decoder reads and what it writes; false means one for each."""


class BatchConfig(Settings):
    """How rows become batches."""

    tokens: int | None = Field(None, ge=1)
    """Largest number of tokens in one forward pass; None means the task's default."""
    rows: int | None = Field(None, ge=1)
    """Largest number of rows in one forward pass; None means no bound but `tokens`."""
    accumulate: int = Field(1, ge=1)
    """Forward passes in one optimizer step."""
    pool: int = Field(64, ge=1)
    """Batches' worth of rows that are shuffled together, then sorted by length: the rows of a batch have few lengths."""
    max_length: int | None = Field(None, ge=2)
    """Longest example in tokens; longer text is cut, and counted in the report. None means what the model allows."""


class TrainingConfig(Settings):
    """The one loop's settings."""

    epochs: float | None = Field(None, gt=0)
    """Passes over the training rows; None means the task's default. `steps`, if given, wins."""
    steps: int | None = Field(None, ge=1)
    """Optimizer steps in all."""
    lr: float | None = Field(None, gt=0)
    """Peak learning rate; None means the task's default (smaller for a pretrained model than from scratch)."""
    optimizer: Literal["adamw"] = "adamw"
    """Name of the optimizer."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's decay rates of the first and second moment."""
    eps: float = Field(1e-8, gt=0)
    """AdamW's epsilon."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay of matrices; embeddings, norms and biases have none."""
    schedule: str = "linear"
    """Learning rate after warm-up: `linear`, `cosine`, `constant` or `inverse-sqrt`."""
    warmup: float = Field(0.06, ge=0)
    """Steps of linear warm-up: a share of all steps below 1, a number of steps from 1 on."""
    clip: float = Field(1.0, gt=0, allow_inf_nan=True)
    """Largest global norm of the gradient; larger ones are scaled down. `inf` means never, and so does None."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout while training; None means what the model's config says."""
    label_smoothing: float | None = Field(None, ge=0, lt=1)
    """Probability mass moved from the right class to all classes evenly (Szegedy et al. 2016, §7); None means the task's
    default."""
    average: int = Field(1, ge=1)
    """Evaluations whose weights are averaged (Vaswani et al. 2017, §6.1): what is evaluated, and kept if it is the best, is
    the mean of the last so many."""
    ema: float | None = Field(None, gt=0, lt=1)
    """What is evaluated and kept is a running mean of the weights (Polyak and Juditsky 1992), of which this share stays at
    every step, as 0.999; None means the weights themselves."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the matrix products; master weights stay float32. `auto` takes bfloat16 where the hardware has it."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; None means as many as torch finds."""
    eval_every: int | None = Field(None, ge=1)
    """Steps between evaluations; None means once an epoch."""
    checkpoint_every: int | None = Field(None, ge=1)
    """Steps between checkpoints; None means at every evaluation."""
    keep_checkpoints: int = Field(2, ge=1)
    """Checkpoints kept on disk besides the best."""
    patience: int | None = Field(None, ge=1)
    """Evaluations without improvement after which training stops; None means never early."""
    metric: str | None = None
    """Validation metric that chooses the best checkpoint; None means the task's first."""

    @field_validator("clip", mode="before")
    @classmethod
    def _never(cls, value: Any) -> Any:
        return math.inf if value is None else value  # TOML has no null: a run file could not hold it


class RunConfig(Settings):
    """One run, whole."""

    task: str
    """Task name, such as `text-classification`."""
    model: str = "mini"
    """Preset, model folder, checkpoint folder or hub name to start from."""
    architecture: dict[str, Any] = {}
    """What is different from the preset in a model trained from scratch: `{n_layers = 3, norm_place = "pre"}`; the keys are
    those of :class:`~regard.models.config.ModelConfig`. A pretrained model has an architecture of its own."""
    out: str | None = None
    """Folder of the run; None means `runs/<task>-<data>`."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Decides data order, initial weights and dropout."""
    options: dict[str, Any] = {}
    """The task's own settings; each task lists its keys (see the page of the task in docs)."""
    data: DataConfig = DataConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    batch: BatchConfig = BatchConfig()
    training: TrainingConfig = TrainingConfig()


S = TypeVar("S", bound=BaseModel)


def parse(kind: type[S], values: Mapping[str, Any], *, where: str) -> S:
    """`kind` from plain values, or one :class:`ConfigError` that lists every wrong key and value at once.

    where: what the user called the source ("run.toml", "--set").
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError([_problem(kind, detail, where) for detail in error.errors()]) from None


def _problem(kind: type[BaseModel], detail: Any, where: str) -> Problem:
    path = [str(part) for part in detail["loc"]]
    key = ".".join(path)
    if detail["type"] == "extra_forbidden":
        known = _fields_at(kind, path[:-1])
        return Problem(f"unknown key {key!r}", where, listed(sorted(known)), did_you_mean(path[-1], known))
    if detail["type"] == "missing":
        return Problem(f"missing key {key!r}", where, fix=f"add {key} = …")
    message = detail["msg"].removeprefix("Value error, ")
    return Problem(f"key {key!r} is {detail['input']!r}", where, message[0].lower() + message[1:])


def _fields_at(kind: type[BaseModel], path: Iterable[str]) -> list[str]:
    for part in path:
        field = kind.model_fields.get(part)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        kind = field.annotation
    return list(kind.model_fields)


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file; a syntax error names its line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("no such file", where=str(path), fix="check the path of the run file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not a TOML file: {error}", where=str(path), fix="see https://toml.io") from None


def dump_toml(settings: BaseModel) -> str:
    """TOML text that `parse` reads back to equal settings; what is None, also in a table, is left out."""
    return tomli_w.dumps(_without_none(settings.model_dump()))


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: _without_none(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    return {key: value for key, value in told.items() if value is not None}


def overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """`["training.lr=2e-5", "data.columns.text=review"]` as nested values. The right side is read as JSON where it is JSON
    (numbers, true, lists, null), else as text."""
    nested: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(
                f"{assignment!r} is not key=value", where="--set", allowed="section.key=value, as training.lr=2e-5"
            )
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        *sections, last = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ConfigError(
                    f"{section!r} is a value and a section at once", where="--set", fix="remove one of the two"
                )
        place[last] = value
    return nested


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings laid over each other, the last one on top."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result
