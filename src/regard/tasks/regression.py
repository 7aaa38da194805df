"""regression: a number for a text or for two, such as how alike they are; or several numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from regard.tasks.infer import Outputs
from regard.tasks.inputs import Input
from regard.tasks.labelled import Labelled
from regard.tasks.task import TASKS, Example, OnePass, Prediction, Row
from regard.tasks.texts import MAYBE_PAIR, TEXT, encode_texts, given_texts
from regard.text.tokenizer import Tokenizer


@TASKS.register("regression")
@dataclass(frozen=True)
class Regression(Labelled, OnePass):
    """Columns `text` and, for a model that compares, `pair`. labels: what each number is about."""

    name: ClassVar[str] = "regression"
    over: ClassVar[tuple[str, ...]] = ("sequence",)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """`text`, and perhaps `pair`."""
        return (TEXT, MAYBE_PAIR)

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int | None) -> list[Example]:
        """`input_ids`, `truncated`, `type_ids` where there are pairs."""
        return encode_texts(rows, tokenizer, inputs=self.inputs, max_length=max_length)

    def decode(self, outputs: Outputs, examples: Sequence[Example], rows: Sequence[Row]) -> list[Prediction]:
        """{score}, or {scores} by label where there are several: what the head gives, as it is."""
        if len(self.labels) == 1:
            return [Prediction(score=float(row[0])) for row in outputs]
        return [Prediction(scores=dict(zip(self.labels, map(float, row), strict=True))) for row in outputs]

    def told(self, result: Mapping[str, Any]) -> list[str]:
        """The number or numbers, the texts."""
        if "score" in result:
            numbers = f"{result['score']:.4f}"
        else:
            numbers = ", ".join(f"{label} {score:.4f}" for label, score in result["scores"].items())
        return [numbers, *given_texts(result, self.inputs)]

    def cells(self, result: Mapping[str, Any]) -> dict[str, str]:
        """A column a number."""
        scores = result.get("scores", {})
        return super().cells({**{name: value for name, value in result.items() if name != "scores"}, **scores})
