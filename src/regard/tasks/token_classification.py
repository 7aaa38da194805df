"""token-classification: the entities in a text, or a tag for each of its words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

import torch

from regard.tasks.entities import Tagged, are_parts, entities
from regard.tasks.infer import Outputs
from regard.tasks.inputs import Input
from regard.tasks.labelled import Labelled
from regard.tasks.task import TASKS, Example, OnePass, Prediction, Row, by_row
from regard.tasks.windows import Token, windows, words
from regard.text.tokenizer import Tokenizer


@TASKS.register("token-classification")
@dataclass(frozen=True)
class TokenClassification(Labelled, OnePass):
    """Column `text`, or `tokens`, its words. A word's label is that of its first token (Devlin et al. 2019, §5.3)."""

    name: ClassVar[str] = "token-classification"
    over: ClassVar[tuple[str, ...]] = ("tokens",)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """`text`, or `tokens` in its place."""
        return (Input("text"), Input("tokens", separator=" ", instead="text"))

    @property
    def finds_entities(self) -> bool:
        """Whether labels are parts of entities, and not tags of words."""
        return are_parts(self.labels)

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int | None) -> list[Example]:
        """An example a window, with the `places` of the first tokens of words and the `starts` and `ends` of the words."""
        encodings, tokens = windows([_text(row) for row in rows], tokenizer, max_length=max_length)
        examples: list[Example] = [
            {"input_ids": each.ids, "row": each.row, "places": [], "starts": [], "ends": []} for each in encodings
        ]
        for row, pieces in zip(rows, tokens, strict=True):
            for first, start, end in _first_tokens(row, pieces):
                example = examples[first.window]
                for column, value in (("places", first.place), ("starts", start), ("ends", end)):
                    example[column].append(value)
        return [example for example in examples if example["places"]]

    def decode(self, outputs: Outputs, examples: Sequence[Example], rows: Sequence[Row]) -> list[Prediction]:
        """{entities}, or {tokens} where the labels are tags: {label, score, start, end, text} each, places in characters of
        the text, or of the words with a blank between them."""
        return [
            self._answer(row, [tagged for number in numbers for tagged in self._tagged(outputs[number], examples[number])])
            for row, numbers in zip(rows, by_row(examples, len(rows)), strict=True)
        ]

    def _tagged(self, outputs: Any, example: Example) -> Iterator[Tagged]:
        scores, best = torch.from_numpy(outputs).double().softmax(-1).max(-1)
        for score, label, start, end in zip(scores.tolist(), best.tolist(), example["starts"], example["ends"], strict=True):
            yield Tagged(self.labels[label], score, start, end)

    def _answer(self, row: Row, found: list[Tagged]) -> Prediction:
        text = _text(row)
        if not self.finds_entities and "tokens" in row:
            by_start = {tagged.start: tagged for tagged in found}
            found = [by_start.get(start, Tagged(None, 0.0, start, end)) for start, end in _spans(row["tokens"])]
        parts = entities(found) if self.finds_entities else found
        told = [{**part._asdict(), "text": text[part.start : part.end]} for part in parts]
        return {"entities" if self.finds_entities else "tokens": told}

    def told(self, result: Mapping[str, Any]) -> list[str]:
        """`word/label` of each entity or word, the text."""
        parts = result["entities" if self.finds_entities else "tokens"]
        told = [f"{part['text']}/{part['label']}" if part["label"] else part["text"] for part in parts]
        text = [result["text"]] if "text" in result else []
        return [(", " if self.finds_entities else " ").join(told), *text]


def _text(row: Row) -> str:
    text: str = row["text"] if "text" in row else " ".join(row["tokens"])
    return text


def _spans(tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Where words lie in their text."""
    ends = accumulate((len(token) for token in tokens), lambda end, length: end + 1 + length)
    return [(end - len(token), end) for token, end in zip(tokens, ends, strict=True)]


def _first_tokens(row: Row, pieces: Sequence[Token]) -> Iterator[tuple[Token, int, int]]:
    """The first token of each word, and where the word begins and ends."""
    found = words(_text(row), pieces)
    if "text" in row:
        yield from ((pieces[word.first], word.start, word.end) for word in found)
        return
    left = iter(found)
    word = next(left, None)
    for start, end in _spans(row["tokens"]):
        while word is not None and word.start < start:
            word = next(left, None)
        if word is not None and word.start < end:
            yield pieces[word.first], start, end
