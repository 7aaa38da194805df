"""Changes to the scores before a search sees them: what may not be said, and what must."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

NEVER = float("-inf")
"""Score of a token that may not come."""


class Written(NamedTuple):
    """What the hypotheses of a running batch have written so far, their prompts not included.

    tokens: (hypotheses, T) int64, right-aligned, -1 before a hypothesis' first token. rows: (hypotheses,) int64, the number
    of the input that each belongs to, as the caller of the search counts them.
    """

    tokens: Tensor
    rows: Tensor

    @property
    def lengths(self) -> Tensor:
        """Tokens of each hypothesis, (hypotheses,)."""
        return (self.tokens >= 0).sum(1)


class Filter(Protocol):
    """Changes the scores of the next token. A pure function: hypotheses change places and leave, and nothing is told."""

    def __call__(self, scores: Tensor, written: Written) -> Tensor:
        """scores (hypotheses, vocab_size) float32: logits, in a beam search log-probabilities -> scores of the same shape.

        What it is given is not changed.
        """


@runtime_checkable
class Sometimes(Filter, Protocol):
    """A filter that can tell when it changes nothing: where all do, a search need not spread out the scores of all
    tokens."""

    def wakes(self, written: Written) -> bool:
        """Whether it could change anything at this step."""


class Behind(Filter):
    """Another filter, to which the prompts are written too, as they are to those of `transformers`.

    prompts: what was read of each input, by its number, before anything was written.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], rule: Filter) -> None:
        width = max(map(len, prompts), default=0)
        rows = [[*[-1] * (width - len(prompt)), *prompt] for prompt in prompts]
        self._prompts = torch.tensor(rows, dtype=torch.int64).view(len(rows), width)
        self._rule = rule

    def __call__(self, scores: Tensor, written: Written) -> Tensor:
        """See :class:`Filter`."""
        prompts = self._prompts.to(written.rows.device)[written.rows]
        both = torch.cat([prompts, written.tokens], dim=1)
        # A hypothesis that is shorter than others has a gap behind its prompt: what stands before the gap moves over it.
        places = torch.arange(both.shape[1], device=both.device).expand_as(both)
        gap = (written.tokens.shape[1] - written.lengths)[:, None]
        before = places < prompts.shape[1] + gap
        moved = both.gather(1, (places - gap * before).clamp(min=0))
        joined = moved.masked_fill(before & (places < gap), -1)
        return self._rule(scores, Written(joined, written.rows))


class Banned(Sometimes):
    """Tokens and sequences that may not be written. first: only as the very first token."""

    def __init__(self, words: Iterable[int | Sequence[int]], *, first: bool = False) -> None:
        sequences = [[word] if isinstance(word, int) else list(word) for word in words]
        self.single = torch.tensor([word[0] for word in sequences if len(word) == 1], dtype=torch.int64)
        self._longer = [(torch.tensor(word[:-1]), word[-1]) for word in sequences if len(word) > 1]
        self._first = first

    def __call__(self, scores: Tensor, written: Written) -> Tensor:
        """See :class:`Filter`."""
        single = self.single.to(scores.device)
        if self._first:
            beginning = (written.lengths == 0)[:, None]
            return torch.where(beginning, scores.index_fill(1, single, NEVER), scores)
        scores = scores.index_fill(1, single, NEVER)
        for start, last in self._longer:
            if written.tokens.shape[1] >= len(start):
                begun = (written.tokens[:, -len(start) :] == start.to(scores.device)).all(1)
                scores[begun, last] = NEVER
        return scores

    def wakes(self, written: Written) -> bool:
        """See :class:`Sometimes`."""
        return not self._first or not bool(written.lengths.all())

    @property
    def always(self) -> bool:
        """Whether it bans single tokens at every step, and nothing else."""
        return not self._first and not self._longer


class Forced(Sometimes):
    """Tokens that must be written at certain places, counted from 0."""

    def __init__(self, places: Mapping[int, int]) -> None:
        self._places = dict(places)

    def __call__(self, scores: Tensor, written: Written) -> Tensor:
        """See :class:`Filter`."""
        lengths, scores = written.lengths, scores.clone()
        for place, token in self._places.items():
            here = lengths == place
            scores[here] = NEVER
            scores[here, token] = 0.0
        return scores

    def wakes(self, written: Written) -> bool:
        """See :class:`Sometimes`."""
        return not self._places.keys().isdisjoint(written.lengths.tolist())


class Closed(Sometimes):
    """A token that must come last: where an input has only one token left to write, it is this one.

    longest: most tokens of each input, by its number, (inputs,) int64.
    """

    def __init__(self, token: int, longest: Tensor) -> None:
        self._token, self._longest = token, longest

    def __call__(self, scores: Tensor, written: Written) -> Tensor:
        """See :class:`Filter`."""
        closing, scores = self._closing(written), scores.clone()
        scores[closing] = NEVER
        scores[closing, self._token] = 0.0
        return scores

    def wakes(self, written: Written) -> bool:
        """See :class:`Sometimes`."""
        return bool(self._closing(written).any())

    def _closing(self, written: Written) -> Tensor:
        return written.lengths + 1 == self._longest.to(written.rows.device)[written.rows]
