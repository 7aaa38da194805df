"""text-generation: a text and how it goes on; for a model that was trained to chat, a message and the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from regard.errors import Problem
from regard.models.model import Model
from regard.tasks.generation import Writing, continuations, worded
from regard.tasks.inputs import Input
from regard.tasks.task import TASKS, Fault, Prediction, Row
from regard.text.tokenizer import Tokenizer

LONGEST = 128
"""Tokens that are written where the checkpoint names no bound."""


@TASKS.register("text-generation")
@dataclass(frozen=True)
class TextGeneration(Writing):
    """Column `text`. With a chat template it is a message of the user, and the answer is written; else it goes on."""

    name: ClassVar[str] = "text-generation"

    @property
    def inputs(self) -> tuple[Input, ...]:
        """`text`."""
        return (Input("text"),)

    def faults(self, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None) -> Iterator[Fault]:
        """Texts that leave no room to go on, and empty ones where there is nothing else to begin with."""
        assert tokenizer is not None
        for number, ids in enumerate(prompts(rows, tokenizer)):
            if not ids:
                yield Fault(number, "text", Problem("an empty text", fix="give the beginning of what is to be written"))
            elif max_length is not None and len(ids) >= max_length:
                problem = Problem(f"{len(ids)} tokens", allowed=f"at most {max_length - 1}", fix="shorten the text")
                yield Fault(number, "text", problem)

    def answers(
        self, model: Model, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None, dtype: torch.dtype
    ) -> list[Prediction]:
        """{generated, score}, what comes after the text, and its candidates; see :func:`~regard.tasks.generation.worded`."""
        assert tokenizer is not None
        told = self.generation
        found = continuations(model, prompts(rows, tokenizer), told, tokenizer, dtype=dtype, default=LONGEST)
        return worded(found, "generated", told, tokenizer)

    def told(self, result: Mapping[str, Any]) -> list[str]:
        """What was written, the text."""
        return [str(result["generated"]), str(result["text"])]


def prompts(rows: Sequence[Row], tokenizer: Tokenizer) -> list[list[int]]:
    """What the model reads of each row."""
    if tokenizer.chat_template is None:
        return tokenizer.ids([row["text"] for row in rows])[0]
    chats = [tokenizer.chat([{"role": "user", "content": row["text"]}]) for row in rows]
    return [encoding.ids for encoding in tokenizer.encode(chats, special=False)]
