"""Words labelled as parts of entities, in the schemes BIO, BIOES, BMES and BILOU, and the entities they make up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

PART = re.compile(r"([BIESMLU])(?:[-_](.+))?")
"""The part of an entity that a word is (beginning, inside or middle, end or last, single or unit), and the entity's kind."""

OUTSIDE = re.compile(r"O|X|\[\w+\]|<\w+>")
"""Labels of words in no entity; some checkpoints have more than one, such as X and [CLS]."""

OPENING, CLOSING = "BSU", "ESLU"


class Tagged(NamedTuple):
    """Characters `start` to `end` of a text, labelled. label: None where the tokenizer leaves nothing of a word."""

    label: str | None
    score: float
    start: int
    end: int


def are_parts(labels: Iterable[str]) -> bool:
    """Whether labels are those of a scheme, and not tags of words."""
    inside = [label for label in labels if not OUTSIDE.fullmatch(label)]
    return bool(inside) and all(map(PART.fullmatch, inside))


def entities(found: Sequence[Tagged]) -> list[Tagged]:
    """Words in order -> entities: a part that begins one, or is of another kind than the last, opens a new one; its score is
    the mean of its words'."""
    opened: list[list[Tagged]] = []
    kind: str | None = None
    for tagged in found:
        match = PART.fullmatch(tagged.label or "")
        if match is None:
            kind = None
            continue
        part, name = match[1], match[2] or ""
        if kind != name or part in OPENING:
            opened.append([])
        opened[-1].append(tagged._replace(label=name))
        kind = None if part in CLOSING else name
    return [
        Tagged(words[0].label, sum(word.score for word in words) / len(words), words[0].start, words[-1].end)
        for words in opened
    ]
