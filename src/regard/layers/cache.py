"""Keys and values of what was already read, owned by the caller (one :class:`Cache` for all layers of one running batch).

A place in a cache is a *slot*. In a plain sequence slot t holds token t. In a search a row's hypotheses lie side by side,
and each one sees the slots that it descends from: nothing is copied when hypotheses change places.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.layers.checks import positive


class LayerCache:
    """Keys and values of one attention layer: (batch, kv_heads, length, d_head) each.

    dtype: in which they are kept; None = as they come. The buffers grow by doubling, so that appending one token does not
    copy the past each time.
    """

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        self.length = 0
        self._dtype = dtype
        self._k: Tensor | None = None
        self._v: Tensor | None = None

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add keys and values of new tokens; returns all keys and values so far."""
        if self._k is not None and self._k.shape[:2] != k.shape[:2]:
            raise ValueError(f"the cache holds (rows, heads) {tuple(self._k.shape[:2])}, not {tuple(k.shape[:2])}")
        end = self.length + k.shape[2]
        self._k, self._v = (self._room(old, new, end) for old, new in ((self._k, k), (self._v, v)))
        self._k[:, :, self.length : end] = k
        self._v[:, :, self.length : end] = v
        self.length = end
        return self.read()

    def read(self) -> tuple[Tensor, Tensor]:
        """All keys and values so far."""
        if self._k is None or self._v is None:
            raise ValueError("the cache is empty: append first")
        return self._k[:, :, : self.length], self._v[:, :, : self.length]

    def _room(self, old: Tensor | None, new: Tensor, end: int) -> Tensor:
        if old is not None and old.shape[2] >= end:
            return old
        batch, heads, _, width = new.shape
        capacity = end if old is None else max(end, 2 * old.shape[2])
        grown = new.new_empty(batch, heads, capacity, width, dtype=self._dtype)
        if old is not None:
            grown[:, :, : self.length] = old[:, :, : self.length]
        return grown

    def take(self, rows: Tensor, slots: Tensor | None = None) -> None:
        """Keep the given rows, (new_batch,), in this order, repeats allowed; of each one these slots alone, (new_batch, new
        length), None = all."""
        if self._k is None or self._v is None:
            return
        if slots is None:
            k, v = self.read()
            self._k, self._v = k.index_select(0, rows), v.index_select(0, rows)
            return
        heads, capacity, width = self._k.shape[1:]
        head = torch.arange(heads, device=rows.device)
        flat = (((rows[:, None] * heads + head) * capacity)[:, :, None] + slots[:, None]).flatten()
        shape = (len(rows), heads, slots.shape[1], width)
        self._k, self._v = (part.view(-1, width).index_select(0, flat).view(shape) for part in (self._k, self._v))
        self.length = slots.shape[1]

    def join(self, other: LayerCache, rows: int) -> None:
        """Put another cache's rows, so many, behind these. The shorter ones end in slots of zeros, which the caller must
        mask; rows of an empty cache are all zeros."""
        if self._k is None or self._v is None:
            self._k, self._v, self.length = other._k, other._v, other.length
            return
        length = max(self.length, other.length)
        self._k, self._v = (
            _stacked(mine[:, :, : self.length], None if theirs is None else theirs[:, :, : other.length], rows, length)
            for mine, theirs in ((self._k, other._k), (self._v, other._v))
        )
        self.length = length

    def truncate(self, length: int) -> None:
        """Forget all tokens from `length` on (rejected speculation)."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot truncate to {length}: the cache holds {self.length} tokens")
        self.length = length


def _stacked(mine: Tensor, theirs: Tensor | None, rows: int, length: int) -> Tensor:
    """(rows, heads, slots, d_head), or positions (rows, slots), with other rows behind them; zeros in what neither has."""
    slots = mine.ndim // 2
    shape = list(mine.shape)
    shape[0], shape[slots] = len(mine) + rows, length
    both = mine.new_zeros(shape)
    both[: len(mine)].narrow(slots, 0, mine.shape[slots]).copy_(mine)
    if theirs is not None:
        both[len(mine) :].narrow(slots, 0, theirs.shape[slots]).copy_(theirs)
    return both


class Cache:
    """One :class:`LayerCache` a layer, for self-attention and, in a decoder with memory, for cross-attention."""

    def __init__(self, n_layers: int, *, dtype: torch.dtype | None = None) -> None:
        positive(n_layers=n_layers)
        self.layers = [LayerCache(dtype) for _ in range(n_layers)]
        self.memory_layers = [LayerCache(dtype) for _ in range(n_layers)]
        self._positions: Tensor | None = None

    @property
    def length(self) -> int:
        """Slots in use: tokens read so far."""
        return self.layers[0].length

    def place(self, positions: Tensor) -> Tensor:
        """Note where the tokens stand that are about to be read, (batch|1, tokens); returns the positions of all so far."""
        if self._positions is not None:
            past = self._positions[:, : self.length]
            rows = max(past.shape[0], positions.shape[0])
            positions = torch.cat([past.expand(rows, -1), positions.expand(rows, -1)], dim=1)
        self._positions = positions
        return positions

    def take(self, rows: Tensor, slots: Tensor | None = None, memory: int | None = None) -> None:
        """Keep the given rows of every layer, (new_batch,) int64, in this order; of each one these slots alone, (new_batch,
        new length), and of the memory the first keys alone; None = all."""
        rows = rows.to(torch.int64)
        for layer in self.layers:
            layer.take(rows, slots)
        for layer in self.memory_layers:
            if memory is not None and layer.length:
                layer.truncate(memory)
            layer.take(rows)
        if self._positions is not None:
            places = self._positions if len(self._positions) == 1 else self._positions.index_select(0, rows)
            self._positions = places if slots is None else places.expand(len(rows), -1).gather(1, slots)

    def join(self, other: Cache, rows: int) -> None:
        """Put another cache's rows, so many, behind these, see :meth:`LayerCache.join`. Each row of both has its own
        positions noted."""
        for mine, theirs in zip((*self.layers, *self.memory_layers), (*other.layers, *other.memory_layers), strict=True):
            mine.join(theirs, rows)
        if self._positions is None:
            self._positions = other._positions
        else:
            self._positions = _stacked(self._positions, other._positions, rows, self.length)

    def truncate(self, length: int) -> None:
        """Forget all tokens from `length` on; the memory's keys stay."""
        for layer in self.layers:
            layer.truncate(length)
