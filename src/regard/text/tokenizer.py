"""One tokenizer for every vocabulary: texts to ids with their places in the text, and back (floor 1).

Lengths count tokens, special tokens included. Offsets count characters (Python's `str` index) from the start of their
own text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from regard.errors import CheckpointError, ConfigError, DataError, Problems, WorkError, listed
from regard.text import languages
from regard.text.chat import ChatTemplate
from regard.text.encoding import Encoding, encoding_of, types_of
from regard.text.layout import Slot, Truncate, cuts, fill
from regard.text.load import Parts, in_language, load_parts
from regard.text.rows import check_cut, encoded_rows, too_long


class Tokenizer:
    """Texts <-> ids. A pure value: no call changes what a later one answers, and threads may share one.

    Made by :meth:`load` or :func:`~regard.text.train.train_tokenizer`. Batches are encoded in parallel by the library
    underneath (`tokenizers` or `sentencepiece`); special tokens, truncation and windows are the same for both.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._backend, self._layout, self._roles, self._settings = parts[:4]
        self._side = self._settings.truncation_side
        self._max_length = self._settings.max_length

    @classmethod
    def load(cls, source: str | Path) -> Tokenizer:
        """The tokenizer of a folder, or of one file with the settings beside it.

        Read are, in this order: `tokenizer.json`; BERT's `vocab.txt`; byte-level `vocab.json` with `merges.txt`; a
        SentencePiece `.model` or `.spm` file; but before them Marian's and M2M-100's SentencePiece files with their
        `vocab.json`, and the `vocab.json` of a speech recogniser, whose letters are its tokens. `tokenizer_class` of
        `tokenizer_config.json` says whose they are; without it `model_type` of `config.json` does.

        Raises :class:`~regard.errors.CheckpointError` when there is no such file, or a broken one.
        """
        return cls(load_parts(Path(source)))

    def save(self, folder: str | Path) -> None:
        """Writes what :meth:`load` and `transformers.AutoTokenizer` read back to an equal tokenizer, both sides of it.

        Raises :class:`~regard.errors.WorkError` when the folder cannot be written.
        """
        folder = Path(folder)
        try:
            for name, content in self._files().items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        except OSError as error:
            raise WorkError(
                f"cannot write the tokenizer: {error.strerror}", where=str(folder), fix="free space or rights"
            ) from None

    def _files(self) -> dict[str, bytes]:
        settings = self._settings
        values = {**settings.values, **{f"{role}_token": token for role, token in self._roles.items()}}
        if settings.kind and not settings.word("tokenizer_class"):
            values["tokenizer_class"] = f"{settings.kind}Tokenizer"
        config = json.dumps(values, ensure_ascii=False, indent=2).encode()
        return {**self._backend.files, **self._parts.companions, "tokenizer_config.json": config}

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of what :meth:`save` writes and of the side: equal digests encode equally."""
        files = sorted({**self._files(), **({"": b"target"} if self._parts.part == "target" else {})}.items())
        return hashlib.sha256(
            b"".join(hashlib.sha256(part).digest() for name, data in files for part in (name.encode(), data))
        ).hexdigest()

    @cached_property
    def target(self) -> Tokenizer:
        """The tokenizer of what the decoder writes; itself, where that is spelled and tagged as the source is."""
        theirs = self._parts.target
        return self if theirs is None else Tokenizer(theirs._replace(companions=self._parts.companions))

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that a multilingual tokenizer has tags for: `de`, `de_DE`, `deu_Latn`, as its makers call them."""
        return tuple(self._parts.languages)

    @property
    def pair(self) -> tuple[str, str] | None:
        """The languages that a tokenizer without tags reads and writes, where its makers say so."""
        source, target = (self._settings.word(key) for key in ("source_lang", "target_lang"))
        return (source, target) if source and target and not self.languages else None

    def language_id(self, language: str) -> int:
        """The id of a language's tag, such as a decoder is made to write first.

        Raises :class:`~regard.errors.ConfigError` for a language that the tokenizer does not have.
        """
        return self._parts.languages[languages.find(self._settings, self._parts.languages, language)]

    def for_language(self, language: str) -> Tokenizer:
        """The same tokenizer with a language's tag around each text.

        For mBART, M2M-100 and NLLB that is the language of the text, so source and `target` are asked one by one; for
        Marian the one to translate into, whose tag stands before the source; for Whisper the one that is spoken.

        Raises :class:`~regard.errors.ConfigError` for a language that the tokenizer does not have.
        """
        return Tokenizer(in_language(self._parts, language))

    @cached_property
    def chat_template(self) -> ChatTemplate | None:
        """What turns a conversation into the model's text; None for a model that is no partner for one."""
        tokens = {f"{role}_token": token for role, token in self._roles.items()}
        return ChatTemplate.of(self._settings, self._parts.companions, tokens)

    def templated(self, source: str) -> Tokenizer:
        """The same tokenizer with this chat template, in place of any that it had."""
        kept = {name: data for name, data in self._parts.companions.items() if not name.endswith(".jinja")}
        settings = self._settings.changed(chat_template=source)
        return Tokenizer(self._parts._replace(settings=settings, companions=kept))

    def chat(self, messages: Sequence[Mapping[str, Any]], *, generation_prompt: bool = True, **variables: Any) -> str:
        """The text of a conversation as the model knows it: :meth:`~regard.text.chat.ChatTemplate.render`.

        Its ids, to which no special tokens are added: `encode([text], special=False)`.

        Raises :class:`~regard.errors.CheckpointError` when the model has no template.
        """
        if self.chat_template is None:
            allowed = "chat_template.jinja, or chat_template in tokenizer_config.json"
            raise CheckpointError("no chat template", allowed=allowed, fix="take a model that was trained to chat")
        return self.chat_template.render(messages, generation_prompt=generation_prompt, **variables)

    def encode(
        self,
        texts: Iterable[str],
        pairs: Iterable[str] | None = None,
        *,
        max_length: int | None = None,
        truncate: Truncate = "longest",
        stride: int | None = None,
        special: bool = True,
    ) -> list[Encoding]:
        """Each text, or each text with its pair, as an :class:`Encoding`.

        max_length: longest encoding in tokens; None means as long as the text is.
        truncate: what loses its end when a row is too long: the `longest` text first, then both alike; only the `first`;
            only the `second`; or none (`refuse`: a row that is too long is an error).
        stride: instead of dropping the end, make windows, neighbours sharing this many tokens; with pairs `truncate`
            says which text (`first` or `second`) is cut into windows, the other is repeated in each.
        special: whether special tokens are put around the texts.

        Raises :class:`~regard.errors.ConfigError` for settings that contradict each other or leave no room for text, and
        :class:`~regard.errors.DataError` for rows that are no text or cannot be cut as asked; all of them at once.
        """
        slots, budget = self._plan(max_length, pair=pairs is not None, special=special)
        check_cut(truncate, stride, budget=budget, pair=pairs is not None)
        rows = encoded_rows(texts, pairs, self._backend.spans)
        problems = Problems()
        encodings = []
        for row, parts in enumerate(rows):
            lengths = [len(ids) for ids, _ in parts]
            long = budget is not None and sum(lengths) > budget
            kept = [tuple(slice(0, length) for length in lengths)]
            if long and budget is not None:
                kept = cuts(lengths, budget, truncate, stride=stride, side=self._side)
            if not kept:
                problems.append(too_long(row, lengths, budget, truncate))
            encodings += [encoding_of(slots, parts, kept=k, row=row, truncated=long and stride is None) for k in kept]
        problems.raise_if_any()
        return encodings

    def ids(
        self, texts: Iterable[str], pairs: Iterable[str] | None = None, *, max_length: int | None = None
    ) -> tuple[list[list[int]], list[list[int]] | None, list[bool]]:
        """The fast path of training and prediction: (ids, type_ids, truncated), one entry per row.

        The same as `encode(texts, pairs, max_length=max_length)` gives, without offsets; type_ids is None without `pairs`.
        """
        slots, budget = self._plan(max_length, pair=pairs is not None, special=True)
        tokens = [slot.token for slot in slots]
        types = [slot.type_id for slot in slots]
        ids, type_ids, truncated = [], [], []
        for parts in encoded_rows(texts, pairs, self._backend.ids):
            lengths = [len(part) for part in parts]
            long = budget is not None and sum(lengths) > budget
            if long and budget is not None:
                kept = cuts(lengths, budget, "longest", side=self._side)[0]
                parts = tuple(part[keep] for part, keep in zip(parts, kept, strict=True))
            truncated.append(long)
            ids.append(fill(slots, parts, tokens))
            if pairs is not None:
                type_ids.append(fill(slots, types_of(slots, parts), types))
        return ids, None if pairs is None else type_ids, truncated

    def _plan(self, max_length: int | None, *, pair: bool, special: bool) -> tuple[tuple[Slot, ...], int | None]:
        """The places of a row, and how many tokens of text fit between the special ones."""
        slots = self._layout.slots(pair=pair, special=special)
        if max_length is None:
            return slots, None
        needed = sum(slot.segment is None for slot in slots)
        texts = len(slots) - needed
        if max_length < needed + texts:
            raise ConfigError(
                f"max_length {max_length} leaves no room for text",
                allowed=f"{needed + texts} or more: {needed} special tokens and {texts} of text",
                fix="raise max_length",
            )
        return slots, max_length - needed

    def decode(self, rows: Sequence[Sequence[int]], *, skip_special: bool = True) -> list[str]:
        """The text of each row of ids (lists, arrays or tensors); `skip_special` leaves special tokens out.

        Raises :class:`~regard.errors.DataError` for ids out of range.
        """
        plain = [[int(index) for index in row] for row in rows]
        for row, ids in enumerate(plain):
            self._check_ids(ids, f"rows[{row}]")
        return self._backend.decode(plain, skip_special=skip_special)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The token of each id, as the vocabulary spells it; an id that no token has is an empty string."""
        self._check_ids(ids, "ids")
        return [self._backend.token(index) or "" for index in ids]

    def _check_ids(self, ids: Sequence[int], where: str) -> None:
        wrong = [index for index in ids if not 0 <= index < self.vocab_size]
        if wrong:
            allowed = f"0 to {self.vocab_size - 1}"
            raise DataError(
                f"no such id: {listed(wrong)}", where=where, allowed=allowed, fix="decode with the model's own tokenizer"
            )

    def id_of(self, token: str) -> int | None:
        """The id of a token, None if the vocabulary has no such token."""
        return self._backend.id_of(token)

    @property
    def vocab_size(self) -> int:
        """1 + the largest id, added tokens included: how many rows an embedding needs."""
        return self._backend.size

    @property
    def max_length(self) -> int | None:
        """Longest input in tokens that the model was made for (`model_max_length`), if known."""
        return self._max_length

    def _role(self, role: str) -> int | None:
        token = self._roles.get(role)
        return None if token is None else self.id_of(token)

    @property
    def pad_id(self) -> int | None:
        """Id of the token that fills batches."""
        return self._role("pad")

    @property
    def unk_id(self) -> int | None:
        """Id of the token for what the vocabulary lacks."""
        return self._role("unk")

    @property
    def cls_id(self) -> int | None:
        """Id of the token whose hidden state stands for the whole text."""
        return self._role("cls")

    @property
    def sep_id(self) -> int | None:
        """Id of the token behind a text."""
        return self._role("sep")

    @property
    def bos_id(self) -> int | None:
        """Id of the token before a sequence."""
        return self._role("bos")

    @property
    def eos_id(self) -> int | None:
        """Id of the token that ends a sequence."""
        return self._role("eos")

    @property
    def mask_id(self) -> int | None:
        """Id of the token that stands for one to be guessed."""
        return self._role("mask")

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of all special tokens that have a role."""
        return frozenset(index for role in self._roles if (index := self._role(role)) is not None)
