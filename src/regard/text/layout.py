"""Where special tokens stand around texts, and how texts are cut to length: the same rules whichever library splits them.

A :class:`Layout` is read once from the tokenizer. Cutting and windows are arithmetic on lengths, so that the libraries' own
truncation, which is state that outlives a call, is never switched on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from regard.errors import CheckpointError

T = TypeVar("T")
Truncate = Literal["longest", "first", "second", "refuse"]
Side = Literal["right", "left"]

TEXT = -1
"""`Slot.token` where a text stands."""


class Slot(NamedTuple):
    """One place of a layout: a whole text (`segment` is 0 or 1), or a special token (`segment` is None, `token` its id)."""

    segment: int | None
    token: int
    type_id: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of one text (`single`) and of two (`pair`), from left to right."""

    single: tuple[Slot, ...]
    pair: tuple[Slot, ...]

    def slots(self, *, pair: bool, special: bool) -> tuple[Slot, ...]:
        """The places of one row; without `special` only those of the texts."""
        slots = self.pair if pair else self.single
        return slots if special else tuple(slot for slot in slots if slot.segment is not None)

    @classmethod
    def parse(cls, single: str, pair: str, ids: Mapping[str, int]) -> Layout:
        """A layout from two templates such as `cls $A sep $B:1 sep:1`: `ids` has the special tokens, `:1` is the type."""
        return cls(_parsed(single, ids), _parsed(pair, ids))


def _parsed(template: str, ids: Mapping[str, int]) -> tuple[Slot, ...]:
    slots = []
    for place in template.split():
        name, _, type_id = place.partition(":")
        segment = {"$A": 0, "$B": 1}.get(name)
        if segment is None and name not in ids:
            raise unnamed(name)
        slots.append(Slot(segment, TEXT if segment is not None else ids[name], int(type_id or 0)))
    return tuple(slots)


def unnamed(role: str) -> CheckpointError:
    """The error for a special token that a layout needs and nobody names."""
    return CheckpointError(f"no {role} token, which this kind of tokenizer puts around texts", fix=f"name a {role}_token")


def fill(slots: Sequence[Slot], texts: Sequence[Sequence[T]], specials: Sequence[T]) -> list[T]:
    """One value per token of a row: those of `texts` at the places of texts, of `specials` (one per slot) elsewhere."""
    row: list[T] = []
    for slot, special in zip(slots, specials, strict=True):
        if slot.segment is None:
            row.append(special)
        else:
            row.extend(texts[slot.segment])
    return row


def shares(first: int, second: int, budget: int) -> tuple[int, int]:
    """Tokens kept of two texts so that both fit into `budget`: the longer loses first, then both are cut to half each.

    Of an odd budget the longer text gets the odd token; of two equally long ones the second (as `tokenizers` has it).
    """
    short, long = min(first, second), max(first, second)
    if short + long > budget:
        short = min(short, budget // 2)
        long = budget - short
    return (long, short) if first > second else (short, long)


def windows(length: int, size: int, stride: int) -> list[slice]:
    """Windows of `size` tokens over `length`, neighbours sharing `stride` tokens; the last may be short."""
    starts = range(0, max(length - stride, 1), size - stride)
    return [slice(start, min(start + size, length)) for start in starts]


def cuts(
    lengths: Sequence[int], budget: int, truncate: Truncate, *, stride: int | None = None, side: Side = "right"
) -> list[tuple[slice, ...]]:
    """What is kept of texts of these `lengths` that together exceed `budget`: for each resulting row one slice per text.

    One row, or as many as there are windows; none when `truncate` and `stride` cannot make the texts fit.
    side: the end of the text that is dropped.
    """
    cut = 1 if truncate == "second" else 0
    room = budget - sum(length for index, length in enumerate(lengths) if index != cut)
    whole = [slice(0, length) for length in lengths]
    if stride is not None:
        spans = windows(lengths[cut], room, stride) if room > stride else []
        return [(*whole[:cut], span, *whole[cut + 1 :]) for span in spans]
    if truncate == "longest" and len(lengths) > 1:
        kept = list(shares(lengths[0], lengths[1], budget))
    else:
        kept = list(lengths)
        kept[cut] = room
        if truncate == "refuse" or room < 1:
            return []
    ends = zip(kept, lengths, strict=True)
    return [tuple(slice(0, keep) if side == "right" else slice(length - keep, length) for keep, length in ends)]
