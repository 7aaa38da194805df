"""One encoded row: its ids, and what each id stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from regard.text.backend import Span
from regard.text.layout import Slot, fill

Piece = tuple[list[int], list[Span]]
"""The ids of one text, and for each the characters it stands for."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """One row of ids and what each id stands for; all lists have the same length."""

    ids: list[int]
    type_ids: list[int]
    """0 or 1 per token, as the model was trained to tell two texts apart; all 0 for many kinds of model."""
    offsets: list[Span]
    """(start, stop) in the token's own text, in characters; (0, 0) for special tokens."""
    special: list[int]
    """1 for the special tokens put around the texts, else 0."""
    segments: list[int | None]
    """0 for tokens of the first text, 1 of the second, None for special tokens."""
    row: int
    """Index of the input; several encodings share it when one input became several windows."""
    truncated: bool
    """Whether tokens of the input were dropped; windows drop none."""


def types_of(slots: Sequence[Slot], parts: Sequence[Sequence[Any]]) -> list[list[int]]:
    """The type of each token of each text."""
    types = {slot.segment: slot.type_id for slot in slots}
    return [[types[segment]] * len(part) for segment, part in enumerate(parts)]


def encoding_of(
    slots: Sequence[Slot], parts: Sequence[Piece], *, kept: Sequence[slice], row: int, truncated: bool
) -> Encoding:
    """The encoding of a row: of each text in `parts` what is `kept`, in the places of the layout."""
    ids = [part[0][keep] for part, keep in zip(parts, kept, strict=True)]
    offsets = [part[1][keep] for part, keep in zip(parts, kept, strict=True)]
    n = len(slots)
    return Encoding(
        ids=fill(slots, ids, [slot.token for slot in slots]),
        type_ids=fill(slots, types_of(slots, ids), [slot.type_id for slot in slots]),
        offsets=fill(slots, offsets, [(0, 0)] * n),
        special=fill(slots, [[0] * len(part) for part in ids], [1] * n),
        segments=fill(slots, [[index] * len(part) for index, part in enumerate(ids)], [None] * n),
        row=row,
        truncated=truncated,
    )
