"""What all tasks promise: their settings come back, their answers are JSON, and those that cannot be trained say so."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
import torch

import regard
from regard.checkpoints import load as load_checkpoint
from regard.checkpoints.folder import save_model
from regard.errors import CheckpointError, ConfigError, DataError, Problem
from regard.models.build import filled
from regard.tasks.inputs import Input
from regard.tasks.task import TASKS, Fault, Learnable, Prediction, Row, Task, learnable
from regard.text import Tokenizer

ASKED: dict[str, dict[str, Any]] = {
    "fill-mask": {"text": ["中国的[MASK]都", "[MASK] bread [MASK] warm"]},
    "multiple-choice": {"context": ["The bread was", ""], "choices": [["warm", "dark"], ["a", "b", ""]]},
    "question-answering": {"question": ["Who?", ""], "context": ["William wrote the play in London", ""]},
    "regression": {"text": ["The bread was warm", ""]},
    "text-classification": {"text": ["The bread was warm", ""]},
    "token-classification": {"text": ["The bread was warm", ""]},
}


def test_each_task_is_in_its_place() -> None:
    assert ASKED.keys() <= TASKS.keys()
    assert all(TASKS[name].name == name for name in TASKS)


@pytest.mark.parametrize("name", ASKED)
def test_what_a_checkpoint_answers(name: str, untrained: Path) -> None:
    model = regard.load(untrained / name, precision="float32")
    task = model.task
    assert task.name == name
    assert task.from_settings(json.loads(json.dumps(task.settings()))) == task
    rows = model.rows(**ASKED[name])
    results = list(model.answered(rows))
    assert len(results) == len(rows) == 2
    assert json.loads(json.dumps(results)) == results
    for row, result in zip(rows, results, strict=True):
        assert {column: value for column, value in result.items() if column in row} == row
        assert "\n" not in model.line(result)
        assert all(isinstance(cell, str) for cell in task.cells(result).values())
        assert row.keys() <= task.cells(result).keys()


@pytest.mark.parametrize("name", ASKED)
def test_packed_weights_answer_nearly_the_same(name: str, untrained: Path) -> None:
    """Of a head over tokens too, and one that borrows the token table."""
    plain, packed = (regard.load(untrained / name, precision=precision) for precision in ("float32", "bfloat16"))
    for exact, quick in zip(plain.predict(**ASKED[name]), packed.predict(**ASKED[name]), strict=True):
        assert exact.keys() == quick.keys()
        if "score" in exact:
            assert quick["score"] == pytest.approx(exact["score"], abs=0.05)


@pytest.mark.parametrize("name", ASKED)
def test_what_can_be_trained(name: str, untrained: Path) -> None:
    if issubclass(TASKS[name], Learnable):
        assert learnable(name) is TASKS[name]
        return
    model = regard.load(untrained / name)
    for refused in (
        lambda: learnable(name),
        lambda: regard.check("rows.csv", task=name),
        lambda: regard.train("rows.csv", task=name, model="tiny"),
        lambda: model.evaluate("rows.csv"),
    ):
        with pytest.raises(ConfigError) as caught:
            refused()
        (problem,) = caught.value.problems
        assert problem.what == f"{name} can predict, it cannot be trained or evaluated yet"
        assert "text-classification" in problem.allowed and name not in problem.allowed
        assert "regard predict" in problem.fix


def test_an_unknown_task_lists_them_all() -> None:
    with pytest.raises(ConfigError, match=r"unknown task 'fill-masks'\n  allowed: .*fill-mask.*\n  fix: did you mean 'fi"):
        learnable("fill-masks")


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("token-classification", {"task": "text-classification", "labels": list("abcde")}, "the output layer is over 'tok"),
        ("question-answering", {"task": "token-classification", "labels": ["a", "b"]}, ""),
        ("regression", {"task": "question-answering"}, "over 'sequence'\n  allowed: one over 'tokens', for question-"),
        ("regression", {"task": "multiple-choice"}, ""),
        ("token-classification", {"task": "question-answering"}, "the output layer has 5 rows\n  allowed: 2, for ques"),
        ("text-classification", {"task": "multiple-choice"}, "the output layer has 2 rows\n  allowed: 1, for multi"),
        ("fill-mask", {"task": "regression", "labels": []}, "labels"),
    ],
)
def test_a_task_needs_its_head(name: str, settings: dict[str, Any], says: str, untrained: Path, tmp_path: Path) -> None:
    loaded = load_checkpoint(untrained / name)
    model = filled(loaded.config, loaded.head, loaded.tensors)
    assert loaded.tokenizer is not None
    save_model(tmp_path, model, tokenizer=loaded.tokenizer, task=settings)
    if not says:
        assert regard.load(tmp_path).task.name == settings["task"]
        return
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        regard.load(tmp_path)
    assert says in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_model_without_a_task_is_refused(untrained: Path, tmp_path: Path) -> None:
    """It may have no output layer, or one that nobody asks."""
    transformers = pytest.importorskip("transformers")
    shape = {"hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1, "intermediate_size": 8}
    loaded = load_checkpoint(untrained / "fill-mask")
    assert loaded.tokenizer is not None
    for name, says in (
        ("BertModel", "the model has learned no task: it has no output layer"),
        ("BertForNextSentencePrediction", "Regard knows no task for the output layer of BertForNextSentencePrediction"),
    ):
        folder = tmp_path / name
        torch.manual_seed(0)
        kind = getattr(transformers, name)
        kind(kind.config_class(vocab_size=loaded.tokenizer.vocab_size, **shape)).save_pretrained(folder)
        loaded.tokenizer.save(folder)
        with pytest.raises(CheckpointError) as caught:
            regard.load(folder)
        (problem,) = caught.value.problems
        assert (problem.what, problem.where) == (says, str(folder))
        assert "fill-mask" in problem.allowed
        assert problem.fix == f"fine-tune it: regard train DATA --model {folder}"


def test_cells_hold_text() -> None:
    task = TASKS["question-answering"].from_settings({})
    result = {"a": "x\ty", "b": 0.5, "c": None, "d": ["x", "y"], "e": [{"start": 1}], "f": {"好": 1.0}, "g": []}
    assert task.cells(result) == {
        "a": "x\ty",
        "b": "0.5",
        "c": "",
        "d": "x|y",
        "e": '[{"start": 1}]',
        "f": '{"好": 1.0}',
        "g": "",
    }


@dataclass(frozen=True)
class Sizes(Task):
    """A task with a loop of its own: how many bytes a file has. It reads no text, so that it needs no tokenizer."""

    name: ClassVar[str] = "sizes"
    over: ClassVar[tuple[str, ...]] = ("sequence",)
    needs_tokenizer: ClassVar[bool] = False

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        return cls()

    def settings(self) -> dict[str, Any]:
        return {}

    @property
    def inputs(self) -> tuple[Input, ...]:
        return (Input("file"), Input("units", separator="|", optional=True))

    def faults(self, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None) -> Iterator[Fault]:
        for number, row in enumerate(rows):
            if not Path(row["file"]).exists():
                yield Fault(number, "file", Problem("no such file", fix="check the path"))

    def answers(self, model: Any, rows: Sequence[Row], tokenizer: Tokenizer | None, **settings: Any) -> list[Prediction]:
        assert tokenizer is None
        assert settings == {"max_length": 64, "dtype": torch.float32}
        return [Prediction(bytes=Path(row["file"]).stat().st_size, parts=[{"units": row.get("units")}]) for row in rows]

    def told(self, result: Mapping[str, Any]) -> list[str]:
        return [str(result["bytes"]), result["file"]]


def test_a_plug_in_with_a_loop_of_its_own(untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its columns, its faults with their places, its lines and cells: the command line needs to know nothing of it."""
    monkeypatch.setitem(TASKS._entries, "sizes", Sizes)
    loaded = load_checkpoint(untrained / "regression")
    assert loaded.tokenizer is not None
    save_model(
        tmp_path / "model",
        filled(loaded.config, loaded.head, loaded.tensors),
        tokenizer=loaded.tokenizer,
        task={"task": "sizes"},
    )
    for path in (tmp_path / "model").glob("tokenizer*"):
        path.unlink()
    model = regard.load(tmp_path / "model", precision="float32")
    (tmp_path / "one").write_bytes(b"abc")
    (tmp_path / "rows.csv").write_text(f"path,units\n{tmp_path / 'one'},a|b\n", encoding="utf-8")
    (result,) = model.answered_file(str(tmp_path / "rows.csv"), columns={"file": "path"})
    assert result == {"file": str(tmp_path / "one"), "units": ["a", "b"], "bytes": 3, "parts": [{"units": ["a", "b"]}]}
    assert model.line(result) == f"3\t{tmp_path / 'one'}"
    model.write([result], tmp_path / "out.tsv")
    cells = [str(tmp_path / "one"), "a|b", "3", '[{"units": ["a", "b"]}]']
    assert (tmp_path / "out.tsv").read_text(encoding="utf-8") == "file\tunits\tbytes\tparts\n" + "\t".join(cells) + "\n"
    with pytest.raises(DataError, match="file 2: no such file"):
        model.predict([str(tmp_path / "one"), "two"])
    (tmp_path / "rows.csv").write_text("file\ntwo\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"rows.csv, row 1 \(line 2\), column file: no such file"):
        list(model.answered_file(str(tmp_path / "rows.csv")))


def test_a_task_over_texts_needs_a_tokenizer(untrained: Path, tmp_path: Path) -> None:
    for path in (untrained / "fill-mask").iterdir():
        if not path.name.startswith("tokenizer"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(CheckpointError, match="the folder has no tokenizer"):
        regard.load(tmp_path)
