"""What each token of a vocabulary adds to a text: its bytes, found by looking at what decoding does to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import NamedTuple

from regard.errors import CheckpointError, listed
from regard.text.polish import ENGLISH, tidied
from regard.text.tokenizer import Tokenizer

BYTE = re.compile("<0x([0-9A-F]{2})>")
"""How SentencePiece vocabularies spell a single byte."""
LOST = "\ufffd"
"""What decoding writes for bytes that are no character."""

WORD_END = "</w>"
"""How CLIP's byte-level vocabulary marks the last piece of a word, for which decoding writes a space."""

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = sorted({*range(256)} - {*_PRINTABLE})
LETTERS = {**{chr(byte): byte for byte in _PRINTABLE}, **{chr(256 + i): byte for i, byte in enumerate(_OTHERS)}}
"""The alphabet of byte-level vocabularies (Radford et al. 2019): letter -> byte."""


@dataclass(frozen=True)
class Vocabulary:
    """Token id -> the UTF-8 bytes that it adds to a text. Several tokens may share one character.

    first: what each token adds as the first one of a text, where many kinds drop the space of a word. later: what it adds
    anywhere else. skipped: tokens that decoding leaves out: special ones, and ids without a token. trimmed: whether
    decoding drops the white space around a text. tidied: whether it then takes the spaces before English punctuation.

    `text(ids)` is `tokenizer.decode([ids])[0]` for all that an encoding can be.
    """

    first: tuple[bytes, ...]
    later: tuple[bytes, ...]
    skipped: frozenset[int]
    trimmed: bool = False
    tidied: bool = False

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Vocabulary:
        """The vocabulary of a tokenizer; for what a decoder writes, that of `tokenizer.target`. It takes a few seconds.

        Raises :class:`~regard.errors.CheckpointError` when decoding is no joining of pieces, or no token is a text.
        """
        return _looked_up(tokenizer)

    @property
    def size(self) -> int:
        return len(self.later)

    def pieces(self, ids: Iterable[int]) -> Iterator[bytes]:
        """What each token adds where it stands; nothing for a token that is skipped."""
        table = self.first
        for index in ids:
            if index in self.skipped:
                yield b""
            else:
                yield table[index]
                table = self.later

    def text(self, ids: Iterable[int]) -> str:
        """The text of a row of ids, special tokens left out; bytes that are no character become U+FFFD."""
        return self.finished(b"".join(self.pieces(ids)).decode(errors="replace"))

    def finished(self, text: str) -> str:
        """What decoding does to the joined pieces last."""
        text = text.strip() if self.trimmed else text
        return tidied(text) if self.tidied else text


class _Frame(NamedTuple):
    """Two tokens of known text, between which others are looked at.

    The tail is, if there is one, a token that brings a space unless it comes first: it shows whether it does.
    """

    head: int
    tail: int
    head_text: str
    tail_first: str
    tail_later: str


def _looked_up(tokenizer: Tokenizer) -> Vocabulary:
    ids = range(tokenizer.vocab_size)
    tokens = tokenizer.tokens(ids)
    alone = tokenizer.decode([[index] for index in ids])
    frame = _frame(tokenizer, tokens, alone)
    opening = tokenizer.decode([[index, frame.tail] for index in ids])
    between = tokenizer.decode([[frame.head, index, frame.tail] for index in ids])
    # A prompt of Whisper's swallows what follows, until its answer begins: there it is skipped too.
    swallowed = (frame.tail_first, "")
    nothing = frame.head_text + frame.tail_later
    skipped = frozenset(i for i in ids if not alone[i] and between[i] == nothing and opening[i] in swallowed)
    # Without a tail behind it a token may lose the space at its end, with one it may lose more (`n ' t`).
    first = [_inner(opening[i], "", frame.tail_later) for i in ids]
    later = [_inner(between[i], frame.head_text, frame.tail_later) for i in ids]
    unclear = [i for i in ids if later[i] is None]
    behind = dict(zip(unclear, tokenizer.decode([[frame.head, i] for i in unclear]), strict=True))
    known_first = [alone[i] if text is None else text for i, text in enumerate(first)]
    known_later = [behind[i].removeprefix(frame.head_text) if text is None else text for i, text in enumerate(later)]
    byte_level = any(map(_is_alphabet, tokens, known_later))
    found = Vocabulary(
        first=tuple(map(_spelled, tokens, known_first, repeat(byte_level))),
        later=tuple(map(_spelled, tokens, known_later, repeat(byte_level))),
        skipped=skipped,
    )
    telling = _telling(tokenizer, frame.head, known_later)
    shown = list(zip(telling, tokenizer.decode(telling), strict=True))
    for i in ids:
        if i not in skipped:
            shown += ([i, frame.tail], opening[i]), ([frame.head, i, frame.tail], between[i])
    return _checked(found, shown, tokenizer)


def _inner(text: str, before: str, after: str) -> str | None:
    """What stands between two known texts; None if they are not there."""
    if len(text) >= len(before) + len(after) and text.startswith(before) and text.endswith(after):
        return text[len(before) : len(text) - len(after)]
    return None


def _frame(tokenizer: Tokenizer, tokens: Sequence[str], alone: Sequence[str]) -> _Frame:
    words = [index for index, text in enumerate(alone) if text.isalpha() and not BYTE.fullmatch(tokens[index])]
    if not words:
        raise CheckpointError("the vocabulary has no token that is a word", fix="train the tokenizer anew")
    words.sort(key=lambda index: (not alone[index].isascii(), len(alone[index]), index))
    head = words[0]
    second = tokenizer.decode([[head, index] for index in words])
    before = len(alone[head])
    spaced = [i for i, text in zip(words, second, strict=True) if text[before:] == f" {alone[i]}"]
    tail = spaced[0] if spaced else head
    return _Frame(head, tail, alone[head], alone[tail], second[words.index(tail)][before:])


def _is_alphabet(token: str, text: str) -> bool:
    """Whether letters of the alphabet of bytes, in a token that is made of them alone, are not what decoding writes."""
    return all(letter in LETTERS for letter in token) and any(letter > "\xff" and letter not in text for letter in token)


def _spelled(token: str, text: str, byte_level: bool) -> bytes:
    """The bytes of a token that decodes to `text` where it stands; decoding cannot show parts of a character."""
    byte = BYTE.fullmatch(token)
    if byte and text not in (token, ""):
        return bytes([int(byte[1], 16)])
    if byte_level and LOST in text and all(letter in LETTERS for letter in token):
        ended = token.endswith(WORD_END) and text.endswith(" ")
        return bytes(LETTERS[letter] for letter in token.removesuffix(WORD_END * ended)) + b" " * ended
    return text.encode()


def _telling(tokenizer: Tokenizer, word: int, texts: Sequence[str]) -> list[list[int]]:
    """Rows that show what decoding does to spaces last. word: a token; texts: what each token adds behind it."""
    spaces = [index for index, text in enumerate(texts) if text.isspace()]
    signs = [index for index, text in enumerate(texts) if f" {text}" in ENGLISH]
    name = tokenizer.decode([[word]])[0]
    english = tokenizer.encode([f"{name}{spaced} {name}" for spaced in ENGLISH], special=False)
    rows = [[index, index] for index in spaces] + [[word, space, sign] for space in spaces for sign in signs]
    return rows + [row.ids for row in english]


def _checked(found: Vocabulary, shown: Sequence[tuple[list[int], str]], tokenizer: Tokenizer) -> Vocabulary:
    """The vocabulary, trimmed or tidied if that is what it takes to write what decoding was seen to write."""
    wrong: list[list[int]] = []
    for tidy, trimmed in ((False, False), (False, True), (True, False), (True, True)):
        choice = replace(found, trimmed=trimmed, tidied=tidy)
        wrong = [ids for ids, text in shown if choice.text(ids) != text]
        if not wrong:
            return choice
    named = listed([" ".join(map(repr, tokenizer.tokens(ids))) for ids in wrong], limit=3)
    raise CheckpointError(
        f"tokens that do not decode one by one: {named}", fix="use a tokenizer whose pieces join to the text"
    )
