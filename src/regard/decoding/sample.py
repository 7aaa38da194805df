"""Drawing tokens: from the whole distribution, or from the part of it that is to be trusted."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from regard.decoding.greedy import Straight
from regard.decoding.search import Rows, Scores
from regard.decoding.stops import Stops
from regard.layers.output import Best

Bits = npt.NDArray[np.uint64]


class Sample(Straight):
    """Each token is drawn, and no other row in the batch has a say in it: the draw depends on the input's seed, and on which
    sample and which token it is.

    seeds: one of each input, see :func:`seeds`. stop and stops: tokens and strings that end a text. width: samples of each
    input. temperature: logits are divided by it. Then the distribution is cut, in this order, by what is not None. top_k: to
    so many tokens. top_p: to the likeliest ones that have this probability together (Holtzman et al. 2020). min_p: to those
    with this share of the likeliest one's probability (Nguyen et al. 2025). typical: to those whose information is nearest
    to what is expected, with this probability together (Meister et al. 2023).
    """

    def __init__(
        self,
        seeds: Sequence[int],
        *,
        stop: Collection[int],
        stops: Stops | None = None,
        width: int = 1,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        typical: float | None = None,
    ) -> None:
        super().__init__(width, stop=stop, stops=stops)
        self._seeds, self._temperature = torch.tensor(seeds, dtype=torch.int64), temperature
        self._top_k, self._top_p, self._min_p, self._typical = top_k, top_p, min_p, typical

    def chosen(self, rows: Rows, scores: Scores) -> Best:
        """See :class:`Straight`."""
        plain, logits = scores.logits()
        draws = uniform(self._seeds.to(rows.inputs.device)[rows.inputs], rows.lengths, self.width).flatten()
        tokens = self.drawn(logits, draws)
        return scores.told(plain, tokens)

    def drawn(self, logits: Tensor, draws: Tensor) -> Tensor:
        """logits (hypotheses, vocab_size) float32 and draws (hypotheses,) in [0, 1) -> tokens (hypotheses, 1)."""
        logits = logits / self._temperature
        if self._top_k is None and self._top_p is None and self._min_p is None and self._typical is None:
            return _at(logits.softmax(1), draws)
        logits, tokens = logits.topk(min(self._top_k or logits.shape[1], logits.shape[1]), dim=1)
        shares = logits.softmax(1)
        if self._top_p is not None:
            shares = _scaled(shares.masked_fill(shares.cumsum(1) - shares >= self._top_p, 0.0))
        if self._min_p is not None:
            shares = _scaled(shares.masked_fill(shares < self._min_p * shares[:, :1], 0.0))
        if self._typical is not None:
            shares = _scaled(_typical(shares, self._typical))
        return tokens.gather(1, _at(shares, draws))


def seeds(seed: int, inputs: Sequence[Sequence[int]]) -> list[int]:
    """A seed for each input, made of a common one and of its tokens: an input is answered alike wherever it stands."""
    parts = (np.array([seed, *tokens], dtype="<i8").tobytes() for tokens in inputs)
    return [int.from_bytes(blake2b(part, digest_size=8).digest()) >> 1 for part in parts]


def uniform(seeds: Tensor, places: Tensor, width: int) -> Tensor:
    """Numbers in [0, 1) that depend on nothing but seed, place and sample: (rows, width) float64.

    seeds and places: (rows,) int64. They are the values of a counter, mixed until no pattern is left (Steele et al. 2014,
    SplitMix64).
    """
    with np.errstate(over="ignore"):
        state = _mixed(seeds.cpu().numpy().astype(np.uint64)[:, None])
        for part in (places.cpu().numpy()[:, None], np.arange(width)[None]):
            state = _mixed(state + (part.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15))
    return torch.from_numpy((state >> np.uint64(11)).astype(np.float64) * 2.0**-53).to(seeds.device)


def _mixed(state: Bits) -> Bits:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(state ^ (state >> np.uint64(31)))


def _at(shares: Tensor, draws: Tensor) -> Tensor:
    """Where the sum of the shares (hypotheses, n) passes the draw: (hypotheses, 1)."""
    sums = shares.double().cumsum(1)
    at = torch.searchsorted(sums, (draws * sums[:, -1])[:, None], right=True)
    last = torch.arange(shares.shape[1], device=shares.device).where(shares > 0, 0).amax(1, keepdim=True)
    return torch.minimum(at, last)  # rounding may leave a draw beyond them all


def _typical(shares: Tensor, mass: float) -> Tensor:
    """0 for what is not typical; the first in order of strangeness stays in any case."""
    information = -shares.log()
    expected = torch.xlogy(shares, shares).sum(1, keepdim=True).neg()
    strange = (information - expected).abs()
    order = strange.argsort(dim=1, stable=True)
    sorted_shares = shares.gather(1, order)
    beyond = sorted_shares.cumsum(1) - sorted_shares >= mass
    return shares.masked_fill(torch.zeros_like(beyond).scatter(1, order, beyond), 0.0)


def _scaled(shares: Tensor) -> Tensor:
    return shares / shares.sum(1, keepdim=True)
