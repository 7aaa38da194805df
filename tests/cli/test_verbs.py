"""Each verb from end to end: what `--json` prints is one object of a known shape, and nothing else; what a run file, `--set`
and a second start of the same command do; the three exit statuses."""

import json
import math
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import regard
from regard.cli.progress import Progress
from regard.config import RunConfig

VERBS = ("check", "train", "evaluate", "predict", "doctor")
QUICK = ("--model", "tiny", "--set", "training.steps=2", "--set", "batch.rows=8", "--set", "training.threads=1")

METRIC = {"value": float, "low": float, "high": float}
METRICS = {"accuracy": METRIC, "macro-f1": METRIC, "calibration-error": METRIC, "log-loss": METRIC}
SCORES = {"bad": float, "good": float}
"""Shapes: a key -> a type, several, or the shape of what it holds; `[shape]` is a list of any length."""

SHAPES: dict[str, Any] = {
    "check": {
        "source": str,
        "rows": int,
        "problems": {"count": int, "first": [str]},
        "warnings": [str],
        "labels": {"good": int, "bad": int},
        "lengths": {"unit": str, "min": int, "median": int, "p90": int, "p99": int, "max": int, "total": int},
    },
    "train": {
        "out": str,
        "task": str,
        "metrics": METRICS,
        "evaluated_on": str,
        "steps": int,
        "best_step": int,
        "seconds": float,
    },
    "evaluate": {
        "metrics": METRICS,
        "per_class": [{"label": str, "precision": METRIC, "recall": METRIC, "f1": METRIC, "support": int}],
        "confusion": [[int]],
        "model": str,
        "data": str,
    },
    "predict": {"predictions": [{"text": str, "label": str, "score": float, "scores": SCORES}]},
    "predict to a file": {"rows": int, "output": str},
    "doctor": {
        "regard": str,
        "python": str,
        "torch": str,
        "processor": str,
        "threads": int,
        "memory_gib": float,
        "cpu_capability": str,
        "amx": bool,
        "avx512_bf16": bool,
        "packed_prediction": bool,
        "gpu": (str, type(None)),
        "bfloat16": bool,
        "precision": str,
        "offline": bool,
        "extras": dict.fromkeys(("serve", "track", "onnx", "ray", "explain", "audio", "tune"), (str, type(None))),
    },
}


def faults(value: Any, shape: Any, place: str = "") -> Iterator[str]:
    """Where a JSON value is not of this shape."""
    if isinstance(shape, dict):
        if not isinstance(value, dict) or value.keys() != shape.keys():
            yield f"{place}: {value!r}"
            return
        for key, inner in shape.items():
            yield from faults(value[key], inner, f"{place}.{key}")
        if shape == METRIC and not value["low"] <= value["value"] <= value["high"]:
            yield f"{place}: not within its interval"
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{place}: {value!r}"
            return
        for i, inner in enumerate(value):
            yield from faults(inner, shape[0], f"{place}[{i}]")
    elif not isinstance(value, shape) or (isinstance(value, bool) and shape is not bool):
        yield f"{place}: {value!r}"


def only(text: str, shape: str) -> dict[str, Any]:
    """The one object on standard output, of the shape of that name."""
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    value: dict[str, Any] = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert list(faults(value, SHAPES[shape])) == []
    return value


@pytest.fixture
def rows(trained: Path) -> Path:
    """What the trained model learned from: 40 rows of `good` and `bad`."""
    return trained.parent / "rows.csv"


def test_check(command: Callable[..., Any], rows: Path, trained: Path) -> None:
    done = command("check", rows, "--json")
    assert done.status == 0
    report = only(done.out, "check")
    assert (report["source"], report["rows"], report["labels"]) == (str(rows), 40, {"good": 20, "bad": 20})
    assert report["problems"] == {"count": 0, "first": []}
    assert report["lengths"]["unit"] == "characters"
    in_tokens = only(command("check", rows, "--model", trained, "--json").out, "check")["lengths"]
    assert in_tokens["unit"] == "tokens"
    assert in_tokens["max"] < report["lengths"]["max"]


def test_check_says_all_that_is_wrong(command: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text,label\n,good\nfine,bad\nfine,\n", encoding="utf-8")
    done = command("check", tmp_path / "x.csv", "--json")
    assert done.status == 2
    report = json.loads(done.out)
    assert report["problems"]["count"] == 2
    assert "row 1" in report["problems"]["first"][0]
    assert "row 3" in done.err


def test_train_evaluate_predict(command: Callable[..., Any], rows: Path, tmp_path: Path) -> None:
    done = command("train", rows, "--out", tmp_path / "run", *QUICK, "--json")
    assert done.status == 0, done.err
    result = only(done.out, "train")
    assert (result["out"], result["task"], result["steps"]) == (str(tmp_path / "run"), "text-classification", 2)
    assert result["evaluated_on"] == f"10% of {rows}, held out"
    files = {"config.json", "model.safetensors", "tokenizer.json", "task.json", "run.toml", "metrics.json", "events.jsonl"}
    assert files | {"README.md"} <= {path.name for path in (tmp_path / "run").iterdir()}

    done = command("evaluate", tmp_path / "run", rows, "--json")
    assert done.status == 0, done.err
    evaluation = only(done.out, "evaluate")
    assert (evaluation["model"], evaluation["data"]) == (str(tmp_path / "run"), str(rows))
    assert sum(map(sum, evaluation["confusion"])) == 40
    assert [row["label"] for row in evaluation["per_class"]] == ["bad", "good"]

    done = command("predict", tmp_path / "run", "a fine film", "", "很好看", "--json")
    assert done.status == 0, done.err
    predictions = only(done.out, "predict")["predictions"]
    assert [row["text"] for row in predictions] == ["a fine film", "", "很好看"]
    assert all(sum(row["scores"].values()) == pytest.approx(1) for row in predictions)
    assert all(row["score"] == row["scores"][row["label"]] == max(row["scores"].values()) for row in predictions)


def test_predict_from_a_file_to_a_file(command: Callable[..., Any], rows: Path, trained: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers.jsonl"
    done = command("predict", trained, "--input", rows, "--output", output, "--json")
    assert done.status == 0, done.err
    assert only(done.out, "predict to a file") == {"rows": 40, "output": str(output)}
    assert len(output.read_text(encoding="utf-8").splitlines()) == 40


def test_doctor(command: Callable[..., Any]) -> None:
    done = command("doctor", "--json")
    assert (done.status, done.err) == (0, "")
    facts = only(done.out, "doctor")
    assert facts["regard"] == regard.__version__
    assert facts["precision"] == ("bfloat16" if facts["bfloat16"] else "float32")


def test_a_pair_model_reads_pairs(command: Callable[..., Any], pairs: Path) -> None:
    done = command("predict", pairs, "a fine film", "a dull film", "--pair", "indeed", "--pair", "rain", "--json")
    assert done.status == 0, done.err
    assert [(row["text"], row["pair"]) for row in json.loads(done.out)["predictions"]] == [
        ("a fine film", "indeed"),
        ("a dull film", "rain"),
    ]


def test_without_json_there_are_tables_and_lines(
    command: Callable[..., Any], rows: Path, trained: Path, tmp_path: Path
) -> None:
    shown = {
        "check": command("check", rows),
        "train": command("train", rows, "--out", tmp_path / "run", *QUICK),
        "evaluate": command("evaluate", trained, rows),
        "predict": command("predict", trained, "a\tfine\nfilm", "a dull film"),
        "doctor": command("doctor"),
    }
    assert {name: done.status for name, done in shown.items()} == dict.fromkeys(VERBS, 0)
    assert "40 rows" in shown["check"].out
    assert "macro-f1" in shown["train"].out
    assert f"regard predict {tmp_path / 'run'}" in shown["train"].err.replace("\n", "")
    assert " to " in shown["evaluate"].out
    assert [line.split("\t")[2] for line in shown["predict"].out.splitlines()] == ["a fine film", "a dull film"]
    assert "precision" in shown["doctor"].out


def test_what_looks_like_markup_is_the_users_own(command: Callable[..., Any], tmp_path: Path) -> None:
    """Labels, texts and paths with brackets, colons and codes that a terminal might take for its own."""
    data, out = tmp_path / "rows[1].csv", tmp_path / ":cat:"
    lines = [f"a fine :smile: film {i},[good]\na [red]dull[/x] film {i},[/bad]\n" for i in range(10)]
    data.write_text("text,label\n" + "".join(lines), encoding="utf-8")
    shown = command("check", data).out
    assert "rows[1].csv: 20 rows" in shown
    assert "[good]" in shown
    assert "[/bad]" in shown
    done = command("train", data, "--out", out, *QUICK)
    assert done.status == 0
    assert str(out) in done.err
    assert "[/bad]" in command("evaluate", out, data).out
    text = "[bold]x[/bold] :smile: [/y]"
    assert command("predict", out, text).out.split("\t")[2] == f"{text}\n"
    assert ":dog:" in command("predict", tmp_path / ":dog:", text).err


# Settings


def run_of(out: Path) -> dict[str, Any]:
    """What a run says that its settings were."""
    return tomllib.loads((out / "run.toml").read_text(encoding="utf-8"))


def test_a_run_file_is_enough_and_the_command_line_wins(command: Callable[..., Any], rows: Path, tmp_path: Path) -> None:
    run_file = tmp_path / "run.toml"
    run_file.write_text(
        f'model = "tiny"\nout = "{tmp_path / "run"}"\nseed = 3\n[data]\ntrain = "{rows}"\n'
        "[training]\nsteps = 2\nlr = 1e-4\n[batch]\nrows = 8\n",
        encoding="utf-8",
    )
    done = command("train", run_file, "--json")
    assert done.status == 0, done.err
    assert only(done.out, "train")["out"] == str(tmp_path / "run")
    values = run_of(tmp_path / "run")
    assert (values["seed"], values["training"]["lr"], values["data"]["train"]) == (3, 1e-4, str(rows))

    other = tmp_path / "other.csv"
    other.write_bytes(rows.read_bytes())
    done = command("train", other, run_file, "--out", tmp_path / "2", "--seed", "4", "--set", "training.lr=2e-4", "--json")
    assert done.status == 0, done.err
    values = run_of(tmp_path / "2")
    assert (values["seed"], values["training"]["lr"], values["training"]["steps"]) == (4, 2e-4, 2)
    assert values["data"]["train"] == str(other)


def leaves(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of the run file: `training.lr`."""
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


@pytest.mark.parametrize("key", list(leaves(RunConfig)))
def test_set_reaches_every_key(command: Callable[..., Any], tmp_path: Path, key: str) -> None:
    """A value that no key can have comes back under the key's name."""
    done = command("train", "x.csv", "--out", tmp_path / "run", "--set", f"{key}=[[]]")
    if key in ("out", "data.train"):  # these two were given, and what is given wins
        assert "x.csv: no such file" in done.err
    else:
        assert f"key '{key}" in done.err
        assert "[[]]" in done.err or "is []" in done.err
    assert done.status == 2


def test_the_architecture_of_a_preset_can_be_changed(command: Callable[..., Any], rows: Path, tmp_path: Path) -> None:
    shape = {"n_layers": 1, "n_heads": 4, "norm_place": "pre", "embedding_norm": False, "positions": "rotary"}
    sets = [part for name, value in shape.items() for part in ("--set", f"architecture.{name}={json.dumps(value)}")]
    out = tmp_path / "run"
    assert command("train", rows, "--model", "tiny", "--out", out, "--set", "training.steps=1", *sets).status == 0
    model = json.loads((out / "config.json").read_text(encoding="utf-8"))["model"]
    assert model["d_model"] == 128
    assert shape.items() <= model.items()
    assert len(regard.load(out).model.encoder.layers) == 1


def test_set_reads_numbers_words_and_tables(command: Callable[..., Any], rows: Path, tmp_path: Path) -> None:
    sets = ("training.schedule=cosine", "training.clip=null", "training.betas=[0.9, 0.98]", "data.columns.text=text")
    sets = (*sets, "tokenizer.lower_case=false", 'options={"class_weights": "balanced"}', "options.pool=null")
    given = ("train", rows, "--out", tmp_path / "run", *QUICK, *(part for each in sets for part in ("--set", each)))
    done = command(*given)
    assert done.status == 0, done.err
    values = run_of(tmp_path / "run")
    assert values["training"]["schedule"] == "cosine"
    assert values["training"]["clip"] == math.inf
    assert values["training"]["betas"] == [0.9, 0.98]
    assert values["tokenizer"]["lower_case"] is False
    assert values["options"] == {"class_weights": "balanced"}
    assert values["data"]["columns"] == {"text": "text"}
    assert "finished; nothing was trained" in command(*given).err.replace("\n", " ")  # its run.toml says the same


def test_the_same_command_goes_on_where_it_was_stopped(
    command: Callable[..., Any], rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    arguments = ("train", rows, "--out", out, *QUICK, "--set", "training.steps=6", "--set", "training.checkpoint_every=2")
    shown = Progress.__call__

    def stopping(self: Progress, event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 5:
            raise KeyboardInterrupt
        shown(self, event)

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "__call__", stopping)
        done = command(*arguments, "--json")
    assert (done.status, done.out) == (1, "")
    assert "the same command goes on from the last checkpoint" in done.err
    assert not (out / "metrics.json").exists()

    done = command(*arguments, "--json")
    assert done.status == 0, done.err
    result = only(done.out, "train")
    assert result["steps"] == 6
    events = [json.loads(line) for line in (out / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [event["step"] for event in events if event["event"] == "start"] == [0, 4]
    assert [event["step"] for event in events if event["event"] == "step"] == [1, 2, 3, 4, 5, 6]

    done = command(*arguments, "--json")
    assert done.status == 0
    assert only(done.out, "train") == result
    assert "holds this run, finished; nothing was trained" in done.err.replace("\n", " ")


# Exit status, help


def test_work_that_fails_is_not_the_users_fault(
    command: Callable[..., Any], rows: Path, trained: Path, tmp_path: Path
) -> None:
    """A folder that cannot be made: exit status 1, with the place and the remedy."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    for arguments in (
        ("predict", trained, "fine", "--output", tmp_path / "file" / "answers.csv"),
        ("train", rows, *QUICK, "--out", tmp_path / "file" / "run"),
    ):
        done = command(*arguments, "--json")
        assert (done.status, done.out) == (1, "")
        assert str(tmp_path / "file") in done.err
        assert "fix: " in done.err
        assert "Traceback" not in done.err


@pytest.mark.parametrize("verb", [*VERBS, "chat"])
def test_every_verb_explains_itself(command: Callable[..., Any], verb: str) -> None:
    done = command(verb, "--help")
    assert (done.status, done.err) == (0, "")
    assert f"Usage: regard {verb}" in done.out
    assert "--json" in done.out


def test_the_command_lists_its_verbs_and_its_version(command: Callable[..., Any]) -> None:
    done = command("--help")
    assert done.status == 0
    assert [verb for verb in VERBS if verb not in done.out] == []
    assert command("--version").out == f"{regard.__version__}\n"
    for arguments in (("predict",), ("train", "--json", "--nonsense"), ("nonsense",)):
        assert command(*arguments).status == 2


def test_a_process_of_its_own_prints_one_object_too(rows: Path, tmp_path: Path) -> None:
    """Nothing from below Python, from a library or from a warning joins it."""
    words = ["train", str(rows), "--out", str(tmp_path / "run"), *QUICK, "--json"]
    done = subprocess.run([sys.executable, "-m", "regard", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    only(done.stdout, "train")
    assert "Warning" not in done.stderr
    assert "step 2" in done.stderr


def test_the_installed_command_ends_with_its_status(tmp_path: Path) -> None:
    installed = Path(sys.executable).with_name("regard")
    done = subprocess.run([installed, "check", tmp_path / "none.csv", "--json"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"regard: {tmp_path / 'none.csv'}: no such file")
