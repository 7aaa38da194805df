"""text-classification: one text or a pair of texts, one label or several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from regard.models.config import HeadConfig, ModelConfig
from regard.tasks.infer import Outputs
from regard.tasks.inputs import Input
from regard.tasks.losses import balanced_weights, binary_cross_entropy, cross_entropy
from regard.tasks.task import TASKS, Defaults, Evaluation, Example, LearnedInOnePass, Prediction, Row
from regard.tasks.texts import MAYBE_PAIR, PAIR, TEXT, encode_texts, given_texts
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
class TextClassification(LearnedInOnePass):
    """Columns `text` (and `pair`) and `label`. labels: in the order of the head's outputs; counts: their training rows."""

    name: ClassVar[str] = "text-classification"
    over: ClassVar[tuple[str, ...]] = ("sequence",)
    defaults: ClassVar[Defaults] = Defaults(epochs=(20, 3), lr=(1e-3, 5e-5), tokens=(2048, 1024))

    labels: tuple[str, ...]
    counts: tuple[int, ...]
    options: Options
    temperature: float = 1.0
    """Divides the logits, so that scores are calibrated (Guo et al. 2017, §4.2)."""
    imported: bool = False
    """Whether the labels are all that is known: such a model may have learned texts or pairs of texts, and answers both."""

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
        options = saved.options or Options(multi_label=saved.multi_label)
        return cls(saved.labels, counts, options, saved.temperature, imported=saved.options is None)

    def settings(self) -> dict[str, Any]:
        """For `task.json`; an export to other formats reads `labels` and `multi_label`."""
        return {
            "labels": list(self.labels),
            "counts": list(self.counts),
            "multi_label": self.options.multi_label,
            "options": None if self.imported else self.options.model_dump(),
            "temperature": self.temperature,
        }

    def head(self, found: HeadConfig | None, model: ModelConfig) -> HeadConfig:
        """One output a label, over the checkpoint's own pooling; of a head over tokens nothing can be kept."""
        head = HeadConfig(n_outputs=0, pool="mean", dense=False)
        if found is not None and found.over in self.over:
            head = found
        pool = self.options.pool or head.pool
        return head.model_copy(update={"n_outputs": len(self.labels), "pool": pool})

    @property
    def inputs(self) -> tuple[Input, ...]:
        """`text`, and `pair` if the task reads pairs."""
        if self.imported:
            return (TEXT, MAYBE_PAIR)
        return (TEXT, PAIR) if self.options.pair else (TEXT,)

    @property
    def n_outputs(self) -> int:
        """One a label."""
        return len(self.labels)

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int | None) -> list[Example]:
        """`input_ids`, `truncated`, `type_ids` for pairs, `label` (an index) or `labels` (a list of indices)."""
        examples = encode_texts(rows, tokenizer, inputs=self.inputs, max_length=max_length)
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

    def cost(self, outputs: Tensor, batch: Batch, *, smoothing: float) -> tuple[Tensor, int]:
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

    def calibrated(self, outputs: Outputs, examples: Sequence[Mapping[str, Any]]) -> Self:
        """With the temperature that suits these held-out rows; several labels a row stay as they are."""
        if self.options.multi_label:
            return self
        return replace(self, temperature=fit_temperature(np.asarray(outputs), [example["label"] for example in examples]))

    def probabilities(self, outputs: Outputs) -> np.ndarray:
        """Logits (rows, labels) -> calibrated probabilities of the same shape."""
        logits = torch.from_numpy(np.asarray(outputs)).double() / self.temperature
        return (logits.sigmoid() if self.options.multi_label else logits.softmax(-1)).numpy()

    def decode(self, outputs: Outputs, examples: Sequence[Example], rows: Sequence[Row]) -> list[Prediction]:
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

    def told(self, result: Mapping[str, Any]) -> list[str]:
        """The label or labels, the label's score, the texts."""
        label = str(result.get("label", ",".join(result.get("labels", ()))))
        return [label, f"{result['score']:.4f}" if "score" in result else "", *given_texts(result, self.inputs)]

    def cells(self, result: Mapping[str, Any]) -> dict[str, str]:
        """All but the scores of the other labels."""
        return super().cells({name: value for name, value in result.items() if name != "scores"})

    def evaluate(self, outputs: Outputs, examples: Sequence[Mapping[str, Any]]) -> Evaluation:
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
