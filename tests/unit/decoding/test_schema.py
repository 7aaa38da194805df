"""JSON schemas as languages: against `json` and `jsonschema`, and what is not understood is named, all at once."""

import itertools
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.decoding.regular import START, Automaton
from regard.decoding.schema import json_schema
from regard.errors import ConfigError

VALUES = [
    *(None, True, False, 0, -1, 12, 3.5, -0.25, "", "a", "ab", 'q"\\', "\n\x01", "龘é", "abc"),
    *(
        [],
        ["a"],
        [1, 2],
        [1, 2, 3],
        [["a"]],
        [None],
        {},
        {"a": 1},
        {"a": 1, "b": "x"},
        {"b": "x"},
        {"a": "x"},
        {"b": "x", "c": True},
    ),
    *({"a": 1, "b": "x", "c": None}, {"c": [1]}, {"a/b": {"a": 2}}, {"x": 1, "y": 2}),
]


def accepts(automaton: Automaton, text: str) -> bool:
    return automaton.complete(automaton.read(START, text.encode()))


def made(schema: Any) -> Automaton:
    return Automaton(json_schema(schema), where="schema")


LEAVES: list[dict[str, Any]] = [
    *({"type": kind} for kind in ("string", "integer", "number", "boolean", "null")),
    {"type": ["integer", "null"]},
    {"type": "string", "minLength": 1, "maxLength": 2},
    {"type": "string", "pattern": "^a.?$"},
    {"type": "string", "pattern": '["\\n龘]'},
    {"enum": [1, "a", None, ["a"], {"a": 1}]},
    {"enum": [1, "a", True], "type": ["string", "boolean"]},
    {"const": {"a": 1, "b": "x"}},
    {"const": 12, "type": "string"},
    {"$ref": "#/$defs/short"},
]


def nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    bounds = st.fixed_dictionaries({}, optional={"minItems": st.integers(0, 2), "maxItems": st.integers(2, 3)})
    arrays = st.builds(lambda items, more: {"type": "array", "items": items, **more}, inner, bounds)
    named = st.dictionaries(st.sampled_from(["a", "b", "c", "a/b"]), inner, max_size=3)
    properties = named.map(lambda found: dict(sorted(found.items())))
    objects = properties.flatmap(
        lambda found: st.builds(
            lambda required: {"type": "object", "properties": found, "required": required, "additionalProperties": False},
            st.lists(st.sampled_from(sorted(found)), unique=True) if found else st.just([]),
        )
    )
    maps = st.builds(lambda value: {"type": "object", "additionalProperties": value}, inner)
    return st.one_of(
        arrays, objects, maps, st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=2))
    )


SCHEMAS = st.recursive(st.sampled_from(LEAVES), nested, max_leaves=4)


@settings(deadline=None, max_examples=150)
@given(schema=SCHEMAS)
def test_what_is_accepted_is_what_the_schema_accepts(schema: dict[str, Any]):
    schema = {**schema, "$defs": {"short": {"type": "string", "maxLength": 1, "title": "Short"}}}
    automaton, theirs = made(schema), jsonschema.Draft202012Validator(schema)
    for value in VALUES:
        for separators in ((",", ":"), (", ", ": ")):
            text = json.dumps(value, ensure_ascii=False, separators=separators)
            assert accepts(automaton, text) == theirs.is_valid(value), text


def test_keywords_say_the_type_where_nothing_else_does():
    assert accepts(made({"maxLength": 1}), '"a"')
    assert not accepts(made({"maxLength": 1}), "1")
    assert accepts(made({"properties": {"a": {"const": 1}}, "additionalProperties": True}), '{"a": 1}')
    assert accepts(made({"maxItems": 0}), "[]")


def test_numbers_are_spelled_as_json_has_them():
    assert accepts(made({"type": "number"}), "-1.5e+20")
    assert not accepts(made({"type": "integer"}), "1e20")


def test_between_parts_stands_at_most_one_blank():
    automaton = made({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "null"}}}})
    assert accepts(automaton, '{ "a" : [ null , null ] }')
    assert accepts(automaton, '{"a":[null,null]}')
    for text in ('{  "a": []}', ' {"a": []}', '{"a": []} ', '{"a":\n[]}'):
        assert not accepts(automaton, text)


@pytest.mark.parametrize("required", [set(names) for n in range(4) for names in itertools.combinations("abc", n)])
def test_members_come_in_order_with_commas_between_them(required: set[str]):
    schema = {"type": "object", "properties": {name: {"type": "null"} for name in "abc"}, "required": sorted(required)}
    automaton = made(schema)
    for n in range(4):
        for names in itertools.permutations("abc", n):
            text = json.dumps(dict.fromkeys(names))
            assert accepts(automaton, text) == (required <= set(names) and list(names) == sorted(names)), text
    for text in ('{"a": null,}', '{, "b": null}', '{"a": null "b": null}'):
        assert not accepts(automaton, text)


@given(text=st.text(max_size=4))
def test_any_string_can_be_written(text: str):
    automaton = made({"type": "string", "minLength": len(text), "maxLength": len(text)})
    assert accepts(automaton, json.dumps(text, ensure_ascii=False))
    assert accepts(made({"type": "string", "pattern": "^(?s:.*)$"}), json.dumps(text, ensure_ascii=False))
    if all(ord(letter) < 0x10000 for letter in text):
        assert accepts(automaton, json.dumps(text))


@pytest.mark.parametrize(
    "text", ['"\\ud800"', '"\\uD83D\\uDE00"', '"a', 'a"', '"\n"', '"\\x"', "01", "1.", ".5", "+1", "1e", "-"]
)
def test_what_is_no_json_is_not_accepted(text: str):
    assert not accepts(made({"type": ["string", "number"]}), text)


def test_references_lead_through_the_schema():
    schema = {
        "type": "array",
        "items": {"$ref": "#/definitions/a~1b/anyOf/1"},
        "definitions": {"a/b": {"anyOf": [{"type": "null"}, {"$ref": "#/definitions/n"}]}, "n": {"const": 3}},
    }
    assert accepts(made(schema), "[3, 3]")
    assert not accepts(made(schema), "[null]")


def test_many_levels_of_optional_members_stay_small():
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(16):
        member = {"type": "object", "properties": {"a": {"type": "null"}, "b": schema}}
        schema = {"type": "array", "items": member}
    automaton = made(schema)
    assert accepts(automaton, '[{"b": [{"a": null, "b": [{}, {}]}]}]')
    assert not accepts(automaton, '[{"b": [{"b": [], "a": null}]}]')


def test_definitions_that_double_each_other_are_read_once():
    levels = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    schema = {"$ref": "#/$defs/d0", "$defs": {**levels, "d40": {"minimum": "x"}}}
    assert refused(schema).startswith("schema#/$defs/d40/minimum: 'x'")


def test_levels_without_measure_are_refused():
    schema: dict[str, Any] = {"type": "null"}
    texts = "null"
    for depth in range(400):
        schema, texts = {"type": "array", "items": schema}, f"[{texts}]"
        if depth % 10 == 9:
            try:
                assert accepts(made(schema), texts)
            except ConfigError as error:
                assert str(error) == "schema: nested too deeply\n  fix: write fewer levels"
                assert depth > 30
                return
    raise AssertionError("400 levels were read")


INTEGERS = st.none() | st.integers(-120, 120) | st.sampled_from([-1000, -999, -100, 99, 100, 999, 1000, 1001])


@settings(deadline=None, max_examples=200)
@given(low=INTEGERS, high=INTEGERS, exclusive=st.booleans())
def test_whole_numbers_between_bounds(low: int | None, high: int | None, exclusive: bool):
    names = ("exclusiveMinimum", "exclusiveMaximum") if exclusive else ("minimum", "maximum")
    bounds = {name: bound for name, bound in zip(names, (low, high), strict=True) if bound is not None}
    inside = {
        number
        for number in range(-1100, 1101)
        if (low is None or number >= low + exclusive) and (high is None or number <= high - exclusive)
    }
    if not inside:
        assert "no whole number from" in refused({"type": "integer", **bounds})
        return
    automaton = made({"type": "integer", **bounds})
    assert {number for number in range(-1100, 1101) if accepts(automaton, str(number))} == inside
    assert accepts(automaton, "123456789") == (high is None)
    assert accepts(automaton, "-123456789") == (low is None)
    assert not any(accepts(automaton, text) for text in ("007", "", "-", "1.0"))


def refused(schema: Any, where: str = "schema") -> str:
    with pytest.raises(ConfigError) as raised:
        json_schema(schema, where=where)
    for problem in raised.value.problems:
        assert problem.where.startswith(where)
        assert problem.fix
    return str(raised.value)


def test_all_that_is_not_understood_is_named_at_once():
    schema = {
        "type": "object",
        "properties": {
            "a/b": {"type": "integer", "minimum": 3, "multipleOf": 2, "format": "x"},
            "c": {"oneOf": [{"type": "null"}]},
            "d": {"type": "strin"},
            "e": {"type": "string", "patern": "x"},
        },
        "required": ["f"],
    }
    said = refused(schema, "form.json")
    assert said.startswith("6 problems:")
    for part in (
        "form.json#/properties/a~1b: format is not understood",
        "form.json#/properties/a~1b: multipleOf is not understood",
        "form.json#/properties/c: oneOf is not understood",
        "form.json#/properties/d/type: unknown type 'strin'\n  allowed: object, array, string",
        "form.json#/properties/e: patern is not understood",
        "did you mean 'pattern'?",
        "form.json#/required: no property 'f'",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ({"$ref": "#"}, "#/$ref: # refers to itself"),
        (
            {"anyOf": [{"$ref": "#/$defs/x"}], "$defs": {"x": {"type": "array", "items": {"$ref": "#/$defs/x"}}}},
            "refers to itself",
        ),
        ({"$ref": "#/$defs/x"}, "#/$defs/x is not there"),
        ({"$ref": "other.json"}, "'other.json'\n  allowed: #/"),
        ({}, "any value at all"),
        (True, "any value at all"),
        (3, "3 is no schema"),
        ({"type": "array"}, "an array of anything"),
        ({"type": "array", "items": {"type": "null"}, "minItems": 3, "maxItems": 2}, "minItems 3 is more than maxItems 2"),
        ({"type": "string", "minLength": -1}, "#/minLength: -1"),
        ({"type": "string", "maxLength": True}, "#/maxLength: True"),
        ({"type": "string", "pattern": "a", "maxLength": 3}, "pattern together with a length"),
        ({"type": "string", "pattern": "a("}, "schema#/pattern: not a regular expression"),
        ({"type": "string", "pattern": 3}, "#/pattern: 3"),
        ({"type": "number", "minimum": 1}, "minimum of a number with a fraction"),
        ({"type": "integer", "maximum": 1.5}, "#/maximum: 1.5"),
        ({"enum": []}, "#/enum: []"),
        ({"anyOf": {}}, "#/anyOf: {}"),
        ({"const": 1, "maxLength": 3}, "const together with maxLength"),
        ({"anyOf": [{"type": "null"}], "type": "null"}, "anyOf together with type"),
        ({"type": "object", "properties": []}, "properties that are no object"),
    ],
)
def test_what_is_refused(schema: Any, what: str):
    assert what in refused(schema)
