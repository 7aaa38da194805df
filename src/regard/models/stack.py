"""A stack of blocks over embeddings: encoder or decoder, by what it may look at (Vaswani et al. 2017, §3.1)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from regard.layers import masks
from regard.layers.block import Block, Look
from regard.layers.cache import Cache
from regard.layers.checks import positive
from regard.layers.embeddings import Embeddings
from regard.layers.positions import Alibi, RelativePositions, Rotary
from regard.layers.ragged import Ragged
from regard.layers.trace import Scope

Pick = Literal["first", "last"]
"""Which token of each row."""


class Stack(nn.Module):
    """Embeddings, layers, and a last norm if the layers normalise before their sublayers.

    causal: tokens see the past only. rotary and score_bias: the second and the third door of positions.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        layers: list[Block],
        *,
        norm: nn.Module | None = None,
        causal: bool = False,
        window: int | None = None,
        rotary: Rotary | None = None,
        score_bias: Alibi | RelativePositions | None = None,
    ) -> None:
        super().__init__()
        positive(n_layers=len(layers), window=1 if window is None else window)
        self.embeddings = embeddings
        self.layers = nn.ModuleList(layers)
        self.norm = norm
        self.causal, self.window = causal, window
        self.rotary, self.score_bias = rotary, score_bias

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        type_ids: Tensor | None = None,
        prefix_lengths: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        cache: Cache | None = None,
        ragged: Ragged | None = None,
        pick: Pick | None = None,
        dtype: torch.dtype | None = None,
        scope: Scope | None = None,
    ) -> Tensor:
        """Hidden states (batch, tokens, d_model), or (tokens, d_model) for a ragged batch.

        input_ids and type_ids: (batch, tokens) int64, or (tokens,) with `ragged`. attention_mask: (batch, key), non-zero =
        real token; with a cache it covers the cached tokens too. position_ids: (batch|1, tokens); None counts from the
        cache's length. prefix_lengths: (batch,), tokens of a causal stack that see each other both ways. memory: (batch,
        key, d_model) with memory_mask (batch, key). pick: of a ragged batch, the hidden states of each row's first or last
        token alone, laid out as :attr:`Ragged.singles`. dtype: of the activations; None = that of the weights.
        """
        scope = scope or Scope(None)
        self._refuse(ragged, cache, prefix_lengths, beside=(attention_mask, position_ids, memory))
        past = 0 if cache is None else cache.length
        if position_ids is None:
            if ragged is not None:
                position_ids = ragged.positions.to(input_ids.device)
            else:
                position_ids = torch.arange(past, past + input_ids.shape[1], device=input_ids.device)[None]
        x = self.embeddings(input_ids, position_ids, type_ids)
        x = scope.at("embeddings", x if dtype is None else x.to(dtype))
        look = Look(
            mask=self._mask(input_ids, past, attention_mask, prefix_lengths, ragged),
            bias=self._bias(position_ids, cache, ragged),
            turn=None if self.rotary is None else self.rotary.turn(position_ids),
            ragged=ragged,
            memory=memory,
            memory_mask=None if memory_mask is None else masks.padding(memory_mask),
        )
        places = None if ragged is None or pick is None else ragged.places(pick).to(input_ids.device)
        early = places is not None and scope.unseen and _orderless(look)
        for i, layer in enumerate(self.layers):
            caches = {} if cache is None else {"cache": cache.layers[i], "memory_cache": cache.memory_layers[i]}
            # the last layer need not compute what nobody asks for
            picked = places if early and i == len(self.layers) - 1 else None
            x = layer(x, look, pick=picked, scope=scope.inside(f"layers.{i}"), **caches)
        x = scope.at("", x if self.norm is None else self.norm(x))
        return x if places is None or early else x.index_select(0, places)

    def _refuse(
        self, ragged: Ragged | None, cache: Cache | None, prefixes: Tensor | None, *, beside: tuple[Tensor | None, ...]
    ) -> None:
        if ragged is not None and any(value is not None for value in (cache, prefixes, *beside)):
            raise ValueError("a ragged batch has no padding mask, no prefix, no memory, no cache and positions of its own")
        if prefixes is not None and not self.causal:
            raise ValueError("prefix_lengths are for a causal stack: this one sees everything both ways already")
        if cache is not None and len(cache.layers) != len(self.layers):
            raise ValueError(f"the cache is for {len(cache.layers)} layers, the stack has {len(self.layers)}")

    def _mask(
        self,
        input_ids: Tensor,
        past: int,
        attention_mask: Tensor | None,
        prefixes: Tensor | None,
        ragged: Ragged | None,
    ) -> Tensor | list[Tensor | None] | None:
        if ragged is not None:
            return [self._order_mask(length, length, input_ids.device) for _, length in ragged.groups]
        tokens = input_ids.shape[1]
        if prefixes is None:
            order = self._order_mask(tokens, past + tokens, input_ids.device)
        else:
            near = self._near(tokens, past + tokens, input_ids.device)
            order = masks.both(masks.prefix(prefixes, tokens, past + tokens), near)
        return masks.both(order, None if attention_mask is None else masks.padding(attention_mask))

    def _order_mask(self, n_query: int, n_key: int, device: torch.device) -> Tensor | None:
        back = masks.causal(n_query, n_key, device=device) if self.causal and n_query > 1 else None
        return masks.both(back, self._near(n_query, n_key, device))

    def _near(self, n_query: int, n_key: int, device: torch.device) -> Tensor | None:
        return None if self.window is None else masks.window(n_query, n_key, self.window, device=device)

    def _bias(self, positions: Tensor, cache: Cache | None, ragged: Ragged | None) -> Tensor | list[Tensor | None] | None:
        if self.score_bias is None:
            return None
        if ragged is not None:
            rows = [torch.arange(length, device=positions.device)[None] for _, length in ragged.groups]
            return [self.score_bias(row, row) for row in rows]
        bias: Tensor = self.score_bias(positions, positions if cache is None else cache.place(positions))
        return bias


def _orderless(look: Look) -> bool:
    """Whether all tokens of a ragged batch's rows may look at each other, wherever they stand."""
    free = look.mask is None or (not isinstance(look.mask, Tensor) and all(mask is None for mask in look.mask))
    return free and look.turn is None and look.bias is None
