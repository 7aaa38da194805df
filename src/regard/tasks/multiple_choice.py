"""multiple-choice: which of several texts fits a text best, each judged together with it (Zellers et al. 2018, §5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from regard.tasks.infer import Outputs
from regard.tasks.inputs import Input
from regard.tasks.task import TASKS, Example, Fault, OnePass, Prediction, Row, by_row
from regard.tasks.texts import CHOICES, PAIR, TEXT, encode_texts, too_few
from regard.text.tokenizer import Tokenizer


@TASKS.register("multiple-choice")
@dataclass(frozen=True)
class MultipleChoice(OnePass):
    """Columns `context` and `choices`; rows may have different numbers of choices."""

    name: ClassVar[str] = "multiple-choice"
    over: ClassVar[tuple[str, ...]] = ("sequence",)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """`context` and `choices`."""
        return (Input("context"), CHOICES)

    @property
    def n_outputs(self) -> int:
        """How well a choice fits."""
        return 1

    def faults(self, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None) -> Iterator[Fault]:
        """Rows with nothing to choose from."""
        return too_few(rows, fix="give what is to be chosen from")

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int | None) -> list[Example]:
        """An example a choice, behind its context; what is too long loses the end of the longer text."""
        numbers = [number for number, row in enumerate(rows) for _ in row["choices"]]
        pairs = [{"text": row["context"], "pair": choice} for row in rows for choice in row["choices"]]
        examples = encode_texts(pairs, tokenizer, inputs=(TEXT, PAIR), max_length=max_length)
        return [{**example, "row": number} for example, number in zip(examples, numbers, strict=True)]

    def decode(self, outputs: Outputs, examples: Sequence[Example], rows: Sequence[Row]) -> list[Prediction]:
        """{choice, index, score, scores}: the best choice, its number from 0, its probability, and that of each."""
        answers = []
        for row, numbers in zip(rows, by_row(examples, len(rows)), strict=True):
            fits = torch.from_numpy(np.concatenate([outputs[number] for number in numbers])).double()
            scores = fits.softmax(0).tolist()
            index = max(range(len(scores)), key=scores.__getitem__)
            answers.append(Prediction(choice=row["choices"][index], index=index, score=scores[index], scores=scores))
        return answers

    def told(self, result: Mapping[str, Any]) -> list[str]:
        """The choice, its score, the context."""
        return [result["choice"], f"{result['score']:.4f}", result["context"]]

    def cells(self, result: Mapping[str, Any]) -> dict[str, str]:
        """All but the scores of the other choices."""
        return super().cells({name: value for name, value in result.items() if name != "scores"})
