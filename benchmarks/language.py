"""Language models from scratch: how good for how much time.

    python benchmarks/language.py [--only shakespeare] [--rounds 2] [--steps 2000] [--threads 2] [--json]
    python benchmarks/language.py --only ptb [--steps 12000]

- `shakespeare`: tiny Shakespeare by characters with the model and the loop of nanoGPT's README for a CPU (0.8 million
  parameters, 2,000 steps of 12 rows of 64 characters; its published validation loss is 1.88 nats a character). `plain` is
  that loop in plain torch, see plain_gpt.py; `regard` is `regard.train`, its reading of the text, evaluations, checkpoints
  and the saved folder counted in. Contenders take turns; each round is a training from scratch with a seed of its own.
  `loss` is exact, over all of the last tenth of the text for everybody; `estimate` is nanoGPT's own, of 20 random batches.
- `ptb`: a 4-layer model of the 10,000 words of the Penn Treebank; perplexity of the test file, where the end of a line is a
  word, against 82.7, that of a medium LSTM (Zaremba et al. 2014). The full length takes hours.
"""

from __future__ import annotations

import gzip
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
from harness import Contender, Spread

SAME = {"norm_bias": False, "bias": False}
LLAMA = {"positions": "rotary", "norm": "rms", "activation": "silu", "gated": True, "d_ff": 344, "bias": False}
SHAPES = {"as nanoGPT": SAME, "rotary": {**SAME, "positions": "rotary"}, "rotary, RMSNorm, gated": LLAMA}
"""Changes to the preset `tiny`; all have as many parameters, but for the table of positions."""


class Regard:
    """`regard.train` as anybody calls it."""

    def __init__(self, folder: Path, steps: int, precision: str, shape: dict[str, Any], threads: int) -> None:
        self.folder, self.steps = folder, steps
        self.settings = {
            "options": {"documents": "file", "block": 64, "validate_on": 1},
            "tokenizer": {"kind": "char"},
            "architecture": {**shape, "max_positions": 64, "dropout": 0.0, "attention_dropout": 0.0},
            "batch": {"rows": 12},
            "training": {
                "steps": steps,
                "lr": 1e-3,
                "betas": [0.9, 0.99],
                "weight_decay": 0.1,
                "schedule": "cosine",
                "warmup": 100,
                "eval_every": 250,
                "checkpoint_every": steps,
                "precision": precision,
                "threads": threads,
            },
        }

    def facts(self) -> dict[str, Any]:
        """Imports before the clock runs."""
        import regard.training.run  # noqa: F401

        return {}

    def run(self, seed: int) -> dict[str, float]:
        """One training from scratch: seconds and CPU seconds of all of it, those of its steps alone, the exact loss."""
        import regard

        out = self.folder / f"run-{seed}-{id(self)}"
        started, cpu = time.perf_counter(), time.process_time()
        files = {"data": str(self.folder / "train.txt"), "eval": str(self.folder / "held.txt")}
        result = regard.train(**files, task="text-generation", model="tiny", out=out, seed=seed, settings=self.settings)
        taken = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu, "steps": result.seconds}
        shutil.rmtree(out)
        return {**taken, "loss": result.metrics["loss"]["value"]}


def plain(train: Path, held: Path, steps: int, half: bool, threads: int) -> Any:
    """The reference, in the process of its own."""
    import torch

    from plain_gpt import PlainLoop

    torch.set_num_threads(threads)
    return PlainLoop(train.read_text(encoding="utf-8"), held.read_text(encoding="utf-8"), steps, half)


def shakespeare(folder: Path, *, rounds: int, steps: int, threads: int) -> list[dict[str, Any]]:
    """A line a contender."""
    with gzip.open(harness.shared() / "data/tinyshakespeare/input.txt.gz", "rt", encoding="utf-8") as file:
        text = file.read()
    cut = int(0.9 * len(text))
    train, held = folder / "train.txt", folder / "held.txt"
    train.write_text(text[:cut], encoding="utf-8")
    held.write_text(text[cut:], encoding="utf-8")
    contenders = [
        Contender(f"plain {name}", plain, train, held, steps, name == "bfloat16", threads)
        for name in ("float32", "bfloat16")
    ]
    contenders += [
        Contender(f"regard {precision}, {name}", Regard, folder, steps, precision, shape, threads)
        for name, shape in SHAPES.items()
        for precision in ("float32", "bfloat16")
    ]
    answers = harness.alternate(contenders, rounds, "run")
    for contender in contenders:
        contender.close()
    return [row(name, turns) for name, turns in answers.items()]


def row(name: str, turns: list[dict[str, float]]) -> dict[str, Any]:
    """A contender's line."""
    estimates = [turn["estimate"] for turn in turns if "estimate" in turn]
    return {
        "contender": name,
        "loss, nats a character": f"{statistics.mean(turn['loss'] for turn in turns):.4f}",
        "estimate": f"{statistics.mean(estimates):.4f}" if estimates else "–",
        "CPU seconds": Spread.of(turn["cpu"] for turn in turns),
        "seconds": Spread.of(turn["seconds"] for turn in turns),
    }


def ptb(folder: Path, *, steps: int, threads: int) -> list[dict[str, Any]]:
    """One line: the model and its perplexity."""
    import regard

    for part in ("train", "valid", "test"):
        with gzip.open(harness.shared() / f"data/ptb/ptb.{part}.txt.gz", "rt", encoding="utf-8") as file:
            lines = [line for line in file if line.strip()]
        (folder / f"{part}.txt").write_text("".join(lines), encoding="utf-8")
    settings = {
        "options": {"block": 128, "validate_on": 1000},
        "tokenizer": {"kind": "word", "vocab_size": 10_003},
        "architecture": {**LLAMA, "d_model": 256, "n_heads": 4, "d_ff": 688, "max_positions": 512, "dropout": 0.3},
        "batch": {"rows": 16},
        "training": {
            "steps": steps,
            "lr": 1e-3,
            "betas": [0.9, 0.99],
            "weight_decay": 0.1,
            "schedule": "cosine",
            "eval_every": 500,
            "threads": threads,
        },
    }
    started, cpu = time.perf_counter(), time.process_time()
    files = {"data": str(folder / "train.txt"), "eval": str(folder / "valid.txt")}
    result = regard.train(**files, task="text-generation", model="mini", out=folder / "run", settings=settings)
    taken = {"CPU minutes": (time.process_time() - cpu) / 60, "minutes": (time.perf_counter() - started) / 60}
    tested = regard.load(folder / "run").evaluate(str(folder / "test.txt")).as_dict()
    perplexity = tested["metrics"]["perplexity"]
    return [
        {
            "model": "4 layers, 256 wide",
            "steps": str(result.steps),
            **taken,
            "perplexity of valid": result.metrics["perplexity"]["value"],
            "perplexity of test": f"{perplexity['value']:.1f} ({perplexity['low']:.1f}–{perplexity['high']:.1f})",
            "tokens of test": str(tested["tokens"]),
            "published": "medium LSTM: 82.7",
        }
    ]


def main() -> None:
    parser = harness.options(__doc__, rounds=2)
    parser.add_argument("--only", choices=("shakespeare", "ptb"), default="shakespeare")
    parser.add_argument("--steps", type=int, help="2,000 for Shakespeare, 12,000 for the Penn Treebank")
    options = parser.parse_args()
    harness.confine(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only == "ptb":
            table = ptb(folder, steps=options.steps or 12_000, threads=options.threads)
        else:
            table = shakespeare(folder, rounds=options.rounds, steps=options.steps or 2_000, threads=options.threads)
    harness.show({options.only: table, "machine": harness.machine()}, as_json=options.json)


if __name__ == "__main__":
    main()
