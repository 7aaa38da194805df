"""What a checkpoint family is: tables between their config.json and tensors and ours. One file of tables each."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias, TypeVar

from pydantic import ValidationError

from regard.checkpoints.families.labels import LABELLED, read_labels, write_labels
from regard.checkpoints.rules import Either, Entry, bound, under, unknown
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
    "quick_gelu": "gelu-quick",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
"""Their names of activations to ours; of several that mean the same, the first is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of their config.json and the field of ours that says the same. A dot in either leads into a part.

    default: what an absent or null key means. plus: ours = theirs + plus. values: their spellings to ours, and no others.
    """

    theirs: str
    ours: str
    default: Any = REQUIRED
    plus: int = 0
    values: Mapping[Any, Any] | None = None

    @property
    def names(self) -> dict[str, str]:
        """Our field -> their key, for messages."""
        return {self.ours: self.theirs}

    def read(self, theirs: Mapping[str, Any], problems: Problems, where: str) -> dict[str, Any]:
        """Our field and its value; what is wrong goes to `problems`."""
        value = part(theirs, self.theirs)
        value = self.default if value is None else value
        if value is REQUIRED:
            problems.add(f"missing key {self.theirs!r}", where=where, fix="get the checkpoint's own config.json")
        elif self.values is not None:
            for spelling, meaning in self.values.items():
                if type(value) is type(spelling) and value == spelling:
                    return {self.ours: meaning}
            problems.add(f"key {self.theirs!r} is {reprlib.repr(value)}", where=where, allowed=listed(self.values))
        elif self.plus and type(value) is not int:
            problems.add(f"key {self.theirs!r} is {reprlib.repr(value)}", where=where, allowed="a whole number")
        else:
            return {self.ours: tuple(value) if isinstance(value, list) else value + self.plus if self.plus else value}
        return {self.ours: None}

    def write(self, ours: Mapping[str, Any], original: Mapping[str, Any], problems: Problems, where: str) -> dict[str, Any]:
        """Their key and its value for ours, the reverse of :meth:`read`."""
        value = ours[self.ours]
        if self.values is None:
            return {self.theirs: list(value) if isinstance(value, tuple) else value - self.plus if self.plus else value}
        for spelling, meaning in self.values.items():
            if meaning == value:
                return {self.theirs: spelling}
        problems.add(f"{self.ours} is {value!r}", where=where, allowed=listed(dict.fromkeys(self.values.values())))
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Several keys of theirs that only together say what several fields of ours say.

    names: our field -> the key of theirs that is blamed for it. to_ours: their config.json -> our fields; a ValueError says
    which key is wrong. to_theirs: our fields -> their keys. respell: these keys, and the config.json that the model came
    with -> the same in that one's spelling, where there are several.
    """

    names: Mapping[str, str]
    to_ours: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    to_theirs: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    respell: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]] = lambda keys, _: keys

    def read(self, theirs: Mapping[str, Any], problems: Problems, where: str) -> dict[str, Any]:
        """Our fields; what is wrong goes to `problems`."""
        try:
            return dict(self.to_ours(theirs))
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
            whole = (key for ours, key in self.names.items() if ours.rpartition(".")[0] not in self.names)
            keys = listed(map(repr, dict.fromkeys(whole)))
            problems.add(f"{keys}: {error}", where=where, fix="get the checkpoint's own config.json")
        return {}

    def write(self, ours: Mapping[str, Any], original: Mapping[str, Any], problems: Problems, where: str) -> dict[str, Any]:
        """Their keys, the reverse of :meth:`read`; original: the config.json that the model came with."""
        try:
            return dict(self.respell(self.to_theirs(ours), original))
        except ValueError as error:
            problems.add(str(error), where=where)
        return {}


AnyKey: TypeAlias = Key | Keys


def with_defaults(keys: Sequence[Key], **defaults: Any) -> tuple[Key, ...]:
    """The same keys; what an absent one means is given by its name, where it is another value than there."""
    return tuple(replace(key, default=defaults.get(key.theirs, key.default)) for key in keys)


def part(values: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    value: Any = values
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def given(theirs: Mapping[str, Any], key: str, default: Any) -> Any:
    """The value of a key of their config.json; `default` where it is absent or null."""
    value = theirs.get(key)
    return default if value is None else value


def put(values: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path; the parts on the way are copied, not changed."""
    first, dot, rest = path.partition(".")
    if not dot:
        values[first] = value
        return
    inner = dict(values[first]) if isinstance(values.get(first), Mapping) else {}
    put(inner, rest, value)
    values[first] = inner


REWRITING = frozenset({"text2text-generation", "translation", "summarization"})
"""Tasks that one kind of head serves."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One model class of theirs: the tensors of its body, which stand under the family's prefix, and those of its head.

    head: entries of its output layer. task: what the head was trained for. fields: those of HeadConfig that are always the
    same, None if the head is only kept. keys: those of their config.json that speak of the head. prefix: what stands before
    the names of its body, None = the family's. fixed: fields of ModelConfig that are other than the family's keys and
    `fixed` say, in a class that has not all of the family's parts.
    """

    name: str
    body: tuple[Entry | Either, ...]
    head: tuple[Entry | Either, ...] = ()
    task: str | None = None
    fields: Mapping[str, Any] | None = None
    keys: tuple[AnyKey, ...] = ()
    prefix: str | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def entries(self, prefix: str, config: Mapping[str, Any]) -> tuple[Entry, ...]:
        """The whole table for a checkpoint with this config.json, with `prefix` before the body's names."""
        return (*under(prefix, bound(self.body, config)), *bound(self.head, config))

    def serves(self, task: str | None) -> bool:
        """Whether a model of this task is one of this class; all that read a text and write another are alike."""
        return self.task == task or {self.task, task} <= REWRITING

    @property
    def over(self) -> str | None:
        """What its head answers for, see :class:`HeadConfig`."""
        return None if self.fields is None else self.fields.get("over", "sequence")


class Description(NamedTuple):
    """A config.json of theirs in our words. task: what task.json would say; None without an output layer."""

    config: ModelConfig
    head: HeadConfig | None
    task: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The tables of one `model_type`.

    keys and fixed: fields of ModelConfig that their config.json says, and that are always the same; a dot leads into a part
    (`stretch.factor`). only: their keys that must have one of these values or be absent. base: the class without an output
    layer, whose tensors have no prefix. heads: the classes with one; those that serve the same task, the usual one first.
    """

    name: str
    prefix: str
    keys: tuple[AnyKey, ...]
    base: Architecture
    heads: tuple[Architecture, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def key_of(self, ours: str) -> str:
        """Their key for a field of ours, for messages."""
        return _key_of(ours, self.keys)

    @property
    def architectures(self) -> dict[str, Architecture]:
        """Their model classes by name."""
        return {each.name: each for each in (self.base, *self.heads)}

    def serving(self, task: str) -> Architecture | None:
        """The usual model class for a task; None when the family has none."""
        served = (each for each in self.architectures.values() if each.serves(task) and each.fields is not None)
        return next(served, None)

    def recognise(self, theirs: Mapping[str, Any], names: Sequence[str]) -> tuple[Architecture, tuple[Entry, ...]]:
        """The model class that tensors with these names belong to, and its table with the prefix that they have.

        The class that config.json states counts if it knows all names, else the first that does; if none does, the one that
        lacks fewest, so that :func:`~regard.checkpoints.rules.apply` says which.
        """
        stated = theirs.get("architectures")
        first = stated[0] if isinstance(stated, list) and stated else None
        tables = []
        for each in sorted(self.architectures.values(), key=lambda each: each.name != first):
            prefix = self.prefix_of(each)
            there = any(name.startswith(prefix) for name in names)
            entries = each.entries(prefix if there else "", theirs)
            tables.append((len(unknown(names, entries)), each, entries))
            if not tables[-1][0]:
                break
        _, architecture, entries = min(tables, key=lambda table: table[0])
        return architecture, entries

    def prefix_of(self, architecture: Architecture) -> str:
        """What stands before the names of the body, in a file that has a head beside it."""
        return self.prefix if architecture.prefix is None else architecture.prefix

    def read(
        self, theirs: Mapping[str, Any], architecture: Architecture, n_outputs: int | None, *, where: str
    ) -> Description:
        """Their config.json in our words. n_outputs: rows of the output layer, 0 for a pooler alone, None for no head or for
        one that is only kept.

        Raises :class:`~regard.errors.ConfigError` that lists every missing key and every value that is wrong, contradicts
        another, or means a model that Regard does not have.
        """
        problems = Problems(ConfigError)
        for key, allowed in self.only.items():
            found = part(theirs, key)
            if found is not None and found not in allowed:
                expected = listed(map(repr, allowed)) or "no such key"
                problems.add(f"key {key!r} is {reprlib.repr(found)}", where=where, allowed=expected)
        values = {**self.fixed, **self._read_keys(self.keys, theirs, problems, where), **architecture.fixed}
        of_head: dict[str, Any] | None = None
        if n_outputs is not None and architecture.fields is not None:
            read = self._read_keys(architecture.keys, theirs, problems, where)
            of_head = {**architecture.fields, **{name.removeprefix(HEAD): value for name, value in read.items()}}
        task = _read_task(theirs, architecture, n_outputs, problems, where) if of_head else None
        problems.raise_if_any()
        config = _build(ModelConfig, _nested(values), self.keys, where)
        head = None if of_head is None else _build(HeadConfig, {"n_outputs": n_outputs, **of_head}, architecture.keys, where)
        return Description(config, head, task)

    @staticmethod
    def _read_keys(keys: Sequence[AnyKey], theirs: Mapping[str, Any], problems: Problems, where: str) -> dict[str, Any]:
        return {name: value for key in keys for name, value in key.read(theirs, problems, where).items()}

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
        wanted = resolved(config, head if architecture.fields is not None else None)
        for keys in (self.keys, architecture.keys if head is not None else ()):
            said = self._said(theirs, architecture, n_outputs)  # anew: one of their keys may speak of both body and head
            unsaid = None if said else REQUIRED
            for key in keys:
                if any(said.get(name, unsaid) != wanted.get(name) for name in key.names):
                    flat = {name: wanted.get(name) for name in key.names}
                    for path, value in key.write(flat, original, problems, where).items():
                        put(theirs, path, value)
        problems.raise_if_any()
        if n_outputs and architecture.task in LABELLED:
            write_labels(theirs, task or {}, n_outputs, architecture.task, where)
        result = self.read(theirs, architecture, n_outputs, where=where)
        wanted["share_embeddings"] = result.config.share_embeddings  # the tensors say it, whatever the keys do
        for name, value in resolved(result.config, result.head).items():
            if value != wanted.get(name) and not isinstance(value, Mapping):  # the parts of a mapping follow
                problems.add(
                    f"{name} is {wanted.get(name)!r}", where=where, allowed=f"{value!r} in the family {self.name!r}"
                )
        problems.raise_if_any()
        return theirs

    def _said(self, original: Mapping[str, Any], architecture: Architecture, n_outputs: int | None) -> dict[str, Any]:
        """What an original config.json says of the model; nothing where it cannot be read, so that all is written anew."""
        try:
            config, head, _ = self.read(original, architecture, n_outputs, where="")
        except ConfigError:
            return {}
        return resolved(config, head)


def _key_of(ours: str, keys: Sequence[AnyKey]) -> str:
    return next((key.names[ours] for key in keys if ours in key.names), ours)


def _build(kind: type[S], values: Mapping[str, Any], keys: Sequence[AnyKey], where: str) -> S:
    """`kind` from values, or a ConfigError in the words of their config.json."""
    try:
        return kind.model_validate(values, strict=True)
    except ValidationError as error:
        place = HEAD if kind is HeadConfig else ""
        raise ConfigError([_in_their_words(detail, place, keys, where) for detail in error.errors()]) from None


def _read_task(
    theirs: Mapping[str, Any], architecture: Architecture, n_outputs: int | None, problems: Problems, where: str
) -> dict[str, Any] | None:
    """What task.json would say of this head."""
    if architecture.task is None or (n_outputs == 0 and architecture.over not in ("vocabulary", "pair")):
        return None
    if architecture.task in LABELLED:
        return read_labels(theirs, n_outputs or 0, architecture.task, problems, where)
    return {"task": architecture.task}


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` -> `{"a": {"b": 1}}`."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        put(result, name, value)
    return result


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value by its dotted path, the parts themselves included."""
    for name, value in values.items():
        yield prefix + name, value
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")


def _in_their_words(detail: Any, place: str, keys: Sequence[AnyKey], where: str) -> Problem:
    """A pydantic error about fields that stand at `place` in the tables."""
    steps = [str(step) for step in detail["loc"] if not str(step).isdigit()]
    path = place + ".".join(step for i, step in enumerate(steps) if steps[i - 1 : i] != ["input"])  # then comes its kind
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":  # the whole contradicts itself, or a part
        start = path if path in ("", HEAD) else f"{path}."
        words = {ours.removeprefix(start): key.names[ours] for key in keys for ours in key.names if ours.startswith(start)}
        return Problem(re.sub(r"\w+", lambda match: words.get(match[0], match[0]), message), where)
    key = _key_of(path, keys)
    return Problem(f"key {key!r} is {reprlib.repr(detail['input'])}", where, message[0].lower() + message[1:])


def resolved(config: ModelConfig, head: HeadConfig | None) -> dict[str, Any]:
    """Every setting by its dotted name with the values that None stands for: equal for models that compute the same."""
    values = dict(_flat(_said_of(config)))
    if head is not None:
        values |= {HEAD + name: value for name, value in head.model_dump().items()}
        values[HEAD + "dropout"] = config.dropout if head.dropout is None else head.dropout
        values[HEAD + "d_dense"] = head.d_dense or config.d_model
    return values


def _said_of(config: ModelConfig) -> dict[str, Any]:
    """A dump of the config in which every value is said that None stands for."""
    values = config.model_dump() | {
        "d_head": config.head_width,
        "d_rotary": config.rotary_width,
        "local_rotary_base": config.local_rotary_base or config.rotary_base,
        "n_kv_heads": config.kv_heads,
        "n_unique_layers": config.unique_layers,
        "n_decoder_layers": config.decoder_layers,
        "n_decoder_heads": config.decoder_heads,
        "d_decoder_ff": config.d_decoder_ff or config.d_ff,
        "max_decoder_positions": config.decoder_positions,
        "decoder_vocab_size": config.target_vocab_size,
        "attention_bias": config.attention_biases,
        "last_norm": config.ends_in_norm,
        "causal": config.kind == "decoder" if config.causal is None else config.causal,
    }
    if config.vision is not None:
        values["vision"] = _said_of(config.vision)
    return values
