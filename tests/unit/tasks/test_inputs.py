"""Columns and rows: what callers and files give, and what is wrong with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regard.data.read import read
from regard.errors import DataError, Problems
from regard.tasks.inputs import Input, columns_of, rows_of

CHOICES = (Input("context"), Input("choices", separator="|"))
WORDS = (Input("text"), Input("tokens", separator=" ", instead="text"))
MAYBE = (Input("text"), Input("pair", optional=True))


@pytest.mark.parametrize(
    ("inputs", "given", "expected"),
    [
        (CHOICES, {"context": ["c", "d"], "choices": [["a", "b"], ["x"]]}, [("c", ["a", "b"]), ("d", ["x"])]),
        (CHOICES, {"context": ["c", "d"], "choices": ["a", "b"]}, [("c", ["a", "b"]), ("d", ["a", "b"])]),
        (CHOICES, {"context": "c", "choices": [["a"], ("b",)]}, [("c", ["a"]), ("c", ["b"])]),
        (CHOICES, {"context": "c", "choices": np.array(["a", "b"])}, [("c", ["a", "b"])]),
        (WORDS, {"text": ["c"]}, [("c",)]),
        (WORDS, {"tokens": ["a", "b"]}, [(["a", "b"],)]),
        (WORDS, {"tokens": [["a", "b"], []]}, [(["a", "b"],), ([],)]),
        (MAYBE, {"text": ["c"]}, [("c",)]),
        (MAYBE, {"text": ("c", "d"), "pair": ["e", ""]}, [("c", "e"), ("d", "")]),
        (MAYBE, {"text": ["c"], "pair": []}, [("c",)]),
    ],
)
def test_rows(inputs: Any, given: dict[str, Any], expected: list[tuple[Any, ...]]) -> None:
    names = [each.name for each in inputs if len(given.get(each.name, ()))]
    assert rows_of(inputs, given) == [dict(zip(names, values, strict=True)) for values in expected]


@pytest.mark.parametrize(
    ("inputs", "given", "says"),
    [
        (
            CHOICES,
            {},
            ["2 problems", "no context was given", "fix: give a context, or --input FILE", "no choices was given"],
        ),
        (CHOICES, {"context": ["c"], "choices": "ab"}, ["choices 1: text where a list of texts is meant"]),
        (CHOICES, {"context": ["c"], "choices": [["a", 3], ["b"]]}, ["1 of context, 2 of choices"]),
        (
            CHOICES,
            {"context": ["c", "d"], "choices": [["a", 3], None]},
            ["choices 1: a number", "choices 2: nothing (null)"],
        ),
        (CHOICES, {"context": ["c"], "choices": [["a", "\ud800"]]}, ["choices 1: half a surrogate pair"]),
        (WORDS, {"text": ["c"], "tokens": [["c"]]}, ["text and tokens were given", "give one of the two"]),
        (WORDS, {"tokens": [["c"], "d"]}, ["tokens 2: text where a list of texts is meant"]),
        (WORDS, {}, ["no text was given"]),
        (WORDS, {"text": ["c"], "pair": ["d"]}, ["this model reads no pair", "allowed: text, tokens"]),
    ],
)
def test_what_is_wrong(inputs: Any, given: dict[str, Any], says: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        rows_of(inputs, given)
    assert not [told for told in says if told not in str(caught.value)], str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "header", "mapped", "expected", "says"),
    [
        (CHOICES, "choices,context", {}, ["context", "choices"], ""),
        (
            CHOICES,
            "context",
            {},
            ["context"],
            "no column 'choices'\n  allowed: context\n  fix: map a column: --columns choices=",
        ),
        (CHOICES, "context,choice", {}, ["context"], "did you mean 'choice'?"),
        (WORDS, "tokens", {}, ["tokens"], ""),
        (WORDS, "words", {"tokens": "words"}, ["tokens"], ""),
        (WORDS, "text,tokens", {}, ["text"], ""),
        (WORDS, "other", {}, [], "no column 'text'"),
        (WORDS, "text", {"tokens": "words"}, ["text"], "no column 'words'"),
        (MAYBE, "text", {}, ["text"], ""),
        (MAYBE, "text,pair", {}, ["text", "pair"], ""),
        (MAYBE, "text", {"pair": "second"}, ["text"], "no column 'second'"),
    ],
)
def test_columns_of_a_file(
    inputs: Any, header: str, mapped: dict[str, str], expected: list[str], says: str, tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_text(f"{header}\n", encoding="utf-8")
    problems = Problems()
    found = columns_of(inputs, read(tmp_path / "x.csv", columns=mapped), problems)
    assert [each.name for each in found] == expected
    assert says in "\n".join(map(str, problems))
    assert bool(says) == bool(problems.count)


def test_cells() -> None:
    assert CHOICES[1].cell("a b | c|") == ["a b", "c"]
    assert CHOICES[1].cell(["a", "b"]) == ["a", "b"]
    assert CHOICES[0].cell("a | b") == "a | b"
    assert WORDS[1].cell("I  go home") == ["I", "go", "home"]
    assert [MAYBE[1].cell(value) for value in (None, " ", float("nan"), "b")] == ["", "", "", "b"]
    assert MAYBE[0].cell(None) is None
