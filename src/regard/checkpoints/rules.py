"""Tables between other people's tensor names and ours, read in both directions.

In a template `{}` stands for a number (a layer), `*` for anything. Every tensor must match exactly one entry of a table:
nothing is dropped in silence, nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor

from regard.errors import CheckpointError, Problems, did_you_mean

EXTRA = "extra."
"""Our name of a tensor that we keep for its owner and do not use is this and their name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One tensor there is one tensor here; transpose: their matrix is (in, out), ours (out, in).

    also: older spellings of `theirs` that are read and never written.
    """

    theirs: str
    ours: str
    transpose: bool = False
    also: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.theirs, *self.also)

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.ours,)

    def read(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """Our tensors from theirs; ValueError when its shape does not allow it."""
        return (_turned(tensor) if self.transpose else tensor,)

    def write(self, parts: Sequence[Tensor]) -> Tensor:
        """Their tensor from ours."""
        return _turned(parts[0]) if self.transpose else parts[0]


@dataclass(frozen=True, slots=True)
class Split:
    """One tensor there is several equal parts here, cut along `dim`; transpose: their matrix is turned before it is cut."""

    theirs: str
    ours: tuple[str, ...]
    dim: int = 0
    transpose: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.theirs,)

    @property
    def targets(self) -> tuple[str, ...]:
        return self.ours

    def read(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """Our tensors from theirs; ValueError when its shape does not allow it."""
        whole = _turned(tensor) if self.transpose else tensor
        if whole.ndim <= self.dim or whole.shape[self.dim] % len(self.ours):
            raise ValueError(f"shape {tuple(whole.shape)} cannot be cut in {len(self.ours)} along dimension {self.dim}")
        return whole.chunk(len(self.ours), dim=self.dim)

    def write(self, parts: Sequence[Tensor]) -> Tensor:
        """Their tensor from ours."""
        whole = torch.cat(list(parts), dim=self.dim)
        return _turned(whole) if self.transpose else whole


@dataclass(frozen=True, slots=True)
class Skip:
    """A tensor there that is no parameter, and `why`; it is neither read nor written."""

    theirs: str
    why: str

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.theirs,)

    @property
    def targets(self) -> tuple[str, ...]:
        return ()

    def read(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """Nothing."""
        return ()


Entry: TypeAlias = Rule | Split | Skip


def affine(theirs: str, ours: str, *, transpose: bool = False) -> tuple[Rule, Rule]:
    """Weight and bias of a linear layer."""
    return Rule(f"{theirs}.weight", f"{ours}.weight", transpose), Rule(f"{theirs}.bias", f"{ours}.bias")


def norm(theirs: str, ours: str) -> tuple[Rule, Rule]:
    """Weight and bias of a LayerNorm, which files converted from TensorFlow call gamma and beta."""
    return (
        Rule(f"{theirs}.weight", f"{ours}.weight", also=(f"{theirs}.gamma",)),
        Rule(f"{theirs}.bias", f"{ours}.bias", also=(f"{theirs}.beta",)),
    )


def keep(theirs: str) -> Rule:
    """Tensors that Regard has no use for, such as another task's head: kept under their names, written back on export."""
    return Rule(theirs, EXTRA + theirs)


def under(prefix: str, entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The same entries with `prefix` before their names."""
    return tuple(_prefixed(prefix, entry) for entry in entries)


def _prefixed(prefix: str, entry: Entry) -> Entry:
    if isinstance(entry, Rule):
        return replace(entry, theirs=prefix + entry.theirs, also=tuple(prefix + name for name in entry.also))
    return replace(entry, theirs=prefix + entry.theirs)


def apply(
    tensors: Mapping[str, Tensor], entries: Sequence[Entry], *, reverse: bool = False, where: str = ""
) -> dict[str, Tensor]:
    """Our tensors from theirs; reverse: theirs from ours.

    Raises :class:`~regard.errors.CheckpointError` that lists every name that no entry knows (with the closest that one
    does), that several know, that two tensors claim, and every tensor whose shape or whose parts do not fit.
    """
    problems = Problems(CheckpointError)
    result = _write(tensors, entries, problems, where) if reverse else _read(tensors, entries, problems, where)
    problems.raise_if_any()
    return result


def unknown(names: Iterable[str], entries: Sequence[Entry]) -> list[str]:
    """Those of their names that do not match exactly one entry."""
    return [name for name in names if len(_matches(name, [entry.sources for entry in entries])) != 1]


def their_name(ours: str, entries: Sequence[Entry]) -> str:
    """What our tensor is called there; its own name if the table does not have it."""
    for index, _, values in _matches(ours, [entry.targets for entry in entries]):
        return _fill(entries[index].theirs, values)
    return ours


def _read(tensors: Mapping[str, Tensor], entries: Sequence[Entry], problems: Problems, where: str) -> dict[str, Tensor]:
    templates = [entry.sources for entry in entries]
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        match = _only_match(name, templates, problems, where)
        if match is None:
            continue
        index, _, values = match
        try:
            parts = entries[index].read(tensor)
        except ValueError as error:
            problems.add(str(error), where=_place(where, name))
            continue
        for target, part in zip(entries[index].targets, parts, strict=True):
            _put(result, _fill(target, values), part, problems=problems, place=_place(where, name))
    return result


def _write(tensors: Mapping[str, Tensor], entries: Sequence[Entry], problems: Problems, where: str) -> dict[str, Tensor]:
    templates = [entry.targets for entry in entries]
    gathered: dict[tuple[int, tuple[str, ...]], dict[int, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _only_match(name, templates, problems, where)
        if match is not None:
            index, part, values = match
            gathered.setdefault((index, values), {})[part] = tensor
    result: dict[str, Tensor] = {}
    for (index, values), parts in gathered.items():
        entry = entries[index]
        missing = [_fill(target, values) for part, target in enumerate(entry.targets) if part not in parts]
        theirs = _fill(entry.theirs, values)
        if missing or isinstance(entry, Skip):
            problems.add(f"needs {', '.join(missing)} too", where=_place(where, theirs))
        else:
            whole = entry.write([parts[part] for part in sorted(parts)])
            _put(result, theirs, whole, problems=problems, place=_place(where, theirs))
    return result


def _put(result: dict[str, Tensor], name: str, tensor: Tensor, *, problems: Problems, place: str) -> None:
    if name in result:
        problems.add(f"two tensors mean {name!r}", where=place, fix="remove one of them")
    result[name] = tensor


Match: TypeAlias = tuple[int, int, tuple[str, ...]]
"""Index of the entry, index of its template, what the wildcards stand for."""


def _matches(name: str, templates: Sequence[tuple[str, ...]]) -> list[Match]:
    return [
        (index, which, match.groups())
        for index, spellings in enumerate(templates)
        for which, template in enumerate(spellings)
        if (match := _pattern(template).fullmatch(name))
    ]


def _only_match(name: str, templates: Sequence[tuple[str, ...]], problems: Problems, where: str) -> Match | None:
    found = _matches(name, templates)
    if len(found) == 1:
        return found[0]
    if found:
        problems.add(f"{len(found)} rules know this tensor", where=_place(where, name))
    else:
        layer = re.search(r"[0-9]+", name)
        known = {template.replace("{}", layer[0] if layer else "0") for spellings in templates for template in spellings}
        problems.add("no rule knows this tensor", where=_place(where, name), fix=did_you_mean(name, known))
    return None


def _place(where: str, name: str) -> str:
    return f"{where}, tensor {name!r}" if where else f"tensor {name!r}"


@lru_cache(maxsize=1024)
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\{\}", "(0|[1-9][0-9]{0,5})").replace(r"\*", "(.+)"), re.DOTALL)


def _fill(template: str, values: Sequence[str]) -> str:
    rest = iter(values)
    return re.sub(r"\{\}|\*", lambda _: next(rest), template)


def _turned(tensor: Tensor) -> Tensor:
    if tensor.ndim != 2:
        raise ValueError(f"shape {tuple(tensor.shape)}, but a matrix is expected")
    return tensor.t().contiguous()
