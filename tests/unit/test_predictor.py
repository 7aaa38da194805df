"""Texts and files in, answers out, onto the screen and into files."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.errors import ConfigError, DataError
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.predictor import Predictor
from regard.tasks.text_classification import Options, TextClassification
from regard.text import Tokenizer, train_tokenizer

LABELS = ("bad", "good")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["a dull film", "a fine film", "一部好电影"] * 4, kind="wordpiece", vocab_size=60)


def made(tokenizer: Tokenizer, columns: dict[str, str | int] | None = None, **options: Any) -> Predictor:
    """A model that has learned nothing."""
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, d_model=16, n_layers=1, n_heads=2, d_ff=16, max_positions=20, n_types=2
    )
    model = build(config, HeadConfig(n_outputs=2, pool="mean")).eval().requires_grad_(False)
    task = TextClassification(LABELS, (1, 1), Options(**options))
    return Predictor(model, task, tokenizer, columns=columns, max_length=20)


@pytest.fixture(scope="module")
def plain(tokenizer: Tokenizer) -> Predictor:
    return made(tokenizer)


@pytest.fixture(scope="module")
def paired(tokenizer: Tokenizer) -> Predictor:
    return made(tokenizer, pair=True)


# What is asked


@pytest.mark.parametrize("kind", [list, tuple, np.array], ids=["list", "tuple", "array"])
def test_one_answer_a_text(plain: Predictor, kind: Any) -> None:
    answers = plain.predict(kind(["a fine film", "", "a fine film"]))
    assert [answer.keys() for answer in answers] == [{"label", "score", "scores"}] * 3
    assert answers[0] == answers[2]


def test_one_answer_a_pair(paired: Predictor) -> None:
    answers = paired.predict(["a", "a"], ["film", "fine film"])
    assert len(answers) == 2
    assert answers[0] != answers[1]
    assert [row["pair"] for row in paired.answered(paired.rows(["a", "a"], ["film", "b"]))] == ["film", "b"]


@pytest.mark.parametrize(
    ("texts", "pairs", "says", "fix"),
    [
        ([], None, "no text was given", "give a text, or --input FILE"),
        (["a"], ["b"], "this model reads one text, and a second one was given", "leave out the pairs"),
        ("a fine film", None, "one text where a list of texts is meant", "put it into a list: [text]"),
        (["a", 3], None, "text 2: a number where text is meant", "give it as a string"),
        (["a", None], None, "text 2: nothing (null) where text is meant", "give it as a string"),
        (["a", "\ud800"], None, "text 2: half a surrogate pair", "give the text as UTF-8"),
    ],
)
def test_what_cannot_be_asked(plain: Predictor, texts: Any, pairs: Any, says: str, fix: str) -> None:
    with pytest.raises(DataError) as caught:
        plain.predict(texts, pairs)
    assert says in str(caught.value)
    assert caught.value.problems[0].fix == fix


@pytest.mark.parametrize("pairs", [["b"], ["b", "b", "b"]])
def test_pairs_that_do_not_match(paired: Predictor, pairs: list[str]) -> None:
    with pytest.raises(DataError, match=f"unequal numbers of values: 2 of text, {len(pairs)} of pair") as caught:
        paired.predict(["a", "a"], pairs)
    assert caught.value.problems[0].allowed == "as many of these as of those"


@pytest.mark.parametrize("pairs", [None, [], np.array([])])
def test_pairs_that_are_not_there(paired: Predictor, pairs: Any) -> None:
    with pytest.raises(DataError, match="no pair was given") as caught:
        paired.predict(["a", "a"], pairs)
    assert caught.value.problems[0].fix == "regard predict MODEL TEXT --pair …"


def test_columns_by_name(paired: Predictor) -> None:
    """A list has a value a row; a single value is every row's."""
    texts, pairs = ["a", "film"], ["fine film", "b"]
    rows = [{"text": text, "pair": pair} for text, pair in zip(texts, pairs, strict=True)]
    assert paired.rows(texts, pairs) == paired.rows(texts, pair=pairs) == paired.rows(text=texts, pair=pairs) == rows
    assert paired.rows(texts, pair="b") == [{"text": text, "pair": "b"} for text in texts]
    assert paired.rows(text="a", pair="b") == [{"text": "a", "pair": "b"}]
    assert paired.predict(text="a", pair=pairs) == paired.predict(["a", "a"], pairs)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"pear": "b"}, ["this model reads no pear", "allowed: text, pair", "leave out the pear", "no pair was given"]),
        ({"pair": ["b", 3]}, ["pair 2: a number where text is meant"]),
        ({"pair": 3}, ["pair: a number where a list is meant"]),
        ({"pair": [["b"], "b"]}, ["pair 1: a list where text is meant"]),
        ({"pair": ["b", "\ud800"], "text": ["a", None]}, ["2 problems", "text 2: nothing (null)", "pair 2: half a surr"]),
    ],
)
def test_what_is_wrong_with_columns(paired: Predictor, columns: dict[str, Any], says: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        paired.predict(**{"text": ["a", "a"], **columns})
    assert not [told for told in says if told not in str(caught.value)], str(caught.value)


def test_all_that_is_wrong_with_the_texts_is_told_at_once(plain: Predictor, paired: Predictor) -> None:
    with pytest.raises(DataError) as caught:
        plain.predict(["a", "\ud800", None])  # type: ignore[list-item]
    assert [problem.where for problem in caught.value.problems] == ["text 2", "text 3"]
    with pytest.raises(DataError):
        paired.predict("ab", "cd")


# Files


def test_the_rows_of_a_file(plain: Predictor, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,text\n1,a fine film\n2,\n", encoding="utf-8")
    (tmp_path / "x.txt").write_text("a fine film\nfilm\n", encoding="utf-8")
    for name, texts in (("x.csv", ["a fine film", ""]), ("x.txt", ["a fine film", "film"])):
        found = list(plain.answered_file(str(tmp_path / name)))
        assert [row["text"] for row in found] == texts
        assert [row.keys() for row in found] == [{"text", "label", "score", "scores"}] * 2
        for row, answer in zip(found, plain.predict(texts), strict=True):
            assert row["label"] == answer["label"]
            assert row["scores"] == pytest.approx(answer["scores"], abs=1e-5)


def test_columns_are_those_of_the_training_file_where_the_file_has_them(tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = made(tokenizer, columns={"text": "review", "label": "stars"})
    for header, columns in (("review", None), ("text", None), ("said", {"text": "said"})):
        (tmp_path / "x.csv").write_text(f"{header}\na fine film\n", encoding="utf-8")
        assert [row["text"] for row in model.answered_file(str(tmp_path / "x.csv"), columns=columns)] == ["a fine film"]
    (tmp_path / "x.csv").write_text("other\na fine film\n", encoding="utf-8")
    with pytest.raises(DataError, match="no column 'review'\n  allowed: other\n  fix: map a column: --columns text=NAME"):
        list(model.answered_file(str(tmp_path / "x.csv")))


def test_evaluate_reads_labels(plain: Predictor, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text,label\na fine film,good\na dull film,bad\n", encoding="utf-8")
    found = plain.evaluate(str(tmp_path / "x.csv"))
    assert found.tables["confusion"] != []
    assert [row["support"] for row in found.tables["per_class"]] == [1, 1]


# What is written


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"text": "fine", "label": "good", "score": 0.98765, "scores": {}}, "good\t0.9877\tfine"),
        ({"text": "a\tb\nc", "label": "bad", "score": 1.0, "scores": {}}, "bad\t1.0000\ta b c"),
        ({"text": "fine", "labels": ["a", "b"], "scores": {}}, "a,b\t\tfine"),
        ({"text": "fine", "labels": [], "scores": {}}, "\t\tfine"),
    ],
)
def test_one_answer_is_one_line(plain: Predictor, result: dict[str, Any], expected: str) -> None:
    assert plain.line(result) == expected


def test_a_line_has_both_texts_of_a_pair(paired: Predictor) -> None:
    assert paired.line({"text": "a", "pair": "b", "label": "good", "score": 0.5}) == "good\t0.5000\ta\tb"


def read(path: Path) -> list[dict[str, Any]]:
    text = path.read_bytes().decode("utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.split("\n")[:-1]]
    if path.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(text, newline="")))
    header, *lines = [line.split("\t") for line in text.split("\n")[:-1]]
    return [dict(zip(header, line, strict=True)) for line in lines]


hard = st.text(st.characters(codec="utf-8") | st.sampled_from('",|\t\r\n\\\u2028\x85 '), max_size=12)


@settings(deadline=None, max_examples=40)
@given(texts=st.lists(hard, min_size=1, max_size=5))
def test_what_is_written_reads_back(plain: Predictor, tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    """Of a .tsv all but tabs and line ends, which its cells cannot hold."""
    results = [
        {"text": text, "label": "good", "score": i / 7, "scores": {"bad": 1 - i / 7, "good": i / 7}}
        for i, text in enumerate(texts)
    ]
    folder = tmp_path_factory.mktemp("written")
    for ending in (".jsonl", ".csv", ".tsv"):
        path = folder / f"x{ending}"
        assert plain.write(iter(results), path) == len(texts)
        found = read(path)
        if ending == ".jsonl":
            assert found == results
            continue
        assert [list(row) for row in found] == [["text", "label", "score"]] * len(texts)
        assert [float(row["score"]) for row in found] == [row["score"] for row in results]
        blank = str.maketrans("\t\r\n", "   ")
        assert [row["text"] for row in found] == [text.translate(blank) if ending == ".tsv" else text for text in texts]


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_several_labels_stand_in_one_cell(plain: Predictor, tmp_path: Path, ending: str) -> None:
    results = [{"text": "a", "labels": labels, "scores": {"x": 0.5}} for labels in (["x", "y"], [])]
    plain.write(results, tmp_path / f"x{ending}")
    assert [row["labels"] for row in read(tmp_path / f"x{ending}")] == ["x|y", ""]


@pytest.mark.parametrize("name", ["x.xlsx", "x.json", "x", ".csv", "x.csv.gz"])
def test_other_endings_are_refused_before_any_work(plain: Predictor, tmp_path: Path, name: str) -> None:
    def never() -> Iterator[dict[str, Any]]:
        raise AssertionError("the work was begun")
        yield {}

    with pytest.raises(ConfigError, match=r"cannot write .*\n  allowed: .jsonl, .csv, .tsv") as caught:
        plain.write(never(), tmp_path / name)
    assert caught.value.problems[0].where == str(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_file_appears_when_it_is_whole(plain: Predictor, tmp_path: Path) -> None:
    """Folders are made; what was there stays until all the answers are known."""
    path = tmp_path / "new" / "x.jsonl"
    plain.write([{"text": "old"}], path)

    def breaks_off() -> Iterator[dict[str, Any]]:
        yield {"text": "new"}
        assert read(path) == [{"text": "old"}]
        raise DataError("row 2 is broken")

    with pytest.raises(DataError, match="row 2 is broken"):
        plain.write(breaks_off(), path)
    assert read(path) == [{"text": "old"}]
    assert [found.name for found in path.parent.iterdir()] == ["x.jsonl"]


def test_no_answers_make_an_empty_file(plain: Predictor, tmp_path: Path) -> None:
    assert plain.write([], tmp_path / "x.csv") == 0
    assert (tmp_path / "x.csv").read_bytes() == b""
