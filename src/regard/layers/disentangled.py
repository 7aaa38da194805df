"""Disentangled attention: scores from what tokens are and, apart from that, from their distance (He et al. 2021, §3.1).

A score is content-to-content (the usual q kᵀ), plus content-to-position (q with a key made of the distance), plus
position-to-content (k with a query made of the distance), all under one scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from regard.layers.checks import one_of
from regard.layers.dropout import Dropout
from regard.layers.embeddings import Embedding
from regard.layers.linear import Linear

if TYPE_CHECKING:
    from regard.layers.attention import Attention

TERMS = ("c2p", "p2c")
"""content-to-position and position-to-content."""

ROUND = 32
"""Tables are laid out for a multiple of so many tokens: a CPU's matrix kernels are compiled for each size that comes by."""

BLOCK = 64
"""Tokens that are multiplied with distances at once: fewer need more products, more need distances that none of them has."""


class PositionProjections(nn.Module):
    """The keys and queries of distances where a layer does not make them with its own `k_proj` and `q_proj`."""

    def __init__(self, d_model: int, width: int, terms: Sequence[str]) -> None:
        super().__init__()
        self.k_proj = Linear(d_model, width) if "c2p" in terms else None
        self.q_proj = Linear(d_model, width) if "p2c" in terms else None


class Disentangled(nn.Module):
    """The table of distances that all layers share.

    distance: beyond it all distances count as one. buckets: distances up to half of it are exact, farther ones logarithmic
    up to `distance`; None = all exact. norm: applied to the table before use. dropout: of the table, while training.
    """

    def __init__(
        self,
        d_model: int,
        *,
        distance: int,
        buckets: int | None = None,
        terms: Sequence[str] = TERMS,
        norm: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for term in terms:
            one_of(TERMS, term=term)
        if distance < 1 or (buckets is not None and not 2 <= buckets // 2 < distance - 1):
            raise ValueError(f"buckets={buckets} must be at least 4, and half of them below distance={distance} less 1")
        self.span = distance if buckets is None else buckets
        self.table = Embedding(2 * self.span, d_model)
        self.norm = norm
        self.dropout = Dropout(dropout)
        self.distance, self.buckets, self.terms = distance, buckets, tuple(terms)

    def rows(self, offset: Tensor) -> Tensor:
        """Query position minus key position -> row of the table."""
        if self.buckets is not None:
            mid = self.buckets // 2
            away = offset.abs().clamp(min=1)
            # float32 throughout, as the reference has it: a bucket starts where this rounds up
            far = (away / mid).log() / torch.tensor((self.distance - 1) / mid).log() * (mid - 1)
            offset = torch.where(away <= mid, offset, (far.ceil().long() + mid) * offset.sign())
        return (offset + self.span).clamp(0, 2 * self.span - 1)

    def forward(self, length: int, dtype: torch.dtype) -> Distances:
        """What all layers share of a batch whose rows have up to `length` tokens."""
        length += -length % ROUND
        offset = torch.arange(1 - length, length + 1)
        rising, falling = self.rows(offset), self.rows(-offset)
        low, high = int(falling[-1]), int(rising[-1]) + 1  # short texts need few distances
        table = self.table.weight[low:high]
        table = (table if self.norm is None else self.norm(table)).to(dtype)
        rising, falling = ((rows - low).to(table.device) for rows in (rising, falling))
        return Distances(table, rising, falling, self.terms, self.dropout)


Bias = Callable[[Tensor, Tensor], Tensor]
"""q and k (batch, heads, tokens, d_head) -> what is added to their scaled scores, (batch, heads, query, key)."""


@dataclass(frozen=True)
class Distances:
    """A table of distances (rows, d_model), and the rows of it for the distances 1 - length … length, and for those turned
    around."""

    table: Tensor
    rising: Tensor
    falling: Tensor
    terms: tuple[str, ...]
    dropout: Dropout

    def within(self, attention: Attention) -> Bias:
        """The bias that this layer's projections make of the table."""
        table, own = self.dropout(self.table), attention.position
        scale = attention.d_head**-0.5 if attention.scale is None else attention.scale
        keys = queries = None
        if "c2p" in self.terms:
            projected = (attention.k_proj if own is None or own.k_proj is None else own.k_proj)(table)
            keys = _by_head(projected * scale, self.falling, attention.d_head)
        if "p2c" in self.terms:
            projected = (attention.q_proj if own is None or own.q_proj is None else own.q_proj)(table)
            queries = _by_head(projected * scale, self.rising, attention.d_head)
        return partial(_bias, keys, queries)


def _by_head(projected: Tensor, rows: Tensor, d_head: int) -> Tensor:
    """(rows, heads * d_head) -> (heads, d_head, distances)."""
    by_head: Tensor = projected.index_select(0, rows).unflatten(-1, (-1, d_head)).permute(1, 2, 0)
    return by_head


def _bias(keys: Tensor | None, queries: Tensor | None, q: Tensor, k: Tensor) -> Tensor:
    parts = [] if keys is None else [_by_offset(q, keys)]
    if queries is not None:
        parts.append(_by_offset(k, queries).transpose(-1, -2).contiguous())
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _by_offset(x: Tensor, vectors: Tensor) -> Tensor:
    """x (batch, heads, tokens, d_head) and vectors (heads, d_head, 2 * length), one for each offset from 1 - length to
    length -> (batch, heads, tokens, tokens): at (i, j) the product of x at i with the vector of the offset j - i."""
    n, middle = x.shape[2], vectors.shape[-1] // 2
    blocks, start = [], 0
    for block in x.split(BLOCK, dim=2):
        rows = block.shape[2]
        together = block.transpose(1, 2).flatten(0, 1).transpose(0, 1)  # one product a head over all rows of the batch
        products = torch.bmm(together, vectors[..., middle - start - rows : middle - start + n])
        # each line of products begins one offset lower than the one above: read as lines one shorter they stand aligned
        lines = products.view(len(vectors), len(x), -1)[..., rows - 1 : -1].unflatten(-1, (rows, n + rows - 1))
        blocks.append(lines[..., :n].transpose(0, 1))
        start += rows
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2)
