"""Words of a text, as the metrics of generated text count them. Models read other tokens: those of their vocabulary."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from string import punctuation
from typing import Literal, get_args

from regard.errors import ConfigError, did_you_mean, listed
from regard.metrics.porter import stem

Tokens = Literal["unicode", "ascii", "porter"]
"""How a text is cut: into the words of any script (see :func:`unicode_words`), or as rouge-score does it for English
(:func:`ascii_words`), without its stemmer or with it (:func:`porter_words`)."""

UNDIVIDED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
"""Ideographs and kana, which no spaces divide: each stands for itself."""


def unicode_words(text: str) -> list[str]:
    """Runs of letters, marks and digits in small letters; every ideograph and kana by itself. `好的 OK!` is 好 的 ok.

    Full-width and composed characters count as their plain forms (NFKC).
    """
    return unicodedata.normalize("NFKC", text).lower().translate(_WORDS).split()


def ascii_words(text: str) -> list[str]:
    """Runs of a to z and 0 to 9 in small letters; all else divides: `café` is `caf`, and Chinese has no words."""
    return re.findall("[a-z0-9]+", text.lower())


def porter_words(text: str) -> list[str]:
    """:func:`ascii_words`, those of more than three letters by their stem."""
    return [stem(word) if len(word) > 3 else word for word in ascii_words(text)]


def answer_words(text: str) -> list[str]:
    """The words of a short answer (Rajpurkar et al. 2016, §6.1): small letters, without punctuation, a, an, the; every
    ideograph by itself (Cui et al. 2019, §4.1). What only punctuation divides is one word: `U.S.` is us."""
    bare = re.sub(r"\b(?:a|an|the)\b", " ", text.lower().translate(_BARE))
    return UNDIVIDED.sub(r" \g<0> ", bare).split()


def spaced_words(text: str) -> list[str]:
    """What stands between white space, as it is written, every ideograph and kana by itself: the words of a language
    model's perplexity."""
    return UNDIVIDED.sub(r" \g<0> ", text).split()


def cutter(name: str) -> Callable[[str], list[str]]:
    """The function from a text to its words; raises :class:`~regard.errors.ConfigError` for a name not in `Tokens`."""
    ways: dict[str, Callable[[str], list[str]]]
    ways = dict(zip(get_args(Tokens), (unicode_words, ascii_words, porter_words), strict=True))
    if name not in ways:
        raise ConfigError(f"no way {name!r} to cut words", allowed=listed(ways), fix=did_you_mean(name, ways))
    return ways[name]


def n_grams(words: list[str], n: int) -> list[tuple[str, ...]]:
    """Every `n` words that follow each other; none where there are fewer."""
    return list(zip(*(words[start:] for start in range(n)), strict=False))


def mostly_undivided(texts: Iterable[str]) -> bool:
    """Whether most words of these texts are written without spaces, as Chinese is: more than half are single characters."""
    words = [word for text in texts for word in unicode_words(text)]
    return 2 * sum(UNDIVIDED.fullmatch(word) is not None for word in words) > len(words)


class _Table(dict[int, str]):
    """For `str.translate`: what a function makes of each character, asked once."""

    def __init__(self, change: Callable[[str], str]) -> None:
        super().__init__()
        self._change = change

    def __missing__(self, point: int) -> str:
        self[point] = changed = self._change(chr(point))
        return changed


def _word(character: str) -> str:
    if UNDIVIDED.match(character):
        return f" {character} "
    return character if unicodedata.category(character)[0] in "LMN" else " "


def _bare(character: str) -> str:
    return "" if character in punctuation or unicodedata.category(character)[0] == "P" else character


_WORDS, _BARE = _Table(_word), _Table(_bare)
