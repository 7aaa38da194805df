"""image-classification and zero-shot-image-classification: what an image shows, of labels learned or given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch

from regard.config import parse
from regard.models.model import Model
from regard.tasks.generation import padded
from regard.tasks.inputs import Input
from regard.tasks.media import LabelledMedia, Saved, best, missing
from regard.tasks.task import TASKS, Fault, Prediction, Row, Task
from regard.tasks.texts import CHOICES, too_few
from regard.text.tokenizer import Tokenizer

ROWS = 16
"""Images in one batch."""

SENTENCE = "This is a photo of {}."
"""What a label is put into, so that it reads like what such models were trained with (Radford et al. 2021, §3.1.4)."""


class Images(Task):
    """What both have in common: a column `image`, the path of a file, and the settings that make pixels of it."""

    features: Mapping[str, Any]

    def pixels(self, rows: Sequence[Row]) -> Iterator[torch.Tensor]:
        """The images of the rows, batch by batch, (images, channels, height, width)."""
        from regard.data.image import Pixels, read_image  # the extra `image`

        prepare = Pixels.of(self.features, where="features")
        for start in range(0, len(rows), ROWS):
            yield prepare([read_image(row["image"]) for row in rows[start : start + ROWS]])

    def faults(self, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None) -> Iterator[Fault]:
        """Images that are not there."""
        return missing(rows, "image", fix="give the path of an image")

    def told(self, result: Mapping[str, Any]) -> list[str]:
        """The label, its score, the file."""
        return [str(result["label"]), f"{result['score']:.4f}", str(result["image"])]


@TASKS.register("image-classification")
@dataclass(frozen=True)
class ImageClassification(Images, LabelledMedia):
    """Column `image`; the labels are those that the model learned."""

    name: ClassVar[str] = "image-classification"

    @property
    def inputs(self) -> tuple[Input, ...]:
        """`image`."""
        return (Input("image"),)

    @torch.inference_mode()
    def answers(
        self, model: Model, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None, dtype: torch.dtype
    ) -> list[Prediction]:
        """{label, score, scores}."""
        on = model.device
        results = []
        for pixels in self.pixels(rows):
            scores = model(pixels.to(on), dtype=dtype).softmax(-1)
            results += [best(self.labels, row) for row in scores.tolist()]
        return results


@TASKS.register("zero-shot-image-classification")
@dataclass(frozen=True)
class ZeroShotImageClassification(Images):
    """Columns `image` and `choices`: labels that the model need never have learned."""

    name: ClassVar[str] = "zero-shot-image-classification"
    over: ClassVar[tuple[str, ...]] = ("pair",)

    features: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """From `task.json`."""
        return cls(parse(Saved, settings, where="task.json").features)

    def settings(self) -> dict[str, Any]:
        """What is fed to the model."""
        return {"features": dict(self.features)}

    @property
    def inputs(self) -> tuple[Input, ...]:
        """`image` and `choices`."""
        return (Input("image"), CHOICES)

    def faults(self, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None) -> Iterator[Fault]:
        """Images that are not there, and rows without a choice."""
        yield from super().faults(rows, tokenizer, max_length=max_length)
        yield from too_few(rows, fix="name what it may show")

    @torch.inference_mode()
    def answers(
        self, model: Model, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None, dtype: torch.dtype
    ) -> list[Prediction]:
        """{label, score, scores}: the score of a label among the row's choices."""
        assert tokenizer is not None
        on = model.device
        results = []
        for row, pixels in zip(rows, self._one_by_one(rows), strict=True):
            texts = [SENTENCE.format(choice) for choice in row["choices"]]
            ids, mask = padded(tokenizer.ids(texts, max_length=max_length)[0])
            scores = model.pairs(ids.to(on), pixels.to(on), attention_mask=mask.to(on), dtype=dtype)[0].softmax(-1)
            results.append(best(row["choices"], scores.tolist()))
        return results

    def _one_by_one(self, rows: Sequence[Row]) -> Iterator[torch.Tensor]:
        for pixels in self.pixels(rows):
            yield from pixels.split(1)
