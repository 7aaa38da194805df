"""Characters as tokens, for models that spell what they hear: wav2vec 2.0 and HuBERT with a CTC head."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from regard.errors import CheckpointError
from regard.text.backend import Backend, Span
from regard.text.files import numbered, read_bytes, read_object
from regard.text.polish import tidied
from regard.text.settings import Settings
from regard.text.specials import complete


def collapse(ids: Sequence[int], blank: int) -> list[int]:
    """What a row of frames spells: runs of one id become one, then the blanks go (Graves et al. 2006, §3.1).

    ids: the best id of each frame. blank: the id that stands for nothing, in wav2vec 2.0 that of padding. For the text:
    `tokenizer.decode([collapse(row, blank=tokenizer.pad_id) for row in rows])`.
    """
    return [index for index, _ in groupby(ids) if index != blank]


class CharacterBackend(Backend):
    """A table of characters; `|` stands between words. Tokens of several letters, `<unk>` among them, are taken whole.

    Decoding a transcript gives it back, letter by letter; what a model heard goes through :func:`collapse` first.
    """

    def __init__(
        self, table: Mapping[str, int], roles: Mapping[str, str], settings: Settings, files: Mapping[str, bytes]
    ) -> None:
        self._table = dict(table)
        self._tokens = {index: token for token, index in table.items()}
        self._files = files
        self._unknown = table[roles["unk"]]
        self._pad = roles.get("pad")
        self._delimiter = settings.word("word_delimiter_token", "|")
        self._space = settings.word("replace_word_delimiter_char", " ")
        self._upper = settings.flag("do_lower_case", False)
        self._tidy = settings.flag("clean_up_tokenization_spaces", False)
        self._special = {*roles.values(), *(token.content for token in settings.extra())} - {self._delimiter}
        whole = sorted({token for token in table if len(token) > 1} | self._special, key=len, reverse=True)
        self._whole = re.compile(f"({'|'.join(map(re.escape, whole))})")

    @property
    def files(self) -> Mapping[str, bytes]:
        return self._files

    @property
    def size(self) -> int:
        return 1 + max(self._tokens)

    def ids(self, texts: list[str]) -> list[list[int]]:
        return [[index for index, _ in self._read(text)] for text in texts]

    def spans(self, texts: list[str]) -> list[tuple[list[int], list[Span]]]:
        rows = [list(self._read(text)) for text in texts]
        return [([index for index, _ in row], [span for _, span in row]) for row in rows]

    def _read(self, text: str) -> Iterator[tuple[int, Span]]:
        """The tokens of a text, each with its place. Spaces beside a token of several letters belong to it."""
        start = 0
        runs = self._whole.split(text)
        for place, run in enumerate(runs):
            stop = start + len(run)
            if place % 2:
                yield self._table[run], (start, stop)
            else:
                first = start + len(run) - len(run.lstrip()) if place else start
                last = start + len(run.rstrip()) if place < len(runs) - 1 else stop
                for at in range(first, last):
                    for letter in text[at].upper() if self._upper else text[at]:
                        token = self._delimiter if letter == " " else letter
                        yield self._table.get(token, self._unknown), (at, at + 1)
            start = stop

    def decode(self, rows: Sequence[Sequence[int]], *, skip_special: bool) -> list[str]:
        return [self._decoded(row, skip_special) for row in rows]

    def _decoded(self, row: Sequence[int], skip_special: bool) -> str:
        tokens = [self._tokens[index] for index in row if index in self._tokens]
        kept = [token for token in tokens if token != self._pad and not (skip_special and token in self._special)]
        text = "".join(self._space if token == self._delimiter else token for token in kept).strip()
        text = text.lower() if self._upper else text
        return tidied(text) if self._tidy else text

    def token(self, index: int) -> str | None:
        return self._tokens.get(index)

    def id_of(self, token: str) -> int | None:
        return self._table.get(token)


def load_characters(path: Path, settings: Settings) -> tuple[CharacterBackend, dict[str, str]]:
    """The `vocab.json` of a speech recogniser; of one for many languages (`target_lang`) that language's part."""
    content = read_object(path)
    language = settings.word("target_lang")
    if language:
        part = content.get(language)
        if not isinstance(part, dict):
            raise settings.wrong("target_lang", language, f"a key of {path.name} that holds a vocabulary")
        content = part
    table = numbered(content, str(path))
    roles = settings.roles(table.__contains__)
    if "unk" not in roles:
        raise CheckpointError("no token for unknown letters", where=str(path), allowed="<unk>", fix="name an unk_token")
    complete(table, roles, settings)
    return CharacterBackend(table, roles, settings, {path.name: read_bytes(path)}), roles
