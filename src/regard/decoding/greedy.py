"""The searches that write one token after the other and take none back: the likeliest, or one that is drawn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from regard.decoding.filters import NEVER
from regard.decoding.search import Rows, Scores, Step, Strategy
from regard.decoding.stops import Stops
from regard.layers.output import Best


class Straight(Strategy):
    """Hypotheses that go on by themselves until they end. A text of n tokens, its end counted in, is ranked by log p / n.

    stop: tokens that end a text. stops: strings that do, and stay in the tokens.
    """

    def __init__(self, width: int, *, stop: Collection[int], stops: Stops | None = None) -> None:
        self.width = self.keeps = width
        self.final = width == 1
        self._stop, self._stops = torch.tensor(sorted(stop), dtype=torch.int64), stops

    def totals(self, rows: int) -> Tensor:
        """All begin alike."""
        return torch.zeros(rows, self.width)

    @abstractmethod
    def chosen(self, rows: Rows, scores: Scores) -> Best:
        """The token that each hypothesis writes, (hypotheses, 1)."""

    def step(self, rows: Rows, scores: Scores) -> Step:
        """See :class:`Strategy`."""
        logs, tokens = (part.view(-1, self.width) for part in self.chosen(rows, scores))
        lengths, totals = rows.lengths + 1, rows.totals + logs
        stopped = torch.isin(tokens, self._stop.to(tokens.device))
        grown = torch.cat([rows.tokens, tokens.masked_fill(stopped, -1)[:, :, None]], dim=2)
        open_to = rows.scores == NEVER
        ends = stopped | (lengths >= rows.longest)[:, None]
        if self._stops is not None:
            ends |= self._stops.among(grown)
        ends &= open_to
        found = torch.where(ends[:, :, None], grown, pad(rows.found, (0, 1), value=-1))
        scores_now = torch.where(ends, totals / lengths[:, None], rows.scores)
        done = rows.done | (scores_now > NEVER).all(1) | (lengths >= rows.longest)
        after = replace(rows, lengths=lengths, tokens=grown, totals=totals, found=found, scores=scores_now, done=done)
        return Step(after, tokens, None)


class Greedy(Straight):
    """The likeliest token, one after the other; of equally likely ones that with the smallest id. stop and stops: tokens and
    strings that end a text."""

    def __init__(self, *, stop: Collection[int], stops: Stops | None = None) -> None:
        super().__init__(1, stop=stop, stops=stops)

    def chosen(self, rows: Rows, scores: Scores) -> Best:
        """See :class:`Straight`."""
        return scores.first()
