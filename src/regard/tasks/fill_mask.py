"""fill-mask: which words the masked ones of a text may have been (Devlin et al. 2019, §3.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from regard.data.batch import Listed
from regard.errors import CheckpointError, Problem
from regard.models.model import Model
from regard.tasks.infer import by_example, passes
from regard.tasks.inputs import Input
from regard.tasks.task import TASKS, Example, Fault, Prediction, Row, Task, by_row
from regard.tasks.windows import windows
from regard.text.tokenizer import Tokenizer

KEPT = 5
"""Candidates for each mask, the best first."""

TOKENS = 1024
"""In one forward pass: the output of a mask is as wide as the vocabulary."""

SPACED = ("▁", "Ġ")
"""How tokens begin that bring a space with them."""


class Mask(NamedTuple):
    """A mask of a text, as its characters `start` to `end`; the token before it, -1 at the start; and where that ends."""

    start: int
    end: int
    before: int
    gap: int


@TASKS.register("fill-mask")
@dataclass(frozen=True)
class FillMask(Task):
    """Column `text`, with the tokenizer's mask token in one place or several."""

    name: ClassVar[str] = "fill-mask"
    over: ClassVar[tuple[str, ...]] = ("vocabulary",)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """`text`."""
        return (Input("text"),)

    def faults(self, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None) -> Iterator[Fault]:
        """Texts without a mask."""
        assert tokenizer is not None
        if tokenizer.mask_id is None:
            raise CheckpointError(
                "no mask_token", where="tokenizer_config.json", fix='add "mask_token": the token\'s spelling'
            )
        (mask,) = tokenizer.tokens([tokenizer.mask_id])
        for number, row in enumerate(rows):
            if mask not in row["text"]:
                fix = f"write {mask} where a word is to be guessed"
                yield Fault(number, "text", Problem(f"no {mask} in the text", allowed="one or more", fix=fix))

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int | None) -> list[Example]:
        """An example a window with masks: their `places`, the characters `starts` to `ends` that they stand for, and what
        is `before` them: a token (-1 at the start of the text) that ends at `gaps`."""
        encodings, tokens = windows([row["text"] for row in rows], tokenizer, max_length=max_length)
        columns = ("places", "starts", "ends", "before", "gaps")
        examples: list[Example] = [
            {"input_ids": each.ids, "row": each.row, **{column: [] for column in columns}} for each in encodings
        ]
        for pieces in tokens:
            before, gap = -1, 0
            for piece in pieces:
                index = encodings[piece.window].ids[piece.place]
                if index == tokenizer.mask_id:
                    for column, value in zip(columns, (piece.place, piece.start, piece.end, before, gap), strict=True):
                        examples[piece.window][column].append(value)
                before, gap = index, piece.end
        return [example for example in examples if example["places"]]

    def answers(
        self,
        model: Model,
        rows: Sequence[Row],
        tokenizer: Tokenizer | None,
        *,
        max_length: int | None,
        dtype: torch.dtype,
    ) -> list[Prediction]:
        """{candidates}: for each mask the likeliest {token, score, text}, where text is the row's with the mask filled.

        Of each batch only the likeliest are kept, whatever the size of the vocabulary.
        """
        assert tokenizer is not None
        examples = self.encode(rows, tokenizer, max_length=max_length)
        found: list[list[list[Prediction]]] = [[] for _ in examples]
        for batch, outputs in passes(model, Listed(examples), dtype=dtype, tokens=TOKENS):
            known = outputs.softmax(-1)[:, : tokenizer.vocab_size]  # a model may have rows to spare
            best = known.topk(min(KEPT, known.shape[-1]))
            scores, ids = (by_example(kept.cpu().numpy(), batch) for kept in best)
            for number, *kept in zip(batch.rows, scores, ids, strict=True):
                text = rows[examples[number]["row"]]["text"]
                masks = zip(_masks(examples[number]), *kept, strict=True)
                found[number] = [_candidates(text, mask, row, ids_, tokenizer) for mask, row, ids_ in masks]
        return [
            Prediction(candidates=[candidates for number in numbers for candidates in found[number]])
            for numbers in by_row(examples, len(rows))
        ]

    def told(self, result: Mapping[str, Any]) -> list[str]:
        """The candidates of each mask with their scores, the text."""
        masks = (", ".join(f"{each['token']} {each['score']:.4f}" for each in kept) for kept in result["candidates"])
        return [" | ".join(masks), result["text"]]


def _masks(example: Example) -> Iterator[Mask]:
    return map(Mask, example["starts"], example["ends"], example["before"], example["gaps"])


def _candidates(text: str, mask: Mask, scores: np.ndarray, ids: np.ndarray, tokenizer: Tokenizer) -> list[Prediction]:
    """What the tokens make of a text, the likeliest first."""
    context = [mask.before] if mask.before >= 0 else []
    rows = [context, *([*context, index] for index in ids), *([index] for index in ids)]
    before, *decoded = tokenizer.decode(rows, skip_special=False)
    spellings = tokenizer.tokens(ids.tolist())
    found = []
    for spelling, both, alone, score in zip(spellings, decoded[: len(ids)], decoded[len(ids) :], scores, strict=True):
        piece = both.removeprefix(before) if context and both.startswith(before) else f" {alone}"
        filled = _filled(text, mask, piece, spaced=spelling.startswith(SPACED))
        found.append(Prediction(token=alone.strip() or spelling, score=float(score), text=filled))
    return found


def _filled(text: str, mask: Mask, piece: str, *, spaced: bool) -> str:
    """A text with a mask replaced by what a token means behind the token before: a space in front of it begins a word, whose
    spaces are then the text's own, and no space goes on with the word before."""
    head, tail = text[: mask.start], text[mask.end :]
    if not piece[:1].isspace():
        head = text[: mask.gap]
    elif spaced and head and not head[-1].isspace():
        head += " "
    return head + piece.strip() + tail
