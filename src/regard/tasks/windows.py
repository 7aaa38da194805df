"""Texts that are longer than a model reads, in windows; and which tokens of a text make up its words."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from regard.text.encoding import Encoding
from regard.text.tokenizer import Tokenizer

STRIDE = 128
"""Tokens that neighbouring windows share, where there is room for twice as many."""

SPECIALS = 4
"""No tokenizer puts more special tokens than this around a text or two."""


def stride_of(room: int) -> int:
    """How many tokens windows share that have room for so many: at most half of them, so that no token is in three."""
    return min(STRIDE, max(0, room) // 2)


class Token(NamedTuple):
    """A token of a text: the window, counted over all texts, and the place in it where most is seen around it; its spelling;
    the characters of its text that it stands for, without white space at the ends."""

    window: int
    place: int
    spelling: str
    start: int
    end: int


def windows(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    *,
    max_length: int | None,
    stride: int | None = None,
    before: Sequence[str] | None = None,
) -> tuple[list[Encoding], list[list[Token]]]:
    """All windows, each text's one after the other, and the tokens of each text, each of them once.

    stride: see :func:`stride_of`; None means that of a text alone. before: texts that are repeated in each window, before
    the one that is cut.
    """
    if max_length is not None and stride is None:
        stride = stride_of(max_length - SPECIALS)
    if before is None:
        encodings = tokenizer.encode(texts, max_length=max_length, stride=stride)
    else:
        encodings = tokenizer.encode(before, texts, max_length=max_length, truncate="second", stride=stride)
    shared = stride or 0
    tokens: list[list[Token]] = [[] for _ in texts]
    for window, encoding in enumerate(encodings):
        places = places_of(encoding, 0 if before is None else 1)
        first = window == 0 or encodings[window - 1].row != encoding.row
        last = window + 1 == len(encodings) or encodings[window + 1].row != encoding.row
        own = places[0 if first else shared // 2 : len(places) - (0 if last else shared - shared // 2)]
        spellings = tokenizer.tokens([encoding.ids[place] for place in own])
        for place, spelling in zip(own, spellings, strict=True):
            start, end = trimmed(texts[encoding.row], *encoding.offsets[place])
            tokens[encoding.row].append(Token(window, place, spelling, start, end))
    return encodings, tokens


def places_of(encoding: Encoding, text: int) -> list[int]:
    """Where the tokens of the first (0) or second text (1) lie."""
    return [place for place, segment in enumerate(encoding.segments) if segment == text]


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """A span of the text without the white space at its ends; an empty one where nothing else is in it."""
    part = text[start:end]
    return end - len(part.lstrip()), start + len(part.rstrip()) if part.strip() else end


class Word(NamedTuple):
    """A word of a text. first: index of its first token among those of the text."""

    first: int
    start: int
    end: int


def words(text: str, tokens: Sequence[Token]) -> list[Word]:
    """The words that tokens are pieces of, in order.

    A piece goes on with a word where it says so (`##ing`), where it shares a character with it, and where letters or digits
    of the two touch, unless one is of a script that is written without spaces. A bare blank (`▁`) begins the next word.
    """
    found: list[Word] = []
    blank: int | None = None
    for index, token in enumerate(tokens):
        if token.start == token.end:
            blank = index if blank is None else blank
        elif found and blank is None and _goes_on(text, found[-1].end, token):
            found[-1] = found[-1]._replace(end=token.end)
        else:
            found.append(Word(index if blank is None else blank, token.start, token.end))
            blank = None
    return found


def word_spans(text: str, tokens: Sequence[Token]) -> list[tuple[int, int]]:
    """For each token the characters of the word that it is a piece of."""
    spans = [(token.start, token.end) for token in tokens]
    after = len(tokens)
    for first, start, end in reversed(words(text, tokens)):
        spans[first:after] = [(start, end)] * (after - first)
        after = first
    return spans


def _goes_on(text: str, end: int, token: Token) -> bool:
    """Whether a token belongs to the word that ends at `end`."""
    if token.spelling.startswith("##") and not text.startswith("##", token.start):
        return True
    if token.start == end:
        return all(_is_of_spaced_word(text[place]) for place in (end - 1, end))
    return token.start < end


def _is_of_spaced_word(character: str) -> bool:
    """Whether a character is a letter, mark or digit of a script that puts spaces between words."""
    if unicodedata.category(character)[0] not in "LMN":
        return False
    return not any(first <= character <= last for first, last in UNSPACED)


UNSPACED = (
    ("\u0e00", "\u0eff"),  # Thai, Lao
    ("\u1000", "\u109f"),  # Myanmar
    ("\u1780", "\u17ff"),  # Khmer
    ("\u3040", "\u30ff"),  # hiragana, katakana
    ("\u3400", "\u4dbf"),
    ("\u4e00", "\u9fff"),
    ("\uf900", "\ufaff"),
    ("\U00020000", "\U0003ffff"),
)
"""Blocks of scripts that are written without spaces; where no other is named, ideographs."""
