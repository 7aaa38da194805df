"""The `sentencepiece` library as a backend: Marian, M2M-100, and files that name no family."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import sentencepiece

from regard.errors import CheckpointError, listed
from regard.text import languages
from regard.text.backend import Backend, Span
from regard.text.files import read_bytes, read_vocabulary
from regard.text.layout import Layout
from regard.text.polish import polish_of
from regard.text.proto import read_pieces
from regard.text.settings import Settings
from regard.text.specials import complete

TAG = re.compile(">>.*?<<", re.DOTALL)
"""What says, at the start of a text, which language Marian is to write."""


class Style(NamedTuple):
    """What a family does besides calling the library.

    tagged: whether a text may begin with a tag. behind: what decoding puts behind a special token.
    trimmed: whether decoding drops the spaces around the text. joint: whether the ids are also those of another model's
        pieces, which the library leaves as they are, with their mark for a space.
    """

    tagged: bool = False
    behind: str = ""
    trimmed: bool = False
    joint: bool = False


PLAIN, M2M100, MARIAN = Style(), Style(trimmed=True), Style(tagged=True, behind=" ", trimmed=True, joint=True)


class PieceBackend(Backend):
    """A SentencePiece model whose pieces have the ids of `table`, and tokens of `table` that are no pieces.

    table: token -> id; a piece that is not in it is unknown.
    literal: tokens that become their id where they stand in a text, as special tokens do in every other tokenizer; the
        library itself never reads them. special: those of them that decoding may skip.
    polish: what is done to a decoded text last. files: what brings this backend back.
    """

    def __init__(
        self,
        processor: sentencepiece.SentencePieceProcessor,
        table: Mapping[str, int],
        *,
        unk: str,
        literal: Sequence[str],
        special: Sequence[str],
        style: Style,
        polish: Callable[[str], str] | None,
        files: Mapping[str, bytes],
    ) -> None:
        self._processor = processor
        self._table = dict(table)
        self._tokens = {index: token for token, index in table.items()}
        self._unknown = table[unk]
        self._literal_ids = {table[token] for token in literal}
        self._special = {table[token] for token in special}
        ordered = sorted(literal, key=len, reverse=True)
        self._literal = re.compile(f"({'|'.join(map(re.escape, ordered))})")
        self._style = style
        self._polish = polish
        self._files = files
        self._size = 1 + max(self._tokens)

    @property
    def files(self) -> Mapping[str, bytes]:
        return self._files

    @property
    def size(self) -> int:
        return self._size

    def ids(self, texts: list[str]) -> list[list[int]]:
        if any(map(self._literal.search, texts)) or (self._style.tagged and any(map(TAG.match, texts))):
            return [ids for ids, _ in self.spans(texts)]
        number, unknown = self._table.get, self._unknown
        return [[number(piece, unknown) for piece in row] for row in self._processor.encode(texts, return_type=str)]

    def spans(self, texts: list[str]) -> list[tuple[list[int], list[Span]]]:
        cut = [list(self._runs(text)) for text in texts]
        plain = [run for runs in cut for _, run, index in runs if index is None]
        encoded = iter(self._processor.encode(plain, return_type="offset_mapping"))
        rows: list[tuple[list[int], list[Span]]] = []
        for runs in cut:
            ids: list[int] = []
            offsets: list[Span] = []
            for start, run, index in runs:
                if index is not None:
                    ids.append(index)
                    offsets.append((start, start + len(run)))
                    continue
                pieces = next(encoded)
                ids.extend(self._table.get(piece, self._unknown) for piece in pieces["pieces"])
                offsets.extend(_trimmed(run, start, span) for span in pieces["offsets"])
            rows.append((ids, offsets))
        return rows

    def _runs(self, text: str) -> Iterator[tuple[int, str, int | None]]:
        """(start, run, id) of the tokens that stand literally in a text and, with id None, of the runs between them."""
        start = 0
        for place, run in enumerate(self._literal.split(text)):
            tag = TAG.match(run) if self._style.tagged and not place % 2 else None
            if tag:
                yield start, tag[0], self._table.get(tag[0], self._unknown)
                start += len(tag[0])
                run = run[len(tag[0]) :]
            if run:
                yield start, run, self._table[run] if place % 2 else None
            start += len(run)

    def decode(self, rows: Sequence[Sequence[int]], *, skip_special: bool) -> list[str]:
        return [self._decoded(row, skip_special) for row in rows]

    def _decoded(self, row: Sequence[int], skip_special: bool) -> str:
        kept = [index for index in row if index in self._tokens and not (skip_special and index in self._special)]
        text = ""
        for literal, indices in groupby(kept, key=self._literal_ids.__contains__):
            tokens = [self._tokens[index] for index in indices]
            if literal:
                text += "".join(token + self._style.behind for token in tokens)
            else:
                text += self._processor.decode(tokens)
        text = text.replace("▁", " ") if self._style.joint else text
        text = text.strip() if self._style.trimmed else text
        return text if self._polish is None else self._polish(text)

    def token(self, index: int) -> str | None:
        return self._tokens.get(index)

    def id_of(self, token: str) -> int | None:
        return self._table.get(token)


def _trimmed(run: str, start: int, span: Span) -> Span:
    """The place in the whole text of a piece of `run`, without the spaces that SentencePiece glues to the front of words."""
    begin, end = span
    piece = run[begin:end]
    word = piece.lstrip()
    return start + (end - len(word) if word else begin), start + end


def load_marian(path: Path, settings: Settings) -> tuple[PieceBackend, PieceBackend, dict[str, str]]:
    """Marian's `source.spm` and `target.spm`, with the ids of `vocab.json` (or `target_vocab.json`); the special tokens."""
    theirs = "target_vocab.json" if settings.flag("separate_vocabs", False) else "vocab.json"
    files = _together(path, ["source.spm", "target.spm", *dict.fromkeys(["vocab.json", theirs])])
    own_ids = read_vocabulary(path.with_name("vocab.json"))
    their_ids = dict(own_ids) if theirs == "vocab.json" else read_vocabulary(path.with_name(theirs))
    roles = settings.roles(own_ids.__contains__)
    # Ids in the settings are those of the source.
    own = settings if theirs == "vocab.json" else settings.changed(added_tokens_decoder={})
    model, other = files["source.spm"], files["target.spm"]
    processor = _processor(model)
    source = _backend(processor, own_ids, settings, roles, MARIAN, files)
    target = _backend(processor if other == model else _processor(other), their_ids, own, roles, MARIAN, files)
    return source, target, roles


def load_m2m100(path: Path, settings: Settings) -> tuple[PieceBackend, PieceBackend, dict[str, str]]:
    """M2M-100's SentencePiece file with the ids of `vocab.json`, behind which the languages come; the special tokens."""
    files = _together(path, [path.name, "vocab.json"])
    table = read_vocabulary(path.with_name("vocab.json"))
    for code in languages.codes(settings):
        table.setdefault(languages.tag(settings.kind, code), len(table))
    roles = settings.roles(table.__contains__)
    backend = _backend(_processor(files[path.name]), table, settings, roles, M2M100, files)
    return backend, backend, roles


def _together(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """The content of files that belong together."""
    missing = [name for name in names if not path.with_name(name).exists()]
    if missing:
        raise CheckpointError(f"no {listed(missing)} beside it", where=str(path), fix="copy the tokenizer's files there")
    return {name: read_bytes(path.with_name(name)) for name in names}


def load_plain(path: Path, settings: Settings) -> tuple[PieceBackend, dict[str, str], Layout]:
    """A SentencePiece file that no family claims: the ids are its own, special tokens stand where they usually do."""
    model = read_bytes(path)
    pieces = read_pieces(model, str(path))
    table = {token: index for index, token in enumerate(pieces.tokens)}
    roles = {"unk": pieces.tokens[pieces.unknown], **settings.roles(table.__contains__)}
    backend = _backend(_processor(model), table, settings, roles, PLAIN, {path.name: model})
    if {"cls", "sep"} <= roles.keys():
        places = "cls $A sep", "cls $A sep $B:1 sep:1"
    elif roles.get("eos") in table:
        places = "$A eos", "$A eos $B eos"
    else:
        places = "$A", "$A $B"
    numbers = {role: index for role, token in roles.items() if (index := backend.id_of(token)) is not None}
    return backend, roles, Layout.parse(*places, numbers)


def _processor(model: bytes) -> sentencepiece.SentencePieceProcessor:
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except (RuntimeError, ValueError):
        raise CheckpointError("not a SentencePiece model", fix="get the file anew") from None


def _backend(
    processor: sentencepiece.SentencePieceProcessor,
    table: dict[str, int],
    settings: Settings,
    roles: Mapping[str, str],
    style: Style,
    files: Mapping[str, bytes],
) -> PieceBackend:
    """The backend of a table, to which the tokens are added that the settings name."""
    literal = complete(table, roles, settings)
    if "unk" not in roles:
        raise CheckpointError("no token for unknown text", allowed="<unk>", fix="name an unk_token")
    special = [token for token, skipped in literal.items() if skipped]
    return PieceBackend(
        processor,
        table,
        unk=roles["unk"],
        literal=list(literal),
        special=special,
        style=style,
        polish=polish_of(settings, bpe=False),
        files=files,
    )
