"""What a search asks: how likely each token is as the next one, in every row of a running batch."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from regard.layers.cache import Cache
from regard.models.heads import Head
from regard.models.model import Model


class Scorer(Protocol):
    """A running batch. It knows what was read so far; a search only tells it what comes next."""

    def read(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read the next tokens of every row, (rows, tokens) int64, and score the one after them: (rows, vocab_size) float32.

        mask: (rows, tokens), non-zero = real; rows of a first reading that are shorter are padded on the left.
        """

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone, in this order, repeats allowed; rows: (new_rows,) int64."""


class ModelScorer(Scorer):
    """A decoder, with the memory of its encoder if it has one, and a cache of all that it has read.

    memory: (rows, key, d_model), memory_mask: (rows, key). dtype: of the activations.
    """

    def __init__(
        self,
        model: Model,
        *,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if model.decoder is None or not isinstance(model.head, Head):
            raise ValueError("only a decoder with a head over its vocabulary can be asked for the next token")
        self._decoder, self._head = model.decoder, model.head
        self._memory, self._memory_mask, self._dtype = memory, memory_mask, dtype
        self._cache = Cache(model.decoder.n_layers)
        self._mask: Tensor | None = None

    def read(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """See :class:`Scorer`."""
        if mask is not None and self._cache.length:
            raise ValueError("a mask is for the first reading: later tokens are all real")
        if mask is not None and not mask.all():
            self._mask = mask.bool()
        elif self._mask is not None:
            self._mask = torch.cat([self._mask, self._mask.new_ones(ids.shape)], dim=1)
        hidden = self._decoder(
            ids,
            attention_mask=self._mask,
            memory=self._memory,
            memory_mask=self._memory_mask,
            cache=self._cache,
            dtype=self._dtype,
        )
        scores: Tensor = self._head(hidden[:, -1])
        return scores

    def keep(self, rows: Tensor) -> None:
        """See :class:`Scorer`."""
        self._cache.reorder(rows)
        self._memory, self._memory_mask, self._mask = (
            None if part is None else part.index_select(0, rows) for part in (self._memory, self._memory_mask, self._mask)
        )
