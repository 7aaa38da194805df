"""Regular expressions, as Python's `re` writes them, made into expressions of characters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from regard.decoding.regular import ANY, EMPTY, LAST, Chain, Characters, Choice, Expression, Ranges, Repeat, others, ranges
from regard.errors import ConfigError, Problems

# `re` has no public door to its syntax tree, and a second parser would be a second opinion on what a pattern means.
# The tests compare what is made of it with `re.fullmatch`.

ALLOWED = r"characters, classes, \d \w \s, groups, |, ? * + {m,n}; ^ at the start and $ at the end"
BEYOND = {
    codes.ASSERT: "looking ahead or behind",
    codes.ASSERT_NOT: "looking ahead or behind",
    codes.GROUPREF: "a reference to a group",
    codes.GROUPREF_EXISTS: "a reference to a group",
    codes.ATOMIC_GROUP: "an atomic group",
    codes.POSSESSIVE_REPEAT: "a possessive repetition",
}
STARTS, ENDS = (codes.AT_BEGINNING, codes.AT_BEGINNING_STRING), (codes.AT_END, codes.AT_END_STRING)


def regex(pattern: str, *, where: str = "regex") -> Expression:
    r"""The texts that a pattern matches as a whole, in the syntax of `re` and with its meaning: \d is any digit of Unicode.

    where: what error messages call the pattern.

    Raises :class:`~regard.errors.ConfigError` for what is no pattern, and for what no regular language has, all of it.
    """
    return _parsed(pattern, where, search=False)


def containing(pattern: str, *, where: str) -> Expression:
    """The texts that a pattern matches somewhere, as JSON Schema means it: classes are ASCII's. See :func:`regex`."""
    return _parsed(pattern, where, search=True)


def _parsed(pattern: str, where: str, *, search: bool) -> Expression:
    reading = _Reading(pattern, where)
    try:
        tree = parser.parse(pattern, re.ASCII if search else 0)
        items = list(tree)
        starts = bool(items) and items[0][0] is codes.AT and items[0][1] in STARTS
        items = items[1:] if starts else items
        ends = bool(items) and items[-1][0] is codes.AT and items[-1][1] in ENDS
        inner = reading.chain(items[:-1] if ends else items, tree.state.flags)
    except (re.error, OverflowError) as error:
        fix = f"correct {pattern!r}"
        raise ConfigError(f"not a regular expression: {error}", where=where, allowed=ALLOWED, fix=fix) from None
    except RecursionError:
        raise ConfigError("nested too deeply", where=where, fix="write fewer groups within groups") from None
    reading.problems.raise_if_any()
    anything = Repeat(ANY, 0, None) if search else EMPTY
    return Chain((EMPTY if starts else anything, inner, EMPTY if ends else anything))


class _Reading:
    """Walks the syntax tree of `re`, and collects what it cannot take."""

    def __init__(self, pattern: str, where: str) -> None:
        self.problems = Problems(ConfigError)
        self._pattern, self._where = pattern, where
        self._named: set[str] = set()

    def chain(self, items: Iterable[tuple[Any, Any]], flags: int) -> Expression:
        """A run of items of the tree, under the flags of its group."""
        if flags & re.IGNORECASE:
            self._refuse("ignoring case")
        return Chain(tuple(self._item(code, value, flags) for code, value in items))

    def _item(self, code: Any, value: Any, flags: int) -> Expression:
        if code is codes.LITERAL:
            return Characters(ranges([(value, value)]))
        if code is codes.NOT_LITERAL:
            return Characters(others(ranges([(value, value)])))
        if code is codes.ANY:
            return ANY if flags & re.DOTALL else Characters(others(ranges([(10, 10)])))
        if code is codes.IN:
            return Characters(_class(value, flags))
        if code is codes.BRANCH:
            return Choice(tuple(self.chain(option, flags) for option in value[1]))
        if code is codes.SUBPATTERN:
            _, added, dropped, inner = value
            return self.chain(inner, (flags | added) & ~dropped)
        if code in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            least, most, inner = value
            return Repeat(self.chain(inner, flags), int(least), None if most is codes.MAXREPEAT else int(most))
        self._refuse(BEYOND.get(code, "a place inside the text (^ $ \\b)"))
        return EMPTY

    def _refuse(self, what: str) -> None:
        if what not in self._named:
            self._named.add(what)
            self.problems.add(f"{what} in {self._pattern!r}", where=self._where, allowed=ALLOWED, fix="write it without")


def _class(items: Iterable[tuple[Any, Any]], flags: int) -> Ranges:
    found: list[tuple[int, int]] = []
    negated = False
    for code, value in items:
        if code is codes.NEGATE:
            negated = True
        elif code is codes.CATEGORY:
            found += _category(value, bool(flags & re.ASCII))
        else:
            found.append((value, value) if code is codes.LITERAL else value)
    return others(ranges(found)) if negated else ranges(found)


KINDS: dict[Any, Callable[[str], bool]] = {
    codes.CATEGORY_DIGIT: str.isdecimal,
    codes.CATEGORY_SPACE: str.isspace,
    codes.CATEGORY_WORD: lambda letter: letter.isalnum() or letter == "_",
}
OPPOSITES = {
    codes.CATEGORY_NOT_DIGIT: codes.CATEGORY_DIGIT,
    codes.CATEGORY_NOT_SPACE: codes.CATEGORY_SPACE,
    codes.CATEGORY_NOT_WORD: codes.CATEGORY_WORD,
}


@cache
def _category(code: Any, ascii_only: bool) -> Ranges:
    if code in OPPOSITES:
        return others(_category(OPPOSITES[code], ascii_only))
    # What ASCII calls white space ends at the blank; Unicode adds four separators of files and records.
    small = [i for i in range(128) if KINDS[code](chr(i)) and not 0x1C <= i <= 0x1F]
    whole = small if ascii_only else [i for i in range(LAST + 1) if KINDS[code](chr(i))]
    return ranges((i, i) for i in whole)
