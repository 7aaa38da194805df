"""Every kind of wrong input that we can think of, through the real command line: exit status 2, a message with the place and
the remedy, no traceback, nothing on standard output, nothing written and nothing lost."""

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from safetensors.torch import load_file, save_file

from regard.checkpoints.files import read_json, write_json

GOOD = "text,label\n" + "".join(f"a fine film {i},good\na dull film {i},bad\n" for i in range(10))
CHINESE = "text,label\n" + "这家酒店的房间很干净，服务也好,好\n房间太小，早餐难吃，不会再来,坏\n" * 5
TRAIN = "train x.csv --model tiny --out run"
PREDICT = "predict model"

Prepare = Callable[[Path], None]
"""Changes a folder that holds a good `x.csv`."""


@dataclass(frozen=True)
class Case:
    """A command in a folder with a good x.csv, a good model where the command names one, and `files` over these."""

    name: str
    command: str
    says: tuple[str, ...]
    files: dict[str, bytes | str] | None = None
    prepare: Prepare | None = None
    model: str = "trained"


def train(name: str, data: bytes | str, *says: str, file: str = "x.csv", more: str = "") -> Case:
    """A wrong training file."""
    return Case(name, f"train {file} --model tiny --out run {more}", says, files={file: data})


def option(name: str, options: str, *says: str) -> Case:
    """Wrong options with a good training file."""
    return Case(name, f"{TRAIN} {options}", says)


def broken(name: str, change: Prepare, *says: str, command: str = "predict model fine") -> Case:
    """A good model folder of ours after a change."""
    return Case(name, command, says, prepare=change)


def rows(*lines: str) -> str:
    return GOOD + "".join(f"{line}\n" for line in lines)


def config(folder: Path, **changes: Any) -> None:
    write_json(folder / "model" / "config.json", read_json(folder / "model" / "config.json") | changes)


def task(folder: Path, **changes: Any) -> None:
    write_json(folder / "model" / "task.json", read_json(folder / "model" / "task.json") | changes)


def forget(folder: Path, file: str, *keys: str) -> None:
    values = read_json(folder / "model" / file)
    write_json(folder / "model" / file, {key: value for key, value in values.items() if key not in keys})


def wrong_settings(folder: Path) -> None:
    model = read_json(folder / "model" / "config.json")["model"]
    config(folder, model={**model, "n_layerz": 2, "d_model": "wide", "dropout": 3})


def behead(folder: Path) -> None:
    weights = folder / "model" / "model.safetensors"
    save_file({name: tensor for name, tensor in load_file(weights).items() if not name.startswith("head.")}, weights)
    config(folder, head=None)
    (folder / "model" / "task.json").unlink()


def cut(folder: Path) -> None:
    weights = folder / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def pickled(folder: Path) -> None:
    (folder / "model" / "model.safetensors").rename(folder / "model" / "pytorch_model.bin")


def other_vocabulary(folder: Path) -> None:
    values = read_json(folder / "model" / "tokenizer.json")
    vocabulary = values["model"]["vocab"]
    vocabulary |= {f"new{i}": len(vocabulary) + i for i in range(50)}
    write_json(folder / "model" / "tokenizer.json", values)


def run_of(folder: Path, **changes: Any) -> None:
    (folder / "run").mkdir()
    values = {"task": "text-classification", "model": "tiny", "out": "run", "data": {"train": "x.csv"}}
    (folder / "run" / "run.toml").write_text(tomli_w.dumps(values | changes), encoding="utf-8")


def began_with_other_data(folder: Path) -> None:
    run_of(folder)
    shutil.copy(folder / "model" / "tokenizer.json", folder / "run")
    write_json(folder / "run" / "checkpoints" / "start.json", {"data": "of other rows"})


def finished_badly(folder: Path) -> None:
    run_of(folder)
    write_json(folder / "run" / "metrics.json", {"metrics": {}})


FILES = [
    train("missing column", GOOD.replace("text", "review", 1), "x.csv: no column 'text'", "'review'", "--columns text=NAME"),
    train(
        "two columns missing", GOOD.replace("text,label", "a,b", 1), "2 problems", "no column 'text'", "no column 'label'"
    ),
    train("empty file", "", "x.csv: the file is empty", "fix: check that it was written"),
    train("header only", "text,label\n", "x.csv: there are no rows", "fix: check that the file"),
    train("latin-1", rows("caf\xe9,good").encode("latin-1"), "x.csv, line 22: byte 0xe9 is not UTF-8", "iconv -f latin1"),
    train("gbk", CHINESE.encode("gbk"), "x.csv, line 2: byte 0xd5 is not UTF-8", "iconv -f gb18030"),
    train("utf-16", GOOD.encode("utf-16"), "x.csv: is UTF-16 text", "iconv -f utf-16"),
    train("unbalanced quotes", rows('"never closed,good'), "x.csv", "line 22", "quote"),
    train("NUL bytes", rows("a\0b,good"), "x.csv, line 22: a NUL byte (byte 2 of the line)", "fix: remove it"),
    train("a row too wide", rows("a,b,c"), "x.csv, row 21 (line 22)", "put a cell that contains a comma in double quotes"),
    train("a cell of 10 MB", rows("x" * 10_000_000 + ",good"), "x.csv, line 22: a line of 10.0 MB", "fix: split the text"),
    train("empty text", rows(",good"), "x.csv, row 21 (line 22), column text: the text is empty", "fix: fill it in"),
    train("missing label", rows("fine,"), "x.csv, row 21 (line 22), column label: the label is missing", "remove the row"),
    train("duplicate header", GOOD.replace("label", "text", 1), "the header names 'text' more than once", "fix: rename"),
    train("cut gz", gzip.compress(GOOD.encode() * 99)[:-40], "is cut off", "fix: download", file="x.csv.gz"),
    train(
        "broken JSON line",
        '{"text": "a", "label": 1}\n{"text": "b",\n',
        "x.jsonl, row 2 (line 2): the line is not JSON",
        file="x.jsonl",
    ),
    train("nested JSON", '{"text": {"en": "a"}, "label": 1}\n' * 5, "row 1", "an object where text", file="x.jsonl"),
    train(
        "mixed label types",
        '{"text": "a", "label": 1}\n{"text": "b", "label": "1"}\n',
        "x.jsonl, column label: the labels are of mixed types: a number (row 1), text (row 2)",
        "fix: write them all as text, or all as numbers",
        file="x.jsonl",
    ),
    train("one class", "text,label\na,good\nb,good\n", "only one class, 'good'", "two or more", "fix: add rows"),
    train("decimal labels", '{"text": "a", "label": 0.5}\n', "row 1", "decimal point", "whole numbers", file="x.jsonl"),
    train("unknown ending", GOOD, "x.xls: unknown ending .xls", "allowed: .csv", file="x.xls"),
    Case("no such file", "train y.csv --model tiny --out run", ("y.csv: no such file", "x.csv")),
    Case(
        "parallel files: one is missing",
        "train y.en-de --model tiny --out run",
        (
            "y.en-de: no such file, and no parallel file y.de, y.de.gz or y.de.xz",
            "allowed: y.en, y.fr",
            "fix: name languages",
        ),
        files={"y.en": "fine\n", "y.fr": "bien\n"},
    ),
    Case(
        "parallel files: no languages",
        "train y.en-zh-CN --model tiny --out run",
        (
            "y.en-zh-CN: no such file, and 'en-zh-CN' does not name the two languages",
            "allowed: train.en-de",
            "such as zh_CN",
        ),
    ),
    Case(
        "parallel files: not parallel",
        "train y.en-de --columns label=translation --model tiny --out run",
        (
            "2 problems",
            "y.de, line 2 (beside y.en, line 2): the label is missing",
            "y.en: the file has 4 lines and y.de has 3: line 4 stands alone",
            "fix: find the line where they part, and align them again",
        ),
        files={"y.en": "a\nb\nc\nd\n", "y.de": "a\n\nb\n"},
    ),
    Case(
        "unknown label in the evaluation rows",
        f"{TRAIN} --eval y.csv",
        ("y.csv, row 1 (line 2), column label: unknown label 'meh'", "'bad'", "'good'"),
        files={"y.csv": "text,label\nso so,meh\n"},
    ),
    Case("evaluation file missing", f"{TRAIN} --eval y.csv", ("y.csv: no such file", "fix:")),
    Case("evaluated on the training file", f"{TRAIN} --eval x.csv", ("the same file as x.csv", "give no --eval")),
    Case(
        "both files are wrong",
        f"{TRAIN} --eval y.csv",
        ("2 problems", "x.csv, row 21", "y.csv, row 1"),
        files={"x.csv": rows(",good"), "y.csv": "text,label\nfine,\n"},
    ),
    train("too few rows to hold out", "text,label\na,good\nb,bad\n", "x.csv: 2 rows are too few to hold 10% out", "--eval"),
    Case("check: no such file", "check y.csv", ("y.csv: no such file", "fix:")),
    Case("check: unknown option", "check x.csv --set batch.rows=3", ("--set: unknown key 'batch'", "options.KEY=VALUE")),
    Case("check: unknown task", "check x.csv --task classify", ("unknown task 'classify'", "text-classification")),
]

OPTIONS = [
    option("unknown task", "--task text-clasification", "task: unknown task", "did you mean 'text-classification'?"),
    option(
        "unknown metric", "--set training.metric=accurate", "training.metric: unknown metric", "did you mean 'accuracy'?"
    ),
    option("metric where less is better", "--set training.metric=log-loss", "unknown metric", "allowed: accuracy, macro-f1"),
    option("unknown schedule", "--set training.schedule=cosin", "training.schedule: unknown", "did you mean 'cosine'?"),
    option(
        "many wrong settings at once",
        "--set training.lrr=1 --set batch.tokens=many --set tokenizer.kind=words --seed=-1 --set nonsense=1",
        "5 problems",
        "unknown key 'training.lrr'",
        "did you mean 'lr'?",
        "key 'batch.tokens' is 'many'",
        "key 'tokenizer.kind' is 'words'",
        "'wordpiece', 'bpe'",
        "key 'seed' is -1",
        "unknown key 'nonsense'",
    ),
    option(
        "many unknown names at once",
        "--task x --set training.schedule=y",
        "2 problems",
        "unknown task 'x'",
        "unknown schedule 'y'",
    ),
    option("unknown option of the task", "--set options.pairs=true", "options: unknown key 'pairs'", "did you mean 'pair'?"),
    option("--set without a value", "--set training.lr", "--set: 'training.lr' is not key=value", "section.key=value"),
    option("--set of a value and a section", "--set batch=1 --set batch.rows=2", "--set: 'batch' is a value and a section"),
    option("unknown flag", "--epochs 3", "--epochs", "fix: regard --help"),
    option("seed that is no number", "--seed many", "--seed", "many"),
    option(
        "unknown key of the architecture",
        "--set architecture.n_layer=3",
        "unknown key 'n_layer'",
        "did you mean 'n_layers'?",
    ),
    option(
        "architecture that does not fit together", "--set architecture.n_heads=3", "n_heads=3 does not divide d_model=128"
    ),
    option(
        "a vocabulary as architecture",
        "--set architecture.vocab_size=9",
        "architecture: vocab_size comes from the tokenizer",
        "fix: set tokenizer.vocab_size",
    ),
    option("no room for text", "--set batch.max_length=2", "batch.max_length: max_length 2 leaves no room for text", "fix:"),
    option("longer than the positions", "--set batch.max_length=513", "batch.max_length: 513 tokens", "at most 512"),
    option("learning rate 0", "--set training.lr=0", "key 'training.lr' is 0", "greater than 0"),
    option("dropout 1", "--set training.dropout=1", "key 'training.dropout' is 1", "less than 1"),
    option("batch of no rows", "--set batch.rows=0", "key 'batch.rows' is 0", "greater than or equal to 1"),
    option("nothing held out", "--set data.eval_share=0.01", "x.csv: 20 rows are too few to hold 1% out", "--eval FILE"),
    option("columns without a name", "--columns text", "--columns: 'text' is not name=column", "text=review"),
    option("columns mapped twice", "--columns text=a,text=b", "--columns: 'text' is mapped twice"),
    option(
        "columns that are not there", "--columns text=review", "no column 'review' (mapped to 'text')", "'text', 'label'"
    ),
    option("columns by name and number", "--columns text=0,label=label", "names and numbers are mixed", "fix: give numbers"),
    Case("no data", "train --model tiny --out run", ("data.train: no training data", "fix: regard train FILE")),
    Case("unknown verb", "trian x.csv", ("trian", "fix: regard --help")),
    Case("verb without its argument", "evaluate", ("MODEL", "fix: regard --help")),
    Case("run file missing", "train y.toml", ("y.toml: no such file", "fix: check the path")),
    Case("run file broken", "train y.toml", ("y.toml: not a TOML file", "line 1"), files={"y.toml": "task = = 1\n"}),
    Case(
        "run file with unknown keys, and a wrong option beside",
        "train y.toml --seed=-1",
        ("3 problems", "y.toml: unknown key 'epochs'", "y.toml: unknown key 'training.lrate'", "settings: key 'seed' is -1"),
        files={"y.toml": 'epochs = 3\n[data]\ntrain = "x.csv"\n[training]\nlrate = 1\n'},
    ),
]

MODELS = [
    broken("a model without a head", behead, "model: the model has learned no task", "regard train DATA --model model"),
    Case("no such model folder", "predict ./models/x fine", ("./models/x: no such folder",)),
    Case(
        "a misspelt model folder",
        "predict ./modle fine",
        ("./modle: no such folder", "did you mean 'model'?"),
        model="pairs",
    ),
    Case("a file for a model", "predict x.csv fine", ("x.csv: a file, not a model folder",)),
    Case("a preset to predict with", "predict tiny fine", ("tiny: a preset is a size, it has no weights",)),
    Case(
        "an architecture for a pretrained model",
        "train x.csv --model model --out run --set architecture.n_layers=3",
        (
            "architecture: a pretrained model has an architecture of its own",
            "allowed: with a preset: base, mini, small, tiny",
        ),
        model="trained",
    ),
    Case("a preset to check with", "check x.csv --model tiny", ("tiny: a preset is a size",)),
    broken("no config", lambda folder: (folder / "model" / "config.json").unlink(), "config.json: no such file", "fix:"),
    broken(
        "three wrong keys in the config",
        wrong_settings,
        "3 problems",
        "model/config.json: unknown key 'model.n_layerz'",
        "did you mean 'n_layers'?",
        "key 'model.d_model' is 'wide'",
        "key 'model.dropout' is 3",
    ),
    broken("weights cut off", cut, "model/model.safetensors", "the file is cut or broken: get it anew"),
    broken("weights pickled", pickled, "model/pytorch_model.bin: a pickled file", "never read", "safetensors"),
    broken(
        "weights for another size",
        lambda folder: config(folder, model={**read_json(folder / "model" / "config.json")["model"], "n_layers": 3}),
        "model/model.safetensors",
        "config.json says 3 for n_layers, the encoder has 2",
    ),
    broken("another model's tokenizer", other_vocabulary, "model: the tokenizer knows", "another model's"),
    broken("no tokenizer", lambda folder: (folder / "model" / "tokenizer.json").unlink(), "model", "tokenizer.json", "fix:"),
    broken(
        "newer format", lambda folder: config(folder, format="regard/9"), "config.json: key 'format' is 'regard/9'", "fix:"
    ),
    broken(
        "unknown model_type",
        lambda folder: write_json(folder / "model" / "config.json", {"model_type": "brt"}),
        "model/config.json: unknown model_type 'brt'",
        "did you mean 'bert'?",
    ),
    broken(
        "task.json broken",
        lambda folder: (folder / "model" / "task.json").write_text("{"),
        "model/task.json: not JSON",
        "fix: get the file anew",
    ),
    broken(
        "task unknown", lambda folder: task(folder, task="tagging"), "model: task.json: unknown task 'tagging'", "allowed:"
    ),
    broken("labels forgotten", lambda folder: forget(folder, "task.json", "labels"), "task.json: missing key 'labels'"),
    broken("a label too many", lambda folder: task(folder, labels=["a", "b", "c"]), "task.json: 3 labels", "allowed: 2"),
    broken(
        "temperature 0", lambda folder: task(folder, temperature=0), "task.json: key 'temperature' is 0", "greater than 0"
    ),
    broken("wrong columns", lambda folder: task(folder, columns=3, max_length=0), "2 problems", "'columns'", "'max_length'"),
    Case("hub model offline", "predict someone/model fine", ("someone/model: not in the local cache", "REGARD_OFFLINE")),
    Case(
        "hub model offline to train", "train x.csv --model minilm --out run", ("all-MiniLM-L6-v2: not in the local cache",)
    ),
    Case("hub data offline", "train hub:a/b --model tiny --out run", ("hub:a/b", "fix:")),
]

RUNS = [
    Case(
        "a folder with another run",
        f"{TRAIN} --seed 7",
        ("run: the folder holds a run with other settings: seed was 0, now 7", "choose another --out"),
        prepare=run_of,
    ),
    Case(
        "a folder with something else",
        TRAIN,
        ("run: the folder holds something that is not a run", "choose another --out"),
        files={"run/thesis.txt": "years of work"},
    ),
    Case("a file in its place", TRAIN, ("run: a file has this name", "choose another --out"), files={"run": "mine"}),
    Case(
        "the data changed",
        TRAIN,
        ("run: the data changed since this run began", "fix: restore the files, or choose another --out"),
        prepare=began_with_other_data,
    ),
    Case("run.toml broken", TRAIN, ("run/run.toml: not a TOML file",), files={"run/run.toml": "seed = = 1"}),
    Case(
        "run.toml of a newer Regard",
        TRAIN,
        ("run/run.toml: unknown key 'zeal'",),
        prepare=lambda folder: run_of(folder, zeal=1),
    ),
    Case("metrics.json broken", TRAIN, ("run/metrics.json: not the metrics of a run", "fix:"), prepare=finished_badly),
]

USES = [
    Case("no text", PREDICT, ("no text was given", "fix: give a text, or --input FILE")),
    Case("a second text too many", f"{PREDICT} fine --pair fine", ("this model reads one text", "leave out the pairs")),
    Case("no second text", f"{PREDICT} fine", ("no pair was given", "fix: regard predict MODEL TEXT --pair"), model="pairs"),
    Case(
        "a second text too few",
        f"{PREDICT} fine fine --pair fine",
        ("unequal numbers of values: 2 of text, 1 of pair", "fix: give one for each row"),
        model="pairs",
    ),
    Case(
        "a column that the model does not read",
        f"{PREDICT} fine --context fine",
        ("this model reads no context", "allowed: text", "fix: leave out the context"),
    ),
    Case("half a character", f"{PREDICT} fine \udce9", ("text 2: half a surrogate pair", "UTF-8")),
    Case("a text and a file", f"{PREDICT} fine --input x.csv", ("--input: texts and a file of texts", "one of the two")),
    Case("columns without a file", f"{PREDICT} fine --columns text=0", ("--columns: there is no file", "give --input FILE")),
    Case("input missing", f"{PREDICT} --input y.csv", ("y.csv: no such file", "fix:")),
    Case(
        "input without the text column",
        f"{PREDICT} --input y.csv",
        ("y.csv: no column 'text'", "allowed: review", "--columns text=NAME"),
        files={"y.csv": "review\nfine\n"},
    ),
    Case("input with a header only", f"{PREDICT} --input y.csv", ("y.csv: there are no rows",), files={"y.csv": "text\n"}),
    Case(
        "input that is no text",
        f"{PREDICT} --input y.jsonl",
        ("2 problems", "y.jsonl, row 2 (line 2), column text: a number where text is meant", "nothing (null)"),
        files={"y.jsonl": '{"text": "a"}\n{"text": 1}\n{"text": null}\n'},
    ),
    Case(
        "input that breaks off, with an output",
        f"{PREDICT} --input y.jsonl --output z.csv",
        ("y.jsonl, row 2 (line 2), column text: half a surrogate pair",),
        files={"y.jsonl": '{"text": "a"}\n{"text": "\\ud800"}\n', "z.csv": "my old answers"},
    ),
    Case(
        "output of unknown ending", f"{PREDICT} fine --output z.xlsx", ("z.xlsx: cannot write .xlsx", ".jsonl, .csv, .tsv")
    ),
    Case("output without an ending", f"{PREDICT} fine --output z", ("z: cannot write a file without an ending",)),
    Case("unknown precision", f"{PREDICT} fine --precision float16", ("precision: unknown precision 'float16'", "bfloat16")),
    Case(
        "evaluate: no labels", "evaluate model y.csv", ("y.csv: no column 'label'", "fix:"), files={"y.csv": "text\nfine\n"}
    ),
    Case(
        "evaluate: unknown labels",
        "evaluate model y.csv",
        ("y.csv, row 2 (line 3), column label: unknown label 'goood'", "did you mean 'good'?"),
        files={"y.csv": "text,label\nfine,good\nfine,goood\n"},
    ),
    Case("evaluate: no such file", "evaluate model y.csv", ("y.csv: no such file",)),
]

CASES = FILES + OPTIONS + MODELS + RUNS + USES


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_wrong_input_is_refused_with_its_place_and_its_remedy(case, command, request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGARD_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path.parent / "empty-cache"))
    Path("x.csv").write_text(GOOD, encoding="utf-8")
    if "model" in case.command.split() or case.prepare or case.model != "trained":
        shutil.copytree(request.getfixturevalue(case.model), "model")
    for name, content in (case.files or {}).items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    if case.prepare:
        case.prepare(tmp_path)
    before = tree(tmp_path)

    done = command(*case.command.split(), "--json")

    assert done.status == 2, done.err
    assert not [says for says in case.says if says not in done.err], done.err
    assert done.err.startswith("regard: ")
    assert "Traceback" not in done.err
    assert done.out == ""
    assert tree(tmp_path) == before


def test_what_is_wrong_with_the_rows_is_in_the_report_of_check(command, tmp_path):
    (tmp_path / "x.csv").write_text(rows(",good", "fine,"), encoding="utf-8")
    done = command("check", tmp_path / "x.csv", "--json")
    assert done.status == 2
    report = json.loads(done.out)
    assert report["problems"]["count"] == 2
    assert "row 22" in report["problems"]["first"][1]
    assert "row 22" in done.err


def test_texts_that_are_in_both_files_are_a_warning_alone(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text(GOOD, encoding="utf-8")
    Path("y.csv").write_text("text,label\na fine film 3,good\na new film,bad\n", encoding="utf-8")
    done = command("check", "y.csv", "--against", "x.csv")
    assert done.status == 0
    assert "y.csv: 1 of 2 rows are in x.csv too (such as row 1), which flatters the scores" in done.err


def test_a_traceback_is_there_for_who_asks(command, monkeypatch, tmp_path):
    monkeypatch.setenv("REGARD_DEBUG", "1")
    with pytest.raises(Exception, match="no such file"):
        command("check", tmp_path / "none.csv")
