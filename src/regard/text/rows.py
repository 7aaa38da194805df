"""What a caller gives to a tokenizer, checked before a library sees it; all that is wrong is said at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar, get_args

from regard.errors import ConfigError, DataError, Problem, Problems, listed
from regard.text.layout import Truncate

T = TypeVar("T")


def encoded_rows(
    texts: Iterable[str], pairs: Iterable[str] | None, encode: Callable[[list[str]], list[T]]
) -> list[tuple[T, ...]]:
    """What the library makes of each row's texts: one entry per text, all of them encoded in one parallel batch."""
    firsts = _checked(texts, "texts")
    if pairs is None:
        return [(row,) for row in _encoded({"texts": firsts}, encode)]
    seconds = _checked(pairs, "pairs")
    if len(firsts) != len(seconds):
        raise DataError(
            f"{len(firsts)} texts but {len(seconds)} pairs", allowed="one pair per text", fix="give equally many"
        )
    encoded = _encoded({"texts": firsts, "pairs": seconds}, encode)
    return list(zip(encoded[: len(firsts)], encoded[len(firsts) :], strict=True))


def _checked(texts: Iterable[str], name: str) -> list[str]:
    if isinstance(texts, str):
        raise DataError(f"{name} is one string", allowed="a list of strings", fix=f"give [{name}]")
    rows = list(texts)
    problems = Problems()
    for index, text in enumerate(rows):
        if not isinstance(text, str):
            problems.add(f"{type(text).__name__} instead of text", where=f"{name}[{index}]", fix="give a string")
    problems.raise_if_any()
    return rows


def _encoded(named: Mapping[str, list[str]], encode: Callable[[list[str]], list[T]]) -> list[T]:
    try:
        return encode([text for texts in named.values() for text in texts])
    except Exception as error:  # the libraries raise TypeError for lone surrogates and bare Exception for all else
        _refuse_surrogates(named)
        raise DataError(f"the tokenizer cannot encode this: {error}", fix="give the vocabulary an unknown token") from None


def _refuse_surrogates(named: Mapping[str, list[str]]) -> None:
    problems = Problems()
    for name, texts in named.items():
        for index, text in enumerate(texts):
            try:
                text.encode()
            except UnicodeEncodeError as wrong:
                problems.add(
                    f"character {text[wrong.start]!r} at {wrong.start} is half of a pair, which is no text",
                    where=f"{name}[{index}]",
                    fix="read the file in its right encoding, with errors='replace' if it is damaged",
                )
    problems.raise_if_any()


def check_cut(truncate: str, stride: int | None, *, budget: int | None, pair: bool) -> None:
    """Refuses settings of :meth:`~regard.text.tokenizer.Tokenizer.encode` that contradict each other."""
    problems = Problems(ConfigError)
    if truncate not in get_args(Truncate):
        problems.add(f"truncate is {truncate!r}", allowed=listed(get_args(Truncate)))
    if truncate == "second" and not pair:
        problems.add("truncate='second' without pairs", allowed="'longest', 'first' or 'refuse'")
    if stride is not None:
        if budget is None:
            problems.add("stride without max_length", fix="say how long a window is: max_length")
        elif not 0 <= stride < budget:
            problems.add(f"stride is {stride}", allowed=f"0 to {budget - 1}: less than a window's {budget} tokens of text")
        if truncate == "refuse" or (pair and truncate == "longest"):
            problems.add(f"stride with truncate={truncate!r}", fix="say which text is cut into windows: 'first' or 'second'")
    problems.raise_if_any()


def too_long(row: int, lengths: Sequence[int], budget: int | None, truncate: Truncate) -> Problem:
    """The problem of a row that cannot be cut as asked."""
    sizes = " + ".join(map(str, lengths))
    allowed = f"{budget} besides the special tokens"
    fix = "raise max_length, or truncate='longest'" if truncate == "refuse" else "raise max_length, or cut the other text"
    return Problem(f"{sizes} tokens are too many", f"texts[{row}]", allowed, fix)
