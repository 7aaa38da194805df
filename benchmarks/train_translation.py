"""Training a translator on Multi30k from nothing: Regard's own loop against transformers' Marian of the same size.

    python benchmarks/train_translation.py [--rounds 4] [--steps 8] [--tokens 4096] [--threads 2] [--json]
    python benchmarks/train_translation.py --profile      where Regard's milliseconds go

- `regard`: what `regard train` runs, from reading a batch to the updated weights.
- `hf DTYPE`: the same rows in the same steps, padded to their longest, with label smoothing, fused AdamW and clipping;
  `bfloat16` is autocast.
- `default`: 8 rows a step as they come, padded, float32, as `Seq2SeqTrainer` does when it is told nothing else.

Speed is counted in target tokens. Tokenization is done before; evaluation and checkpoints are not part of a round.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
from harness import Contender, Round

LR, SMOOTHING, DROPOUT = 1e-3, 0.1, 0.3
Rows = list[tuple[list[int], list[int]]]
"""Source and target ids of each row of a step."""
DEFAULT_ROWS = 8
"""Rows in a step of the default loop, which are drawn from all rows of a round, whatever their lengths."""
DEFAULT_STEPS = 4
"""How many times as many steps it does in a round: they are small."""


class Regard:
    """The public loop over a run prepared by `regard train`'s own code. steps: in a round."""

    def __init__(self, folder: Path, tokens: int, steps: int) -> None:
        from regard.config import RunConfig, parse
        from regard.training.prepare import prepare
        from regard.training.run import Run

        data = harness.shared() / "data/multi30k/tok"
        said = {
            "task": "translation",
            "model": "tiny",
            "out": str(folder / "run"),
            "data": {
                split: str(data / f"{name}.lc.norm.tok.en-de") for split, name in (("train", "train"), ("eval", "val"))
            },
            "tokenizer": {"vocab_size": 10_000},
            "architecture": {"dropout": DROPOUT},
            "batch": {"tokens": tokens},
            "training": {"steps": 100_000, "clip": 1.0},
        }
        config = parse(RunConfig, said, where="benchmark")
        self.run = Run(config, folder / "run", prepare(config, folder / "run"))
        self.steps, self.done = steps, 0

    def facts(self) -> dict[str, Any]:
        """Parameters of the model."""
        return {"parameters": sum(parameter.numel() for parameter in self.run.model.parameters())}

    def plan(self, number: int) -> list[Any]:
        """The rows of a round, a list a step."""
        groups = self.run.batches.steps(after=number * self.steps)
        return [next(groups)[0] for _ in range(self.steps)]

    def train(self, number: int) -> Round:
        """The steps of a round; "rows" are target tokens."""
        from regard.data.batch import take
        from regard.training.fit import fit

        start, plan = time.perf_counter(), self.plan(number)
        run, store = self.run, self.run.prepared.train
        passes = ([take(store, rows)] for rows in plan)
        settings: dict[str, Any] = {"rate": lambda step: LR, "clip": 1.0, "smoothing": SMOOTHING, "dtype": run.dtype}
        self.done += len(list(fit(run.model, run.task, passes, run.optimizer, first=self.done + 1, **settings)))
        return Round(time.perf_counter() - start, sum(int(store.sizes[rows, 1].sum()) for rows in plan), len(plan))

    def examples(self, rounds: int) -> list[Rows]:
        """For the others: the rows of every step of all rounds, as (source, target) ids."""
        found = []
        for number in range(rounds):
            for rows in self.plan(number):
                cells = self.run.prepared.train.gather(rows)
                pairs = zip(cells["input_ids"], cells["target_ids"], strict=True)
                found.append([(source.tolist(), target.tolist()) for source, target in pairs])
        return found


class HuggingFace:
    """A plain training loop over transformers' Marian. plan: the rows of every step; steps: in a round."""

    def __init__(self, plan: list[Rows], steps: int, dtype: str, tuned: bool) -> None:
        import torch
        from transformers import MarianConfig, MarianMTModel

        shape = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in SHAPE.items()}
        pad = VOCABULARY - 1
        config = MarianConfig(
            vocab_size=VOCABULARY,
            d_model=128,
            **shape,
            activation_function="relu",
            dropout=DROPOUT,
            pad_token_id=pad,
            eos_token_id=0,
            decoder_start_token_id=pad,
            scale_embedding=True,
            max_position_embeddings=512,
        )
        torch.manual_seed(0)
        self.model = MarianMTModel(config).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LR, fused=tuned)
        self.plan, self.steps, self.pad = plan, steps, pad
        self.dtype, self.tuned = dtype, tuned

    def facts(self) -> dict[str, Any]:
        """Parameters of the model."""
        return {"parameters": sum(parameter.numel() for parameter in self.model.parameters())}

    def train(self, number: int) -> Round:
        """The steps of a round; "rows" are target tokens."""
        start, tokens = time.perf_counter(), 0
        part = self.plan[number * self.steps : (number + 1) * self.steps]
        if not self.tuned:
            drawn = random.Random(number).sample(
                [row for rows in part for row in rows], DEFAULT_STEPS * len(part) * DEFAULT_ROWS
            )
            part = [drawn[place : place + DEFAULT_ROWS] for place in range(0, len(drawn), DEFAULT_ROWS)]
        for rows in part:
            self.step(rows)
            tokens += sum(len(target) for _, target in rows)
        return Round(time.perf_counter() - start, tokens, len(part))

    def padded(self, rows: list[list[int]], fill: int) -> Any:
        """(rows, longest)."""
        import torch

        longest = max(map(len, rows))
        return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])

    def step(self, rows: Rows) -> None:
        """One optimizer update."""
        import torch

        ids, labels = (
            self.padded([source for source, _ in rows], self.pad),
            self.padded([target for _, target in rows], -100),
        )
        mask = (ids != self.pad).long()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == "bfloat16"):
            if self.tuned:  # what the model would make of labels has no smoothing
                told = labels.roll(1, 1).masked_fill(labels.roll(1, 1) == -100, self.pad)
                told[:, 0] = self.pad
                logits = self.model(input_ids=ids, attention_mask=mask, decoder_input_ids=told).logits.float()
                flat = logits.flatten(0, 1)
                loss = torch.nn.functional.cross_entropy(flat, labels.flatten(), label_smoothing=SMOOTHING)
            else:
                loss = self.model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


VOCABULARY = 10_000
SHAPE = {"layers": 4, "attention_heads": 4, "ffn_dim": 256}


def compare(folder: Path, *, tokens: int, steps: int, rounds: int) -> dict[str, Any]:
    """All contenders in turns."""
    regard = Contender("regard", Regard, folder, tokens, steps)
    plan = regard.call("examples", 1 + rounds)
    contenders = [
        regard,
        Contender("hf float32", HuggingFace, plan, steps, "float32", True, group="hf"),
        Contender("hf bfloat16", HuggingFace, plan, steps, "bfloat16", True, group="hf"),
        Contender("default", HuggingFace, plan, steps, "float32", False),
    ]
    turns = harness.alternate(contenders, 1 + rounds, "train")
    best, ours = harness.fastest(contenders, turns)["hf"], turns["regard"]
    table = [
        {
            "contender": contender.name,
            "target tokens/s": harness.Spread.of(turn.rate for turn in turns[contender.name][1:]),
            "first round": turns[contender.name][0].rate,
            "regard is … times as fast": harness.faster(ours, turns[contender.name]),
            "peak memory, MB": contender.peak_mb,
        }
        for contender in contenders
    ]
    peaks = {contender.name: contender.peak_mb for contender in contenders}
    facts = {contender.name: contender.facts["parameters"] for contender in contenders}
    for contender in contenders:
        contender.close()
    return {
        "parameters": facts,
        "target tokens in a step": f"{sum(turn.rows for turn in ours) / sum(turn.steps for turn in ours):,.0f}",
        f"speed against hf at its best ({best})": harness.faster(ours, turns[best]),
        "speed against the default loop": harness.faster(ours, turns["default"]),
        "peak memory against hf at its best": f"{peaks['regard'] / peaks[best]:.2f}",
        "training": table,
    }


def profile(folder: Path, tokens: int) -> None:
    """Where the time of Regard's steps goes, by torch's operators."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recorded

    made = Regard(folder, tokens, 4)
    made.train(0)
    with recorded(activities=[ProfilerActivity.CPU]) as record:
        made.train(0)
    print(record.key_averages().table(sort_by="self_cpu_time_total", row_limit=40, max_name_column_width=40))


def main() -> None:
    parser = harness.options(__doc__, rounds=4)
    parser.add_argument("--steps", type=int, default=8, help="in a round")
    parser.add_argument("--tokens", type=int, default=4096, help="of source or target in a step")
    parser.add_argument("--profile", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    harness.confine(given.threads)
    with tempfile.TemporaryDirectory() as name:
        if given.profile:
            profile(Path(name), given.tokens)
            return
        report = compare(Path(name), tokens=given.tokens, steps=given.steps, rounds=given.rounds)
    harness.show({**report, "machine": harness.machine()}, as_json=given.json)


if __name__ == "__main__":
    main()
