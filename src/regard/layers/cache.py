"""Keys and values of what was already read, owned by the caller (one :class:`Cache` for all layers of one running batch)."""

from __future__ import annotations

import torch
from torch import Tensor

from regard.layers.checks import positive


class LayerCache:
    """Keys and values of one attention layer: (batch, kv_heads, length, d_head) each.

    The buffers grow by doubling, so that appending one token does not copy the past each time.
    """

    def __init__(self) -> None:
        self.length = 0
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
        grown = new.new_empty(batch, heads, end if old is None else max(end, 2 * old.shape[2]), width)
        if old is not None:
            grown[:, :, : self.length] = old[:, :, : self.length]
        return grown

    def reorder(self, rows: Tensor) -> None:
        """Keep the given rows, in this order, repeats allowed (beams); rows: (new_batch,)."""
        if self._k is not None and self._v is not None:
            self._k, self._v = self._k.index_select(0, rows), self._v.index_select(0, rows)

    def truncate(self, length: int) -> None:
        """Forget all tokens from `length` on (rejected speculation)."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot truncate to {length}: the cache holds {self.length} tokens")
        self.length = length


class Cache:
    """One :class:`LayerCache` a layer, for self-attention and, in a decoder with memory, for cross-attention."""

    def __init__(self, n_layers: int) -> None:
        positive(n_layers=n_layers)
        self.layers = [LayerCache() for _ in range(n_layers)]
        self.memory_layers = [LayerCache() for _ in range(n_layers)]
        self._positions: Tensor | None = None

    @property
    def length(self) -> int:
        """Tokens read so far."""
        return self.layers[0].length

    def place(self, positions: Tensor) -> Tensor:
        """Note where the tokens stand that are about to be read, (batch|1, tokens); returns the positions of all so far."""
        if self._positions is not None:
            past = self._positions[:, : self.length]
            rows = max(past.shape[0], positions.shape[0])
            positions = torch.cat([past.expand(rows, -1), positions.expand(rows, -1)], dim=1)
        self._positions = positions
        return positions

    def reorder(self, rows: Tensor) -> None:
        """Keep the given rows of every layer, in this order; rows: (new_batch,) int64."""
        for layer in (*self.layers, *self.memory_layers):
            layer.reorder(rows.to(torch.int64))
        if self._positions is not None and self._positions.shape[0] > 1:
            self._positions = self._positions.index_select(0, rows.to(torch.int64))

    def truncate(self, length: int) -> None:
        """Forget all tokens from `length` on; the memory's keys stay."""
        for layer in self.layers:
            layer.truncate(length)
