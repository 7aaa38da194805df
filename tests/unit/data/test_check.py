"""What a report counts and measures; the messages are in test_bad_input."""

import json
from pathlib import Path

import pytest

from regard.data.check import Columns, Report, check
from regard.data.read import read
from regard.data.targets import split_labels

PAIR = Columns(("text", "pair"), "label", optional=("pair",))
LABEL = Columns(("text",), "label")


def report(path: Path, content: str, columns: Columns = LABEL, **options: object) -> Report:
    path.write_text(content)
    found = check(read(path), columns, **options)  # type: ignore[arg-type]
    found.problems.raise_if_any()
    return found


def test_labels_and_rows(tmp_path: Path) -> None:
    found = report(tmp_path / "x.csv", "text,label\nx,a\ny,b\nz,a\n")
    assert (found.rows, found.labels) == (3, {"a": 2, "b": 1})


def test_whole_numbers_and_truth_values_are_classes(tmp_path: Path) -> None:
    assert report(tmp_path / "x.jsonl", '{"text": "x", "label": 0}\n{"text": "y", "label": 1}\n').labels == {"0": 1, "1": 1}
    found = report(tmp_path / "y.jsonl", '{"text": "x", "label": true}\n{"text": "y", "label": false}\n')
    assert found.labels == {"True": 1, "False": 1}


def test_one_class_is_enough_where_the_classes_are_known(tmp_path: Path) -> None:
    assert report(tmp_path / "x.csv", "text,label\nx,a\n", labels=["a", "b"]).labels == {"a": 1}


def test_several_labels(tmp_path: Path) -> None:
    columns = Columns(("text",), "label", target_kind="labels", separator=";")
    found = report(tmp_path / "x.csv", "text,label\nx,a; b\ny,\nz,b\n", columns)
    assert (found.rows, found.labels) == (3, {"a": 1, "b": 2})
    found = report(tmp_path / "x.jsonl", '{"text": "x", "label": ["a", "b"]}\n{"text": "y", "label": []}\n', columns)
    assert found.labels == {"a": 1, "b": 1}
    assert split_labels(" a |b||", "|") == split_labels(["a", "b"], "|") == ["a", "b"]


def test_numbers_and_texts_have_no_classes(tmp_path: Path) -> None:
    score = Columns(("text",), "score", target_kind="number")
    assert report(tmp_path / "x.csv", "text,score\nx,-1.5e3\ny,0\n", score).labels == {}
    summary = Columns(("text",), "summary", target_kind="text")
    assert report(tmp_path / "x.csv", "text,summary\nx,short\n", summary).labels == {}


def test_optional_inputs(tmp_path: Path) -> None:
    assert report(tmp_path / "x.csv", "text,label\nx,a\ny,b\n", PAIR).rows == 2
    found = report(tmp_path / "x.csv", "text,pair,label\nx,,a\ny,zz,b\n", PAIR)
    assert (found.lengths["min"], found.lengths["max"]) == (1, 3)


def test_without_a_target(tmp_path: Path) -> None:
    found = report(tmp_path / "x.txt", "one\ntwo\n", Columns(("text",), None))
    assert (found.rows, found.labels) == (2, {})


class TestLengths:
    def test_characters(self, tmp_path: Path) -> None:
        lines = "".join(f"{'x' * n},{'ab'[n % 2]}\n" for n in range(1, 101))
        found = report(tmp_path / "x.csv", f"text,label\n{lines}")
        assert found.lengths == {
            "unit": "characters", "min": 1, "median": 50, "p90": 90, "p99": 99, "max": 100, "total": 5050,
        }  # fmt: skip

    def test_tokens_are_measured_many_rows_at_a_time(self, tmp_path: Path) -> None:
        calls = []

        def words(texts: list[tuple[str, ...]]) -> list[int]:
            calls.append(len(texts))
            return [len(" ".join(pair).split()) for pair in texts]

        lines = "".join(f"some words {n},more,{'ab'[n % 2]}\n" for n in range(3000))
        found = report(tmp_path / "x.csv", f"text,pair,label\n{lines}", PAIR, lengths=words)
        assert calls == [1024, 1024, 952]
        assert (found.lengths["unit"], found.lengths["min"], found.lengths["max"]) == ("tokens", 4, 4)


def test_the_report_is_json(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("text,label\nx,a\nx,b\n,a\n")
    told = json.loads(json.dumps(check(read(path), LABEL).as_dict()))
    assert set(told) == {"source", "rows", "problems", "warnings", "labels", "lengths"}
    assert told["problems"]["count"] == 1
    assert told["problems"]["first"][0].startswith(f"{path}, row 3 (line 4), column text: the text is empty")
    assert any("texts with different targets: 1 (such as rows 1 and 2)" in warning for warning in told["warnings"])


class TestRealFiles:
    pytestmark = pytest.mark.real

    def test_leaks_of_chnsenticorp_are_found(self, shared: Path) -> None:
        columns = Columns(("text",), "label")
        folder = shared / "data" / "chnsenticorp"
        train, test = (
            check(read(folder / f"{name}.tsv.gz", columns={"text": "text_a"}), columns) for name in ("train", "test")
        )
        assert (train.rows, test.rows) == (9600, 1200)
        leaks = check(read(folder / "test.tsv.gz", columns={"text": "text_a"}), columns, against=train).warnings
        texts = {row.values["text"].strip() for row in read(folder / "train.tsv.gz", columns={"text": "text_a"})}
        both = sum(row.values["text"].strip() in texts for row in read(folder / "test.tsv.gz", columns={"text": "text_a"}))
        assert any(f"{both} of 1200 rows are in" in str(warning) for warning in leaks)
        assert both > 300
