"""`regard predict` for each task: texts on the command line, files in and out, lines and JSON."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]


def predictions(done: Any) -> list[dict[str, Any]]:
    assert done.status == 0, done.err
    found: list[dict[str, Any]] = json.loads(done.out)["predictions"]
    return found


def written(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, dialect="excel" if path.suffix == ".csv" else "excel-tab"))


def test_regression(command: Command, untrained: Path) -> None:
    folder = untrained / "regression"
    done = command("predict", folder, "The bread was warm.", "warm", "--json")
    alone = predictions(done)
    assert [list(row) for row in alone] == [["text", "score"]] * 2
    paired = predictions(command("predict", folder, "The bread was warm.", "--pair", "warm", "--json"))
    assert list(paired[0]) == ["text", "pair", "score"]
    assert paired[0]["score"] != alone[0]["score"]
    assert command("predict", folder, "warm").out == f"{alone[1]['score']:.4f}\twarm\n"


def test_an_imported_classifier_reads_texts_and_pairs(command: Command, untrained: Path) -> None:
    folder = untrained / "text-classification"
    (alone,) = predictions(command("predict", folder, "The bread was warm.", "--json"))
    (paired,) = predictions(command("predict", folder, "The bread was warm.", "--pair", "warm", "--json"))
    assert list(alone) == ["text", "label", "score", "scores"]
    assert list(paired) == ["text", "pair", "label", "score", "scores"]
    assert paired["scores"] != alone["scores"]


def test_token_classification(command: Command, untrained: Path, tmp_path: Path) -> None:
    folder, text = untrained / "token-classification", "William Shakespeare wrote it in London."
    (answer,) = predictions(command("predict", folder, text, "--json"))
    assert list(answer) == ["text", "entities"]
    assert answer["entities"]
    for part in answer["entities"]:
        assert list(part) == ["label", "score", "start", "end", "text"]
        assert text[part["start"] : part["end"]] == part["text"]
    told = ", ".join(f"{part['text']}/{part['label']}" for part in answer["entities"])
    assert command("predict", folder, text).out == f"{told}\t{text}\n"

    (tmp_path / "words.jsonl").write_text(json.dumps({"id": 1, "tokens": text[:-1].split()}) + "\n", encoding="utf-8")
    (tmp_path / "words.csv").write_text(f"id,tokens\n1,{text[:-1]}\n", encoding="utf-8")
    for name in ("words.jsonl", "words.csv"):
        (row,) = predictions(command("predict", folder, "--input", tmp_path / name, "--json"))
        assert list(row) == ["tokens", "entities"]
        assert row["tokens"] == text[:-1].split()
        (bare,) = predictions(command("predict", folder, text[:-1], "--json"))
        assert row["entities"] == bare["entities"]


def test_question_answering(command: Command, untrained: Path, tmp_path: Path) -> None:
    """One context for all questions, or one for each; options may stand before the questions."""
    folder, context = untrained / "question-answering", "William Shakespeare wrote it in London."
    asked = ("predict", folder, "--context", context, "--json", "Who wrote it?", "Where?")
    rows = predictions(command(*asked))
    assert [(row["question"], row["context"]) for row in rows] == [("Who wrote it?", context), ("Where?", context)]
    for row in rows:
        assert list(row) == ["question", "context", "answer", "score", "start", "end", "spans"]
        assert row["answer"] == context[row["start"] : row["end"]]
    assert predictions(command(*asked, "--context", context)) == rows
    assert predictions(command("predict", folder, "Where?", "--pair", context, "--json"))[0]["answer"] == rows[1]["answer"]
    line = command("predict", folder, "Where?", "--context", context).out
    assert line == f"{rows[1]['answer']}\t{rows[1]['score']:.4f}\tWhere?\n"

    lines = [json.dumps({"q": row["question"], "context": context}) + "\n" for row in rows]
    (tmp_path / "asked.jsonl").write_text("".join(lines), encoding="utf-8")
    for ending in (".jsonl", ".csv", ".tsv"):
        output = tmp_path / f"answers{ending}"
        given = ("--input", tmp_path / "asked.jsonl", "--columns", "question=q", "--output", output)
        assert command("predict", folder, *given).status == 0
        found = written(output)
        assert [row["answer"] for row in found] == [row["answer"] for row in rows]
        spans = [row["spans"] if ending == ".jsonl" else json.loads(row["spans"]) for row in found]
        assert [[span["start"] for span in row] for row in spans] == [
            [span["start"] for span in row["spans"]] for row in rows
        ]


def test_fill_mask(command: Command, untrained: Path) -> None:
    folder = untrained / "fill-mask"
    one, two = predictions(command("predict", folder, "中国的首都是[MASK]京。", "[MASK] bread [MASK]", "--json"))
    assert list(one) == ["text", "candidates"]
    assert [len(row["candidates"]) for row in (one, two)] == [1, 2]
    for candidate in one["candidates"][0]:
        assert list(candidate) == ["token", "score", "text"]
    kept = ", ".join(f"{each['token']} {each['score']:.4f}" for each in one["candidates"][0])
    assert command("predict", folder, "中国的首都是[MASK]京。").out == f"{kept}\t中国的首都是[MASK]京。\n"


def test_multiple_choice(command: Command, untrained: Path, tmp_path: Path) -> None:
    folder = untrained / "multiple-choice"
    asked = ("predict", folder, "The bread was", "The room was", "--choice", "warm", "--choice", "dark")
    rows = predictions(command(*asked, "--json"))
    assert [list(row) for row in rows] == [["context", "choices", "choice", "index", "score", "scores"]] * 2
    assert [row["choices"] for row in rows] == [["warm", "dark"]] * 2
    assert [row["choice"] for row in rows] == [row["choices"][row["index"]] for row in rows]
    assert command(*asked).out.splitlines()[0] == f"{rows[0]['choice']}\t{rows[0]['score']:.4f}\tThe bread was"

    (tmp_path / "x.csv").write_text("context,choices\nThe bread was,warm | dark\nThe room was,warm|dark\n", encoding="utf-8")
    (tmp_path / "x.jsonl").write_text(
        "".join(json.dumps({"context": row["context"], "choices": row["choices"]}) + "\n" for row in rows), encoding="utf-8"
    )
    for name in ("x.csv", "x.jsonl"):
        found = predictions(command("predict", folder, "--input", tmp_path / name, "--json"))
        assert [row["choice"] for row in found] == [row["choice"] for row in rows]
        done = command("predict", folder, "--input", tmp_path / name, "--output", tmp_path / "y.csv")
        assert done.status == 0, done.err
        assert [row["choices"] for row in written(tmp_path / "y.csv")] == ["warm|dark"] * 2


def test_options_may_stand_before_the_texts(command: Command, trained: Path) -> None:
    texts = ["a fine film", "a dull film"]
    first = predictions(command("predict", "--json", trained, "--precision", "float32", *texts))
    last = predictions(command("predict", trained, *texts, "--precision", "float32", "--json"))
    assert [row["text"] for row in first] == texts
    assert first == last


@pytest.mark.parametrize(
    ("task", "arguments", "says"),
    [
        (
            "fill-mask",
            ("no mask", "a [MASK]"),
            ["text 1: no [MASK] in the text", "fix: write [MASK] where a word is to be gue"],
        ),
        ("question-answering", ("Who?",), ["no context was given", "fix: regard predict MODEL QUESTION --context"]),
        ("question-answering", ("a", "b", "c", "--context", "d", "--context", "e"), ["3 of question, 2 of context"]),
        ("question-answering", ("--context", "d"), ["no question was given", "fix: give a question, or --input FILE"]),
        ("question-answering", ("Who? " * 40, "--context", "d"), ["question 1: a question of", "allowed: at most"]),
        ("multiple-choice", ("The bread was",), ["no choices was given", "--choices"]),
        ("multiple-choice", ("a", "--choice", "b"), ["choices 1: 1 choices", "allowed: two or more"]),
        ("token-classification", (), ["no text was given", "fix: give a text, or --input FILE"]),
        ("token-classification", ("a", "--choice", "b"), ["this model reads no choices", "allowed: text, tokens"]),
        ("regression", ("a", "b", "--pair", "c"), ["unequal numbers of values: 2 of text, 1 of pair"]),
        ("fill-mask", ("a [MASK]", "--pair", "b"), ["this model reads one text, and a second one was given"]),
        ("fill-mask", ("a", "--input", "x.csv"), ["--input: texts and a file of texts"]),
        ("multiple-choice", ("--choice", "a", "--input", "x.csv"), ["--input: texts and a file of texts"]),
    ],
)
def test_what_cannot_be_asked(command: Command, untrained: Path, task: str, arguments: Any, says: list[str]) -> None:
    done = command("predict", untrained / task, *arguments, "--json")
    assert (done.status, done.out) == (2, "")
    assert not [told for told in says if told not in done.err], done.err


@pytest.mark.parametrize(
    ("task", "name", "content", "says"),
    [
        ("multiple-choice", "x.csv", "context,choices\na,b|c\na,b\n", "x.csv, row 2 (line 3), column choices: 1 choices"),
        (
            "multiple-choice",
            "x.jsonl",
            '{"context": "a", "choices": 3}\n',
            "column choices: a number where a list of texts is",
        ),
        (
            "multiple-choice",
            "x.jsonl",
            '{"context": "a", "choices": ["b", 3]}\n',
            "column choices: a number where text is meant",
        ),
        ("fill-mask", "x.txt", "a [MASK]\nb\n", "x.txt, row 2 (line 2), column text: no [MASK] in the text"),
        ("question-answering", "x.csv", "question,text\na,b\n", "x.csv: no column 'context'"),
        ("token-classification", "x.csv", "words\na\n", "x.csv: no column 'text'"),
        (
            "token-classification",
            "x.jsonl",
            '{"tokens": "a b"}\n{"tokens": null}\n',
            "row 2 (line 2), column tokens: nothing",
        ),
    ],
)
def test_what_files_cannot_ask(
    command: Command, untrained: Path, tmp_path: Path, task: str, name: str, content: str, says: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    done = command("predict", untrained / task, "--input", tmp_path / name, "--json")
    assert (done.status, done.out) == (2, "")
    assert says in done.err


@pytest.mark.parametrize("verb", ["check", "train"])
def test_a_task_that_only_predicts_is_refused(command: Command, tmp_path: Path, verb: str) -> None:
    (tmp_path / "x.csv").write_text("text,label\na,b\nc,d\n", encoding="utf-8")
    where = ("--out", tmp_path / "run") if verb == "train" else ()
    done = command(verb, tmp_path / "x.csv", "--task", "token-classification", *where, "--json")
    assert (done.status, done.out) == (2, "")
    assert "token-classification can predict, it cannot be trained or evaluated yet" in done.err
    assert "text-classification, text-generation" in done.err
    assert not (tmp_path / "run").exists()


def test_a_model_that_only_predicts_is_not_evaluated(command: Command, untrained: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text,label\na,b\nc,d\n", encoding="utf-8")
    done = command("evaluate", untrained / "token-classification", tmp_path / "x.csv", "--json")
    assert (done.status, done.out) == (2, "")
    assert "token-classification can predict, it cannot be trained or evaluated yet" in done.err


def test_a_model_that_writes_is_told_how(command: Command, untrained: Path) -> None:
    folder = untrained / "text-generation"
    few = ("--set", "decoding.max_new_tokens=4", "--json")
    (plain,) = predictions(command("predict", folder, "The bread", *few))
    assert list(plain) == ["text", "generated", "score"]
    (best,) = predictions(
        command("predict", folder, "The bread", "--set", "decoding.beams=3", "--set", "decoding.n_best=2", *few)
    )
    assert best["score"] >= plain["score"] - 1e-6
    assert best["candidates"][0] == {"generated": best["generated"], "score": best["score"]}
    assert best["candidates"][0]["score"] >= best["candidates"][1]["score"]
    drawn = ("--set", "decoding.sample=true", "--set", "decoding.temperature=3", *few)
    assert predictions(command("predict", folder, "The bread", *drawn)) == predictions(
        command("predict", folder, "The bread", *drawn)
    )
    wrong = command("predict", folder, "The bread", "--set", "training.lr=1")
    assert wrong.status == 2
    assert "--set: unknown section 'training'\n  allowed: decoding.key=value" in wrong.err
    wrong = command("predict", folder, "The bread", "--set", "decoding.beam=1")
    assert wrong.status == 2
    assert "did you mean 'beams'?" in wrong.err
    wrong = command("predict", folder, "The bread", "--set", "decoding=1")
    assert wrong.status == 2
    assert "--set: 'decoding' is a section" in wrong.err


def test_a_model_that_writes_is_told_what(command: Command, untrained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(untrained / "text-generation", folder)
    (folder / "generation_config.json").write_text('{"eos_token_id": 3}', encoding="utf-8")

    def written(*settings: str) -> str:
        several = [part for setting in settings for part in ("--set", f"decoding.{setting}")]
        (found,) = predictions(command("predict", folder, "The bread", *several, "--json"))
        return str(found["generated"])

    assert re.fullmatch("(the|a) (room|telephone)", written("regex=(the|a) (room|telephone)"))
    assert json.loads(written('json_schema={"enum": [1, 16]}')) in (1, 16)
    assert "room" in written("beams=3", 'required=["room"]', "max_new_tokens=12")
    plain = written("max_new_tokens=9")
    word = plain.split()[2]
    assert word not in written("max_new_tokens=9", f"stop={json.dumps([word])}")
    assert written("max_new_tokens=9", f"banned={json.dumps([word])}") != plain
    wrong = command("predict", folder, "The bread", "--set", "decoding.regex=жук")
    assert (wrong.status, wrong.out) == (2, "")
    assert "decoding.regex: the vocabulary can spell none of its texts" in wrong.err
