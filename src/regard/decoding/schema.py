"""JSON schemas made into expressions of characters: JSON of a bounded depth is a regular language."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from regard.decoding.integers import between
from regard.decoding.regex import containing, regex
from regard.decoding.regular import (
    EMPTY,
    NOTHING,
    Chain,
    Characters,
    Choice,
    Expression,
    Members,
    Ranges,
    Repeat,
    literal,
    optional,
    others,
    ranges,
)
from regard.errors import ConfigError, Problem, Problems, did_you_mean, listed

Schema = Mapping[str, Any]

SPACE = optional(literal(" "))
"""Between the parts of JSON stands at most one blank: white space without end is how a model spends its tokens."""
NOTES = (
    *("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"),
    *("$schema", "$id", "$comment", "$anchor", "$defs", "definitions"),
)
"""Keywords that say nothing about a value, or are looked up where they are referred to."""
CHOOSING = ("$ref", "const", "enum", "anyOf")
"""Keywords that say all about a value; they stand alone, but for a `type` beside const and enum."""
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
OF_TYPE: dict[str, tuple[str, ...]] = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "minItems", "maxItems"),
    "string": ("minLength", "maxLength", "pattern"),
    "integer": BOUNDS,
    "number": (),
    "boolean": (),
    "null": (),
}
KNOWN = (*CHOOSING, "type", *(keyword for keywords in OF_TYPE.values() for keyword in keywords))

SPECIAL = ranges([(0, 0x1F), (0x22, 0x22), (0x5C, 0x5C)])
"""Characters that a JSON string must escape."""
SHORT = {0x08: "b", 0x09: "t", 0x0A: "n", 0x0C: "f", 0x0D: "r", 0x22: '"', 0x5C: "\\"}
UNSPECIAL = Characters(others(SPECIAL))
LETTER = Choice((UNSPECIAL, regex(r'\\(["\\/bfnrt]|u([0-9abcefABCEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))')))
"""One character of a string; half a pair of surrogates is none."""
QUOTE = literal('"')
PLAIN: dict[str, Expression] = {
    "integer": regex("-?(0|[1-9][0-9]*)"),
    "number": regex(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"),
    "boolean": regex("true|false"),
    "null": regex("null"),
}


def json_schema(schema: Schema, *, where: str = "schema") -> Expression:
    """The JSON texts that a schema (draft 2020-12) accepts, written one way.

    Understood are `type` (also several), `properties`, `required`, `additionalProperties` (a schema, where no properties
    are named), `items`, `minItems`, `maxItems`, `minLength`, `maxLength` or `pattern`, the four bounds of an integer,
    `enum`, `const`, `anyOf`, and `$ref` to a place in the schema itself. All that is written is valid; what a schema
    accepts besides is not written: properties come in the order of the schema and no others come, and between parts stands
    at most one blank. `integer` has no fraction and no exponent. Lengths count characters (code points). A schema without
    `type` is for the type that its keywords are for.

    where: what error messages call the schema; places in it follow as in `schema#/properties/age`.

    Raises :class:`~regard.errors.ConfigError` naming every keyword that is not understood, every schema that refers to
    itself and so is no regular language, and every value that a keyword cannot have.
    """
    reading = _Reading(schema, where)
    try:
        expression = reading.value(schema, "#", ())
    except RecursionError:
        raise ConfigError("nested too deeply", where=where, fix="write fewer levels") from None
    reading.problems.raise_if_any()
    return expression


class _Reading:
    """Walks a schema, and collects what it cannot take."""

    def __init__(self, root: Schema, where: str) -> None:
        self.problems = Problems(ConfigError)
        self._root, self._where = root, where
        self._referred: dict[str, Expression] = {}

    def value(self, schema: Any, place: str, referring: tuple[str, ...]) -> Expression:
        """The texts of a schema; place: its JSON pointer; referring: the references that were followed to it."""
        if schema is False:
            return NOTHING
        if not isinstance(schema, Mapping):
            what = "any value at all" if schema is True else f"{schema!r} is no schema"
            return self._refuse(place, what, allowed="an object with a type", fix="say what the value is")
        said = [keyword for keyword in schema if keyword not in NOTES]
        unknown = [keyword for keyword in said if keyword not in KNOWN]
        for keyword in unknown:
            fix = did_you_mean(keyword, KNOWN) or "remove it, or say it with what is understood"
            self._refuse(place, f"{keyword} is not understood", allowed=listed(KNOWN, limit=len(KNOWN)), fix=fix)
        choosing = [keyword for keyword in said if keyword in CHOOSING]
        if choosing:
            beside = [k for k in said if k != choosing[0] and not (k == "type" and choosing[0] in ("const", "enum"))]
            if set(beside) - set(unknown):
                what = f"{choosing[0]} together with {listed(k for k in beside if k not in unknown)}"
                self._refuse(place, what, allowed=f"{choosing[0]} alone", fix="say both in one")
            return self._chosen(choosing[0], schema, place, referring)
        return Choice(
            tuple(self._of_type(kind, schema, place, referring) for kind in self._types(schema, place, bool(unknown)))
        )

    def _chosen(self, keyword: str, schema: Schema, place: str, referring: tuple[str, ...]) -> Expression:
        value, here = schema[keyword], f"{place}/{keyword}"
        if keyword == "$ref":
            return self._reference(value, here, referring)
        if keyword == "const":
            value = [value]
        if not isinstance(value, list) or not value:
            return self._refuse(here, f"{value!r}", allowed="a list that is not empty", fix="list what may come")
        if keyword == "anyOf":
            return Choice(tuple(self.value(each, f"{here}/{i}", referring) for i, each in enumerate(value)))
        kinds = self._types(schema, place, True) if "type" in schema else ()
        fitting = [each for each in value if not kinds or any(_is(each, kind) for kind in kinds)]
        return Choice(tuple(map(_literal, fitting)))

    def _reference(self, pointer: Any, place: str, referring: tuple[str, ...]) -> Expression:
        if not isinstance(pointer, str) or not pointer.startswith("#"):
            return self._refuse(
                place, f"{pointer!r}", allowed="#/… in the same schema", fix="copy what it refers to to $defs"
            )
        if pointer in referring:
            fix = "write out as many levels as are needed"
            return self._refuse(place, f"{pointer} refers to itself: it has no deepest level", fix=fix)
        if pointer not in self._referred:
            found: Any = self._root
            for step in pointer.removeprefix("#").removeprefix("/").split("/") if pointer != "#" else ():
                name = step.replace("~1", "/").replace("~0", "~")
                if isinstance(found, Mapping) and name in found:
                    found = found[name]
                elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                    found = found[int(name)]
                else:
                    return self._refuse(place, f"{pointer} is not there", fix="correct the reference, or add the definition")
            self._referred[pointer] = self.value(found, pointer, (*referring, pointer))
        return self._referred[pointer]

    def _types(self, schema: Schema, place: str, told: bool) -> Sequence[str]:
        """The types that a schema speaks of. told: whether something is wrong with it that was said already."""
        given = schema.get("type")
        if given is None:
            meant = [kind for kind, keywords in OF_TYPE.items() if any(keyword in schema for keyword in keywords)]
            if not meant and not told:
                self._refuse(place, "any value at all", allowed=f"a type: {listed(OF_TYPE)}", fix="say what the value is")
            return meant
        kinds = given if isinstance(given, list) else [given]
        for kind in kinds:
            if kind not in OF_TYPE:
                fix = did_you_mean(str(kind), OF_TYPE)
                self._refuse(f"{place}/type", f"unknown type {kind!r}", allowed=listed(OF_TYPE), fix=fix)
        return [kind for kind in kinds if kind in OF_TYPE]

    def _of_type(self, kind: str, schema: Schema, place: str, referring: tuple[str, ...]) -> Expression:
        if kind == "object":
            return self._object(schema, place, referring)
        if kind == "array":
            return self._array(schema, place, referring)
        bounded = [keyword for keyword in BOUNDS if keyword in schema]
        if bounded and kind == "integer":
            return self._integer(schema, place)
        if bounded and kind == "number":
            what = f"{listed(bounded)} of a number with a fraction"
            return self._refuse(place, what, allowed="bounds of type integer", fix="take them away, or make it an integer")
        return self._string(schema, place) if kind == "string" else PLAIN[kind]

    def _object(self, schema: Schema, place: str, referring: tuple[str, ...]) -> Expression:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        if not isinstance(properties, Mapping) or not isinstance(required, list):
            what = "properties that are no object, or required that is no list"
            return self._refuse(place, what, allowed='{"name": schema} and ["name"]', fix="correct them")
        for name in required:
            if name not in properties:
                fix = did_you_mean(str(name), properties) or f"add {name!r} to the properties"
                self._refuse(f"{place}/required", f"no property {name!r}", allowed=listed(properties), fix=fix)
        more = schema.get("additionalProperties")
        if not properties and isinstance(more, Mapping):
            value = self.value(more, f"{place}/additionalProperties", referring)
            name = Chain((QUOTE, Repeat(LETTER, 0, None), QUOTE))
            return _enclosed("{", Repeat(_pair(name, value), 0, None, COMMA), "}")
        pairs = [
            (
                _pair(_literal(name), self.value(each, f"{place}/properties/{_escaped_name(name)}", referring)),
                name in required,
            )
            for name, each in properties.items()
        ]
        return _enclosed("{", Members(tuple(pairs), COMMA), "}")

    def _array(self, schema: Schema, place: str, referring: tuple[str, ...]) -> Expression:
        least, most = self._bounds(schema, place, "minItems", "maxItems")
        if most == 0:
            return _enclosed("[", EMPTY, "]")
        if "items" not in schema:
            return self._refuse(place, "an array of anything", allowed="items with a schema", fix="say what the items are")
        items = self.value(schema["items"], f"{place}/items", referring)
        return _enclosed("[", Repeat(items, least, most, COMMA), "]")

    def _integer(self, schema: Schema, place: str) -> Expression:
        bounds: dict[str, int] = {}
        for keyword in BOUNDS:
            bound = schema.get(keyword)
            if bound is not None and not _is(bound, "integer"):
                return self._refuse(f"{place}/{keyword}", f"{bound!r}", allowed="a whole number", fix="round it")
            if bound is not None:
                bounds[keyword] = int(bound) + (keyword == "exclusiveMinimum") - (keyword == "exclusiveMaximum")
        lows = [bound for keyword, bound in bounds.items() if keyword.endswith("inimum")]
        highs = [bound for keyword, bound in bounds.items() if keyword.endswith("aximum")]
        if lows and highs and max(lows) > min(highs):
            return self._refuse(place, f"no whole number from {max(lows)} to {min(highs)}", fix="correct the bounds")
        return between(max(lows, default=None), min(highs, default=None))

    def _string(self, schema: Schema, place: str) -> Expression:
        least, most = self._bounds(schema, place, "minLength", "maxLength")
        pattern = schema.get("pattern")
        if pattern is None:
            return Chain((QUOTE, Repeat(LETTER, least, most), QUOTE))
        if not isinstance(pattern, str):
            return self._refuse(f"{place}/pattern", f"{pattern!r}", allowed="a regular expression", fix="correct it")
        if least or most is not None:
            return self._refuse(place, "pattern together with a length", fix="say the length in the pattern: ^.{2,5}$")
        with self.problems.collected():
            return Chain((QUOTE, _escaped(containing(pattern, where=f"{self._where}{place}/pattern")), QUOTE))
        return NOTHING

    def _bounds(self, schema: Schema, place: str, lower: str, upper: str) -> tuple[int, int | None]:
        least, most = schema.get(lower, 0), schema.get(upper)
        for keyword, bound in ((lower, least), (upper, 0 if most is None else most)):
            if not isinstance(bound, int) or isinstance(bound, bool) or bound < 0:
                self._refuse(f"{place}/{keyword}", f"{bound!r}", allowed="a whole number from 0 on", fix="correct it")
                return 0, None
        if most is not None and most < least:
            self._refuse(place, f"{lower} {least} is more than {upper} {most}", fix="exchange them")
            return 0, None
        return least, most

    def _refuse(self, place: str, what: str, *, allowed: str = "", fix: str) -> Expression:
        self.problems.append(Problem(what, f"{self._where}{place}", allowed, fix))
        return NOTHING


def _enclosed(before: str, inner: Expression, after: str) -> Expression:
    return Chain((literal(before), SPACE, inner, SPACE, literal(after)))


COMMA = Chain((SPACE, literal(","), SPACE))


def _pair(name: Expression, value: Expression) -> Expression:
    return Chain((name, SPACE, literal(":"), SPACE, value))


def _literal(value: Any) -> Expression:
    """A JSON value and its spaces."""
    if isinstance(value, Mapping):
        pairs = [(_pair(_literal(name), _literal(each)), True) for name, each in value.items()]
        return _enclosed("{", Members(tuple(pairs), COMMA), "}")
    if isinstance(value, list):
        return _enclosed("[", Members(tuple((_literal(each), True) for each in value), COMMA), "]")
    return literal(json.dumps(value, ensure_ascii=False))


def _is(value: Any, kind: str) -> bool:
    """Whether a JSON value is of a type of JSON Schema."""
    tests: dict[str, Callable[[Any], bool]] = {
        "object": lambda each: isinstance(each, Mapping),
        "array": lambda each: isinstance(each, list),
        "string": lambda each: isinstance(each, str),
        "integer": lambda each: not isinstance(each, bool) and (isinstance(each, int) or _is_whole(each)),
        "number": lambda each: not isinstance(each, bool) and isinstance(each, int | float),
        "boolean": lambda each: isinstance(each, bool),
        "null": lambda each: each is None,
    }
    return tests[kind](value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _escaped(expression: Expression) -> Expression:
    """The same texts as they stand in a JSON string: each character that must be escaped is, in one way."""
    match expression:
        case Characters():
            inside = [code for first, last in _common(expression.ranges) for code in range(first, last + 1)]
            plain = Characters(others(ranges([*others(expression.ranges), *SPECIAL])))
            return Choice((plain, *(literal("\\" + SHORT.get(code, f"u{code:04x}")) for code in inside)))
        case Chain():
            return Chain(tuple(map(_escaped, expression.parts)))
        case Choice():
            return Choice(tuple(map(_escaped, expression.options)))
        case Repeat():
            return Repeat(_escaped(expression.part), expression.least, expression.most, _escaped(expression.between))
        case Members():
            return Members(tuple((_escaped(part), r) for part, r in expression.parts), _escaped(expression.between))


def _common(given: Ranges) -> Iterator[tuple[int, int]]:
    """What of these ranges a JSON string must escape."""
    for first, last in given:
        for low, high in SPECIAL:
            if max(first, low) <= min(last, high):
                yield max(first, low), min(last, high)


def _escaped_name(name: str) -> str:
    """A step of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")
