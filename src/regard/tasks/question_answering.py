"""question-answering: the part of a text that answers a question, or none (Devlin et al. 2019, §4.2 and §4.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from regard.errors import Problem
from regard.tasks.infer import Outputs
from regard.tasks.inputs import Input
from regard.tasks.task import TASKS, Example, Fault, OnePass, Prediction, Row, by_row
from regard.tasks.windows import SPECIALS, places_of, stride_of, windows, word_spans
from regard.text.tokenizer import Tokenizer

WINDOW = 384
"""Tokens that are read at once, question included: as long as those that such models are trained with."""

LONGEST = 30
"""Tokens of an answer."""

KEPT, LIKELY = 3, 20
"""Answers that are told, the best first, and candidates of each window: several may become one answer of whole words."""


class Span(NamedTuple):
    """A candidate: its probability, and characters of the context. No answer is the empty one at 0."""

    score: float
    start: int
    end: int


@TASKS.register("question-answering")
@dataclass(frozen=True)
class QuestionAnswering(OnePass):
    """Columns `question` and `context`. The head's two outputs say where an answer starts and where it ends."""

    name: ClassVar[str] = "question-answering"
    over: ClassVar[tuple[str, ...]] = ("tokens",)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """`question` and `context`."""
        return (Input("question"), Input("context"))

    @property
    def n_outputs(self) -> int:
        """Start and end."""
        return 2

    def faults(self, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None) -> Iterator[Fault]:
        """Questions that leave too little of a window to the context."""
        assert tokenizer is not None
        window, stride = _sizes(max_length)
        most = window - SPECIALS - 2 * stride
        for number, encoding in enumerate(tokenizer.encode([row["question"] for row in rows], special=False)):
            count = len(encoding.ids)
            if count > most:
                problem = Problem(f"a question of {count} tokens", allowed=f"at most {most}", fix="ask in fewer words")
                yield Fault(number, "question", problem)

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int | None) -> list[Example]:
        """An example a window of the context, with its question. `places`: the first token, which stands for no answer, and
        the context's; `starts` and `ends`: the characters of the words that the latter are pieces of."""
        window, stride = _sizes(max_length)
        questions, contexts = ([row[name] for row in rows] for name in ("question", "context"))
        encodings, tokens = windows(contexts, tokenizer, max_length=window, stride=stride, before=questions)
        spans: list[list[tuple[int, int]]] = [[] for _ in encodings]
        for context, pieces in zip(contexts, tokens, strict=True):
            whole = word_spans(context, pieces)
            firsts = {piece.window: index - piece.place for index, piece in reversed(list(enumerate(pieces)))}
            for number, shift in firsts.items():
                spans[number] = [whole[place + shift] for place in places_of(encodings[number], 1)]
        return [
            {
                "input_ids": each.ids,
                "type_ids": each.type_ids,
                "row": each.row,
                "places": [0, *places_of(each, 1)],
                "starts": [start for start, _ in found],
                "ends": [end for _, end in found],
            }
            for each, found in zip(encodings, spans, strict=True)
        ]

    def decode(self, outputs: Outputs, examples: Sequence[Example], rows: Sequence[Row]) -> list[Prediction]:
        """{answer, score, start, end, spans}: the best answer, its probability, its characters in the context, and the best
        few; an empty answer at 0 says that the context has none."""
        answers = []
        for row, numbers in zip(rows, by_row(examples, len(rows)), strict=True):
            spans = best_spans([(outputs[number], examples[number]) for number in numbers])
            told = [
                {"answer": row["context"][span.start : span.end], "score": span.score, "start": span.start, "end": span.end}
                for span in spans
            ]
            answers.append(Prediction(**told[0], spans=told))
        return answers

    def told(self, result: Mapping[str, Any]) -> list[str]:
        """The answer, its score, the question."""
        return [result["answer"], f"{result['score']:.4f}", result["question"]]


def _sizes(max_length: int | None) -> tuple[int, int]:
    """Tokens of a window, and those that two share; a third of the window is left to the question."""
    window = min(WINDOW, max_length or WINDOW)
    return window, stride_of(2 * window // 3)


def best_spans(read: Sequence[tuple[np.ndarray, Example]]) -> list[Span]:
    """The best of all windows of a row, each with its outputs (places, 2); the first place is that of no answer, which is as
    likely as the window says where it is least so."""
    best: dict[tuple[int, int], float] = {}
    without = 1.0
    for outputs, example in read:
        starts, ends = torch.from_numpy(outputs).double().softmax(0).T.numpy()
        without = min(without, float(starts[0] * ends[0]))
        for score, first, last in _likely(starts[1:], ends[1:]):
            place = example["starts"][first], example["ends"][last]
            best[place] = max(score, best.get(place, 0.0))
    found = [Span(without, 0, 0), *(Span(score, *place) for place, score in best.items() if place[0] < place[1])]
    return sorted(found, key=lambda span: (-span.score, span.start, span.end))[:KEPT]


def _likely(starts: np.ndarray, ends: np.ndarray) -> Iterator[tuple[float, int, int]]:
    """The likeliest spans of a window that are not too long, with their first and last token; in no order."""
    scores = np.zeros((LONGEST, len(starts)))
    for more in range(min(LONGEST, len(starts))):
        scores[more, : len(starts) - more] = starts[: len(starts) - more] * ends[more:]
    flat = scores.ravel()
    for place in np.argpartition(-flat, min(LIKELY, flat.size) - 1)[:LIKELY] if flat.size else ():
        more, first = divmod(int(place), len(starts))
        if first + more < len(starts):
            yield float(flat[place]), first, first + more
