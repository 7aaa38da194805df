"""Order enters by three doors: added to embeddings, turning queries and keys, added to attention scores.

Positions are int64 tensors of (batch | 1, tokens), or (tokens,) in a ragged batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regard.layers.checks import one_of, positive
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
    """Fixed sines and cosines of geometric wavelengths (Vaswani et al. 2017, §3.5).

    layout: how the features lie. `interleaved`: sine, cosine, sine …, as printed in the paper; `halves`: all sines, then all
    cosines; `fairseq`: halves whose last wavelength is the full 10000 times the first. offset: added to the positions.
    """

    def __init__(self, d_model: int, *, layout: str = "interleaved", offset: int = 0) -> None:
        super().__init__()
        positive(d_model=d_model)
        one_of(LAYOUTS, layout=layout)
        self.d_model, self.layout, self.offset = d_model, layout, offset
        self._known = torch.empty(0, d_model)
        # no buffer, which a model cast to bfloat16 would round

    def forward(self, positions: Tensor) -> Tensor:
        """positions (…) -> (…, d_model) float32."""
        longest = int(positions.max()) + 1
        if len(self._known) < longest or self._known.device != positions.device:
            with torch.inference_mode(False):  # it is made once, perhaps while predicting, and read while training too
                self._known = self._table(torch.arange(max(longest, 2 * len(self._known)), device=positions.device))
        return self._known[positions]

    def _table(self, positions: Tensor) -> Tensor:
        if self.layout == "fairseq":  # whose tables were made in float32
            half, exact = self.d_model // 2, torch.float32
            step = -math.log(10000.0) / max(half - 1, 1)
        else:  # angles of some hundred turns are known to four digits in float32
            half, exact = (self.d_model + 1) // 2, torch.float64
            step = -2 * math.log(10000.0) / self.d_model
        frequency = (torch.arange(half, device=positions.device, dtype=exact) * step).exp()
        angle = (positions + self.offset)[..., None] * frequency
        sines, cosines = angle.sin().float(), angle.cos().float()
        if self.layout == "interleaved":
            return torch.stack([sines, cosines], dim=-1).flatten(-2)[..., : self.d_model]
        halves = torch.cat([sines, cosines[..., : self.d_model - half]], dim=-1)
        return nn.functional.pad(halves, (0, self.d_model - halves.shape[-1]))  # fairseq: an odd width ends in a zero


LAYOUTS = ("interleaved", "halves", "fairseq")
"""See :class:`SinusoidalPositions`."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """How rotary positions are stretched beyond the length that a model was first trained for.

    kind: `linear`, all angles divided by `factor` (Chen et al. 2023); `dynamic`, a base that grows with the length once it
    exceeds `original` (its NTK-aware form, in Peng et al. 2024, §3.3); `llama3`, only wavelengths that are long beside
    `original` (Llama Team 2024, §3.2); `yarn`, a ramp between dividing and not, and a temperature (Peng et al. 2024, §3.4).

    original: positions first trained for. low and high: how often a wavelength fits into `original` where dividing is full
    and where it ends (`llama3`: low_freq_factor and high_freq_factor; `yarn`: beta_slow and beta_fast). temperature: factor
    on cosines and sines, so that its square is on scores; None = yarn's own formula. whole: yarn's ramp starts and ends at
    whole pairs.

    A row that is read in chunks into a cache gets `dynamic` angles from its length at that time, and what is in the cache
    keeps them: beyond `original` this differs from reading all at once. The published code does the same.
    """

    kind: str
    factor: float
    original: int = 2048
    low: float = 1.0
    high: float = 4.0
    temperature: float | None = None
    whole: bool = True

    def __post_init__(self) -> None:
        one_of(STRETCHES, kind=self.kind)

    def frequencies(self, base: float, width: int, ends: Tensor) -> Tensor:
        """(…, width/2) float32 angles of one position. ends (…): the length of each token's row, for `dynamic` alone."""
        if self.kind == "dynamic":
            beyond = (ends[..., None] - self.original).clamp(min=0)
            grown = 1 + self.factor * beyond / self.original
            return _frequencies(base * grown ** (width / (width - 2)), width, ends.device)
        plain = _frequencies(base, width, ends.device)
        if self.kind == "linear":
            return plain / self.factor
        if self.kind == "llama3":
            turns = self.original / (2 * math.pi / plain)
            keep = ((turns - self.low) / (self.high - self.low)).clamp(0, 1)
        else:
            first, last = (self._pair(turns, base, width) for turns in (self.high, self.low))
            if self.whole:
                first, last = math.floor(first), math.ceil(last)
            first, last = max(first, 0), min(last, width - 1)
            pairs = torch.arange(width // 2, device=ends.device)
            keep = 1 - ((pairs - first) / (last - first or 0.001)).clamp(0, 1)
        return (1 - keep) * plain / self.factor + keep * plain

    def _pair(self, turns: float, base: float, width: int) -> float:
        """The pair, as a fraction, that turns so often over the original length."""
        return width * math.log(self.original / (turns * 2 * math.pi)) / (2 * math.log(base))

    @property
    def amplitude(self) -> float:
        """Factor on cosines and sines."""
        if self.temperature is not None:
            return self.temperature
        return 0.1 * math.log(self.factor) + 1.0 if self.kind == "yarn" and self.factor > 1 else 1.0


STRETCHES = ("linear", "dynamic", "llama3", "yarn")
"""See :class:`Stretch`."""


def _frequencies(base: float | Tensor, width: int, device: torch.device) -> Tensor:
    return 1.0 / base ** (torch.arange(0, width, 2, device=device) / width)


class Rotary(nn.Module):
    """Turns pairs of query and key features by an angle proportional to the position (Su et al. 2021, §3.2.2).

    Pairs are (i, i + width/2), the layout of GPT-NeoX and Llama checkpoints, not (2i, 2i + 1) as printed in the paper.
    width: features of a head that are turned, the first ones; the others stay.
    """

    def __init__(self, width: int, *, base: float = 10000.0, stretch: Stretch | None = None) -> None:
        super().__init__()
        positive(width=width)
        if width % 2:
            raise ValueError(f"width={width} must be even: rotary positions turn pairs of features")
        if stretch is not None and stretch.kind == "dynamic" and width == 2:
            raise ValueError("width=2 leaves a dynamic stretch no slower pair: use another kind")
        self.width, self.base, self.stretch = width, base, stretch

    @property
    def by_length(self) -> bool:
        """Whether the angles depend on how long a row is."""
        return self.stretch is not None and self.stretch.kind == "dynamic"

    def turn(self, positions: Tensor, ends: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """positions (…, tokens) -> cosines and sines (…, tokens, width/2), float32: computed once a batch.

        ends: how long the row of each token is, (…, tokens) or (…, 1); None = up to the largest position. See
        :attr:`by_length`.
        """
        # made here and not kept as a buffer, which a model cast to bfloat16 would round, and every angle with it
        if self.stretch is None:
            angle = positions[..., None] * _frequencies(self.base, self.width, positions.device)
            return angle.cos(), angle.sin()
        ends = positions.amax(-1, keepdim=True) + 1 if ends is None else ends
        angle = positions[..., None] * self.stretch.frequencies(self.base, self.width, ends)
        return angle.cos() * self.stretch.amplitude, angle.sin() * self.stretch.amplitude

    @staticmethod
    def turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """x (…, tokens, heads, d_head) turned; the arithmetic is float32, the result has x's dtype."""
        cos, sin = (part[..., None, :] for part in turn)
        width = 2 * cos.shape[-1]
        first, second = x[..., :width].float().chunk(2, dim=-1)
        halves = (first * cos).addcmul(second, sin, value=-1), (second * cos).addcmul(first, sin)
        turned = torch.cat(halves, dim=-1).to(x.dtype)
        return turned if width == x.shape[-1] else torch.cat([turned, x[..., width:]], dim=-1)


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
        # in this order: elsewhere a distance at the edge of two buckets may fall into the other one
        share = (away.clamp(min=1) / exact).log() / math.log(self.distance / exact)
        far = exact + (share * (buckets - exact)).long()
        return side + torch.where(away < exact, away, far.clamp(max=buckets - 1))

    def forward(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        """Positions (batch | 1, query) and (batch | 1, key) -> bias (batch | 1, heads, query, key)."""
        offset = key_positions[:, None, :] - query_positions[:, :, None]
        bias: Tensor = self.table(self.bucket(offset))
        return bias.permute(0, 3, 1, 2)
