"""Translating with opus-mt-zh-en: Regard's predictor against transformers and CTranslate2, at beam 1 and 4.

    python benchmarks/translate.py [--rounds 3] [--rows 192] [--beams 1,4] [--single 24] [--only regard,ct2] [--threads 2]

- `regard`, `regard float32`, `regard int8`: `regard.load(folder, precision=…, decoding={"beams": …}).predict(texts)`.
- `hf fp32 N`, `hf bf16 N`: transformers' `generate`, sorted by length, N sentences at a time.
- `ct2 fp32 N`, `ct2 int8 N`: CTranslate2, which sorts and batches by itself, at most N at a time.

Regard reads texts and writes texts; the rivals are given ids and give ids, so that no tokenizer counts against them. Then
each one, at its best N, translates sentences one at a time. Every round has the same sentences of Tatoeba, and ratios are
of rounds with the same number, by the clock and by the processor's time. `same` counts translations equal to those of `hf
fp32`, or of `regard float32` where that one is left out.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import harness
from harness import Contender, Round, Spread

MODEL = "opus-mt-zh-en"
SIZES = (32, 96)
"""Batch sizes that each rival is tried with."""
MAX_LENGTH = 512


@dataclass(frozen=True)
class Timed(Round):
    """A round with the processor's seconds, of all threads."""

    processor: float = 0.0


class Translator:
    """What a contender has in common: the sentences, and what it wrote last."""

    def __init__(self, texts: list[str], folder: Path) -> None:
        from regard.text import Tokenizer

        self.texts, self.folder = texts, folder
        self.tokenizer = Tokenizer.load(folder)
        self.ids = self.tokenizer.ids(texts)[0]
        self.written: list[str] = []

    def facts(self) -> dict[str, Any]:
        """Nothing is known before the first round."""
        return {}

    def said(self) -> list[str]:
        """The translations of the last round."""
        return self.written

    def whole(self, number: int) -> Timed:
        """All sentences at once."""
        return self._timed(lambda: self.translate(range(len(self.texts))), keep=True, rows=len(self.texts))

    def single(self, count: int) -> Timed:
        """So many sentences, one after the other."""
        step = max(1, len(self.texts) // count)
        rows = range(0, step * count, step)
        return self._timed(lambda: [self.translate([row]) for row in rows], keep=False, rows=count)

    def _timed(self, work: Any, *, keep: bool, rows: int) -> Timed:
        wall, processor = perf_counter(), process_time()
        found = work()
        timed = Timed(perf_counter() - wall, rows, processor=process_time() - processor)
        if keep:
            self.written = [text if isinstance(text, str) else self.tokenizer.target.decode([text])[0] for text in found]
        return timed

    def translate(self, rows: Sequence[int]) -> list[Any]:
        """Texts, or ids of texts, in the order asked."""
        raise NotImplementedError


class Regard(Translator):
    """The public predictor."""

    def __init__(self, texts: list[str], folder: Path, beams: int, precision: str) -> None:
        import regard

        super().__init__(texts, folder)
        self.model = regard.load(folder, precision=precision, decoding={"beams": beams})

    def translate(self, rows: Sequence[int]) -> list[Any]:
        """See :class:`Translator`."""
        return [answer["translation"] for answer in self.model.predict([self.texts[row] for row in rows])]


class HuggingFace(Translator):
    """`generate` with the checkpoint's own settings but for the beams."""

    def __init__(self, texts: list[str], folder: Path, beams: int, precision: str, size: int) -> None:
        import torch
        from transformers import MarianMTModel
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        super().__init__(texts, folder)
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.model = MarianMTModel.from_pretrained(folder, dtype=dtype).eval()
        self.beams, self.size = beams, size

    def translate(self, rows: Sequence[int]) -> list[Any]:
        """See :class:`Translator`."""
        import torch

        found: dict[int, list[int]] = {}
        order = sorted(rows, key=lambda row: -len(self.ids[row]))
        for start in range(0, len(order), self.size):
            part = order[start : start + self.size]
            longest = len(self.ids[part[0]])
            ids = torch.full((len(part), longest), self.model.config.pad_token_id)
            mask = torch.zeros(len(part), longest, dtype=torch.int64)
            for place, row in enumerate(part):
                ids[place, : len(self.ids[row])], mask[place, : len(self.ids[row])] = torch.tensor(self.ids[row]), 1
            with torch.inference_mode():
                told = self.model.generate(ids, attention_mask=mask, num_beams=self.beams, do_sample=False)
            special = {self.model.config.pad_token_id, self.model.config.eos_token_id}
            for row, text in zip(part, told.tolist(), strict=True):
                found[row] = [token for token in text if token not in special]
        return [found[row] for row in rows]


class CTranslate2(Translator):
    """Its own format of the same weights."""

    def __init__(self, texts: list[str], folder: Path, converted: Path, beams: int, precision: str, size: int, threads: int):
        import ctranslate2

        super().__init__(texts, folder)
        kind = {"fp32": "float32", "int8": "int8"}[precision]
        self.words = json.loads((converted / "shared_vocabulary.json").read_text(encoding="utf-8"))
        self.numbers = {word: number for number, word in enumerate(self.words)}
        self.model = ctranslate2.Translator(
            str(converted), device="cpu", compute_type=kind, intra_threads=threads, inter_threads=1
        )
        self.beams, self.size = beams, size

    def translate(self, rows: Sequence[int]) -> list[Any]:
        """See :class:`Translator`."""
        sources = [[self.words[token] for token in self.ids[row]] for row in rows]
        told = self.model.translate_batch(
            sources, beam_size=self.beams, max_batch_size=self.size, max_decoding_length=MAX_LENGTH
        )
        return [[self.numbers[word] for word in each.hypotheses[0]] for each in told]


def convert(folder: Path, out: Path) -> None:
    """The checkpoint in CTranslate2's format, for each of its precisions."""
    from ctranslate2.converters import TransformersConverter

    for name, kind in (("fp32", "float32"), ("int8", "int8")):
        TransformersConverter(str(folder)).convert(str(out / name), quantization=kind)


def sentences(count: int) -> list[str]:
    """Chinese sentences of Tatoeba, short and long ones."""
    path = harness.shared() / "data/tatoeba_cmn_eng/cmn.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8-sig") as file:
        lines = [cells[1] for line in file if len(cells := line.split("\t")) > 1]
    return lines[:: len(lines) // count][:count]


def contenders(texts: list[str], folder: Path, converted: Path, beams: int, only: set[str], threads: int) -> list[Contender]:
    """Those that are asked for, Regard first."""
    found = []
    if "regard" in only:
        for name, precision in (("regard", "auto"), ("regard float32", "float32"), ("regard int8", "int8")):
            found.append(Contender(name, Regard, texts, folder, beams, precision))
    for size in SIZES:
        if "hf" in only:
            for precision in ("fp32", "bf16"):
                name = f"hf {precision}"
                found.append(Contender(f"{name} {size}", HuggingFace, texts, folder, beams, precision, size, group=name))
        if "ct2" in only:
            for precision in ("fp32", "int8"):
                name, args = f"ct2 {precision}", (texts, folder, converted / precision, beams, precision, size, threads)
                found.append(Contender(f"{name} {size}", CTranslate2, *args, group=name))
    return found


def ratios(table: dict[str, list[Timed]], best: Sequence[Contender], said: dict[str, list[str]]) -> list[dict[str, Any]]:
    """One entry a contender at its best size."""
    rows = []
    judge = next((each.name for each in best if each.group == "hf fp32"), "regard float32")
    mine = {name: table[name][1:] for name in table if name.startswith("regard")}
    for each in best:
        turns = table[each.name][1:]
        row: dict[str, Any] = {
            "contender": each.name,
            "seconds": Spread.of(turn.seconds for turn in turns),
            "processor": Spread.of(turn.processor for turn in turns),
        }
        for name, own in mine.items():
            pairs = list(zip(own, turns, strict=True))
            row[f"{name} is … times as fast"] = Spread.of(theirs.seconds / ours.seconds for ours, theirs in pairs)
            row[f"{name}, processor"] = Spread.of(theirs.processor / ours.processor for ours, theirs in pairs)
        row["peak memory, MB"] = each.peak_mb
        if said:
            row["same"] = sum(a == b for a, b in zip(said[each.name], said[judge], strict=True))
        rows.append(row)
    return rows


def main() -> None:
    """Compare, at every number of beams."""
    parser = harness.options(__doc__, rounds=3)
    parser.add_argument("--rows", type=int, default=192)
    parser.add_argument("--single", type=int, default=24, help="sentences that are translated one at a time")
    parser.add_argument("--beams", default="1,4")
    parser.add_argument("--only", default="regard,hf,ct2")
    given = parser.parse_args()
    harness.confine(given.threads)
    folder, texts, only = harness.checkpoint(MODEL), sentences(given.rows), set(given.only.split(","))
    report: dict[str, Any] = {"sentences": len(texts)}
    with tempfile.TemporaryDirectory() as made:
        if "ct2" in only:
            harness.apart(convert, folder, Path(made))
        for beams in map(int, given.beams.split(",")):
            rivals = contenders(texts, folder, Path(made), beams, only, given.threads)
            rounds = harness.alternate(rivals, given.rounds + 1, "whole")
            names = set(harness.fastest(rivals, rounds).values())
            best = [each for each in rivals if each.name in names]
            said = {each.name: each.call("said") for each in best}
            report[f"beam {beams}, the whole file"] = ratios(rounds, best, said)
            singles = {each.name: [each.call("single", given.single) for _ in range(given.rounds + 1)] for each in best}
            report[f"beam {beams}, one sentence at a time"] = ratios(singles, best, {})
            for each in rivals:
                each.close()
    harness.show({**report, "machine": harness.machine()}, as_json=given.json)


if __name__ == "__main__":
    main()
