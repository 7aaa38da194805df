"""Writing what a regular expression or a JSON schema allows, and nothing else (Willard and Louf 2023)."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.decoding.filters import NEVER, Filter, Written
from regard.decoding.regex import regex
from regard.decoding.regular import DEAD, START, Automaton, Expression
from regard.decoding.schema import json_schema
from regard.decoding.vocabulary import Vocabulary
from regard.errors import ConfigError


class Place(NamedTuple):
    """Where a hypothesis is: the state of the automaton, and whether a token was written, after which pieces differ."""

    state: int
    begun: bool


class Grammar(Filter):
    """A filter under which a hypothesis can become a text of a regular language, and nothing else.

    A token may come if what it adds can be gone on from to a text of the language, with the tokens that there are; `ends`
    may come exactly where the text is complete. Special tokens other than `ends` may not come: filters that force some
    go behind this one. A hypothesis that was forced out of the language may only end. Of a vocabulary that trims white
    space around a text, the language speaks of the text before that.

    Made by :meth:`regex` or :meth:`json_schema`. What a state allows is found when it is first asked for, in one pass of
    numpy over the pieces of the vocabulary, and kept. Where the vocabulary has each byte that the language needs as a token
    of its own, that is all; in others (WordPiece, Unigram) all states are visited at the start, because a token may lead
    where no other can go on.

    ends: tokens that end a text. where: what error messages call the grammar.

    Raises :class:`~regard.errors.ConfigError` when the language is empty, when the vocabulary can spell none of its texts,
    when there is no token that ends a text, and when decoding changes the spaces that were written.
    """

    def __init__(
        self, expression: Expression, vocabulary: Vocabulary, ends: Collection[int], *, where: str = "grammar"
    ) -> None:
        self._automaton = Automaton(expression, where=where)
        if self._automaton.empty:
            raise ConfigError("it admits no text at all", where=where, fix="remove what contradicts itself")
        if not ends:
            raise ConfigError("no token ends a text", where=where, fix="name the eos_token_id of the model")
        if vocabulary.tidied:
            fix = 'set "clean_up_tokenization_spaces" to false in tokenizer_config.json'
            raise ConfigError("decoding takes away spaces that were written", where=where, fix=fix)
        self._vocabulary = vocabulary
        self._ends = torch.tensor(sorted(ends), dtype=torch.int64)
        plain = [i not in ends and i not in vocabulary.skipped for i in range(vocabulary.size)]
        tables = (vocabulary.first, vocabulary.later)
        self._tries = [_Trie([piece if keep else b"" for piece, keep in zip(table, plain, strict=True)]) for table in tables]
        self._after: dict[tuple[Place, int], Place] = {}
        self._allowed: dict[tuple[Place, int], Tensor] = {}
        self._alive: NDArray[np.int32] | None = None
        """None: every state but DEAD, because whatever has begun can be written to its end byte by byte."""
        furthest = ""
        if not self._automaton.bytes <= self._tries[1].single_bytes:
            self._alive, furthest = self._reaching_the_end()
        if not self._tokens(Place(START, False)).any() and not self._automaton.complete(START):
            what = f"the vocabulary can spell none of its texts; the furthest it gets is {furthest!r}"
            raise ConfigError(what, where=where, fix="use a vocabulary with its characters, or allow what this one has")

    @classmethod
    def regex(cls, pattern: str, vocabulary: Vocabulary, ends: Collection[int], *, where: str = "regex") -> Grammar:
        """Texts that a pattern matches as a whole: :func:`~regard.decoding.regex.regex`, which says what is refused."""
        return cls(regex(pattern, where=where), vocabulary, ends, where=where)

    @classmethod
    def json_schema(
        cls, schema: Mapping[str, Any], vocabulary: Vocabulary, ends: Collection[int], *, where: str = "schema"
    ) -> Grammar:
        """JSON that a schema accepts: :func:`~regard.decoding.schema.json_schema`, which says what is refused."""
        return cls(json_schema(schema, where=where), vocabulary, ends, where=where)

    def __call__(self, scores: Tensor, written: Written) -> Tensor:
        """See :class:`~regard.decoding.filters.Filter`."""
        places = [self._place(tokens) for tokens in written.tokens.tolist()]
        allowed = torch.stack([self._mask(place, scores.shape[1]) for place in places])
        return scores.masked_fill(~allowed.to(scores.device), NEVER)

    def accepts(self, tokens: Sequence[int]) -> bool:
        """Whether a row of ids, special tokens left out, is a complete text of the language."""
        return self._automaton.complete(self._place(tokens).state)

    def _place(self, tokens: Sequence[int]) -> Place:
        place = Place(START, False)
        for token in tokens:
            if 0 <= token < self._vocabulary.size and token not in self._vocabulary.skipped:
                step = place, token
                if step not in self._after:
                    piece = (self._vocabulary.later if place.begun else self._vocabulary.first)[token]
                    self._after[step] = Place(self._automaton.read(place.state, piece), True)
                place = self._after[step]
        return place

    def _mask(self, place: Place, size: int) -> Tensor:
        """(size,) bool: the tokens that may come; size: scores of a row, which may be more than there are tokens."""
        if (place, size) not in self._allowed:
            allowed = torch.zeros(max(size, self._vocabulary.size), dtype=torch.bool)
            allowed[: self._vocabulary.size] = torch.from_numpy(self._tokens(place))
            allowed[self._ends] = self._automaton.complete(place.state) or not allowed.any()
            self._allowed[place, size] = allowed[:size]
        return self._allowed[place, size]

    def _tokens(self, place: Place) -> NDArray[np.bool_]:
        """(tokens,) whether each may come, ends aside."""
        states = self._tries[place.begun].walk(self._automaton, place.state)
        return states != DEAD if self._alive is None else np.isin(states, self._alive)

    def _reaching_the_end(self) -> tuple[NDArray[np.int32], str]:
        """The states, once a token is written, from which tokens lead to a complete text; a text with most tokens."""
        before: dict[int, set[int]] = {}
        waiting = deque([(Place(START, False), b"")])
        text = b""
        while waiting:
            place, text = waiting.popleft()
            pieces = self._vocabulary.later if place.begun else self._vocabulary.first
            found = np.unique(self._tries[place.begun].walk(self._automaton, place.state), return_index=True)
            for state, token in zip(*(each.tolist() for each in found), strict=True):
                if state != DEAD:
                    if state not in before:
                        before[state] = set()
                        waiting.append((Place(state, True), text + pieces[token]))
                    if place.begun:
                        before[state].add(place.state)
        alive = {state for state in before if self._automaton.complete(state)}
        reached = list(alive)
        while reached:
            fresh = before[reached.pop()] - alive
            alive |= fresh
            reached += fresh
        return np.array(sorted(alive), dtype=np.int32), text.decode(errors="replace")


class _Trie:
    """Pieces by their bytes: all of them are read at once, a byte of each at a time."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
        letters = np.frombuffer(b"".join(pieces), dtype=np.uint8)
        starts = np.concatenate([[0], lengths.cumsum()[:-1]])
        self.single_bytes = frozenset(piece[0] for piece in pieces if len(piece) == 1)
        self._nodes = np.zeros(len(pieces), dtype=np.int64)
        """(pieces,) the node at which each piece ends; 0 is the root, where no token is read: there end empty pieces."""
        self._levels: list[tuple[slice, NDArray[np.int64], NDArray[np.uint8]]] = []
        """Nodes of one depth, with their parents and bytes."""
        self._size = 1
        for depth in range(int(lengths.max(initial=0))):
            longer = (lengths > depth).nonzero()[0]
            keys = self._nodes[longer] * 256 + letters[starts[longer] + depth]
            fresh, numbers = np.unique(keys, return_inverse=True)
            self._nodes[longer] = self._size + numbers
            level = slice(self._size, self._size + len(fresh))
            self._levels.append((level, fresh // 256, (fresh % 256).astype(np.uint8)))
            self._size = level.stop

    def walk(self, automaton: Automaton, state: int) -> NDArray[np.int32]:
        """(pieces,) int32: the state after each piece; `DEAD` for empty ones, which would lead nowhere for ever."""
        states = np.zeros(self._size, dtype=np.int32)
        states[0] = state
        for level, parents, following in self._levels:
            states[level] = automaton.read_all(states[parents], following)
        states[0] = DEAD
        found: NDArray[np.int32] = states[self._nodes]
        return found
