"""Whole numbers between two bounds, as expressions of their decimal digits."""

from __future__ import annotations

from collections.abc import Iterator

from regard.decoding.regular import Chain, Characters, Choice, Expression, Repeat, literal

DIGIT = Characters(((0x30, 0x39),))


def between(low: int | None, high: int | None) -> Expression:
    """The whole numbers from low to high, both included; None means no bound. No leading zeros, no -0."""
    options: list[Expression] = []
    if low is None or low < 0:
        smallest = 1 if high is None else max(1, -high)
        options.append(Chain((literal("-"), Choice(tuple(_magnitudes(smallest, None if low is None else -low))))))
    if high is None or high >= 0:
        options += _magnitudes(max(low or 0, 0), high)
    return Choice(tuple(options))


def _magnitudes(low: int, high: int | None) -> Iterator[Expression]:
    """Numbers without a sign, by their count of digits."""
    count = len(str(low))
    while high is None or count <= len(str(high)):
        first, last = (10 ** (count - 1) if count > 1 else 0), 10**count - 1
        yield _digits(str(max(low, first)), str(last if high is None else min(high, last)))
        count += 1
        if high is None:
            yield Chain((Characters(((0x31, 0x39),)), Repeat(DIGIT, count - 1, None)))
            return


def _digits(low: str, high: str) -> Expression:
    """Strings of digits, all of one length, from low to high; none if high is the smaller."""
    if low > high:
        return Choice(())
    if low.strip("0") == "" and high.strip("9") == "":
        return Repeat(DIGIT, len(low), len(low))
    rest = len(low) - 1
    if low[0] == high[0]:
        return Chain((literal(low[0]), _digits(low[1:], high[1:])))
    options = [
        Chain((literal(low[0]), _digits(low[1:], "9" * rest))),
        Chain((literal(high[0]), _digits("0" * rest, high[1:]))),
    ]
    if ord(high[0]) - ord(low[0]) > 1:
        options.append(Chain((Characters(((ord(low[0]) + 1, ord(high[0]) - 1),)), Repeat(DIGIT, rest, rest))))
    return Choice(tuple(options))
