"""What a checkpoint family is: tables between their config.json and tensors and ours. One file of tables each."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from regard.checkpoints.families.labels import read_labels, write_labels
from regard.checkpoints.rules import Entry, under, unknown
from regard.errors import ConfigError, Problem, Problems, listed
from regard.models.config import HeadConfig, ModelConfig

S = TypeVar("S", ModelConfig, HeadConfig)

HEAD = "head."
"""What stands before a field of HeadConfig in a family's tables."""

REQUIRED = object()
"""Default of a key that must be there."""

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu-tanh",
    "gelu_pytorch_tanh": "gelu-tanh",
    "gelu_fast": "gelu-tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
"""Their names of activations to ours; of several that mean the same, the first is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of their config.json and the field of ours that says the same.

    default: what an absent or null key means. plus: ours = theirs + plus. values: their spellings to ours, and no others.
    """

    theirs: str
    ours: str
    default: Any = REQUIRED
    plus: int = 0
    values: Mapping[Any, Any] | None = None

    def read(self, theirs: Mapping[str, Any], problems: Problems, where: str) -> Any:
        """Our value; what is wrong goes to `problems`."""
        value = theirs.get(self.theirs)
        value = self.default if value is None else value
        if value is REQUIRED:
            problems.add(f"missing key {self.theirs!r}", where=where, fix="get the checkpoint's own config.json")
        elif self.values is not None:
            for spelling, meaning in self.values.items():
                if type(value) is type(spelling) and value == spelling:
                    return meaning
            problems.add(f"key {self.theirs!r} is {reprlib.repr(value)}", where=where, allowed=listed(self.values))
        elif self.plus and type(value) is not int:
            problems.add(f"key {self.theirs!r} is {reprlib.repr(value)}", where=where, allowed="a whole number")
        else:
            return value + self.plus if self.plus else value
        return None

    def write(self, ours: Any, problems: Problems, where: str) -> Any:
        """Their value for ours, the reverse of :meth:`read`."""
        if self.values is None:
            return ours - self.plus if self.plus else ours
        for spelling, meaning in self.values.items():
            if meaning == ours:
                return spelling
        problems.add(f"{self.ours} is {ours!r}", where=where, allowed=listed(dict.fromkeys(self.values.values())))
        return None


@dataclass(frozen=True, slots=True)
class Architecture:
    """One model class of theirs: the tensors of its body, which stand under the family's prefix, and those of its head."""

    name: str
    body: tuple[Entry, ...]
    head: tuple[Entry, ...] = ()

    def entries(self, prefix: str) -> tuple[Entry, ...]:
        """The whole table, with `prefix` before the body's names."""
        return (*under(prefix, self.body), *self.head)


class Description(NamedTuple):
    """A config.json of theirs in our words. task: what task.json would say; None without an output layer."""

    config: ModelConfig
    head: HeadConfig | None
    task: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The tables of one `model_type`.

    keys and fixed: fields of ModelConfig, and of HeadConfig as `head.NAME`, that their config.json says, and that are
    always the same. only: their keys that must have one of these values or be absent. base has no output layer and no
    prefix; classifier has the output layer that Regard models; others have heads that it keeps and does not use.
    """

    name: str
    prefix: str
    keys: tuple[Key, ...]
    fixed: Mapping[str, Any]
    only: Mapping[str, tuple[Any, ...]]
    base: Architecture
    classifier: Architecture
    others: tuple[Architecture, ...] = ()

    def key_of(self, ours: str) -> str:
        """Their key for a field of ours, for messages."""
        return next((key.theirs for key in self.keys if key.ours == ours), ours)

    @property
    def architectures(self) -> dict[str, Architecture]:
        """Their model classes by name."""
        return {each.name: each for each in (self.base, self.classifier, *self.others)}

    def recognise(self, theirs: Mapping[str, Any], names: Sequence[str]) -> tuple[Architecture, tuple[Entry, ...]]:
        """The model class that tensors with these names belong to, and its table with the prefix that they have.

        The class that config.json states counts if it knows all names, else the first that does; if none does, the one that
        lacks fewest, so that :func:`~regard.checkpoints.rules.apply` says which.
        """
        stated = theirs.get("architectures")
        first = stated[0] if isinstance(stated, list) and stated else None
        prefix = self.prefix if any(name.startswith(self.prefix) for name in names) else ""
        ordered = sorted(self.architectures.values(), key=lambda each: each.name != first)
        tables = [(each, each.entries(prefix)) for each in ordered]
        return min(tables, key=lambda table: len(unknown(names, table[1])))

    def read(self, theirs: Mapping[str, Any], n_outputs: int | None, *, where: str) -> Description:
        """Their config.json in our words; n_outputs: rows of the output layer, 0 for a pooler alone, None for no head.

        Raises :class:`~regard.errors.ConfigError` that lists every missing key and every value that is wrong, contradicts
        another, or means a model that Regard does not have.
        """
        problems = Problems(ConfigError)
        for key, allowed in self.only.items():
            if theirs.get(key) is not None and theirs[key] not in allowed:
                expected = listed(map(repr, allowed)) or "no such key"
                problems.add(f"key {key!r} is {reprlib.repr(theirs[key])}", where=where, allowed=expected)
        keys = [key for key in self.keys if n_outputs is not None or not key.ours.startswith(HEAD)]
        values = {**self.fixed, **{key.ours: key.read(theirs, problems, where) for key in keys}}
        task = read_labels(theirs, n_outputs, problems, where) if n_outputs else None
        problems.raise_if_any()
        of_head = {name.removeprefix(HEAD): values.pop(name) for name in list(values) if name.startswith(HEAD)}
        config = self._build(ModelConfig, values, where)
        head = None if n_outputs is None else self._build(HeadConfig, {**of_head, "n_outputs": n_outputs}, where)
        return Description(config, head, task)

    def write(
        self, description: Description, original: Mapping[str, Any], *, architecture: Architecture, where: str
    ) -> dict[str, Any]:
        """Their config.json for a model of ours: `original` with the keys changed that do not say it already.

        Raises :class:`~regard.errors.ConfigError` that lists every setting that this family cannot have.
        """
        config, head, task = description
        n_outputs = None if head is None else head.n_outputs
        problems = Problems(ConfigError)
        theirs = {**original, "model_type": self.name, "architectures": [architecture.name]}
        wanted, said = _resolved(config, head), self._said(original, n_outputs)
        for key in self.keys:
            if key.ours in wanted and said.get(key.ours) != wanted[key.ours]:
                theirs[key.theirs] = key.write(wanted[key.ours], problems, where)
        problems.raise_if_any()
        if n_outputs:
            write_labels(theirs, task or {}, n_outputs, where)
        result = self.read(theirs, n_outputs, where=where)
        for name, value in _resolved(result.config, result.head).items():
            if value != wanted[name]:
                problems.add(f"{name} is {wanted[name]!r}", where=where, allowed=f"{value!r} in the family {self.name!r}")
        problems.raise_if_any()
        return theirs

    def _said(self, original: Mapping[str, Any], n_outputs: int | None) -> dict[str, Any]:
        """What an original config.json says of the model; nothing where it cannot be read, so that all is written anew."""
        try:
            config, head, _ = self.read(original, n_outputs, where="")
        except ConfigError:
            return {}
        return _resolved(config, head)

    def _build(self, kind: type[S], values: Mapping[str, Any], where: str) -> S:
        """`kind` from values, or a ConfigError in the words of their config.json."""
        try:
            return kind.model_validate(values, strict=True)
        except ValidationError as error:
            place = HEAD if kind is HeadConfig else ""
            words = {name: self.key_of(place + name) for name in kind.model_fields}
            raise ConfigError([_in_their_words(detail, words, where) for detail in error.errors()]) from None


def _in_their_words(detail: Any, words: Mapping[str, str], where: str) -> Problem:
    ours = re.compile(r"\b(" + "|".join(words) + r")\b")
    message = ours.sub(lambda match: words[match[0]], detail["msg"].removeprefix("Value error, "))
    if not detail["loc"]:
        return Problem(message, where)
    key = words.get(str(detail["loc"][0]), str(detail["loc"][0]))
    return Problem(f"key {key!r} is {reprlib.repr(detail['input'])}", where, message[0].lower() + message[1:])


def _resolved(config: ModelConfig, head: HeadConfig | None) -> dict[str, Any]:
    """Every setting by name with the values that None stands for: equal for models that compute the same."""
    values = config.model_dump()
    values |= {"d_head": config.head_width, "n_kv_heads": config.kv_heads, "n_decoder_layers": config.decoder_layers}
    if head is not None:
        values |= {HEAD + name: value for name, value in head.model_dump().items()}
        values[HEAD + "dropout"] = config.dropout if head.dropout is None else head.dropout
    return values
