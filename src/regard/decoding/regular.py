"""Regular languages over bytes: expressions of characters, and the automaton that reads their UTF-8."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from regard.errors import ConfigError

Ranges = tuple[tuple[int, int], ...]
"""Code points, first and last, sorted and apart."""

LAST = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)
"""Code points that are no characters: UTF-8 does not spell them."""
LARGEST = 300_000
"""Most places of an expression, its repetitions written out."""
MOST_STATES = 65_536
"""Most states of an automaton; each takes a kilobyte. There are expressions that have 2 ** n for n places."""

DEAD, START = 0, 1
"""State in which no text can be finished, and the one before the first byte."""


@dataclass(frozen=True)
class Characters:
    """One character of a set."""

    ranges: Ranges


@dataclass(frozen=True)
class Chain:
    """One part after the other; without parts the empty text."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Choice:
    """Any of the options; without options nothing at all."""

    options: tuple[Expression, ...]


@dataclass(frozen=True)
class Repeat:
    """A part so many times; most: None means any number. between: what stands between two times."""

    part: Expression
    least: int
    most: int | None
    between: Expression = Chain(())


@dataclass(frozen=True)
class Members:
    """Parts in their order, each with whether it must be there; between: what stands between two that are."""

    parts: tuple[tuple[Expression, bool], ...]
    between: Expression


Expression = Characters | Chain | Choice | Repeat | Members

EMPTY = Chain(())
NOTHING = Choice(())


def ranges(pairs: Iterable[tuple[int, int]]) -> Ranges:
    """Code points in any order, as ranges that are sorted and apart; without surrogates."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(pairs):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return tuple(pair for whole in merged for pair in _without(*whole, *SURROGATES))


def _without(first: int, last: int, gap_first: int, gap_last: int) -> Iterator[tuple[int, int]]:
    for low, high in ((first, min(last, gap_first - 1)), (max(first, gap_last + 1), last)):
        if low <= high:
            yield low, high


def others(given: Ranges) -> Ranges:
    """All characters that are not in these ranges."""
    edges = [-1, *(edge for first, last in given for edge in (first - 1, last + 1)), LAST + 1]
    gaps = [(edges[0] + 1, edges[1]), *zip(edges[2:-1:2], edges[3::2], strict=True)] if given else [(0, LAST)]
    return ranges((first, min(last, LAST)) for first, last in gaps if first <= last)


def literal(text: str) -> Expression:
    """A text and no other."""
    return Chain(tuple(Characters(ranges([(ord(letter), ord(letter))])) for letter in text))


def optional(part: Expression) -> Expression:
    """The part, or nothing."""
    return Repeat(part, 0, 1)


ANY = Characters(others(()))


class Automaton:
    """A deterministic automaton over bytes, made state by state as it is read (Thompson 1968; Aho et al. 2006, §3.9.4).

    States are numbers: :data:`DEAD`, :data:`START`, and others as they are found. From every state but `DEAD` a text of
    the language can be finished, if every byte can be written. `START` of an empty language is dead too: see `empty`.

    where: what error messages call the expression. Raises :class:`~regard.errors.ConfigError` when the expression is too
    large to be written out; reading raises it when there turn out to be too many states.
    """

    def __init__(self, expression: Expression, *, where: str) -> None:
        self._where = where
        try:
            self._net = _Net(expression, where)
        except RecursionError:
            raise ConfigError("nested too deeply", where=where, fix="write fewer levels") from None
        self.empty = not self._net.useful[self._net.start]
        self.bytes = frozenset(byte for first, last in self._net.arcs() for byte in range(first, last + 1))
        """The bytes that occur in texts of the language."""
        self._places: list[frozenset[int]] = [frozenset(), self._net.closure([self._net.start])]
        self._numbers = {places: state for state, places in enumerate(self._places)}
        self._table = np.zeros((64, 256), dtype=np.int32)
        self._built = np.zeros(64, dtype=np.bool_)
        self._built[DEAD] = True
        self._lock = Lock()

    def complete(self, state: int) -> bool:
        """Whether what was read is a text of the language."""
        return self._net.end in self._places[state]

    def read(self, state: int, piece: bytes) -> int:
        """The state after a piece of text."""
        for byte in piece:
            self._build([state])
            state = int(self._table[state, byte])
        return state

    def read_all(self, states: NDArray[np.int32], following: NDArray[np.uint8]) -> NDArray[np.int32]:
        """The state after each state and its byte."""
        seen = np.zeros(len(self._places), dtype=np.bool_)
        seen[states] = True
        self._build((seen & ~self._built[: len(seen)]).nonzero()[0].tolist())
        found: NDArray[np.int32] = self._table[states, following]
        return found

    def _build(self, states: Iterable[int]) -> None:
        for state in states:
            if not self._built[state]:
                with self._lock:
                    for (first, last), places in self._net.moves(self._places[state]):
                        self._table[state, first : last + 1] = self._number(places)
                    self._built[state] = True

    def _number(self, places: frozenset[int]) -> int:
        number = self._numbers.setdefault(places, len(self._places))
        if number == MOST_STATES:
            fix = "make what is repeated tell sooner where it ends"
            raise ConfigError("too many states", where=self._where, allowed=str(MOST_STATES), fix=fix)
        if number == len(self._places):
            self._places.append(places)
            if number == len(self._built):
                self._table = np.concatenate([self._table, np.zeros_like(self._table)])
                self._built = np.concatenate([self._built, np.zeros_like(self._built)])
        return number


class _Net:
    """The places of an expression, joined by ranges of bytes and by nothing at all."""

    def __init__(self, expression: Expression, where: str) -> None:
        self._where = where
        self._by_byte: list[list[tuple[int, int, int]]] = []
        self._freely: list[list[int]] = []
        self.start = self._place()
        self.end = self._join(expression, self.start)
        self.useful = self._reaching_the_end()

    def arcs(self) -> Iterator[tuple[int, int]]:
        """The ranges of bytes that lie on a way to the end."""
        for place, arcs in enumerate(self._by_byte):
            for first, last, target in arcs:
                if self.useful[place] and self.useful[target]:
                    yield first, last

    def closure(self, places: Iterable[int]) -> frozenset[int]:
        """The useful places that can be reached without a byte."""
        waiting = [place for place in places if self.useful[place]]
        found = set(waiting)
        while waiting:
            for target in self._freely[waiting.pop()]:
                if target not in found and self.useful[target]:
                    found.add(target)
                    waiting.append(target)
        # Places that only lead on freely would tell apart states that are one.
        return frozenset(place for place in found if self._by_byte[place] or place == self.end)

    def moves(self, places: frozenset[int]) -> Iterator[tuple[tuple[int, int], frozenset[int]]]:
        """Ranges of bytes, and the places that each leads to."""
        arcs = [arc for place in places for arc in self._by_byte[place] if self.useful[arc[2]]]
        edges = sorted({edge for first, last, _ in arcs for edge in (first, last + 1)})
        spans: list[list[int]] = [[] for _ in edges]
        at = {edge: index for index, edge in enumerate(edges)}
        for first, last, target in arcs:
            for index in range(at[first], at[last + 1]):
                spans[index].append(target)
        for first, after, targets in zip(edges, edges[1:], spans, strict=False):
            if targets:
                yield (first, after - 1), self.closure(targets)

    def _place(self) -> int:
        if len(self._freely) == LARGEST:
            fix = "make its repetitions and character classes smaller"
            raise ConfigError("too large to be written out", where=self._where, allowed=f"{LARGEST} places", fix=fix)
        self._by_byte.append([])
        self._freely.append([])
        return len(self._freely) - 1

    def _join(self, expression: Expression, start: int) -> int:
        """Writes the expression behind a place; the place behind it."""
        match expression:
            case Characters():
                return self._characters(expression.ranges, start)
            case Chain():
                for part in expression.parts:
                    start = self._join(part, start)
                return start
            case Choice():
                end = self._place()
                for option in expression.options:
                    self._freely[self._join(option, self._after(start))].append(end)
                return end
            case Repeat():
                return self._repeat(expression, start)
            case Members():
                return self._members(expression, start)

    def _after(self, place: int) -> int:
        fresh = self._place()
        self._freely[place].append(fresh)
        return fresh

    def _repeat(self, expression: Repeat, start: int) -> int:
        end = self._place()
        times = max(expression.least, 1) if expression.most is None else expression.most
        entry = start
        for number in range(times):
            before = start
            if number >= expression.least:
                self._freely[start].append(end)
            if number:
                start = self._join(expression.between, start)
            if expression.most is None and number == times - 1:
                start = self._after(start)
            entry, start = start, self._join(expression.part, start)
            if start == before:  # The empty text, however often, is the empty text.
                break
        if expression.most is None:
            self._freely[self._join(expression.between, start)].append(entry)
        self._freely[start].append(end)
        return end

    def _members(self, expression: Members, start: int) -> int:
        """Two tracks run beside the parts: before the first that is there, and after it, where there is a comma."""
        before: int | None = start
        after: int | None = None
        for part, required in expression.parts:
            entry, behind = self._place(), self._place()
            if before is not None:
                self._freely[before].append(entry)
            if after is not None:
                self._freely[self._join(expression.between, after)].append(entry)
                if not required:
                    self._freely[after].append(behind)
            self._freely[self._join(part, entry)].append(behind)
            before, after = None if required else before, behind
        end = self._place()
        for track in (before, after):
            if track is not None:
                self._freely[track].append(end)
        return end

    def _characters(self, given: Ranges, start: int) -> int:
        end = self._place()
        begun: dict[tuple[int, int, int], int] = {}
        for whole in given:
            for *heads, (first, last) in _utf8(*whole):
                place = start
                for head in heads:
                    key = (place, *head)
                    if key not in begun:
                        begun[key] = self._place()
                        self._by_byte[place].append((*head, begun[key]))
                    place = begun[key]
                self._by_byte[place].append((first, last, end))
        return end

    def _reaching_the_end(self) -> list[bool]:
        before: list[list[int]] = [[] for _ in self._freely]
        for place, (arcs, free) in enumerate(zip(self._by_byte, self._freely, strict=True)):
            for target in [*(arc[2] for arc in arcs), *free]:
                before[target].append(place)
        useful = [False] * len(before)
        useful[self.end] = True
        waiting = [self.end]
        while waiting:
            for place in before[waiting.pop()]:
                if not useful[place]:
                    useful[place] = True
                    waiting.append(place)
        return useful


def _utf8(first: int, last: int) -> Iterator[list[tuple[int, int]]]:
    """Sequences of ranges of bytes that together spell the characters from first to last."""
    for longest in (0x7F, 0x7FF, 0xFFFF):
        if first <= longest < last:
            yield from _utf8(first, longest)
            yield from _utf8(longest + 1, last)
            return
    for places in range(1, len(chr(first).encode())):
        rest = (1 << 6 * places) - 1
        if first | rest != last | rest:
            # All but the leading bytes must run through all their values, or belong to one leading byte.
            if first & rest:
                yield from _utf8(first, first | rest)
                yield from _utf8((first | rest) + 1, last)
                return
            if last & rest != rest:
                yield from _utf8(first, (last & ~rest) - 1)
                yield from _utf8(last & ~rest, last)
                return
    yield list(zip(chr(first).encode(), chr(last).encode(), strict=True))
