"""Classifying sentences with MiniLM-L6: Regard's predictor against transformers and ONNX Runtime. Texts in, labels out.

    python benchmarks/encode.py [--rounds 6] [--rows 1024] [--threads 2] [--json]

- `regard`: `regard.load(folder).predict(texts)` as it is; `regard float32`: the same with precision="float32".
- `hf fp32`: transformers in float32, 32 sentences at a time as they come, padded to the longest of them.
- `hf bf16 N`: transformers with bfloat16 weights, all sentences sorted by length, N at a time.
- `onnx int8 N`: ONNX Runtime with 8-bit weights and activations and its own fused BERT graph, sorted, N at a time.

All have the same weights, fine-tuned for a minute on SST-2. Every round has other sentences, drawn from SST-2's dev and test
files. Against the answers of `hf fp32`: the share of equal labels, and how far the probabilities are off on average.
"""

from __future__ import annotations

import csv
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import finetune
import harness
from harness import Contender, Round, faster

SIZES = (16, 32, 64, 128)
"""Batch sizes that each rival is tried with."""
MAX_LENGTH = 256

Answer = tuple[str, float]
"""(label, its probability)."""


def make_model(data: Path, checkpoint: Path, folder: Path) -> None:
    """A classifier as a folder of Regard's, as one of transformers', and as an 8-bit ONNX graph."""
    import regard
    from regard.checkpoints import export_hf, load

    settings = {"training": {"epochs": 1}, "data": {"eval_share": 0.05}}
    columns = {"text": "sentence"}
    regard.train(str(data), model=str(checkpoint), columns=columns, settings=settings, out=folder / "regard")
    export_hf(load(folder / "regard"), folder / "hf")
    make_onnx(folder / "hf", folder / "onnx")


def make_onnx(hf: Path, folder: Path) -> None:
    """torch's exporter, ONNX Runtime's fusion of attention and of the norms, then its dynamic quantization."""
    import onnx
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model
    from transformers import AutoModelForSequenceClassification

    folder.mkdir()
    model = AutoModelForSequenceClassification.from_pretrained(hf, dtype=torch.float32, attn_implementation="eager").eval()
    names = ["input_ids", "attention_mask"]
    example = tuple(torch.ones(2, 8, dtype=torch.int64) for _ in names)
    plain, fused, small = (str(folder / f"{name}.onnx") for name in ("plain", "fused", "int8"))
    axes = {name: {0: "rows", 1: "tokens"} for name in names}
    torch.onnx.export(
        model, example, plain, input_names=names, output_names=["logits"], dynamic_axes=axes, opset_version=17, dynamo=False
    )
    heads, width = model.config.num_attention_heads, model.config.hidden_size
    graph = optimize_model(
        plain, model_type="bert", num_heads=heads, hidden_size=width, optimization_options=FusionOptions("bert")
    )
    print("fused:", graph.get_fused_operator_statistics())
    graph.save_model_to_file(fused)
    options = {"DefaultTensorType": onnx.TensorProto.FLOAT}  # of what comes out of the fused operators
    quantize_dynamic(fused, small, weight_type=QuantType.QInt8, extra_options=options)


@dataclass
class Labelled:
    """What a contender answered in its rounds, kept for comparison after them."""

    answers: list[list[Answer]]

    def facts(self) -> dict[str, Any]:
        """Nothing is known before the first round."""
        return {}

    def said(self) -> list[list[Answer]]:
        """The answers of all rounds."""
        return self.answers


class Regard(Labelled):
    """The public predictor."""

    def __init__(self, rows: list[list[str]], folder: Path, precision: str) -> None:
        import regard

        super().__init__([])
        self.rows = rows
        self.model = regard.load(folder / "regard", precision=precision)
        # the rivals know of no temperature
        self.model.task = replace(self.model.task, temperature=1.0)

    def label(self, number: int) -> Round:
        """One round's texts."""
        texts = self.rows[number]
        start = perf_counter()
        predictions = self.model.predict(texts)
        seconds = perf_counter() - start
        self.answers.append([(each["label"], each["score"]) for each in predictions])
        return Round(seconds, len(texts))


class Batched(Labelled):
    """What the rivals share: tokenize all, cut into batches, answer in the order asked."""

    def __init__(self, rows: list[list[str]], folder: Path, size: int, *, sort: bool) -> None:
        from transformers import AutoTokenizer

        super().__init__([])
        self.rows, self.size, self.sort = rows, size, sort
        self.tokenizer = AutoTokenizer.from_pretrained(folder / "hf")

    def logits(self, input_ids: Any, attention_mask: Any) -> Any:
        """(rows, tokens) int64 arrays -> (rows, labels) float32 array."""
        raise NotImplementedError

    def label(self, number: int) -> Round:
        """One round's texts."""
        import numpy as np

        texts = self.rows[number]
        start = perf_counter()
        ids = self.tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]
        order = sorted(range(len(ids)), key=lambda row: -len(ids[row])) if self.sort else list(range(len(ids)))
        logits = np.concatenate([self._batch([ids[row] for row in part]) for part in cut(order, self.size)])
        logits[order] = logits.copy()
        odds = np.exp(logits - logits.max(1, keepdims=True))
        scores = odds / odds.sum(1, keepdims=True)
        answers = [(str(row.argmax()), float(row.max())) for row in scores]
        seconds = perf_counter() - start
        self.answers.append(answers)
        return Round(seconds, len(texts))

    def _batch(self, ids: list[list[int]]) -> Any:
        import numpy as np

        longest = max(map(len, ids))
        input_ids, mask = (np.zeros((len(ids), longest), np.int64) for _ in range(2))
        for row, each in enumerate(ids):
            input_ids[row, : len(each)] = each
            mask[row, : len(each)] = 1
        return self.logits(input_ids, mask)


def cut(order: list[int], size: int) -> list[list[int]]:
    """`size` at a time."""
    return [order[start : start + size] for start in range(0, len(order), size)]


class HuggingFace(Batched):
    """transformers; narrow: bfloat16 weights and sorted rows."""

    def __init__(self, rows: list[list[str]], folder: Path, size: int, narrow: bool) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        super().__init__(rows, folder, size, sort=narrow)
        dtype = torch.bfloat16 if narrow else torch.float32
        self.model = AutoModelForSequenceClassification.from_pretrained(folder / "hf", dtype=dtype).eval()

    def logits(self, input_ids: Any, attention_mask: Any) -> Any:
        """See :meth:`Batched.logits`."""
        import torch

        with torch.inference_mode():
            given = {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(attention_mask)}
            return self.model(**given).logits.float().numpy()


class Onnx(Batched):
    """ONNX Runtime on the 8-bit graph."""

    def __init__(self, rows: list[list[str]], folder: Path, size: int, threads: int) -> None:
        import onnxruntime

        super().__init__(rows, folder, size, sort=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(str(folder / "onnx/int8.onnx"), options, providers=providers)

    def logits(self, input_ids: Any, attention_mask: Any) -> Any:
        """See :meth:`Batched.logits`."""
        return self.session.run(None, {"input_ids": input_ids, "attention_mask": attention_mask})[0]


def sentences(count: int, rounds: int) -> list[list[str]]:
    """`count` sentences for each round."""
    texts = []
    for name in ("dev.tsv", "test-labeled.tsv"):
        with (harness.shared() / "data/sst2" / name).open(encoding="utf-8", newline="") as file:
            texts += [row["sentence"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    return [random.Random(turn).sample(texts, count) for turn in range(rounds)]


def agreement(first: Sequence[Sequence[Answer]], other: Sequence[Sequence[Answer]]) -> dict[str, str]:
    """How near the answers of two contenders are."""
    pairs = [pair for turn in zip(first, other, strict=True) for pair in zip(*turn, strict=True)]
    same = sum(mine[0] == theirs[0] for mine, theirs in pairs) / len(pairs)
    # of two labels: the probability of the label that `first` gave
    off = sum(abs(mine[1] - (theirs[1] if mine[0] == theirs[0] else 1 - theirs[1])) for mine, theirs in pairs) / len(pairs)
    return {"same label": f"{same:.2%}", "probability off by": f"{off:.5f}"}


def compare(rows: list[list[str]], folder: Path, threads: int) -> dict[str, Any]:
    """All contenders in turns."""
    contenders = [
        Contender("regard", Regard, rows, folder, "auto"),
        Contender("regard float32", Regard, rows, folder, "float32"),
        Contender("hf fp32", HuggingFace, rows, folder, 32, False),
        *(Contender(f"hf bf16 {size}", HuggingFace, rows, folder, size, True, group="hf bf16") for size in SIZES),
        *(Contender(f"onnx int8 {size}", Onnx, rows, folder, size, threads, group="onnx int8") for size in SIZES),
    ]
    turns = harness.alternate(contenders, len(rows), "label")
    best = harness.fastest(contenders, turns)
    answers = {contender.name: contender.call("said") for contender in contenders}
    speeds = harness.speeds(contenders, turns)
    for contender in contenders:
        contender.close()
    for entry in speeds:
        entry.update(agreement(answers["hf fp32"], answers[entry["contender"]]))

    rivals = ["hf fp32", best["hf bf16"], best["onnx int8"]]
    return {
        **{f"speed against {name}": faster(turns["regard"], turns[name]) for name in rivals},
        "Labelling, sentences a second": speeds,
    }


def main() -> None:
    parser = harness.options(__doc__, rounds=6)
    parser.add_argument("--rows", type=int, default=1024, help="in a round")
    options = parser.parse_args()
    harness.confine(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        finetune.write_rows(folder / "train.tsv", 8192)
        harness.apart(make_model, folder / "train.tsv", harness.checkpoint("minilm-l6"), folder)
        report = compare(sentences(options.rows, 1 + options.rounds), folder, options.threads)
    harness.show({**report, "machine": harness.machine()}, as_json=options.json)


if __name__ == "__main__":
    main()
