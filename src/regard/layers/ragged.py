"""Sentences of different lengths in one batch without one token of padding.

Rows of equal length lie side by side, the groups end to end: one flat (tokens, …) tensor. Whatever works token by token
(projections, norms, feed-forward) never notices; attention views each group as (rows, length, …) and needs no mask.

A flat batch may end in some spare tokens that belong to no row. They make its size a round number: a CPU's matrix kernels
are compiled for each size that comes by (some milliseconds each, for every projection, forward and backward), and sentences
add up to a new size in almost every batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Self

import torch
from torch import Tensor

ROUND = 64
"""Flat batches are filled up with spare tokens to a multiple of this."""
WORTH = 8
"""A padded batch is computed without its padding if that is more than one token in so many."""


@dataclass(frozen=True)
class Ragged:
    """The layout of a flat batch: how many rows of which length follow each other.

    groups: (rows, length) pairs in order. Lengths are in tokens, at least 1. spare: tokens at the end that belong to no row.
    """

    groups: tuple[tuple[int, int], ...]
    spare: int = 0

    def __post_init__(self) -> None:
        if not self.groups or min(min(group) for group in self.groups) < 1:
            raise ValueError(f"a ragged batch has at least one row, and a row at least one token, not groups {self.groups}")

    @classmethod
    def of(cls, lengths: Sequence[int], *, multiple: int = 1) -> Self:
        """The layout of rows with these lengths, in this order; sort them first, so that equal lengths meet.

        multiple: spare tokens are added up to a multiple of it.
        """
        groups = tuple((len(list(run)), length) for length, run in groupby(lengths))
        return cls(groups, -sum(lengths) % multiple)

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(rows for rows, _ in self.groups)

    @property
    def tokens(self) -> int:
        """Tokens of all rows; the flat tensor has `spare` more."""
        return sum(rows * length for rows, length in self.groups)

    @cached_property
    def positions(self) -> Tensor:
        """(tokens + spare,): each token's place in its row, 0 for spare ones."""
        spare = torch.zeros(self.spare, dtype=torch.int64)
        return torch.cat([*(torch.arange(length).repeat(rows) for rows, length in self.groups), spare])

    @property
    def real(self) -> Tensor | None:
        """(rows, length), which tokens of its one group are no padding; None = all of every group."""
        return None

    @property
    def padded_behind(self) -> bool:
        """Whether what padding there is stands behind the real tokens, where a causal stack does not look."""
        return True

    @cached_property
    def ends(self) -> Tensor:
        """(tokens + spare,): how long each token's row is, 1 for spare ones."""
        ends = self.lengths.repeat_interleave(self.lengths)
        return torch.nn.functional.pad(ends, (0, self.spare), value=1)

    @cached_property
    def starts(self) -> Tensor:
        """(rows,): index of each row's first token."""
        lengths = self.lengths
        return lengths.cumsum(0) - lengths

    @cached_property
    def lengths(self) -> Tensor:
        """(rows,): tokens of each row."""
        return torch.cat([torch.full((rows,), length) for rows, length in self.groups])

    @cached_property
    def singles(self) -> Ragged:
        """The layout of one token of each row, filled up to a multiple of :data:`ROUND`."""
        return Ragged(tuple((rows, 1) for rows, _ in self.groups), -self.rows % ROUND)

    def places(self, pick: str) -> Tensor:
        """Where the token of each row lies that :attr:`singles` holds, its `first` or `last`; spare ones are at 0."""
        places = self.starts if pick == "first" else self.starts + self.lengths - 1
        return torch.nn.functional.pad(places, (0, self.singles.spare))

    def split(self, flat: Tensor) -> list[Tensor]:
        """(tokens + spare, …) -> one (rows, length, …) view a group."""
        parts = flat.split([*(rows * length for rows, length in self.groups), self.spare])
        return [part.unflatten(0, group) for part, group in zip(parts, self.groups, strict=False)]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """One (rows, length, …) tensor a group -> (tokens + spare, …), the spare ones 0."""
        flat = [part.flatten(0, 1) for part in parts]
        if self.spare:
            flat.append(flat[0].new_zeros(self.spare, *flat[0].shape[1:]))
        return flat[0] if len(flat) == 1 else torch.cat(flat)


@dataclass(frozen=True, eq=False)
class Unpadded(Ragged):
    """The layout of a padded batch of which the real tokens alone are kept, row by row.

    There is one group, all rows as long as the mask is wide: :meth:`split` puts the padding back, so that attention costs
    what it costs in a padded batch and needs its mask; all else is spared the padding, on whichever side it is.
    """

    mask: Tensor = field(kw_only=True)
    """(rows, length) bool, true = real."""

    @classmethod
    def where(cls, mask: Tensor) -> Self:
        """The layout for (rows, length), non-zero = real token, at least one of them."""
        return cls(((mask.shape[0], mask.shape[1]),), -int(mask.count_nonzero()) % ROUND, mask=mask.bool())

    @classmethod
    def lined(cls, ragged: Ragged, *, device: torch.device | None = None) -> Self:
        """The same flat batch as one group, all its rows as wide as the longest: fewer, larger products where almost every
        row has a length of its own."""
        lengths = ragged.lengths
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        return cls(((len(lengths), mask.shape[1]),), ragged.spare, mask=mask.to(device))

    @property
    def pays(self) -> bool:
        """Whether enough of the batch is padding."""
        return 0 < (self.tokens + self.spare) * WORTH < self.mask.numel() * (WORTH - 1)

    @property
    def real(self) -> Tensor:
        """(rows, length), which tokens are no padding."""
        return self.mask

    @cached_property
    def padded_behind(self) -> bool:
        """See :class:`Ragged`."""
        return bool((self.mask[:, 1:] <= self.mask[:, :-1]).all())

    @property
    def tokens(self) -> int:
        """Real tokens of all rows."""
        return len(self._places) - self.spare

    @cached_property
    def lengths(self) -> Tensor:
        """(rows,): real tokens of each row."""
        return self.mask.sum(1)

    @cached_property
    def positions(self) -> Tensor:
        """(tokens + spare,): each token's place behind its row's first real one."""
        return self.take(self._behind)

    @cached_property
    def ends(self) -> Tensor:
        """(tokens + spare,): how far each token's row reaches behind its first real one."""
        return self.take((self._behind.where(self.mask, 0).amax(1, keepdim=True) + 1).expand(self.mask.shape))

    @cached_property
    def _behind(self) -> Tensor:
        """(rows, length): places behind the row's first real token, 0 before it."""
        places = torch.arange(self.mask.shape[1], device=self.mask.device)
        return (places - self.mask.int().argmax(1, keepdim=True)).clamp(min=0)

    @cached_property
    def _places(self) -> Tensor:
        """(tokens + spare,): where each token stands in the padded batch, seen as one line; spare ones at 0."""
        return torch.nn.functional.pad(self.mask.flatten().nonzero()[:, 0], (0, self.spare))

    def take(self, padded: Tensor) -> Tensor:
        """(rows, length, …) -> (tokens + spare, …), copies of what stands first for spare ones."""
        return padded.flatten(0, 1).index_select(0, self._places)

    def split(self, flat: Tensor) -> list[Tensor]:
        """(tokens + spare, …) -> the one (rows, length, …) tensor, padding 0."""
        padded = flat.new_zeros(self.mask.numel(), *flat.shape[1:])
        return [padded.index_copy(0, self._places[: self.tokens], flat[: self.tokens]).unflatten(0, self.mask.shape)]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """See :meth:`take`."""
        return self.take(parts[0])
