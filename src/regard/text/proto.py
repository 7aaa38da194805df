"""What a SentencePiece file says that its library does not tell: the kinds of its pieces, its character map, its algorithm.

The file is a protocol buffer. Six of its fields are read here (their numbers are those of `sentencepiece_model.proto`), so
that no package for the format has to be installed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from regard.errors import CheckpointError

PIECES, TRAINER, NORMALIZER = 1, 2, 3
TEXT, SCORE, KIND = 1, 2, 3
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
MODEL_TYPE, UNIGRAM, BPE = 3, 1, 2
CHARSMAP = 2


@dataclass(frozen=True, slots=True)
class Pieces:
    """A SentencePiece model: its pieces in the order of their ids.

    charsmap: its map of characters, in the form that `normalizers.Precompiled` takes; empty when it has none.
    """

    tokens: list[str]
    scores: list[float]
    kinds: list[int]
    charsmap: bytes
    bpe: bool

    @property
    def unknown(self) -> int:
        """The id of the piece for what the vocabulary lacks."""
        return self.kinds.index(UNKNOWN)


def read_pieces(data: bytes, where: str) -> Pieces:
    """The pieces of a `.model` or `.spm` file."""
    try:
        return _pieces(data)
    except (ValueError, IndexError, TypeError, AttributeError, struct.error):  # an end too early, a field of another kind
        raise CheckpointError("not a SentencePiece model", where=where, fix="get the file anew") from None


def _pieces(data: bytes) -> Pieces:
    tokens, scores, kinds = [], [], []
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    for number, value in _fields(data):
        if number == PIECES:
            piece = dict(_fields(value))
            tokens.append(piece[TEXT].decode() if TEXT in piece else "")
            scores.append(struct.unpack("<f", piece[SCORE])[0] if SCORE in piece else 0.0)
            kinds.append(piece.get(KIND, NORMAL))
        elif number == TRAINER:
            trainer = dict(_fields(value))
        elif number == NORMALIZER:
            normalizer = dict(_fields(value))
    algorithm = trainer.get(MODEL_TYPE, UNIGRAM)
    if UNKNOWN not in kinds or algorithm not in (UNIGRAM, BPE) or not isinstance(normalizer.get(CHARSMAP, b""), bytes):
        raise ValueError
    return Pieces(tokens, scores, kinds, normalizer.get(CHARSMAP, b""), algorithm == BPE)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field of a message: an int for a varint, else bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(wire, len(data))
        if at + size > len(data):
            raise ValueError
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """An integer in groups of seven bits, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError
