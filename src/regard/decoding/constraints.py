"""Words that must occur: how far a text has them, and which hypotheses of a beam go on (Post and Vilar 2018)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from regard.decoding.filters import NEVER, Filter, Written
from regard.errors import ConfigError, Problems

Phrase = Sequence[Sequence[int]]
"""The ways to spell a phrase in tokens, of which one is enough: with and without a capital, with and without a space."""


class _State(NamedTuple):
    """What of a text matters: the phrases that have come, and its end as far as it is the beginning of a spelling."""

    came: frozenset[int]
    tail: tuple[int, ...]


class Lexicon:
    """Phrases that a text must have, in any order; they may overlap, and one that is named twice need come once.

    Progress is counted in tokens, as in the paper: a text has as many as its phrases' shortest spellings save it. Only one
    phrase at a time is under way; a token that does not go on with it takes what it had.

    A text is read by the automaton of Aho and Corasick (1975) over all spellings, so that a long one costs little.

    Raises :class:`~regard.errors.ConfigError` for phrases without a spelling and spellings without a token, all of them.
    """

    def __init__(self, phrases: Sequence[Phrase]) -> None:
        problems = Problems(ConfigError)
        for number, phrase in enumerate(phrases, start=1):
            if not phrase or not all(phrase):
                what = "a spelling without a token" if phrase else "no spelling"
                problems.add(what, where=f"phrase {number}", allowed="one token or more", fix="leave it out")
        problems.raise_if_any()
        self._phrases = [[tuple(spelling) for spelling in phrase] for phrase in phrases]
        self._shortest = [min(map(len, phrase)) for phrase in self._phrases]
        self.tokens = sum(self._shortest)
        """Tokens that all phrases take at least: progress goes from 0 to this."""
        spellings = [spelling for phrase in self._phrases for spelling in phrase]
        self._letters = frozenset(token for spelling in spellings for token in spelling)
        self._beginnings = frozenset(spelling[:n] for spelling in spellings for n in range(len(spelling) + 1)) | {()}
        self._after: dict[tuple[_State, int], _State] = {}

    def progress(self, tokens: Sequence[int]) -> int:
        """How many of its tokens a text has: 0 to `tokens`, which it reaches when every phrase has come."""
        return self._progress(self._state(tokens))

    def ahead(self, tokens: Sequence[int], following: Iterable[int]) -> list[int]:
        """The progress that a text makes with each of these tokens as its next one."""
        state = self._state(tokens)
        return [self._progress(self._step(state, token)) for token in following]

    def met(self, tokens: Sequence[int]) -> bool:
        """Whether every phrase has come."""
        return len(self._state(tokens).came) == len(self._phrases)

    def wanted(self, tokens: Sequence[int]) -> set[int]:
        """The tokens with which a phrase begins or goes on: candidates, whatever the model says of them."""
        came, tail = self._state(tokens)
        missing = [phrase for number, phrase in enumerate(self._phrases) if number not in came]
        return {spelling[_overlap(tail, spelling)] for phrase in missing for spelling in phrase}

    def _state(self, tokens: Sequence[int]) -> _State:
        state = _State(frozenset(), ())
        for token in tokens:
            state = self._step(state, token)
        return state

    def _step(self, state: _State, token: int) -> _State:
        if token not in self._letters:
            return _State(state.came, ())
        step = state, token
        if step not in self._after:
            tail = (*state.tail, token)
            while tail not in self._beginnings:
                tail = tail[1:]
            fresh = {i for i, phrase in enumerate(self._phrases) if any(tail[-len(each) :] == each for each in phrase)}
            self._after[step] = _State(state.came | fresh, tail)
        return self._after[step]

    def _progress(self, state: _State) -> int:
        have = sum(self._shortest[number] for number in state.came)
        under_way = 0
        for number, phrase in enumerate(self._phrases):
            if number not in state.came:
                left = min(len(spelling) - _overlap(state.tail, spelling) for spelling in phrase)
                under_way = max(under_way, self._shortest[number] - left)
        return have + under_way


def _overlap(text: tuple[int, ...], spelling: tuple[int, ...]) -> int:
    """How many tokens at the end of a text are the beginning of a spelling, and not all of it."""
    longest = min(len(text), len(spelling) - 1)
    return next((n for n in range(longest, 0, -1) if text[-n:] == spelling[:n]), 0)


class Required(Filter):
    """A filter that lets no text end before it has its phrases. lexicons: of each input, by its number. ends: end tokens."""

    def __init__(self, lexicons: Sequence[Lexicon], ends: Collection[int]) -> None:
        self._lexicons = lexicons
        self._ends = torch.tensor(sorted(ends), dtype=torch.int64)

    def __call__(self, scores: Tensor, written: Written) -> Tensor:
        """See :class:`~regard.decoding.filters.Filter`."""
        texts = zip(written.tokens.tolist(), written.rows.tolist(), strict=True)
        open_texts = [not self._lexicons[row].met([token for token in tokens if token >= 0]) for tokens, row in texts]
        longer = scores.index_fill(1, self._ends.to(scores.device), NEVER)
        return torch.where(torch.tensor(open_texts, device=scores.device)[:, None], longer, scores)


def survivors(scores: Tensor, progress: Tensor, *, keep: int) -> Tensor:
    """Which candidates go on, so that texts with many of their phrases do not lose to likelier ones with few.

    scores: (inputs, candidates); `-inf` is one that cannot come, and is taken when nothing else is left. progress: of the
    same shape, int64, :meth:`Lexicon.progress` of what each candidate would make. keep: most candidates that go on.

    Candidates with the same progress are a bank. Banks take turns, those with more progress first, each with its best that
    is left: so every bank has an equal share of the beam, and what one cannot fill goes to the others. The paper fixes the
    shares before and then moves what is unfilled, which comes to the same but for who gets the remainder.

    Returns (inputs, at most keep) int64, places of candidates, the best score first; of equal ones the earlier.
    """
    order = scores.argsort(dim=1, descending=True, stable=True)
    bank = progress.gather(1, order)
    by_bank = bank.argsort(dim=1, stable=True)
    sorted_banks = bank.gather(1, by_bank)
    place = torch.arange(bank.shape[1], device=scores.device).expand_as(bank)
    opens = torch.ones_like(bank, dtype=torch.bool)
    opens[:, 1:] = sorted_banks[:, 1:] != sorted_banks[:, :-1]
    first = torch.where(opens, place, 0).cummax(1).values
    turn = torch.empty_like(bank).scatter_(1, by_bank, place - first)
    turn = turn.masked_fill(scores.gather(1, order) == NEVER, order.shape[1])
    fullest = int(progress.max()) if progress.numel() else 0
    chosen = (turn * (fullest + 1) + fullest - bank).argsort(dim=1, stable=True)[:, :keep]
    return order.gather(1, chosen.sort(dim=1).values)
