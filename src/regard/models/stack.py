"""A stack of blocks over embeddings: encoder or decoder, by what it may look at (Vaswani et al. 2017, §3.1)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from regard.layers import masks
from regard.layers.block import Block, Look
from regard.layers.cache import Cache
from regard.layers.checks import positive
from regard.layers.disentangled import Disentangled
from regard.layers.embeddings import Embeddings
from regard.layers.positions import Alibi, RelativePositions, Rotary
from regard.layers.ragged import Ragged, Unpadded
from regard.layers.trace import Scope

Pick = Literal["first", "last"]
"""Which token of each row."""


class FrontEnd(nn.Module):
    """What stands in the place of embeddings where a stack reads sound or images: (batch, …) -> (batch, tokens, d_model)."""

    def mask(self, attention_mask: Tensor) -> Tensor:
        """Which tokens are real, (batch, tokens), from which input values are."""
        return attention_mask

    @abstractmethod
    def forward(self, inputs: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """inputs (batch, …), attention_mask of them or None -> (batch, tokens, d_model)."""


class Stack(nn.Module):
    """Embeddings, layers, and a last norm if the layers normalise before their sublayers.

    layers: those with weights of their own; n_layers: in all, each of them used for an equal run. causal: tokens see the
    past only. window: how far tokens of `local_layers` look. rotary, score_bias and disentangled: positions that do not
    enter by the embeddings; local_rotary: in place of `rotary` in the local layers.
    """

    def __init__(
        self,
        embeddings: Embeddings | FrontEnd,
        layers: Sequence[Block],
        *,
        n_layers: int | None = None,
        norm: nn.Module | None = None,
        causal: bool = False,
        window: int | None = None,
        local_layers: Sequence[int] | None = None,
        rotary: Rotary | None = None,
        local_rotary: Rotary | None = None,
        score_bias: Alibi | RelativePositions | None = None,
        disentangled: Disentangled | None = None,
    ) -> None:
        super().__init__()
        n_layers = len(layers) if n_layers is None else n_layers
        positive(n_layers=n_layers, unique_layers=len(layers), window=1 if window is None else window)
        if n_layers % len(layers):
            raise ValueError(f"{len(layers)} layers cannot be used equally often in {n_layers}")
        self.embeddings = embeddings
        self.layers = nn.ModuleList(layers)
        self.n_layers = n_layers
        self.norm = norm
        self.causal, self.window = causal, window
        self.local_layers = frozenset(range(n_layers) if local_layers is None else local_layers)
        self.rotary, self.local_rotary = rotary, local_rotary
        self.score_bias, self.disentangled = score_bias, disentangled

    def forward(
        self,
        inputs: Tensor,
        *,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        type_ids: Tensor | None = None,
        prefix_lengths: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        cache: Cache | None = None,
        sight: Tensor | None = None,
        ragged: Ragged | None = None,
        memory_ragged: Ragged | None = None,
        pick: Pick | None = None,
        dtype: torch.dtype | None = None,
        scope: Scope | None = None,
    ) -> Tensor:
        """Hidden states (batch, tokens, d_model), or (tokens, d_model) for a ragged batch.

        inputs: (batch, tokens) ids, or (tokens,) with `ragged`; what the front end reads, if there is one. type_ids: like
        the ids. attention_mask: (batch, key), non-zero = real token; with a cache it covers the cached tokens too; for a
        front end, of its inputs. position_ids: (batch|1, tokens); None counts from each row's first real token, behind the
        cache. prefix_lengths: (batch,), tokens of a causal stack that see each other both ways. memory: (batch, key,
        d_model) with memory_mask (batch, key), None where the cache remembers it; in a ragged batch (tokens, d_model), laid
        out as `memory_ragged` says, None = as the inputs. sight: with a cache and position_ids, which slots each token
        sees, (batch, tokens, slots) with those of the tokens at the end, True = may look: in place of attention_mask and of
        the order in which a causal stack reads. pick: of a ragged batch, the hidden states of each row's first or last
        token alone, laid out as :attr:`Ragged.singles`. dtype: of the activations; None = that of the weights.

        A padded batch with much padding in it is computed without: what stands at its padding then is 0.
        """
        scope = scope or Scope(None)
        if attention_mask is not None and scope.unseen and self._alone(position_ids, prefix_lengths, memory, cache, ragged):
            layout = Unpadded.where(attention_mask)
            if layout.pays:
                types = None if type_ids is None else layout.take(type_ids)
                return layout.split(self(layout.take(inputs), type_ids=types, ragged=layout, dtype=dtype))[0]
        self._refuse(ragged, cache, prefix_lengths, beside=(attention_mask, position_ids, memory_mask))
        if isinstance(self.embeddings, FrontEnd):
            x = self.embeddings(inputs if dtype is None else inputs.to(dtype), attention_mask)
            attention_mask = None if attention_mask is None else self.embeddings.mask(attention_mask)
            position_ids = torch.arange(x.shape[1], device=x.device)[None]
        else:
            if position_ids is None:
                position_ids = self._positions(inputs, attention_mask, cache, ragged)
            x = self.embeddings(inputs, position_ids, type_ids)
        x = scope.at("embeddings", x if dtype is None else x.to(dtype))
        tokens, past = x.shape[-2], 0 if cache is None else cache.length
        ends = self._ends(position_ids, attention_mask, ragged)
        slots = position_ids if cache is None else cache.place(position_ids.expand(-1, tokens))
        seen = None if sight is None or sight.all() else sight[:, None]
        whole = (tokens, past, attention_mask, prefix_lengths, ragged, x.device)
        look = Look(
            mask=seen if sight is not None else self._mask(*whole, near=False),
            bias=self._bias(position_ids, slots, ragged),
            turn=None if self.rotary is None else self.rotary.turn(position_ids, ends),
            relative=None if self.disentangled is None else self.disentangled(_longest(x, ragged), x.dtype),
            real=None if attention_mask is None else attention_mask.bool(),
            ragged=ragged,
            memory=memory,
            memory_mask=_memory_mask(memory_mask, memory_ragged),
            memory_ragged=memory_ragged,
        )
        local = look
        if self.local_layers:
            turn = look.turn if self.local_rotary is None else self.local_rotary.turn(position_ids, ends)
            near = None if self.window is None or sight is None else masks.near(position_ids, slots, self.window)
            mask = masks.both(seen, near) if sight is not None else self._mask(*whole, near=True)
            local = replace(look, mask=mask, turn=turn)
        places = None if ragged is None or pick is None else ragged.places(pick).to(x.device)
        for i in range(self.n_layers):
            layer = self.layers[i * len(self.layers) // self.n_layers]
            here = local if i in self.local_layers else look
            caches = {} if cache is None else {"cache": cache.layers[i], "memory_cache": cache.memory_layers[i]}
            # the last layer need not compute what nobody asks for
            early = places is not None and i == self.n_layers - 1 and scope.unseen and memory is None and _orderless(here)
            x = layer(x, here, pick=places if early else None, scope=scope.inside(f"layers.{i}"), **caches)
        x = scope.at("", x if self.norm is None else self.norm(x))
        return x if places is None or early else x.index_select(0, places)

    def remember(self, memory: Tensor, cache: Cache) -> None:
        """Keep what the layers' cross-attention needs of a memory, (batch, key, d_model), in an empty cache."""
        for i, held in enumerate(cache.memory_layers):
            layer = self.layers[i * len(self.layers) // self.n_layers]
            assert isinstance(layer, Block) and layer.cross_attention is not None
            layer.cross_attention.remember(memory, held)

    def _positions(self, ids: Tensor, attention_mask: Tensor | None, cache: Cache | None, ragged: Ragged | None) -> Tensor:
        """Where each token stands, counted from its row's first real one."""
        if ragged is not None:
            return ragged.positions.to(ids.device)
        past = 0 if cache is None else cache.length
        places = torch.arange(past, past + ids.shape[1], device=ids.device)[None]
        if attention_mask is None:
            return places
        start = attention_mask.bool().int().argmax(1, keepdim=True)  # 0 unless the row is padded on the left
        return (places - start).clamp(min=0)

    def _ends(self, positions: Tensor, attention_mask: Tensor | None, ragged: Ragged | None) -> Tensor | None:
        """How long each token's row is, padding not counted; None where nobody asks."""
        if self.rotary is None or not self.rotary.by_length:
            return None
        if ragged is not None:
            return ragged.ends.to(positions.device)
        if attention_mask is None:
            return None
        real = attention_mask[:, -positions.shape[1] :].bool()
        return positions.where(real, 0).amax(1, keepdim=True) + 1

    def _alone(self, *beside: object) -> bool:
        """Whether a padded batch of tokens comes with nothing that a layout without padding would have to follow."""
        return not isinstance(self.embeddings, FrontEnd) and all(value is None for value in beside)

    def _refuse(
        self, ragged: Ragged | None, cache: Cache | None, prefixes: Tensor | None, *, beside: tuple[Tensor | None, ...]
    ) -> None:
        if ragged is not None and any(value is not None for value in (cache, prefixes, *beside)):
            raise ValueError("a ragged batch has no padding mask, no prefix, no cache and positions of its own")
        if prefixes is not None and not self.causal:
            raise ValueError("prefix_lengths are for a causal stack: this one sees everything both ways already")
        if ragged is not None and isinstance(self.embeddings, FrontEnd):
            raise ValueError("a ragged batch holds tokens, and this stack reads sound or images")
        if cache is not None and len(cache.layers) != self.n_layers:
            raise ValueError(f"the cache is for {len(cache.layers)} layers, the stack has {self.n_layers}")

    def _mask(
        self,
        tokens: int,
        past: int,
        attention_mask: Tensor | None,
        prefixes: Tensor | None,
        ragged: Ragged | None,
        device: torch.device,
        *,
        near: bool,
    ) -> Tensor | list[Tensor | None] | None:
        """Who may look at whom. near: through the window."""
        if ragged is not None:
            real = None if ragged.real is None else masks.padding(ragged.real)
            if self.causal and ragged.padded_behind:
                real = None
            orders = (self._order_mask(length, length, device, near=near) for _, length in ragged.groups)
            return [masks.both(order, real) for order in orders]
        if prefixes is None:
            order = self._order_mask(tokens, past + tokens, device, near=near)
        else:
            order = masks.prefix(prefixes, tokens, past + tokens)
            order = masks.both(order, self._window(tokens, past + tokens, device) if near else None)
        return masks.both(order, None if attention_mask is None else masks.padding(attention_mask))

    def _order_mask(self, n_query: int, n_key: int, device: torch.device, *, near: bool) -> Tensor | None:
        back = masks.causal(n_query, n_key, device=device) if self.causal and n_query > 1 else None
        return masks.both(back, self._window(n_query, n_key, device) if near else None)

    def _window(self, n_query: int, n_key: int, device: torch.device) -> Tensor | None:
        if self.window is None or n_key <= self.window + 1:  # everything is near
            return None
        return masks.window(n_query, n_key, self.window, device=device)

    def _bias(self, positions: Tensor, slots: Tensor, ragged: Ragged | None) -> Tensor | list[Tensor | None] | None:
        if self.score_bias is None:
            return None
        if ragged is not None:
            rows = [torch.arange(length, device=positions.device)[None] for _, length in ragged.groups]
            return [self.score_bias(row, row) for row in rows]
        bias: Tensor = self.score_bias(positions, slots)
        return bias


def _longest(x: Tensor, ragged: Ragged | None) -> int:
    """Tokens of the longest row."""
    return x.shape[1] if ragged is None else max(length for _, length in ragged.groups)


def _memory_mask(memory_mask: Tensor | None, ragged: Ragged | None) -> Tensor | None:
    """Which keys of the memory are real, for cross-attention; a ragged memory's layout says it."""
    mask = memory_mask if ragged is None else ragged.real
    return None if mask is None else masks.padding(mask)


def _orderless(look: Look) -> bool:
    """Whether all tokens of a ragged batch's rows may look at each other, wherever they stand."""
    free = look.mask is None or (not isinstance(look.mask, Tensor) and all(mask is None for mask in look.mask))
    return free and look.turn is None and look.bias is None and look.relative is None
