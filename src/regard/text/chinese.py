"""Words in Chinese text, which no spaces divide. Characters need nothing of this: tokenizers split them themselves."""

from __future__ import annotations

import logging
from itertools import groupby

from regard.errors import ConfigError

RANGES = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2FA1F),
)
"""Blocks of CJK ideographs, as BERT counts them (Unicode 16, §18.1); kana and hangul are not among them."""


def is_cjk(character: str) -> bool:
    """Whether one character is a CJK ideograph."""
    point = ord(character)
    return any(first <= point <= last for first, last in RANGES)


def words(text: str) -> list[tuple[int, int]]:
    """(start, stop) of the words of a text in characters; spaces belong to none.

    Ideographs are cut into words by jieba's dictionary, everything else at spaces and at the border to ideographs.
    Raises :class:`~regard.errors.ConfigError` when there are ideographs and jieba is not installed.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for kind, run in groupby(text, key=_kind):
        piece = "".join(run)
        if kind == "cjk":
            spans += [(start + begin, start + end) for begin, end in _cut(piece)]
        elif kind == "other":
            spans.append((start, start + len(piece)))
        start += len(piece)
    return spans


def _kind(character: str) -> str:
    if is_cjk(character):
        return "cjk"
    return "space" if character.isspace() else "other"


def _cut(ideographs: str) -> list[tuple[int, int]]:
    try:
        import jieba
    except ImportError:
        raise ConfigError("Chinese words need jieba", fix="pip install jieba") from None
    jieba.setLogLevel(logging.WARNING)
    return [(begin, end) for _, begin, end in jieba.tokenize(ideographs)]
