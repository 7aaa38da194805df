"""What Regard says when something is wrong: what, where, what is allowed, what to do (law 9).

Floor 0. Every error that a user can cause is an :class:`InputError`; it carries one or many :class:`Problem` and ends the
command line with exit status 2. What failed although the input was right (a full disk, a lost file) is a :class:`WorkError`,
exit status 1. Anything else that surfaces is a bug of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self

SHOWN = 20
"""Problems printed in full; of the rest only the count is."""
LONGEST = 2000
"""Characters of one part of a problem that are printed: what a message repeats may be as long as a file."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    what: the fact, as a clause ("unknown label 'meh'"). where: the place ("reviews.csv, row 3, column label").
    allowed: what would have been right. fix: what the user can do now.
    """

    what: str
    where: str = ""
    allowed: str = ""
    fix: str = ""

    def __str__(self) -> str:
        where, what, allowed, fix = map(_cut, (self.where, self.what, self.allowed, self.fix))
        head = f"{where}: {what}" if where else what
        tail = [f"  {name}: {text}" for name, text in (("allowed", allowed), ("fix", fix)) if text]
        return "\n".join([head, *tail])


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"


class RegardError(Exception):
    """Base of all errors raised on purpose; holds the problems it reports in `.problems`.

    `RegardError("what", where=…, allowed=…, fix=…)` reports one problem, `RegardError(problems)` many at once.
    """

    exit_status = 1

    def __init__(
        self, what: str | Iterable[Problem], *, where: str = "", allowed: str = "", fix: str = "", count: int | None = None
    ) -> None:
        self.problems = [Problem(what, where, allowed, fix)] if isinstance(what, str) else list(what)
        self.count = len(self.problems) if count is None else count
        """How many problems there are in all; more than `problems` holds when a collector stopped keeping them."""
        super().__init__(str(self))

    def at(self, where: str) -> Self:
        """The same error, with a place for those of its problems that have none."""
        placed = [problem if problem.where else replace(problem, where=where) for problem in self.problems]
        return type(self)(placed, count=self.count)

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems[:SHOWN]]
        if self.count > 1:
            lines.insert(0, f"{self.count} problems:")
        if self.count > SHOWN:
            lines.append(f"… and {self.count - SHOWN} more")
        return "\n".join(lines)


class InputError(RegardError):
    """The user's input is wrong: exit status 2, never a traceback, nothing of the user's is lost."""

    exit_status = 2


class ConfigError(InputError):
    """A run file, a `--set`, an option or a `config.json` is wrong."""


class DataError(InputError):
    """A data file or its rows are wrong."""


class CheckpointError(InputError):
    """A model folder, its tensors or its tokenizer are wrong."""


class WorkError(RegardError):
    """The work failed although the input was right: a full disk, a folder that cannot be written, a lost connection."""


class Problems:
    """Collects problems while work goes on, then raises them together; keeps the first :data:`SHOWN`, counts all."""

    def __init__(self, error: type[InputError] = DataError) -> None:
        self._error = error
        self._kept: list[Problem] = []
        self.count = 0

    def add(self, what: str, *, where: str = "", allowed: str = "", fix: str = "") -> None:
        """Count one more problem; the parts are those of :class:`Problem`."""
        self.append(Problem(what, where, allowed, fix))

    def append(self, problem: Problem) -> None:
        """Count one more problem, and keep it if it is among the first."""
        self.count += 1
        if len(self._kept) < SHOWN:
            self._kept.append(problem)

    def hint(self, word: str, options: Iterable[str]) -> str:
        """:func:`did_you_mean` while problems are kept: it takes a millisecond, and a hostile file has a million of them."""
        return did_you_mean(word, options) if self.count < SHOWN else ""

    @contextmanager
    def collected(self, where: str = "") -> Iterator[None]:
        """Keep what the block raises as an InputError, and go on after the block. where: for problems without a place."""
        try:
            yield
        except InputError as error:
            for problem in error.at(where).problems:
                self.append(problem)

    def raise_if_any(self) -> None:
        """Raise all of them as one error; nothing happens when there are none."""
        if self.count:
            raise self._error(self._kept, count=self.count)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._kept)

    def __len__(self) -> int:
        return self.count


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """`did you mean 'cosine'?` for a close miss, else an empty string."""
    close = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""


def listed(options: Iterable[object], limit: int = 12) -> str:
    """`a, b, c … (40 in all)`: options for an error message, cut where a terminal would drown."""
    names = [str(option) for option in options]
    return ", ".join(names) if len(names) <= limit else f"{', '.join(names[:limit])} … ({len(names)} in all)"
