"""What constructors refuse: sizes and names that would only fail, or silently mean something else, much later."""

from __future__ import annotations

from collections.abc import Iterable


def positive(**sizes: int) -> None:
    """ValueError for the first size below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}={size} must be at least 1")


def share(**shares: float) -> None:
    """ValueError for the first share that is not from 0 to below 1."""
    for name, value in shares.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name}={value} must be at least 0 and below 1")


def one_of(options: Iterable[str], **names: str) -> None:
    """ValueError for the first name that is none of the options."""
    allowed = list(options)
    for what, name in names.items():
        if name not in allowed:
            raise ValueError(f"{what}={name!r} is unknown: use one of {', '.join(allowed)}")
