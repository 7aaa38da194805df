"""What a tokenizer library must offer (:class:`Backend`), and Hugging Face `tokenizers` offering it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Protocol

import tokenizers

from regard.errors import CheckpointError
from regard.text.files import check_shared
from regard.text.layout import TEXT, Layout, Slot

Span = tuple[int, int]


class Backend(Protocol):
    """Texts <-> ids, without special tokens around them, without truncation and without state that a call could change.

    Encoding raises what the library raises; :class:`~regard.text.tokenizer.Tokenizer` says it in the user's words.
    """

    @property
    def files(self) -> Mapping[str, bytes]:
        """What brings the backend back, besides `tokenizer_config.json`: file name -> content."""
        ...

    @property
    def size(self) -> int:
        """1 + the largest id."""
        ...

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text, as fast as the library can."""
        ...

    def spans(self, texts: list[str]) -> list[tuple[list[int], list[Span]]]:
        """Ids of each text, and for each id the (start, stop) of its characters."""
        ...

    def decode(self, rows: Sequence[Sequence[int]], *, skip_special: bool) -> list[str]:
        """Text of each row of ids."""
        ...

    def token(self, index: int) -> str | None:
        """The token with this id."""
        ...

    def id_of(self, token: str) -> int | None:
        """The id of a token."""
        ...


class FastBackend(Backend):
    """A `tokenizers.Tokenizer`. Its own truncation and padding are switched off for good.

    polish: what is done to a decoded text last. prompt: a row that begins with the first of these two ids begins with a
        prompt, which is skipped with the special tokens; what was said begins with the second id.
    vocabulary: token -> id without added tokens, if the caller knows it: the library takes long to tell.
    """

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        polish: Callable[[str], str] | None = None,
        prompt: tuple[int, int] | None = None,
        vocabulary: Mapping[str, int] | None = None,
    ) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        known = tokenizer.get_vocab(with_added_tokens=False) if vocabulary is None else vocabulary
        added = tokenizer.get_added_tokens_decoder()
        vocabulary = {**known, **{token.content: index for index, token in added.items()}}
        check_shared(vocabulary)
        self._tokenizer = tokenizer
        self._polish = polish
        self._prompt = prompt
        self._size = 1 + max(vocabulary.values(), default=-1)

    @property
    def files(self) -> dict[str, bytes]:
        return {"tokenizer.json": self._tokenizer.to_str(pretty=True).encode()}

    @property
    def size(self) -> int:
        return self._size

    def ids(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def spans(self, texts: list[str]) -> list[tuple[list[int], list[Span]]]:
        encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        return [(encoding.ids, encoding.offsets) for encoding in encodings]

    def decode(self, rows: Sequence[Sequence[int]], *, skip_special: bool) -> list[str]:
        if skip_special and self._prompt is not None:
            rows = [_without_prompt(row, *self._prompt) for row in rows]
        texts = self._tokenizer.decode_batch(rows, skip_special_tokens=skip_special)
        return texts if self._polish is None else [self._polish(text) for text in texts]

    def token(self, index: int) -> str | None:
        return self._tokenizer.id_to_token(index)

    def id_of(self, token: str) -> int | None:
        return self._tokenizer.token_to_id(token)

    def layout(self, where: str) -> Layout:
        """The layout that the tokenizer's post-processor makes, found by looking at what it does to a text.

        Looking serves every kind of post-processor, also the kinds that a later version of the library adds.
        """
        probe = self._probe(where)
        encode = self._tokenizer.encode
        return Layout(_slots(encode(probe), 1, where), _slots(encode(probe, probe), 2, where))

    def _probe(self, where: str) -> str:
        for text in chain(("a", "的"), self._texts()):
            if self._tokenizer.encode(text, add_special_tokens=False).ids:
                return text
        raise CheckpointError("the vocabulary has no token that a text could become", where=where, fix="train it anew")

    def _texts(self) -> Iterator[str]:
        """Each token as text, in the order of their ids; `size` may be a lie with gaps of billions."""
        for index in sorted(self._tokenizer.get_vocab(with_added_tokens=True).values()):
            yield self._tokenizer.decode([index])


def _without_prompt(row: Sequence[int], prompt: int, start: int) -> Sequence[int]:
    if not row or row[0] != prompt:
        return row
    return row[row.index(start) :] if start in row else []


def _slots(encoding: tokenizers.Encoding, texts: int, where: str) -> tuple[Slot, ...]:
    """The places that an encoding of so many texts shows."""
    slots: list[Slot] = []
    for index, segment, type_id in zip(encoding.ids, encoding.sequence_ids, encoding.type_ids, strict=True):
        slot = Slot(segment, index if segment is None else TEXT, type_id)
        if segment is None or not slots or slots[-1] != slot:
            slots.append(slot)
    if sorted(slot.segment for slot in slots if slot.segment is not None) != list(range(texts)):
        raise CheckpointError(
            "the post_processor does not hold each text exactly once",
            where=where,
            fix='use one of type "TemplateProcessing" with $A, and $A and $B',
        )
    return tuple(slots)
