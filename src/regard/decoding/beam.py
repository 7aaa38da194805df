"""Beam search: the likeliest texts among all that begin with the likeliest beginnings."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from regard.decoding.constraints import survivors
from regard.decoding.filters import NEVER
from regard.decoding.search import Rows, Scores, Step, Strategy
from regard.decoding.stops import Stops

Early = Literal["full", "likely", "never"]
"""When a search ends before its longest text: `full`, once there are as many finished texts as beams; `likely`, once the
best open one, were it as long as now, is no better than the worst finished one; `never`, once it could not be better at any
length."""


class Beam(Strategy):
    """Beam search with a length penalty: a text of n tokens, its end counted in, is ranked by log p / n^length_penalty.

    beams: hypotheses of a row. stop: tokens that end a text. stops: strings that do, and stay in the tokens. early: see
    :data:`Early`; `full` and `likely` are the `early_stopping` True and False of transformers, whose results these are.
    groups: beams in so many groups, each of which is kept from choosing what groups before it chose at this place: a token's
    log-probability is lowered by `diversity` for each time (Vijayakumar et al. 2018).
    """

    final = False

    def __init__(
        self,
        beams: int,
        *,
        stop: Collection[int],
        stops: Stops | None = None,
        length_penalty: float = 1.0,
        early: Early = "likely",
        groups: int = 1,
        diversity: float = 0.0,
    ) -> None:
        if beams < 1 or groups < 1 or beams % groups:
            raise ValueError(f"{beams} beams cannot be {groups} groups of equal size: both are at least 1")
        self.width = self.keeps = beams
        self._stop, self._stops = torch.tensor(sorted(stop), dtype=torch.int64), stops
        self._penalty, self._early = float(length_penalty), early
        self._groups, self._diversity = groups, diversity

    def totals(self, rows: int) -> Tensor:
        """Each group begins with one hypothesis: more would all be the same."""
        totals = torch.full((rows, self._groups, self.width // self._groups), NEVER)
        totals[:, :, 0] = 0.0
        return totals.flatten(1)

    def step(self, rows: Rows, scores: Scores) -> Step:
        """See :class:`Strategy`."""
        size = self.width // self._groups
        keep = size * max(2, 1 + len(self._stop))
        spare = self.width - size if self._diversity else 0  # so many may be lowered below others
        logs, tokens = (part.unflatten(0, (-1, self.width)) for part in scores.best(keep + spare))
        steps: list[Step] = []
        for start in range(0, self.width, size):
            here = slice(start, start + size)
            lowered = logs[:, here]
            if steps and self._diversity:
                chosen = torch.cat([step.last for step in steps], dim=1)
                times = (tokens[:, here, :, None] == chosen[:, None, None]).sum(3)
                lowered = lowered - self._diversity * times
            group = replace(
                rows,
                tokens=rows.tokens[:, here],
                totals=rows.totals[:, here],
                found=rows.found[:, here],
                scores=rows.scores[:, here],
            )
            step = self._grown(group, lowered, tokens[:, here], keep)
            steps.append(step._replace(parents=None if step.parents is None else step.parents + start))
        together = {
            name: torch.cat([getattr(step.rows, name) for step in steps], dim=1)
            for name in ("tokens", "totals", "found", "scores")
        }
        done = torch.stack([step.rows.done for step in steps]).all(0)
        parents = torch.cat([step.parents for step in steps if step.parents is not None], dim=1)
        last = torch.cat([step.last for step in steps], dim=1)
        return Step(replace(steps[0].rows, done=rows.done | done, **together), last, parents)

    def _grown(self, rows: Rows, logs: Tensor, tokens: Tensor, keep: int) -> Step:
        """One group. logs and tokens: (rows, size, candidates of each hypothesis)."""
        totals, at = (rows.totals[:, :, None] + logs).flatten(1).topk(min(keep, logs[0].numel()), dim=1)
        return self._after(rows, totals, tokens.flatten(1).gather(1, at), at // logs.shape[2])

    def _after(self, rows: Rows, totals: Tensor, tokens: Tensor, parents: Tensor, progress: Tensor | None = None) -> Step:
        """What candidates (rows, n), best first, make of a batch. progress: see :func:`survivors`; None = the best go on."""
        size = rows.totals.shape[1]
        lengths = rows.lengths + 1
        stopped = torch.isin(tokens, self._stop.to(tokens.device))
        ends = stopped | (lengths >= rows.longest)[:, None]
        grown = torch.cat([_of(rows.tokens, parents), tokens.masked_fill(stopped, -1)[:, :, None]], dim=2)
        if self._stops is not None:
            ends |= self._stops.among(grown)
        # only what is among the best as many as there are beams may end here: the others are there to go on with
        marks = (totals[:, :size] / lengths[:, None] ** self._penalty).masked_fill(
            ~ends[:, :size] | rows.done[:, None], NEVER
        )
        scores, best = torch.cat([rows.scores, marks], dim=1).topk(size, dim=1)
        found = _of(torch.cat([pad(rows.found, (0, 1), value=-1), grown[:, :size]], dim=1), best)
        totals = totals.masked_fill(ends, NEVER)
        on = totals.topk(size, dim=1).indices if progress is None else survivors(totals, progress, keep=size)
        totals = totals.gather(1, on)
        worst = scores.amin(1)
        reach = rows.longest if self._early == "never" and self._penalty > 0 else lengths
        done = ends.all(1) | (totals[:, 0] / reach**self._penalty <= worst)
        if self._early == "full":
            done |= worst > NEVER
        after = replace(
            rows, lengths=lengths, tokens=_of(grown, on), totals=totals, found=found, scores=scores, done=rows.done | done
        )
        return Step(after, tokens.gather(1, on), parents.gather(1, on))


def _of(values: Tensor, places: Tensor) -> Tensor:
    """values (rows, n, T), places (rows, m) -> (rows, m, T)."""
    return values.gather(1, places[:, :, None].expand(-1, -1, values.shape[2]))
