"""Checkpoint folders become models ready to use: seconds and memory, Regard against transformers.

    python benchmarks/loading.py [--rounds 7] [--threads 2] [--only minilm-l6,m3e-small] [--json]

A process of its own loads one checkpoint in one dtype again and again, as the file stores it, in float32, in bfloat16: model
and tokenizer, until a forward pass could begin. Libraries are imported and a small checkpoint of another family has been
loaded before, and the file is in the system's cache. The two take turns.

Memory is the highest resident memory during the first load, until each weight has been read once, less what the process held
before; told in sizes of the file's tensors, in the dtype that was asked for. It is told of the model alone, from a folder
without a tokenizer's files in a process of its own, and for Regard of model and tokenizer too.
"""

from __future__ import annotations

import gc
import json
import math
import struct
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

import harness
from harness import Contender, Spread

CHECKPOINTS = (
    "bert-tiny-question",
    "bart-g2p-en",
    "ltp-tiny-electra-pos",
    "albert-tiny-zh",
    "m3e-small",
    "minimind2-small-zh",
    "whisper-tiny",
    "minilm-l6",
    "flan-t5-small-title",
    "opus-mt-zh-en",
    "smollm2-135m-instruct",
)
DTYPES = ("stored", "float32", "bfloat16")
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "float32": 4, "bfloat16": 2}
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
FIRST = "bart-g2p-en"
"""What has been loaded before anything is measured; `bert-tiny-question` before itself."""


def memory(line: str) -> int:
    """Bytes of a line of the process's status: VmRSS is resident now, VmHWM was at most."""
    found = next(each for each in STATUS.read_text().splitlines() if each.startswith(line))
    return int(found.split()[1]) * 1024


def weight_bytes(folder: Path, dtype: str) -> int:
    """Bytes of the file's tensors in a dtype."""
    with (folder / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        while file.read(2**22):  # into the system's cache
            pass
    tensors = [entry for name, entry in header.items() if name != "__metadata__" and entry["dtype"] in SIZES]
    return sum(math.prod(each["shape"]) * SIZES[each["dtype"] if dtype == "stored" else dtype] for each in tensors)


class Timed:
    """What both have: one checkpoint, loaded again and again."""

    def __init__(self, folder: Path, dtype: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.folder, self.dtype = folder, None if dtype == "stored" else getattr(torch, dtype)
        small = harness.checkpoint("bert-tiny-question" if folder.name == FIRST else FIRST)
        self.load(small)

    def facts(self) -> dict[str, Any]:
        """Nothing is known before the first round."""
        return {}

    def load(self, folder: Path) -> tuple[Any, Any]:
        """Model and tokenizer; None for a folder without one."""
        raise NotImplementedError

    def run(self, number: int) -> dict[str, float]:
        """Seconds of one load, and the bytes that it took at most; the latter only counts in the first round."""
        gc.collect()
        RESET.write_text("5")
        before = memory("VmRSS")
        start = perf_counter()
        model, _ = self.load(self.folder)
        seconds = perf_counter() - start
        touch(model.state_dict().values())
        return {"seconds": seconds, "bytes": memory("VmHWM") - before}


def touch(tensors: Iterable[Any]) -> None:
    """Read each weight once."""
    for tensor in tensors:
        tensor.sum().item()


class Ours(Timed):
    """Regard."""

    def load(self, folder: Path) -> tuple[Any, Any]:
        """See :meth:`Timed.load`."""
        from regard.checkpoints import load
        from regard.models.build import filled

        loaded = load(folder, dtype=self.dtype)
        return filled(loaded.config, loaded.head, loaded.tensors), loaded.tokenizer


class Theirs(Timed):
    """transformers, with the class of model that config.json names."""

    def load(self, folder: Path) -> tuple[Any, Any]:
        """See :meth:`Timed.load`."""
        import transformers
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        name = json.loads((folder / "config.json").read_text())["architectures"][0]
        model = getattr(transformers, name).from_pretrained(folder, dtype=self.dtype or "auto")
        has_tokenizer = (folder / "tokenizer_config.json").exists()
        return model, transformers.AutoTokenizer.from_pretrained(folder) if has_tokenizer else None


CONTENDERS = (("regard", Ours), ("transformers", Theirs))


def model_alone(folder: Path, dtype: str, threads: int) -> dict[str, float]:
    """Bytes that the model of a checkpoint takes at most, by contender."""
    peaks = {}
    with tempfile.TemporaryDirectory() as bare:
        for name in ("config.json", "model.safetensors"):
            (Path(bare) / name).symlink_to(folder / name)
        for who, make in CONTENDERS:
            contender = Contender(who, make, Path(bare), dtype, threads)
            peaks[who] = contender.call("run", 0)["bytes"]
            contender.close()
    return peaks


def compare(name: str, dtype: str, rounds: int, threads: int) -> dict[str, Any]:
    """One checkpoint in one dtype."""
    folder = harness.checkpoint(name)
    size = weight_bytes(folder, dtype)
    alone = model_alone(folder, dtype, threads)
    contenders = [Contender(who, make, folder, dtype, threads) for who, make in CONTENDERS]
    turns = harness.alternate(contenders, 1 + rounds, "run")
    for contender in contenders:
        contender.close()
    ours, theirs = turns["regard"], turns["transformers"]
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "checkpoint": name,
        "dtype": dtype,
        "MB": size / 1e6,
        "seconds": Spread.of(turn["seconds"] for turn in ours[1:]),
        "of transformers'": Spread.of(mine["seconds"] / other["seconds"] for mine, other in pairs[1:]),
        "first load, seconds": ours[0]["seconds"],
        "first, of transformers'": ours[0]["seconds"] / theirs[0]["seconds"],
        "memory, times the weights": alone["regard"] / size,
        "transformers' memory": alone["transformers"] / size,
        "with the tokenizer": ours[0]["bytes"] / size,
    }


def main() -> None:
    parser = harness.options(__doc__, rounds=7)
    parser.add_argument("--only", default="", help="checkpoints, separated by commas")
    options = parser.parse_args()
    harness.confine(options.threads)
    if not RESET.exists():
        sys.exit("no /proc: resident memory cannot be measured here")
    wanted = options.only.split(",") if options.only else CHECKPOINTS
    table = [compare(name, dtype, options.rounds, options.threads) for name in wanted for dtype in DTYPES]
    harness.show({"Loading": table, "machine": harness.machine()}, as_json=options.json)


if __name__ == "__main__":
    main()
