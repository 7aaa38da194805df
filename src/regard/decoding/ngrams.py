"""Filters that count tokens: no n-gram twice, a price on repeating, a shortest text, a given beginning."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from regard.decoding.filters import NEVER, Filter, Written
from regard.errors import ConfigError


class NoRepeat(Filter):
    """No n-gram is written twice (Paulus et al. 2018, §2.5); `no_repeat_ngram_size` of `transformers`, the prompt left out.

    n: tokens of an n-gram; 1 means no token twice. Raises :class:`~regard.errors.ConfigError` when it is below 1.
    """

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ConfigError(f"n-grams of {n} tokens", allowed="1 or more", fix="leave the filter out to allow repetitions")
        self._n = n

    def __call__(self, scores: Tensor, written: Written) -> Tensor:
        """See :class:`~regard.decoding.filters.Filter`."""
        tokens, n = written.tokens, self._n
        if tokens.shape[1] < n:
            return scores
        grams = tokens.unfold(1, n, 1)
        begun = tokens[:, None, tokens.shape[1] - n + 1 :]
        # What precedes a hypothesis is -1 and no token: an n-gram that reaches there is none.
        again = (grams[:, :, :-1] == begun).all(2) & (grams[:, :, 0] >= 0)
        hypotheses, places = again.nonzero(as_tuple=True)
        scores = scores.clone()
        scores[hypotheses, grams[hypotheses, places, -1]] = NEVER
        return scores


class RepetitionPenalty(Filter):
    """What was written already becomes less likely (Keskar et al. 2019, §4.1).

    penalty: a positive score is divided by it and a negative one multiplied, as `transformers` does it; the paper divides
        always, which makes a negative score likelier. 1 changes nothing. Of a token that came often it is taken once.

    Raises :class:`~regard.errors.ConfigError` when the penalty is not above 0.
    """

    def __init__(self, penalty: float) -> None:
        if not penalty > 0:
            raise ConfigError(
                f"repetition penalty {penalty}", allowed="above 0", fix="take 1.0 for none, 1.2 as in the paper"
            )
        self._penalty = penalty

    def __call__(self, scores: Tensor, written: Written) -> Tensor:
        """See :class:`~regard.decoding.filters.Filter`."""
        hypotheses, vocabulary = scores.shape
        seen = scores.new_zeros(hypotheses, vocabulary + 1, dtype=torch.bool)
        # -1, which is no token, goes to a column of its own.
        seen.scatter_(1, written.tokens.where(written.tokens >= 0, vocabulary), True)
        dearer = torch.where(scores < 0, scores * self._penalty, scores / self._penalty)
        return torch.where(seen[:, :-1], dearer, scores)


class MinimumLength(Filter):
    """No text ends before it has so many tokens, the end not counted. ends: tokens that end a text."""

    def __init__(self, tokens: int, ends: Collection[int]) -> None:
        self._tokens = tokens
        self._ends = torch.tensor(sorted(ends), dtype=torch.int64)

    def __call__(self, scores: Tensor, written: Written) -> Tensor:
        """See :class:`~regard.decoding.filters.Filter`."""
        short = written.lengths < self._tokens
        longer = scores.index_fill(1, self._ends.to(scores.device), NEVER)
        return torch.where(short[:, None], longer, scores)


class Prefix(Filter):
    """Each text begins with given tokens.

    prefixes: of each input, by its number, the tokens that come first; empty ones leave it free. They cost a hypothesis
        nothing: the score of a given token is 0, whatever the model says of it.
    """

    def __init__(self, prefixes: Sequence[Sequence[int]]) -> None:
        width = max(map(len, prefixes), default=0) + 1
        rows = [[*prefix, *[-1] * (width - len(prefix))] for prefix in prefixes]
        self._prefixes = torch.tensor(rows, dtype=torch.int64).view(-1, width)

    def __call__(self, scores: Tensor, written: Written) -> Tensor:
        """See :class:`~regard.decoding.filters.Filter`."""
        prefixes = self._prefixes.to(scores.device)
        places = written.lengths.clamp(max=prefixes.shape[1] - 1)
        given = prefixes[written.rows, places]
        only = torch.full_like(scores, NEVER).scatter_(1, given.clamp(min=0)[:, None], 0.0)
        return torch.where((given >= 0)[:, None], only, scores)
