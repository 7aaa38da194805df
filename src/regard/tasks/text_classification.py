"""text-classification: one text or a pair of texts, one label or several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from regard.config import Settings, parse
from regard.data.batch import Batch
from regard.data.check import Columns, Report
from regard.data.targets import split_labels
from regard.errors import DataError
from regard.metrics import fit_temperature, multi_label, single_label
from regard.models.config import HeadConfig
from regard.tasks.losses import balanced_weights, binary_cross_entropy, cross_entropy
from regard.tasks.task import TASKS, Defaults, Evaluation, Example, Prediction, Row, Task
from regard.text.tokenizer import Tokenizer


class Options(Settings):
    """Keys of the run file's `[options]` for this task."""

    pair: bool = False
    """Read a second text from the column `pair`."""
    multi_label: bool = False
    """Several labels a row (or none), separated by `separator`."""
    separator: str = Field("|", min_length=1)
    """Between the labels of a multi-label row."""
    pool: Literal["first", "mean", "last"] | None = None
    """What stands for the text: its first token, the mean of all, or the last. None means what the checkpoint was trained
    with, and the mean from scratch, where a first token has not yet learned to gather the others."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` lets each class weigh the same in the loss, however rare it is."""
    threshold: float = Field(0.5, gt=0, lt=1)
    """Probability from which on a multi-label answer contains a label."""


class Saved(Settings, extra="ignore"):
    """What `task.json` says of a text classifier; an imported checkpoint tells no more than labels and `multi_label`."""

    labels: tuple[str, ...]
    """In the order of the head's outputs."""
    counts: tuple[int, ...] = ()
    """Training rows of each label."""
    options: Options | None = None
    """Those of the training run."""
    multi_label: bool = False
    """Whether a row may have several labels, where there are no `options`."""
    temperature: float = Field(1.0, gt=0, allow_inf_nan=False)
    """See :class:`TextClassification`."""


@TASKS.register("text-classification")
@dataclass(frozen=True)
class TextClassification(Task):
    """Columns `text` (and `pair`) and `label`. labels: in the order of the head's outputs; counts: their training rows."""

    name: ClassVar[str] = "text-classification"
    defaults: ClassVar[Defaults] = Defaults(epochs=(20, 3), lr=(1e-3, 5e-5), tokens=(2048, 1024))

    labels: tuple[str, ...]
    counts: tuple[int, ...]
    options: Options
    temperature: float = 1.0
    """Divides the logits, so that scores are calibrated (Guo et al. 2017, §4.2)."""

    @classmethod
    def columns(cls, options: Mapping[str, Any]) -> Columns:
        """`text`, `pair` if asked for, `label`."""
        chosen = parse(Options, options, where="options")
        return Columns(
            inputs=("text", "pair") if chosen.pair else ("text",),
            target="label",
            target_kind="labels" if chosen.multi_label else "label",
            separator=chosen.separator,
        )

    @classmethod
    def metrics(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """`accuracy` or `macro-f1`; with several labels a row `micro-f1` first, for few rows are right in all of them."""
        several = parse(Options, options, where="options").multi_label
        return ("micro-f1", "macro-f1", "accuracy") if several else ("accuracy", "macro-f1")

    @classmethod
    def from_data(cls, options: Mapping[str, Any], report: Report) -> Self:
        """Labels in natural order: numbers by value, words by letter."""
        labels = sorted(report.labels, key=_natural)
        return cls(tuple(labels), tuple(report.labels[label] for label in labels), parse(Options, options, where="options"))

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """From `task.json`."""
        saved = parse(Saved, settings, where="task.json")
        counts = saved.counts or (0,) * len(saved.labels)
        return cls(saved.labels, counts, saved.options or Options(multi_label=saved.multi_label), saved.temperature)

    def settings(self) -> dict[str, Any]:
        """For `task.json`; an export to other formats reads `labels` and `multi_label`."""
        return {**asdict(self), "multi_label": self.options.multi_label, "options": self.options.model_dump()}

    def head(self, found: HeadConfig | None) -> HeadConfig:
        """One output a label, over the checkpoint's own pooling."""
        head = found or HeadConfig(n_outputs=0, pool="mean", dense=False)
        pool = self.options.pool or head.pool
        return head.model_copy(update={"n_outputs": len(self.labels), "pool": pool})

    @property
    def inputs(self) -> tuple[str, ...]:
        """`text`, and `pair` if the task reads pairs."""
        return ("text", "pair") if self.options.pair else ("text",)

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int | None) -> list[Example]:
        """`input_ids`, `type_ids` for pairs, `label` (an index) or `labels` (a list of indices)."""
        pairs = [row["pair"] for row in rows] if self.options.pair else None
        ids, types, cut = tokenizer.ids([row["text"] for row in rows], pairs, max_length=max_length)
        examples: list[Example] = [{"input_ids": row_ids, "truncated": int(t)} for row_ids, t in zip(ids, cut, strict=True)]
        if types is not None:
            for example, row_types in zip(examples, types, strict=True):
                example["type_ids"] = row_types
        index = {label: i for i, label in enumerate(self.labels)}
        for example, row in zip(examples, rows, strict=True):
            if "label" in row:
                example |= self._target(row, index)
        return examples

    def _target(self, row: Row, index: Mapping[str, int]) -> Example:
        given = row["label"]
        names = split_labels(given, self.options.separator) if self.options.multi_label else [str(given)]
        unknown = [name for name in names if name not in index]
        if unknown:
            raise DataError(f"unknown label {unknown[0]!r}", allowed=", ".join(self.labels[:20]))
        places = [index[name] for name in names]
        return {"labels": places} if self.options.multi_label else {"label": places[0]}

    def loss(self, outputs: Tensor, batch: Batch, *, smoothing: float) -> tuple[Tensor, int]:
        """Cross-entropy; over each label by itself where a row may have several."""
        weights = None
        if self.options.class_weights == "balanced":
            counts = torch.tensor(self.counts, dtype=torch.float32, device=outputs.device)
            rows = counts.new_tensor(float(sum(self.counts)))
            weights = balanced_weights(counts) if not self.options.multi_label else (rows - counts) / counts.clamp(min=1)
        if self.options.multi_label:
            table = np.zeros(outputs.shape, dtype=np.float32)
            for row, places in enumerate(batch.targets["labels"]):
                table[row, np.asarray(places, dtype=np.int64)] = 1.0
            targets = torch.from_numpy(table).to(outputs.device)
            return binary_cross_entropy(outputs, targets, weights=weights, smoothing=smoothing), len(outputs)
        labels = torch.as_tensor(batch.targets["label"], device=outputs.device).long()
        return cross_entropy(outputs, labels, weights=weights, smoothing=smoothing), len(outputs)

    def calibrated(self, outputs: np.ndarray, examples: Sequence[Mapping[str, Any]]) -> Self:
        """With the temperature that suits these held-out rows; several labels a row stay as they are."""
        if self.options.multi_label:
            return self
        return replace(self, temperature=fit_temperature(outputs, [example["label"] for example in examples]))

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """Logits (rows, labels) -> calibrated probabilities of the same shape."""
        logits = torch.from_numpy(outputs).double() / self.temperature
        return (logits.sigmoid() if self.options.multi_label else logits.softmax(-1)).numpy()

    def decode(self, outputs: np.ndarray) -> list[Prediction]:
        """{label, score, scores}, or {labels, scores} where a row may have several labels."""
        answers = []
        for row in self.probabilities(outputs):
            scores = {label: float(p) for label, p in zip(self.labels, row, strict=True)}
            if self.options.multi_label:
                chosen = [label for label, p in scores.items() if p >= self.options.threshold]
                answers.append(Prediction(labels=chosen, scores=scores))
            else:
                best = max(scores, key=scores.__getitem__)
                answers.append(Prediction(label=best, score=scores[best], scores=scores))
        return answers

    def evaluate(self, outputs: np.ndarray, examples: Sequence[Mapping[str, Any]]) -> Evaluation:
        """Accuracy, macro-F1, calibration error, log-loss, each with its interval; per-class table; confusion matrix."""
        probabilities = self.probabilities(outputs)
        if self.options.multi_label:
            targets = np.zeros(probabilities.shape, dtype=np.int64)
            for row, example in enumerate(examples):
                targets[row, list(example["labels"])] = 1
            report = multi_label(targets, probabilities, self.labels, threshold=self.options.threshold)
        else:
            report = single_label([example["label"] for example in examples], probabilities, self.labels)
        tables = report.as_dict()
        return Evaluation(tables.pop("metrics"), tables)


def _natural(label: str) -> tuple[int, float, str]:
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    return (0, number, label) if math.isfinite(number) else (1, 0.0, label)  # the words nan and inf have no place in between
