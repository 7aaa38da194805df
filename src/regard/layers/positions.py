"""Order enters by three doors: added to embeddings, turning queries and keys, added to attention scores.

Positions are int64 tensors of (batch | 1, tokens), or (tokens,) in a ragged batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from regard.layers.checks import positive
from regard.layers.embeddings import Embedding


class LearnedPositions(Embedding):
    """A trained vector a position (Gehring et al. 2017); `offset` rows come before position 0 (2 in RoBERTa and BART)."""

    def __init__(self, max_positions: int, d_model: int, *, offset: int = 0) -> None:
        positive(max_positions=max_positions, d_model=d_model)
        if offset < 0:
            raise ValueError(f"offset={offset} must be at least 0")
        super().__init__(max_positions + offset, d_model)
        self.offset = offset

    def forward(self, positions: Tensor) -> Tensor:
        """positions (…) -> (…, d_model)."""
        return super().forward(positions + self.offset)


class SinusoidalPositions(nn.Module):
    """Fixed sines and cosines of geometric wavelengths, interleaved (Vaswani et al. 2017, §3.5)."""

    def __init__(self, max_positions: int, d_model: int) -> None:
        super().__init__()
        positive(max_positions=max_positions, d_model=d_model)
        frequency = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        angle = torch.arange(max_positions)[:, None] * frequency
        table = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :d_model]
        self.register_buffer("table", table, persistent=False)
        self.table: Tensor

    def forward(self, positions: Tensor) -> Tensor:
        """positions (…) -> (…, d_model)."""
        return self.table[positions]


class Rotary(nn.Module):
    """Turns pairs of query and key features by an angle proportional to the position (Su et al. 2021, §3.2.2).

    Pairs are (i, i + d_head/2), the layout of GPT-NeoX and Llama checkpoints, not (2i, 2i + 1) as printed in the paper.
    """

    def __init__(self, d_head: int, *, base: float = 10000.0) -> None:
        super().__init__()
        positive(d_head=d_head)
        if d_head % 2:
            raise ValueError(f"d_head={d_head} must be even: rotary positions turn pairs of features")
        self.d_head, self.base = d_head, base

    def turn(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """positions (…, tokens) -> cosines and sines (…, tokens, d_head/2), float32: computed once a batch."""
        # made here and not kept as a buffer, which a model cast to bfloat16 would round, and every angle with it
        frequency = self.base ** (-torch.arange(0, self.d_head, 2, device=positions.device) / self.d_head)
        angle = positions[..., None] * frequency
        return angle.cos(), angle.sin()

    @staticmethod
    def turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """x (…, tokens, heads, d_head) turned; the arithmetic is float32, the result has x's dtype."""
        cos, sin = (part[..., None, :] for part in turn)
        first, second = x.float().chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)


class Alibi(nn.Module):
    """A penalty on scores that grows with distance, a fixed slope a head (Press et al. 2022, §3); float32."""

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        positive(n_heads=n_heads)
        self.slopes = alibi_slopes(n_heads)

    def forward(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        """Positions (batch | 1, query) and (batch | 1, key) -> bias (batch | 1, heads, query, key)."""
        distance = (key_positions[:, None, :] - query_positions[:, :, None]).abs()
        slopes = torch.tensor(self.slopes, device=distance.device)
        return -slopes[:, None, None] * distance[:, None]


def alibi_slopes(n_heads: int) -> list[float]:
    """2^(-8/n), 2^(-16/n), … for a power of two; else those of the next smaller power, filled up from the next larger one
    (the authors' published code)."""
    power = 2 ** math.floor(math.log2(n_heads))
    slopes = [2 ** (-8 * i / power) for i in range(1, power + 1)]
    return slopes + [2 ** (-8 * i / (2 * power)) for i in range(1, 2 * (n_heads - power) + 1, 2)]


class RelativePositions(nn.Module):
    """A trained bias a head for each bucket of relative distance (Raffel et al. 2020, §2.1); one table for all layers."""

    def __init__(self, n_heads: int, *, buckets: int = 32, distance: int = 128, bidirectional: bool = True) -> None:
        super().__init__()
        positive(n_heads=n_heads)
        exact = (buckets // 2 if bidirectional else buckets) // 2
        if exact < 1 or distance <= exact:
            raise ValueError(
                f"buckets={buckets} must hold one exact distance at least, and distance={distance} must exceed their {exact}"
            )
        self.table = Embedding(buckets, n_heads)
        self.buckets, self.distance, self.bidirectional = buckets, distance, bidirectional

    def bucket(self, offset: Tensor) -> Tensor:
        """Key position minus query position -> bucket: exact up to half of them, logarithmic to `distance`."""
        buckets = self.buckets // 2 if self.bidirectional else self.buckets
        side = (offset > 0) * buckets if self.bidirectional else torch.zeros_like(offset)
        away = offset.abs() if self.bidirectional else (-offset).clamp(min=0)
        exact = buckets // 2
        scale = (buckets - exact) / math.log(self.distance / exact)
        far = exact + ((away.clamp(min=1) / exact).log() * scale).long()
        return side + torch.where(away < exact, away, far.clamp(max=buckets - 1))

    def forward(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        """Positions (batch | 1, query) and (batch | 1, key) -> bias (batch | 1, heads, query, key)."""
        offset = key_positions[:, None, :] - query_positions[:, :, None]
        bias: Tensor = self.table(self.bucket(offset))
        return bias.permute(0, 3, 1, 2)
