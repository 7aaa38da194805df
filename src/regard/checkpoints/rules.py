"""Tables between other people's tensor names and ours, read in both directions.

In a template `{}` stands for a number (a layer), `*` for anything. Every tensor must match exactly one entry of a table:
nothing is dropped in silence, nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

import torch
from torch import Tensor

from regard.errors import CheckpointError, Problems

EXTRA = "extra."
"""Our name of a tensor that we keep for its owner and do not use is this and their name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One tensor there is one tensor here; transpose: their matrix is (in, out), ours (out, in).

    also: older spellings of `theirs` that are read and never written. ones: their tensor has so many first dimensions of
    size 1 that ours has not: with ones=2, their (1, 1, d_model) is our (d_model,).
    """

    theirs: str
    ours: str
    transpose: bool = False
    also: tuple[str, ...] = ()
    ones: int = 0

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.theirs, *self.also)

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.ours,)

    def read(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """Our tensors from theirs; ValueError when its shape does not allow it."""
        if tensor.shape[: self.ones] != (1,) * self.ones:
            raise ValueError(f"shape {tuple(tensor.shape)}, but the first {self.ones} dimensions are to be of size 1")
        for _ in range(self.ones):
            tensor = tensor[0]
        return (_turned(tensor) if self.transpose else tensor,)

    def write(self, parts: Sequence[Tensor]) -> Tensor:
        """Their tensor from ours."""
        whole = _turned(parts[0]) if self.transpose else parts[0]
        for _ in range(self.ones):
            whole = whole.unsqueeze(0)
        return whole


@dataclass(frozen=True, slots=True)
class Split:
    """One tensor there is several equal parts here, cut along `dim`; transpose: their matrix is turned before it is cut.

    per: the key of their config.json that says in how many groups (heads) the parts lie in turn, part by part; None: the
    parts lie one behind the other. groups: its value, see :meth:`bound`.
    """

    theirs: str
    ours: tuple[str, ...]
    dim: int = 0
    transpose: bool = False
    per: str | None = None
    groups: int = 1

    def bound(self, config: Mapping[str, Any]) -> Split:
        """The same for a checkpoint with this config.json."""
        groups = config.get(self.per) if self.per is not None else 1
        return replace(self, groups=groups if type(groups) is int and groups > 0 else 1)

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.theirs,)

    @property
    def targets(self) -> tuple[str, ...]:
        return self.ours

    def read(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """Our tensors from theirs; ValueError when its shape does not allow it."""
        whole = _turned(tensor) if self.transpose else tensor
        parts, dim = len(self.ours), self.dim
        if whole.ndim <= dim or whole.shape[dim] % (parts * self.groups):
            raise ValueError(f"shape {tuple(whole.shape)} cannot be cut in {parts * self.groups} along dimension {dim}")
        if self.groups == 1:
            return whole.chunk(parts, dim=dim)
        each = whole.unflatten(dim, (self.groups, parts, -1))
        return tuple(each.select(dim + 1, part).flatten(dim, dim + 1).contiguous() for part in range(parts))

    def write(self, parts: Sequence[Tensor]) -> Tensor:
        """Their tensor from ours."""
        if self.groups == 1:
            whole = torch.cat(list(parts), dim=self.dim)
        else:
            each = [part.unflatten(self.dim, (self.groups, -1)) for part in parts]
            whole = torch.stack(each, dim=self.dim + 1).flatten(self.dim, self.dim + 2)
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


@dataclass(frozen=True, slots=True)
class Alias:
    """A tensor there that repeats another (tied tables in some files): read where that one is missing, never written.

    kept: where the other one is there too, this one is a tensor by itself, kept for its owner as :func:`keep` does.
    """

    theirs: str
    ours: str
    kept: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.theirs,)

    @property
    def targets(self) -> tuple[str, ...]:
        return (EXTRA + self.theirs,) if self.kept else ()

    def write(self, parts: Sequence[Tensor]) -> Tensor:
        """The tensor that was kept."""
        return parts[0]


Entry: TypeAlias = Rule | Split | Skip | Alias


@dataclass(frozen=True, slots=True)
class Either:
    """Entries that depend on a key of their config.json: `true` where it has one of these `values`, `false` where it has
    another; absent: what it means where it is not there."""

    key: str
    true: tuple[Entry | Either, ...]
    false: tuple[Entry | Either, ...]
    absent: bool = False
    values: tuple[Any, ...] = (True,)


def bound(entries: Iterable[Entry | Either], config: Mapping[str, Any]) -> tuple[Entry, ...]:
    """The entries for a checkpoint with this config.json."""
    result: list[Entry] = []
    for entry in entries:
        if isinstance(entry, Either):
            said = config.get(entry.key)
            holds = any(type(said) is type(value) and said == value for value in entry.values)
            holds = entry.absent if said is None else holds
            result += bound(entry.true if holds else entry.false, config)
        else:
            result.append(entry.bound(config) if isinstance(entry, Split) else entry)
    return tuple(result)


def affine(theirs: str, ours: str, *, transpose: bool = False) -> tuple[Rule, Rule]:
    """Weight and bias of a linear layer."""
    return Rule(f"{theirs}.weight", f"{ours}.weight", transpose), Rule(f"{theirs}.bias", f"{ours}.bias")


def norm(theirs: str, ours: str) -> tuple[Rule, Rule]:
    """Weight and bias of a LayerNorm, which files converted from TensorFlow call gamma and beta."""
    return (
        Rule(f"{theirs}.weight", f"{ours}.weight", also=(f"{theirs}.gamma",)),
        Rule(f"{theirs}.bias", f"{ours}.bias", also=(f"{theirs}.beta",)),
    )


def word_bias(outer: str, inner: str, *, also: tuple[str, ...] = ()) -> Either:
    """The bias of an output layer over words that is a parameter of the head (`outer`) and of its matrix (`inner`): one and
    the same where that matrix is the token table, else two, of which the inner one counts (BERT and its kin)."""
    return Either(
        "tie_word_embeddings",
        true=(Rule(outer, "head.out.bias", also=also), Alias(inner, "head.out.bias")),
        false=(Rule(inner, "head.out.bias", also=also), Alias(outer, "head.out.bias", kept=True)),
        absent=True,
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
    index = _index([entry.sources for entry in entries])
    return [name for name in names if len(_matches(name, index)) != 1]


def their_names(entries: Sequence[Entry]) -> Callable[[str], str]:
    """What a tensor of ours is called there; its own name if the table does not have it."""
    index = _index([entry.targets for entry in entries])

    def called(ours: str) -> str:
        for place, _, values in _matches(ours, index):
            return _fill(entries[place].theirs, values)
        return ours

    return called


def _read(tensors: Mapping[str, Tensor], entries: Sequence[Entry], problems: Problems, where: str) -> dict[str, Tensor]:
    index = _index([entry.sources for entry in entries])
    result: dict[str, Tensor] = {}
    copies: dict[str, tuple[str, bool]] = {}
    for name, tensor in tensors.items():
        match = _only_match(name, index, problems, where)
        if match is None:
            continue
        place, _, values = match
        entry = entries[place]
        if isinstance(entry, Alias):
            copies[name] = _fill(entry.ours, values), entry.kept
            continue
        try:
            parts = entry.read(tensor)
        except ValueError as error:
            problems.add(str(error), where=_place(where, name))
            continue
        for target, part in zip(entry.targets, parts, strict=True):
            _put(result, _fill(target, values), part, problems=problems, place=_place(where, name))
    for name, (ours, kept) in copies.items():
        if ours not in result:
            result[ours] = tensors[name]
        elif kept:
            result[EXTRA + name] = tensors[name]
    return result


def _write(tensors: Mapping[str, Tensor], entries: Sequence[Entry], problems: Problems, where: str) -> dict[str, Tensor]:
    known = _index([entry.targets for entry in entries])
    gathered: dict[tuple[int, tuple[str, ...]], dict[int, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _only_match(name, known, problems, where)
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


def _matches(name: str, known: Index) -> list[Match]:
    exact, wild = known
    candidates = (*exact.get(NUMBER.sub("{}", name), ()), *wild)
    return [
        (index, which, match.groups())
        for index, which, template in candidates
        if (match := _pattern(template).fullmatch(name))
    ]


NUMBER = re.compile(r"(?<![^.])[0-9]+(?![^.])")
"""A number between dots, such as a layer's."""

Place: TypeAlias = tuple[int, int, str]
"""Index of an entry, index of its template, the template."""
Index: TypeAlias = tuple[dict[str, list[Place]], list[Place]]
"""Templates by what is left of a name without its numbers, and those that hold a `*`, which may be any name's."""


def _index(templates: Sequence[tuple[str, ...]]) -> Index:
    exact: dict[str, list[Place]] = {}
    wild: list[Place] = []
    for index, spellings in enumerate(templates):
        for which, template in enumerate(spellings):
            place = (index, which, template)
            if "*" in template:
                wild.append(place)
            else:
                exact.setdefault(NUMBER.sub("{}", template), []).append(place)
    return exact, wild


def _only_match(name: str, known: Index, problems: Problems, where: str) -> Match | None:
    found = _matches(name, known)
    if len(found) == 1:
        return found[0]
    if found:
        problems.add(f"{len(found)} rules know this tensor", where=_place(where, name))
    else:
        layer = re.search(r"[0-9]+", name)
        exact, wild = known
        templates = (template for places in (*exact.values(), wild) for _, _, template in places)
        names = (template.replace("{}", layer[0] if layer else "0") for template in templates)
        problems.add("no rule knows this tensor", where=_place(where, name), fix=problems.hint(name, names))
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
    return tensor.t()
