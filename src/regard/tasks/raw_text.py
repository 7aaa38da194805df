"""Raw text to learn a language from: documents as examples, and their blocks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from regard.data.batch import Examples
from regard.data.pack import Blocks, best_fit, stream
from regard.errors import CheckpointError
from regard.metrics.tokens import spaced_words
from regard.tasks.task import Example, Row
from regard.text.tokenizer import Tokenizer

Packing = Literal["stream", "documents"]
"""How blocks are filled: with all documents end to end, cut anywhere, or with whole ones that do not see each other."""

PACKS: dict[Packing, Any] = {"stream": stream, "documents": best_fit}
"""What lays documents into blocks."""


def ending(tokenizer: Tokenizer) -> int:
    """The token that ends a document. Raises CheckpointError where there is none."""
    if tokenizer.eos_id is None:
        fix = 'name one: "eos_token" in tokenizer_config.json'
        raise CheckpointError("the tokenizer has no token that ends a text", where="tokenizer", fix=fix)
    return tokenizer.eos_id


def opening(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The special tokens that the tokenizer itself puts before a text."""
    (probe,) = tokenizer.encode(["a"])
    first = next((place for place, special in enumerate(probe.special) if not special), 0)
    return tuple(probe.ids[:first])


def encoded(rows: Sequence[Row], tokenizer: Tokenizer) -> list[Example]:
    """A document, or a piece of one, as `input_ids`, with the token that ends it unless it goes on in the next row.

    `characters` and `words` (:func:`~regard.metrics.tokens.spaced_words`) count what is to be foreseen; the end of a
    document is one of each, as the line end and the `</s>` are that it is in other people's counts.
    """
    end, before = ending(tokenizer), len(opening(tokenizer))
    (empty,) = tokenizer.encode([""])
    behind = len(empty.ids) - before
    examples = []
    for row, ids in zip(rows, tokenizer.ids([row["text"] for row in rows])[0], strict=True):
        ends = row.get("continues") is not True
        text = row["text"]
        kept = ids[before : len(ids) - behind]
        examples.append(
            Example(
                input_ids=[*kept, end] if ends else kept, characters=len(text) + ends, words=len(spaced_words(text)) + ends
            )
        )
    return examples


def blocks(documents: Examples, tokenizer: Tokenizer, *, packing: Packing, length: int) -> Blocks:
    """The documents in blocks of so many tokens, each of them to be foreseen once: the first of a document from the token
    with which the tokenizer begins a text, or else from the one that ends the document before."""
    end = ending(tokenizer)
    start = (*opening(tokenizer), end)[0]
    return Blocks(documents, partial(PACKS[packing], length=length), start=start, end=end)


def told(documents: Examples, *, packing: Packing, length: int) -> str:
    """What there is to learn from, in words."""
    lengths = documents.lengths
    if packing == "stream":
        return f"{lengths.sum():,} tokens of {len(documents):,} rows in blocks of {length}"
    cut = int(np.count_nonzero(lengths > length))
    more = f"; {cut:,} are longer than a block and go on in the next" if cut else ""
    return f"{lengths.sum():,} tokens of {len(documents):,} rows, whole, in blocks of {length}{more}"
