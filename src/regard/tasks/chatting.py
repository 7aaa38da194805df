"""A conversation with a model: what was said is kept, an answer comes piece by piece, what no longer fits is let go."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from regard.data.dialogue import Message
from regard.data.rows import HALF_PAIR, is_whole
from regard.decoding import ModelScorer, search
from regard.errors import DataError
from regard.models.model import Model
from regard.tasks.decoding import Generation
from regard.tasks.dialogue import template_of, without_first
from regard.text.tokenizer import Tokenizer

LONGEST = 512
"""Tokens of an answer where the checkpoint names no bound."""
ROOM = 4
"""One of so many positions is kept free for an answer, unless a single question needs it."""
HALF = "\N{REPLACEMENT CHARACTER}"
"""What the first bytes of a character are shown as until the others come."""


class Conversation:
    """Turns with a model that has a chat template.

    `messages` is what the model still knows, `forgotten` how many questions with their answers it had to let go, the oldest
    first, because they no longer fit its positions; the system's message stays.
    """

    def __init__(
        self,
        model: Model,
        generation: Generation,
        tokenizer: Tokenizer,
        *,
        system: str | None = None,
        max_length: int | None = None,
        dtype: torch.dtype,
    ) -> None:
        """system: what the model is told before all else. max_length: tokens that it reads and writes in all, None = its
        positions. Raises CheckpointError for a model without a chat template."""
        template_of(tokenizer)
        self._model, self._generation, self._tokenizer, self._dtype = model, generation, tokenizer, dtype
        self._positions = min(max_length or model.config.max_positions, model.config.max_positions)
        self.messages = [] if system is None else [Message(role="system", content=system)]
        self.forgotten = 0

    def say(self, text: str) -> Iterator[str]:
        """The answer, piece by piece. When the last piece has come, both are part of the conversation; before, nothing is.

        Raises DataError for an empty message and for one that leaves no room for an answer.
        """
        if not text.strip():
            raise DataError("an empty message", fix="write something")
        if not is_whole(text):
            raise DataError(HALF_PAIR, where="message", fix="give it as UTF-8")
        asked, forgotten, prompt = self._fitted([*self.messages, Message(role="user", content=text)])
        longest = self._generation.longest(len(prompt), self._positions, default=LONGEST)
        stop = self._generation.stop(self._tokenizer)
        answer = ""
        tokens = written(self._model, prompt, self._generation, stop=stop, longest=longest, dtype=self._dtype)
        for piece in pieces(tokens, self._tokenizer):
            answer += piece
            yield piece
        self.messages = [*asked, Message(role="assistant", content=answer)]
        self.forgotten += forgotten

    def _fitted(self, messages: list[Message]) -> tuple[list[Message], int, list[int]]:
        """The messages that fit, how many questions were let go, and the ids that the model reads."""
        forgotten = 0
        while len(ids := self._ids(messages)) > self._positions - self._positions // ROOM:
            shorter = without_first(messages)
            if shorter is None:
                break
            messages, forgotten = shorter, forgotten + 1
        if len(ids) >= self._positions:
            allowed = f"at most {self._positions - 1}, what the model reads at once with all that stands around the message"
            raise DataError(f"{len(ids)} tokens", where="message", allowed=allowed, fix="shorten the message")
        return messages, forgotten, ids

    def _ids(self, messages: list[Message]) -> list[int]:
        return self._tokenizer.encode([self._tokenizer.chat(messages)], special=False)[0].ids


@torch.inference_mode()
def written(
    model: Model, prompt: list[int], generation: Generation, *, stop: frozenset[int], longest: int, dtype: torch.dtype
) -> Iterator[int]:
    """The tokens that a decoder writes after one prompt, up to one of `stop`: as they come, or all at once where a search
    may take them back."""
    strategy = generation.strategy(stop, [prompt])
    streams = strategy.width == 1 and strategy.final
    for _, new, found in search(
        ModelScorer(model, [prompt], width=strategy.width, dtype=dtype),
        strategy,
        longest=[longest],
        filters=generation.filters([longest], [prompt], stop),
        sizes=[len(prompt)],
        rows=1,
        stream=streams,
    ):
        yield from new if streams else found[0].tokens


def pieces(tokens: Iterator[int], tokenizer: Tokenizer) -> Iterator[str]:
    """The text of tokens as they come, each piece when it is whole: a character may take several tokens."""
    ids: list[int] = []
    told = ""
    for token in tokens:
        ids.append(token)
        (text,) = tokenizer.decode([ids])
        if not text.endswith(HALF) and text.startswith(told):
            yield text[len(told) :]
            told = text
    (text,) = tokenizer.decode([ids])
    if len(text) > len(told):
        yield text[len(told) :]
