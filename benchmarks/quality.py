"""How good models of Regard are on data sets with published results, by the command line that everybody has.

    python benchmarks/quality.py [NAME …] [--threads 2] [--json]      NAME: sst2 chnsenticorp tnews trec, or none for all

Each model is trained by `regard train` with the seed 0 and measured by `regard evaluate` on rows that took no part in its
training; the interval is a 95% bootstrap interval. The commands are printed before they run.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness


@dataclass(frozen=True)
class Case:
    """One data set. files: writes or names (train, eval or None, test); model: a preset, or a checkpoint's name.

    published: what others reach with models of about this size, and the split that they tell it for.
    """

    files: Callable[[Path], tuple[Path, Path | None, Path]]
    model: str
    columns: str
    settings: tuple[str, ...]
    published: str


def sst2(_: Path) -> tuple[Path, Path | None, Path]:
    """Chosen on dev; the test file is that of the Stanford Sentiment Treebank, whose labels GLUE keeps to itself."""
    folder = harness.shared() / "data/sst2"
    return folder / "train_full.tsv.gz", folder / "dev.tsv", folder / "test-labeled.tsv"


def chnsenticorp(_: Path) -> tuple[Path, Path | None, Path]:
    """As published; 330 of the 1,200 test texts also occur in the training file."""
    folder = harness.shared() / "data/chnsenticorp"
    return folder / "train.tsv.gz", folder / "dev.tsv.gz", folder / "test.tsv.gz"


def tnews(scratch: Path) -> tuple[Path, Path | None, Path]:
    """CLUE's labelled dev rows serve as the test; the best step is chosen on a share of the training rows."""
    folder = harness.shared() / "data/tnews"
    parts = []
    for part in ("train", "test"):
        with gzip.open(folder / f"{part}.json.gz", "rb") as file:
            (scratch / f"{part}.jsonl").write_bytes(file.read())
        parts.append(scratch / f"{part}.jsonl")
    return parts[0], None, parts[1]


def trec(scratch: Path) -> tuple[Path, Path | None, Path]:
    """`COARSE:fine question` lines as a table; the six coarse labels."""
    folder = harness.shared() / "data/trec"
    with gzip.open(folder / "TREC.train.gz", "rt", encoding="latin-1") as file:
        write_trec(file, scratch / "train.csv")
    with (folder / "TREC.test").open(encoding="latin-1") as file:
        write_trec(file, scratch / "test.csv")
    return scratch / "train.csv", None, scratch / "test.csv"


def write_trec(lines: Iterable[str], path: Path) -> None:
    """The lines of one of TREC's files as a table."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        for line in lines:
            label, _, question = line.strip().partition(" ")
            table.writerow([question, label.partition(":")[0]])


CASES = {
    "sst2": Case(
        sst2,
        "minilm-l6",
        "text=sentence",
        ("training.epochs=3", "training.lr=4e-5", "batch.tokens=512", "training.eval_every=250", "options.pool=mean"),
        "this checkpoint by transformers, 1 epoch: 0.889 dev",
    ),
    "chnsenticorp": Case(
        chnsenticorp,
        "m3e-small",
        "text=text_a",
        ("training.epochs=3", "training.lr=1e-4", "batch.max_length=192"),
        "RoBERTa of 3 layers (RBT3): 0.928 test",
    ),
    "tnews": Case(
        tnews,
        "m3e-small",
        "text=sentence",
        ("training.epochs=2", "training.lr=1e-4", "data.eval_share=0.03"),
        "ALBERT-tiny 0.5353, BERT-base 0.5609 dev",
    ),
    "trec": Case(
        trec,
        "tiny",
        "",
        (
            "architecture.norm_place=pre",
            "architecture.embedding_norm=false",
            "architecture.n_heads=8",
            "architecture.dropout=0.4",
            "architecture.attention_dropout=0",
            "tokenizer.vocab_size=2000",
            "training.lr=2e-3",
            "batch.rows=32",
            "data.eval_share=0.05",
        ),
        "convolutional network with pretrained vectors: 0.93 test",
    ),
}


def measured(name: str, case: Case, folder: Path, threads: int) -> dict[str, Any]:
    """Train, evaluate: a line of the table."""
    scratch = folder / name
    scratch.mkdir()
    train, held_out, test = case.files(scratch)
    model = case.model if case.model in ("tiny", "mini", "small", "base") else str(harness.checkpoint(case.model))
    command = ["train", str(train), "--model", model, "--out", str(scratch / "run"), "--seed", "0"]
    command += ["--eval", str(held_out)] if held_out else []
    command += ["--columns", case.columns] if case.columns else []
    for setting in (*case.settings, f"training.threads={threads}"):
        command += ["--set", setting]
    trained = regard(command)
    tested = regard(["evaluate", str(scratch / "run"), str(test)])
    return {
        "data": name,
        "from": case.model,
        "steps": str(trained["steps"]),
        "minutes": trained["seconds"] / 60,
        "accuracy where the best step was chosen": interval(trained),
        "accuracy on the test file": interval(tested),
        "macro-F1 there": f"{tested['metrics']['macro-f1']['value']:.3f}",
        "others": case.published,
    }


def regard(command: list[str]) -> dict[str, Any]:
    """What `regard` prints."""
    print("regard", shlex.join(command), file=sys.stderr, flush=True)
    program = [sys.executable, "-m", "regard", *command, "--json"]
    done = subprocess.run(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ, check=True)
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def interval(result: dict[str, Any]) -> str:
    """Accuracy with its interval."""
    accuracy = result["metrics"]["accuracy"]
    return f"{accuracy['value']:.4f} ({accuracy['low']:.3f}–{accuracy['high']:.3f})"


def main() -> None:
    parser = harness.options(__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CASES)}")
    options = parser.parse_args()
    if unknown := set(options.names) - set(CASES):
        parser.error(f"no data set {', '.join(sorted(unknown))}: choose from {', '.join(CASES)}")
    harness.confine(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        names = options.names or list(CASES)
        rows = [measured(name, CASES[name], Path(folder), options.threads) for name in names]
    harness.show({"Quality": rows, "machine": harness.machine()}, as_json=options.json)


if __name__ == "__main__":
    main()
