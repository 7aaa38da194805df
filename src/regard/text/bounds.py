"""How much a stranger's template may do: steps, sizes of values, length of the text. What would be huge is not begun."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

SOURCE = 2**18
"""Most characters of a template."""
STEPS = 2**18
"""Most rounds of loops, calls and operations of one rendering."""
LENGTH = 2**24
"""Most characters of a text or of any value; each item of a list or an object counts as :data:`ITEM`."""
ITEM = 64
BITS = 2**14
"""Most bits of a whole number."""
SECONDS = 10
"""Longest rendering; what the other bounds let through on a slow machine ends here."""


class TooMuchError(Exception):
    """A template went over a bound; the message says over which."""


class UnwantedError(Exception):
    """A template used something that no template needs and that can do harm."""


class _Budget:
    """What one rendering may still do."""

    def __init__(self) -> None:
        self.steps = STEPS
        self.characters = LENGTH
        self.deadline = time.monotonic() + SECONDS


_budget: ContextVar[_Budget] = ContextVar("budget")


@contextmanager
def bounded() -> Iterator[None]:
    """One rendering: what is done in the block counts against bounds of its own."""
    token = _budget.set(_Budget())
    try:
        yield
    finally:
        _budget.reset(token)


def spend(steps: int = 1) -> None:
    """Counts rounds of a loop, a call, an operation."""
    budget = _budget.get()
    budget.steps -= steps
    if budget.steps < 0:
        raise TooMuchError(f"takes more than {STEPS} steps")
    if time.monotonic() > budget.deadline:
        raise TooMuchError(f"takes longer than {SECONDS} seconds")


def write(text: str) -> str:
    """Counts what is added to the text, or to a part of it."""
    budget = _budget.get()
    budget.characters -= len(text)
    if budget.characters < 0:
        raise TooMuchError(f"writes more than {LENGTH} characters")
    return text


def rounds(items: Any) -> Any:
    """What a loop goes through, its rounds counted."""
    values = items if isinstance(items, str | list | tuple | dict) else list(items)
    spend(len(values))
    return values


def sized(value: Any) -> Any:
    """A value that an operation made, if it is not too large."""
    check_size(len(value) if isinstance(value, str) else weight(value))
    return value


def check_size(size: int) -> None:
    """Refuses a value of so many characters."""
    if size > LENGTH:
        raise TooMuchError(f"makes a value of more than {LENGTH} characters")


def weight(value: Any) -> int:
    """Characters of all that a value holds, what it holds twice counted twice; stops where it is too much."""
    total = 0
    waiting = [value]
    while waiting and total <= LENGTH:
        item = waiting.pop()
        if isinstance(item, str | bytes):
            total += len(item)
        elif isinstance(item, list | tuple | dict):
            total += ITEM * len(item)
            if total <= LENGTH:
                waiting += [*item, *item.values()] if isinstance(item, dict) else item
        elif isinstance(item, int):
            check_bits(item.bit_length())
    return total


def check_bits(bits: int) -> None:
    """Refuses a whole number of so many bits."""
    if bits > BITS:
        raise TooMuchError(f"makes a number of more than {BITS} bits")


def check_operands(operator: str, left: Any, right: Any) -> None:
    """Refuses `+ * ** %` that would make something huge."""
    whole = isinstance(left, int) and isinstance(right, int)
    if operator == "%" and isinstance(left, str | bytes):
        check_format(str(left), right, WIDE_PERCENT, "%")
    elif operator == "*" and whole:
        check_bits(left.bit_length() + right.bit_length())
    elif operator == "*":
        many, times = (left, right) if isinstance(right, int) else (right, left)
        check_size(weight(many) * times if isinstance(times, int) else 0)
    elif operator == "**" and whole:
        check_bits(left.bit_length() * max(right, 0))


WIDE_PERCENT = re.compile(r"%[^%a-zA-Z]*(\d{4}|\*)")
WIDE_BRACES = re.compile(r"\{[^{}]*(\{|\d{4})")
"""Fields of a format that are made wide."""


def check_format(text: str, values: Any, wide: re.Pattern[str], mark: str) -> None:
    """Refuses a format that makes much out of little."""
    if wide.search(text):
        raise TooMuchError("formats a field too wide")
    check_size(len(text) + text.count(mark) * weight(values))


UNWANTED = ("expandtabs", "format_map", "maketrans", "to_bytes", "translate")
"""Methods that can make much out of little, and that no template needs."""


def check_method(method: Any, args: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Refuses a call of a text's or number's own method that would make something huge."""
    method = getattr(method, "__wrapped__", method)
    owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
    if not isinstance(owner, str | bytes | int):
        return
    if name in UNWANTED:
        raise UnwantedError(f"method {name!r} is not for templates")
    if name in ("center", "ljust", "rjust", "zfill") and args and isinstance(args[0], int):
        check_size(args[0])
    elif name == "format":
        check_format(str(owner), [*args, *named.values()], WIDE_BRACES, "{")
    elif name == "join" and args:
        check_join(args[0], owner)
    elif name == "replace" and len(args) > 1:
        check_replace(owner, *args)


def check_replace(text: Any, old: Any, new: Any, count: Any = None) -> None:
    """Refuses to replace little by much, many times over."""
    check_size(len(str(text)) + str(text).count(str(old)) * len(str(new)))


def check_join(values: Any, d: Any = "", attribute: Any = None) -> None:
    """Refuses to join many with much between them."""
    items = values if isinstance(values, str | list | tuple | dict) else list(values)
    check_size(weight(items) + len(items) * len(str(d)))


def check_indent(text: Any, width: Any = 4, first: Any = False, blank: Any = False) -> None:
    """Refuses to indent many lines by much."""
    check_size(len(text) + (text.count("\n") + 1) * (width if isinstance(width, int) else len(width)))


def check_round(value: Any, precision: Any = 0, method: Any = "common") -> None:
    """Refuses a power of ten that takes long to compute."""
    if abs(precision) > 300:
        raise TooMuchError("rounds to more than 300 digits")


def check_span(numbers: range) -> None:
    """Refuses a `range` of more numbers than there may be rounds."""
    try:
        spend(len(numbers))
    except OverflowError:  # no length fits into a machine word
        raise TooMuchError(f"takes more than {STEPS} steps") from None
