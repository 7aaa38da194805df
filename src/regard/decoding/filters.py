"""Changes to the scores before a search sees them: what may not be said, and what must."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

NEVER = float("-inf")
"""Score of a token that may not come."""


class Written(NamedTuple):
    """What the hypotheses of a running batch have written, without their prompts.

    tokens: (hypotheses, longest) int64, right-aligned, -1 before the first token of a hypothesis. rows: (hypotheses,)
    int64, the number of the input that each belongs to.
    """

    tokens: Tensor
    rows: Tensor

    @property
    def lengths(self) -> Tensor:
        """(hypotheses,) int64: how many tokens each has written."""
        return (self.tokens >= 0).sum(1)


class Filter(Protocol):
    """Changes the scores of the next token."""

    def __call__(self, scores: Tensor, written: Tensor) -> Tensor:
        """scores (rows, vocab_size), written (rows, tokens so far without the prompt) -> scores of the same shape."""


class Banned(Filter):
    """Tokens and sequences that may not be written. first: only as the very first token."""

    def __init__(self, words: Iterable[int | Sequence[int]], *, first: bool = False) -> None:
        sequences = [[word] if isinstance(word, int) else list(word) for word in words]
        self._single = torch.tensor([word[0] for word in sequences if len(word) == 1], dtype=torch.int64)
        self._longer = [(torch.tensor(word[:-1]), word[-1]) for word in sequences if len(word) > 1]
        self._first = first

    def __call__(self, scores: Tensor, written: Tensor) -> Tensor:
        """See :class:`Filter`."""
        if self._first and written.shape[1]:
            return scores
        scores = scores.index_fill(1, self._single.to(scores.device), NEVER)
        for start, last in self._longer:
            if written.shape[1] >= len(start):
                begun = (written[:, -len(start) :] == start.to(written.device)).all(1)
                scores[begun, last] = NEVER
        return scores


class Forced(Filter):
    """Tokens that must be written at certain places, counted from 0."""

    def __init__(self, places: Mapping[int, int]) -> None:
        self._places = dict(places)

    def __call__(self, scores: Tensor, written: Tensor) -> Tensor:
        """See :class:`Filter`."""
        token = self._places.get(written.shape[1])
        if token is None:
            return scores
        forced = torch.full_like(scores, NEVER)
        forced[:, token] = 0.0
        return forced
