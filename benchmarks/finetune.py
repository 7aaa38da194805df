"""Fine-tuning MiniLM-L6 on SST-2: Regard's own loop against transformers at its best and against a tutorial's recipe.

    python benchmarks/finetune.py [--rounds 6] [--rows 2048] [--threads 2] [--json]
    python benchmarks/finetune.py --profile      where Regard's milliseconds go, and how far that is from the machine's peak

- `regard`: what `regard train` runs, from reading a batch to the updated weights.
- `hf N`: transformers with all that is known to help: rows sorted by length in pools, padded to the longest of N rows,
  bfloat16 autocast, fused AdamW, clipping. One N is the mean number of rows in Regard's steps.
- `article`: every row padded to 128 tokens, 16 rows a step, float32, AdamW. It gets a sixteenth of the rows.

Tokenization is done before; evaluation and checkpoints are not part of a round. Every round has rows of its own.
"""

from __future__ import annotations

import csv
import gzip
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness
from harness import Contender, Round, faster

LR = 2e-5
POOL = 64
"""Batches' worth of rows that are sorted together, for every contender that sorts."""
HF_ROWS = (16, 32, 64)
ARTICLE_SHARE = 16


def write_rows(path: Path, count: int) -> None:
    """`count` of SST-2's training rows, drawn by a fixed seed."""
    with gzip.open(harness.shared() / "data/sst2/train_full.tsv.gz", "rt", encoding="utf-8") as file:
        heading, *lines = file
    path.write_text(heading + "".join(random.Random(0).sample(lines, count)), encoding="utf-8")


class Regard:
    """The public loop over a run prepared by `regard train`'s own code. rows: in a round."""

    def __init__(self, data: Path, checkpoint: Path, rows: int) -> None:
        from regard.config import BatchConfig, DataConfig, RunConfig
        from regard.training.optimizers import optimizer_for
        from regard.training.precision import compute_dtype, device
        from regard.training.prepare import prepare

        dev = str(harness.shared() / "data/sst2/dev.tsv")
        files = DataConfig(train=str(data), eval=dev, columns={"text": "sentence"})
        config = RunConfig(task="text-classification", model=str(checkpoint), data=files, batch=BatchConfig(pool=POOL))
        self.prepared = prepare(config, data.parent / "run")
        self.dtype = compute_dtype("auto", device())
        self.optimizer = optimizer_for(self.prepared.model, config.training, self.dtype)
        self.rows, self.steps = rows, 0

    def batches(self, number: int) -> tuple[Any, list[Any]]:
        """The rows of a round, and the plan of its steps."""
        import numpy as np

        from regard.data.batch import Batches
        from regard.training.prepare import Part

        store: Any = self.prepared.train
        part = Part(store, np.arange(number * self.rows, (number + 1) * self.rows))
        tokens = self.prepared.task.defaults.tokens[1]
        return part, Batches(part.lengths, tokens=tokens, rows=None, pool=POOL, seed=number).epoch(0)

    def facts(self) -> dict[str, Any]:
        """Rows in a step, on average."""
        return {"rows": self.rows / len(self.batches(0)[1])}

    def train(self, number: int) -> Round:
        """One pass over the rows of a round."""
        from regard.data.batch import take
        from regard.training.fit import fit

        start = time.perf_counter()
        part, plan = self.batches(number)
        passes = ([take(part, rows)] for rows in plan)
        model, task = self.prepared.model, self.prepared.task
        settings: dict[str, Any] = {"rate": lambda step: LR, "clip": 1.0, "dtype": self.dtype}
        done = list(fit(model, task, passes, self.optimizer, first=self.steps + 1, **settings))
        self.steps += len(done)
        return Round(time.perf_counter() - start, sum(step.rows for step in done), len(done))


@dataclass(frozen=True)
class Recipe:
    """How transformers is used. rows: in a step; length: that all rows are padded to, None = a batch's longest, with rows
    sorted by length in pools; tuned: bfloat16 autocast, fused AdamW and clipping; share: one of so many rows of a round."""

    rows: int
    length: int | None = None
    tuned: bool = True
    share: int = 1


class HuggingFace:
    """A plain training loop over a transformers model. rows: in a round."""

    def __init__(self, data: Path, checkpoint: Path, rows: int, recipe: Recipe) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        with data.open(encoding="utf-8", newline="") as file:
            table = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        ids = tokenizer([row["sentence"] for row in table], truncation=True, max_length=recipe.length or 256)["input_ids"]
        self.examples = [(torch.tensor(row), int(line["label"])) for row, line in zip(ids, table, strict=True)]
        torch.manual_seed(0)
        self.model = AutoModelForSequenceClassification.from_pretrained(
            checkpoint, num_labels=2, dtype=torch.float32
        ).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LR, fused=recipe.tuned)
        self.rows, self.recipe = rows, recipe

    def facts(self) -> dict[str, Any]:
        """Rows in a step."""
        return {"rows": self.recipe.rows}

    def batches(self, number: int) -> Iterator[list[Any]]:
        """The rows of a round as steps: shuffled, then sorted by length in pools if padding depends on it."""
        start, size = number * self.rows, self.recipe.rows
        part = self.examples[start : start + self.rows // self.recipe.share]
        shuffle = random.Random(number).shuffle
        shuffle(part)
        if self.recipe.length is None:
            pools = [part[i : i + POOL * size] for i in range(0, len(part), POOL * size)]
            part = [row for pool in pools for row in sorted(pool, key=lambda row: len(row[0]))]
        cut = [part[i : i + size] for i in range(0, len(part), size)]
        shuffle(cut)
        yield from cut

    def train(self, number: int) -> Round:
        """One pass over the rows of a round."""
        start, rows, steps = time.perf_counter(), 0, 0
        for batch in self.batches(number):
            self.step(batch)
            rows, steps = rows + len(batch), steps + 1
        return Round(time.perf_counter() - start, rows, steps)

    def step(self, batch: list[Any]) -> None:
        """One optimizer update."""
        import torch

        longest = self.recipe.length or max(len(ids) for ids, _ in batch)
        input_ids = torch.zeros(len(batch), longest, dtype=torch.int64)
        attention_mask = torch.zeros_like(input_ids)
        for row, (ids, _) in enumerate(batch):
            input_ids[row, : len(ids)] = ids
            attention_mask[row, : len(ids)] = 1
        labels = torch.tensor([label for _, label in batch])
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.tuned):
            loss = self.model(input_ids=input_ids, attention_mask=attention_mask, labels=labels).loss
        loss.backward()
        if self.recipe.tuned:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def compare(data: Path, checkpoint: Path, *, rows: int, rounds: int) -> dict[str, Any]:
    """All contenders in turns."""
    regard = Contender("regard", Regard, data, checkpoint, rows)
    matched = round(regard.facts["rows"])
    article = Recipe(16, length=128, tuned=False, share=ARTICLE_SHARE)
    contenders = [
        regard,
        *(
            Contender(f"hf {size}", HuggingFace, data, checkpoint, rows, Recipe(size), group="hf")
            for size in sorted({*HF_ROWS, matched})
        ),
        Contender("article", HuggingFace, data, checkpoint, rows, article),
    ]
    turns = harness.alternate(contenders, 1 + rounds, "train")
    best, ours = harness.fastest(contenders, turns)["hf"], turns["regard"]
    peaks = {contender.name: contender.peak_mb for contender in contenders}
    for contender in contenders:
        contender.close()

    return {
        "rows in a step of regard": f"{regard.facts['rows']:.1f}",
        "speed against the article's recipe": faster(ours, turns["article"]),
        f"speed against hf with as many rows a step (hf {matched})": faster(ours, turns[f"hf {matched}"]),
        f"speed against hf at its best ({best})": faster(ours, turns[best]),
        "peak memory against the same": f"{peaks['regard'] / peaks[best]:.2f}",
        "Fine-tuning, sentences a second": harness.speeds(contenders, turns),
    }


def main() -> None:
    parser = harness.options(__doc__, rounds=6)
    parser.add_argument("--rows", type=int, default=2048, help="in a round")
    parser.add_argument("--profile", action="store_true", help="instead: where Regard's milliseconds go")
    options = parser.parse_args()
    harness.confine(options.threads)
    checkpoint = harness.checkpoint("minilm-l6")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.tsv"
        if options.profile:
            from anatomy import anatomy

            write_rows(data, 2 * options.rows)
            report = anatomy(Regard(data, checkpoint, options.rows))
        else:
            write_rows(data, (1 + options.rounds) * options.rows)
            report = compare(data, checkpoint, rows=options.rows, rounds=options.rounds)
    harness.show({**report, "machine": harness.machine()}, as_json=options.json)


if __name__ == "__main__":
    main()
