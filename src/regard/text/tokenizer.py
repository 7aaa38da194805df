"""One tokenizer for every vocabulary: texts to ids with their places in the text, and back (floor 1).

Lengths count tokens, special tokens included. Offsets count characters (Python's `str` index) from the start of their
own text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar, get_args

from regard.errors import ConfigError, DataError, Problem, Problems, WorkError, listed
from regard.text.encoding import Encoding, encoding_of, types_of
from regard.text.layout import Slot, Truncate, cuts, fill
from regard.text.load import Parts, load_parts

T = TypeVar("T")


class Tokenizer:
    """Texts <-> ids. A pure value: no call changes what a later one answers, and threads may share one.

    Made by :meth:`load` or :func:`~regard.text.train.train_tokenizer`. Batches are encoded in parallel by the library
    underneath (`tokenizers` or `sentencepiece`); special tokens, truncation and windows are the same for both.
    """

    def __init__(self, parts: Parts) -> None:
        self._backend, self._layout, self._roles, self._settings = parts
        self._side = self._settings.truncation_side
        self._max_length = self._settings.max_length

    @classmethod
    def load(cls, source: str | Path) -> Tokenizer:
        """The tokenizer of a folder, or of one file with the settings beside it.

        Read are, in this order: `tokenizer.json`; BERT's `vocab.txt`; GPT-2's or RoBERTa's `vocab.json` with
        `merges.txt`; a SentencePiece `.model` or `.spm` file. Of `tokenizer_config.json` and `special_tokens_map.json`
        count the special tokens, the added tokens, `model_max_length`, `truncation_side`, `do_lower_case`,
        `tokenize_chinese_chars`, `strip_accents`, `add_prefix_space` and, without a `tokenizer.json`,
        `tokenizer_class`, `add_bos_token`, `add_eos_token`, `extra_ids` and `trim_offsets`.

        Raises :class:`~regard.errors.CheckpointError` when there is no such file, or a broken one.
        """
        return cls(load_parts(Path(source)))

    def save(self, folder: str | Path) -> None:
        """Writes what :meth:`load` reads back to an equal tokenizer; `tokenizer.json` also serves other libraries.

        Raises :class:`~regard.errors.WorkError` when the folder cannot be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in self._files().items():
                (folder / name).write_bytes(content)
        except OSError as error:
            raise WorkError(
                f"cannot write the tokenizer: {error.strerror}", where=str(folder), fix="free space or rights"
            ) from None

    def _files(self) -> dict[str, bytes]:
        named = {f"{role}_token": token for role, token in self._roles.items()}
        settings = json.dumps({**self._settings.values, **named}, ensure_ascii=False, indent=2)
        return {**self._backend.files, "tokenizer_config.json": settings.encode()}

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of what :meth:`save` writes: equal digests encode equally."""
        files = sorted(self._files().items())
        return hashlib.sha256(
            b"".join(hashlib.sha256(part).digest() for name, data in files for part in (name.encode(), data))
        ).hexdigest()

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
        _check_cut(truncate, stride, budget=budget, pair=pairs is not None)
        rows = _rows(texts, pairs, self._backend.spans)
        problems = Problems()
        encodings = []
        for row, parts in enumerate(rows):
            lengths = [len(ids) for ids, _ in parts]
            long = budget is not None and sum(lengths) > budget
            kept = [tuple(slice(0, length) for length in lengths)]
            if long and budget is not None:
                kept = cuts(lengths, budget, truncate, stride=stride, side=self._side)
            if not kept:
                problems.append(_too_long(row, lengths, budget, truncate))
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
        for parts in _rows(texts, pairs, self._backend.ids):
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


def _rows(texts: Iterable[str], pairs: Iterable[str] | None, encode: Callable[[list[str]], list[T]]) -> list[tuple[T, ...]]:
    """What the library makes of each row's texts: one entry per text, all of them encoded in one parallel batch."""
    firsts = _checked(texts, "texts")
    if pairs is None:
        return [(row,) for row in _encoded({"texts": firsts}, encode)]
    seconds = _checked(pairs, "pairs")
    if len(firsts) != len(seconds):
        raise DataError(
            f"{len(firsts)} texts but {len(seconds)} pairs", allowed="one pair per text", fix="give equally many"
        )
    encoded = _encoded({"texts": firsts, "pairs": seconds}, encode)
    return list(zip(encoded[: len(firsts)], encoded[len(firsts) :], strict=True))


def _checked(texts: Iterable[str], name: str) -> list[str]:
    if isinstance(texts, str):
        raise DataError(f"{name} is one string", allowed="a list of strings", fix=f"give [{name}]")
    rows = list(texts)
    problems = Problems()
    for index, text in enumerate(rows):
        if not isinstance(text, str):
            problems.add(f"{type(text).__name__} instead of text", where=f"{name}[{index}]", fix="give a string")
    problems.raise_if_any()
    return rows


def _encoded(named: Mapping[str, list[str]], encode: Callable[[list[str]], list[T]]) -> list[T]:
    try:
        return encode([text for texts in named.values() for text in texts])
    except Exception as error:  # the libraries raise TypeError for lone surrogates and bare Exception for all else
        _refuse_surrogates(named)
        raise DataError(f"the tokenizer cannot encode this: {error}", fix="give the vocabulary an unknown token") from None


def _refuse_surrogates(named: Mapping[str, list[str]]) -> None:
    problems = Problems()
    for name, texts in named.items():
        for index, text in enumerate(texts):
            try:
                text.encode()
            except UnicodeEncodeError as wrong:
                problems.add(
                    f"character {text[wrong.start]!r} at {wrong.start} is half of a pair, which is no text",
                    where=f"{name}[{index}]",
                    fix="read the file in its right encoding, with errors='replace' if it is damaged",
                )
    problems.raise_if_any()


def _check_cut(truncate: str, stride: int | None, *, budget: int | None, pair: bool) -> None:
    """Refuses settings of :meth:`Tokenizer.encode` that contradict each other."""
    problems = Problems(ConfigError)
    if truncate not in get_args(Truncate):
        problems.add(f"truncate is {truncate!r}", allowed=listed(get_args(Truncate)))
    if truncate == "second" and not pair:
        problems.add("truncate='second' without pairs", allowed="'longest', 'first' or 'refuse'")
    if stride is not None:
        if budget is None:
            problems.add("stride without max_length", fix="say how long a window is: max_length")
        elif not 0 <= stride < budget:
            problems.add(f"stride is {stride}", allowed=f"0 to {budget - 1}: less than a window's {budget} tokens of text")
        if truncate == "refuse" or (pair and truncate == "longest"):
            problems.add(f"stride with truncate={truncate!r}", fix="say which text is cut into windows: 'first' or 'second'")
    problems.raise_if_any()


def _too_long(row: int, lengths: Sequence[int], budget: int | None, truncate: Truncate) -> Problem:
    sizes = " + ".join(map(str, lengths))
    allowed = f"{budget} besides the special tokens"
    fix = "raise max_length, or truncate='longest'" if truncate == "refuse" else "raise max_length, or cut the other text"
    return Problem(f"{sizes} tokens are too many", f"texts[{row}]", allowed, fix)
