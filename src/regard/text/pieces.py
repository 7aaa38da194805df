"""The `sentencepiece` library as a backend, with the ids and special tokens that T5, XLM-R, ALBERT, Llama and Marian use."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import sentencepiece

from regard.errors import CheckpointError, did_you_mean, listed
from regard.text.backend import Backend, Span
from regard.text.layout import Layout
from regard.text.settings import BERT, ROBERTA, SEQ2SEQ, Settings, read_bytes, read_object


class Style(NamedTuple):
    """How a family of models uses a SentencePiece model: its special tokens, and the templates of one text and of two."""

    roles: Mapping[str, str]
    single: str
    pair: str


ALBERT_ROLES = {**BERT, "pad": "<pad>", "unk": "<unk>"}
T5_ROLES = {"pad": "<pad>", "unk": "<unk>", "eos": "</s>"}

STYLES = {
    "T5": Style(T5_ROLES, "$A eos", "$A eos $B eos"),
    "Marian": Style(T5_ROLES, "$A eos", "$A $B eos"),
    "XLMRoberta": Style(ROBERTA, "cls $A sep", "cls $A sep sep $B sep"),
    "Albert": Style(ALBERT_ROLES, "cls $A sep", "cls $A sep $B:1 sep:1"),
    "DebertaV2": Style({**BERT, "unk": "[UNK]"}, "cls $A sep", "cls $A sep $B:1 sep:1"),
    "Llama": Style({"unk": "<unk>", "bos": "<s>", "eos": "</s>"}, "bos $A", "bos $A bos:1 $B:1"),
}
PLAIN = Style(SEQ2SEQ, "$A", "$A $B")

FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")
"""XLM-R numbers these first, whatever the SentencePiece model says, and all other pieces one higher than it does."""


class PieceBackend(Backend):
    """A SentencePiece model whose pieces have the ids of `table`, and tokens of `table` that are no pieces.

    Tokens in `literal` that stand in a text become their id, as special tokens do in every other tokenizer; the library
    itself never reads them. `files` is what brings this backend back.
    """

    def __init__(
        self,
        model: bytes,
        table: Mapping[str, int],
        *,
        roles: Mapping[str, str],
        literal: Sequence[str],
        files: dict[str, bytes],
    ) -> None:
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self._table = dict(table)
        self._tokens = {index: token for token, index in table.items()}
        pieces = [self._processor.id_to_piece(index) for index in range(self._processor.get_piece_size())]
        unknown = table[roles["unk"]]
        self._ours = [table.get(piece, unknown) for piece in pieces]
        self._theirs = {table[piece]: index for index, piece in enumerate(pieces) if piece in table}
        self._special = {table[token] for token in literal}
        ordered = sorted(literal, key=len, reverse=True)
        self._literal = re.compile(f"({'|'.join(map(re.escape, ordered))})") if ordered else None
        self._files = files
        self._size = 1 + max(self._tokens)

    @property
    def files(self) -> Mapping[str, bytes]:
        return self._files

    @property
    def size(self) -> int:
        return self._size

    def ids(self, texts: list[str]) -> list[list[int]]:
        if self._literal is not None and any(map(self._literal.search, texts)):
            return [ids for ids, _ in self.spans(texts)]
        ours = self._ours
        return [[ours[index] for index in row] for row in self._processor.encode(texts, return_type=int)]

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
                ids.extend(self._ours[piece] for piece in pieces["ids"])
                offsets.extend(_trimmed(run, start, span) for span in pieces["offsets"])
            rows.append((ids, offsets))
        return rows

    def _runs(self, text: str) -> Iterator[tuple[int, str, int | None]]:
        """(start, run, id) of the special tokens that stand in a text and, with id None, of the runs between them."""
        start = 0
        for place, run in enumerate(self._literal.split(text) if self._literal is not None else [text]):
            if run:
                yield start, run, self._table[run] if place % 2 else None
            start += len(run)

    def decode(self, rows: Sequence[Sequence[int]], *, skip_special: bool) -> list[str]:
        return [self._decoded(row, skip_special) for row in rows]

    def _decoded(self, row: Sequence[int], skip_special: bool) -> str:
        kept = [index for index in row if index in self._tokens and not (skip_special and index in self._special)]
        runs: list[str] = []
        for special, indices in groupby(kept, key=self._is_literal):
            if special:
                runs.extend(self._tokens[index] for index in indices)
            else:
                runs.append(self._processor.decode([self._theirs[index] for index in indices]))
        return " ".join(runs)

    def _is_literal(self, index: int) -> bool:
        return index in self._special or index not in self._theirs

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


def load_pieces(path: Path, settings: Settings) -> tuple[PieceBackend, Layout, dict[str, str]]:
    """Backend, layout and special tokens of a `.model` or `.spm` file, in the style that the settings name."""
    model = read_bytes(path)
    pieces = _pieces(model, path)
    style = _style(settings, pieces)
    files = {path.name: model}
    ids = path.parent / "vocab.json"
    if ids.exists():
        table = _numbered(read_object(ids), ids)
        files[ids.name] = json.dumps(table, ensure_ascii=False).encode()
    elif style.roles is ROBERTA:
        table = {token: index for index, token in enumerate((*FAIRSEQ, *pieces[3:], "<mask>"))}
    else:
        table = {piece: index for index, piece in enumerate(pieces)}
    literal = _append_added(table, settings)
    roles = settings.roles(table.__contains__, style.roles)
    for token in roles.values():
        table.setdefault(token, 1 + max(table.values()))
        literal.append(token)
    if "unk" not in roles:
        raise CheckpointError("no piece for unknown text", where=str(path), allowed="<unk>", fix="name an unk_token")
    backend = PieceBackend(model, table, roles=roles, literal=list(dict.fromkeys(literal)), files=files)
    numbers = {role: table[token] for role, token in roles.items()}
    return backend, _layout(style, settings, numbers), roles


def _pieces(model: bytes, path: Path) -> list[str]:
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        return [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    except (RuntimeError, ValueError):
        raise CheckpointError("not a SentencePiece model", where=str(path), fix="get the file anew") from None


def _style(settings: Settings, pieces: Sequence[str]) -> Style:
    """The style of `tokenizer_class`; without one, what the named special tokens mean: cls and sep around, or eos behind."""
    kind = settings.kind
    if kind:
        if kind not in STYLES:
            raise CheckpointError(
                f"no rule for the SentencePiece files of {kind!r}",
                where=settings.where,
                allowed=listed(f"{name}Tokenizer" for name in STYLES),
                fix=did_you_mean(kind, STYLES) or "save this tokenizer as tokenizer.json with the library it comes from",
            )
        return STYLES[kind]
    named = settings.named()
    if "cls" in named and "sep" in named:
        return STYLES["XLMRoberta" if named["cls"] == "<s>" else "Albert"]
    return STYLES["T5"] if named.get("eos", "</s>") in pieces else PLAIN


def _layout(style: Style, settings: Settings, ids: Mapping[str, int]) -> Layout:
    if style is not STYLES["Llama"]:
        return Layout.parse(style.single, style.pair, ids)
    before = ["bos"] if settings.flag("add_bos_token", True) else []
    after = ["eos"] if settings.flag("add_eos_token", False) else []
    first = " ".join([*before, "$A", *after])
    second = " ".join(f"{name}:1" for name in [*before, "$B", *after])
    return Layout.parse(first, f"{first} {second}", ids)


def _numbered(table: Mapping[str, Any], path: Path) -> dict[str, int]:
    wrong = [token for token, index in table.items() if not isinstance(index, int) or isinstance(index, bool) or index < 0]
    if wrong or not table or len(set(table.values())) < len(table):
        what = f"no ids for {listed(map(repr, wrong))}" if wrong else "no table of tokens with one id each"
        raise CheckpointError(what, where=str(path), allowed='{"token": id, …}', fix="get the file anew")
    return dict(table)


def _append_added(table: dict[str, int], settings: Settings) -> list[str]:
    """Puts the tokens that the settings add behind the pieces; returns them."""
    added = settings.added()
    names = list(added)
    if settings.kind == "T5" and not any("<extra_id_" in token for token in added):
        names += [f"<extra_id_{index}>" for index in reversed(range(settings.extra_ids))]
    for token in names:
        index = added[token][0] if token in added else None
        given = table.setdefault(token, 1 + max(table.values()) if index is None else index)
        if index is not None and index != given:
            raise settings.misnumbered(token, wanted=index, given=given)
    return names
