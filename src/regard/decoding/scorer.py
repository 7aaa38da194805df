"""What a search asks: how likely each token is as the next one, for every hypothesis of a running batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from regard.layers.cache import Cache
from regard.layers.output import Best, best
from regard.models.heads import Head
from regard.models.model import Model

Remembered = Callable[[Sequence[int]], tuple[Tensor, Tensor | None]]
"""Numbers of inputs -> what an encoder made of them, (inputs, key, d_model), and which of it is real, (inputs, key) or
None."""


class Scorer(Protocol):
    """A running batch: rows of inputs, each with `width` hypotheses. Inputs join it and leave it at any time.

    It knows what every hypothesis has read; a search only tells it what comes next.
    """

    width: int

    @abstractmethod
    def join(self, inputs: Sequence[int]) -> Tensor:
        """Put inputs, by their numbers, behind the rows that are there. Returns the token that each one's hypotheses read
        next, (inputs,) int64: the last one of its prompt."""

    @abstractmethod
    def read(self, tokens: Tensor) -> None:
        """Read the next token of every hypothesis, (rows, width) int64."""

    @abstractmethod
    def logits(self) -> Tensor:
        """Scores of the token after those: (rows * width, vocab_size) float32, a new tensor."""

    def best(self, count: int, *, never: Tensor | None = None) -> Best:
        """The likeliest of them, see :func:`regard.layers.output.best`."""
        return best(self.logits(), count, never=never)

    @abstractmethod
    def follow(self, parents: Tensor) -> None:
        """Go on with other hypotheses of each row, repeats allowed: (rows, width) int64, their places up to now."""

    @abstractmethod
    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone, (new rows,) int64, in this order."""


class ModelScorer(Scorer):
    """A decoder, with the memory of its encoder if it has one, and a cache of all that it has read.

    prompts: what the decoder reads of each input before it writes, one token at least. remembered: gives the memory of
    inputs when they join. dtype: of the activations.

    Hypotheses of a row lie side by side in the cache, and each sees the slots that it descends from: changing places costs
    nothing. What nobody sees any more is dropped when rows leave. A row that joins later sees its own slots alone, and its
    positions count from its own start.
    """

    def __init__(
        self,
        model: Model,
        prompts: Sequence[Sequence[int]],
        *,
        width: int = 1,
        remembered: Remembered | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if model.decoder is None or not isinstance(model.head, Head):
            raise ValueError("only a decoder with a head over its vocabulary can be asked for the next token")
        self.width = width
        self._decoder, self._head, self._on = model.decoder, model.head, model.device
        self._prompts, self._remembered, self._dtype = prompts, remembered, dtype
        self._cache = self._new_cache()
        self._last_position = model.config.decoder_positions - 1 if model.config.positions == "learned" else None
        self._hidden = torch.empty(0)
        self._sight = torch.empty(0, width, 0, dtype=torch.bool, device=self._on)
        self._positions = torch.empty(0, dtype=torch.int64, device=self._on)
        self._memory_mask: Tensor | None = None
        self._own = torch.eye(width, dtype=torch.bool, device=self._on)[None]

    def join(self, inputs: Sequence[int]) -> Tensor:
        """See :class:`Scorer`."""
        cache, rows = self._new_cache(), len(inputs)
        memory_mask = None
        if self._remembered is not None:
            memory, memory_mask = self._remembered(inputs)
            self._decoder.remember(memory, cache)
            if memory_mask is None:
                memory_mask = torch.ones(memory.shape[:2], dtype=torch.bool, device=self._on)
        prompts = [self._prompts[number] for number in inputs]
        before = torch.tensor([len(prompt) - 1 for prompt in prompts], device=self._on)
        longest = int(before.max())
        real = torch.arange(longest, device=self._on) < before[:, None]
        if longest:
            flat = torch.tensor([token for prompt in prompts for token in prompt[:-1]], device=self._on)
            ids = torch.zeros(rows, longest, dtype=torch.int64, device=self._on).masked_scatter_(real, flat)
            places = torch.arange(longest, device=self._on).expand(rows, -1)
            self._decoder(
                ids,
                attention_mask=None if real.all() else real,
                position_ids=places,
                memory_mask=None if memory_mask is None or memory_mask.all() else memory_mask,
                cache=cache,
                dtype=self._dtype,
            )
        sight = real[:, None].expand(-1, self.width, -1)
        if len(self._positions):
            self._cache.join(cache, rows)
            if self._memory_mask is not None and memory_mask is not None:
                self._memory_mask = _below(self._memory_mask, memory_mask)
            self._sight = _below(self._sight, sight)
        else:
            self._cache, self._memory_mask, self._sight = cache, memory_mask, sight
        self._positions = torch.cat([self._positions, before])
        return torch.tensor([prompt[-1] for prompt in prompts], device=self._on)

    def read(self, tokens: Tensor) -> None:
        """See :class:`Scorer`."""
        self._sight = torch.cat([self._sight, self._own.expand(len(tokens), -1, -1)], dim=2)
        positions = self._positions
        if self._last_position is not None:
            # a row that is done may stay for a while, beyond the end of the table: what it reads there counts for nothing
            positions = positions.clamp(max=self._last_position)
        self._hidden = self._decoder(
            tokens,
            position_ids=positions[:, None],
            memory_mask=None if self._memory_mask is None or self._memory_mask.all() else self._memory_mask,
            cache=self._cache,
            sight=self._sight,
            dtype=self._dtype,
        ).flatten(0, 1)
        self._positions = self._positions + 1

    def logits(self) -> Tensor:
        """See :class:`Scorer`."""
        scores: Tensor = self._head(self._hidden)
        return scores

    def best(self, count: int, *, never: Tensor | None = None) -> Best:
        """See :class:`Scorer`."""
        return self._head.best(self._hidden, count, never=never)

    def follow(self, parents: Tensor) -> None:
        """See :class:`Scorer`."""
        self._sight = self._sight.gather(1, parents[:, :, None].expand(-1, -1, self._sight.shape[2]))

    def keep(self, rows: Tensor) -> None:
        """See :class:`Scorer`."""
        sight = self._sight.index_select(0, rows)
        seen = sight.any(1)
        most = int(seen.sum(1).max()) if len(rows) else 0
        slots = seen.byte().argsort(dim=1, descending=True, stable=True)[:, :most]
        self._sight = sight.gather(2, slots[:, None].expand(-1, self.width, -1))
        self._positions = self._positions.index_select(0, rows)
        mask = self._memory_mask
        if mask is not None:
            mask = mask.index_select(0, rows)
            self._memory_mask = mask[:, : int(mask.sum(1).max()) if len(rows) else 0]
        self._cache.take(rows, slots, None if self._memory_mask is None else self._memory_mask.shape[1])

    def _new_cache(self) -> Cache:
        # on a CPU products of so few queries are quicker in float32, whose kernels are not compiled anew for each length
        return Cache(self._decoder.n_layers, dtype=torch.float32 if self._on.type == "cpu" else None)


def _below(mine: Tensor, theirs: Tensor) -> Tensor:
    """Two masks (rows, …, slots) as one; the shorter one ends in False."""
    longest = max(mine.shape[-1], theirs.shape[-1])
    return torch.cat([torch.nn.functional.pad(part, (0, longest - part.shape[-1])) for part in (mine, theirs)])
