"""Beam search for texts that must have certain words (Post and Vilar 2018)."""

from __future__ import annotations

from collections.abc import Collection

import torch

from regard.decoding.beam import Beam, Early
from regard.decoding.constraints import Lexicon, survivors
from regard.decoding.filters import NEVER
from regard.decoding.search import Rows, Scores, Step


class LexicalBeam(Beam):
    """Beam search whose beams are shared out among texts with more and with fewer of their words; see :func:`survivors`.

    lexicon: what must occur in every text; that none ends before is :class:`~regard.decoding.constraints.Required`'s. Beside
    the likeliest tokens those are candidates that go on with a phrase. Where the longest text is too short for all phrases,
    the best texts with some of them are found. beams, stop, length_penalty, early: see :class:`Beam`.
    """

    def __init__(
        self,
        beams: int,
        *,
        lexicon: Lexicon,
        stop: Collection[int],
        length_penalty: float = 1.0,
        early: Early = "likely",
    ) -> None:
        super().__init__(beams, stop=stop, length_penalty=length_penalty, early=early)
        self._lexicon = lexicon

    def step(self, rows: Rows, scores: Scores) -> Step:
        """See :class:`~regard.decoding.search.Strategy`."""
        texts = [[token for token in text if token >= 0] for text in rows.tokens.flatten(0, 1).tolist()]
        wanted = [self._lexicon.wanted(text) for text in texts]
        logs, following = scores.best_with(self.width * max(2, 1 + len(self._stop)), wanted)
        ahead = [self._lexicon.ahead(text, each) for text, each in zip(texts, following.tolist(), strict=True)]
        totals = (rows.totals.flatten()[:, None] + logs).view(len(rows.totals), -1)
        progress = torch.tensor(ahead, device=totals.device).view_as(totals)
        met = progress == self._lexicon.tokens
        some = (met & (totals > NEVER)).any(1) | (rows.scores > NEVER).any(1)
        closing = some & (rows.lengths + 1 >= rows.longest)
        totals = totals.masked_fill(closing[:, None] & ~met, NEVER)
        kept = torch.zeros_like(met).scatter(1, survivors(totals, progress, keep=self.width), True)
        order = kept.byte().argsort(dim=1, descending=True, stable=True)  # those may end, wherever they stand
        return self._after(
            rows,
            totals.gather(1, order),
            following.view_as(totals).gather(1, order),
            order // logs.shape[1],
            progress.gather(1, order),
        )
