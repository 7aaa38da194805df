"""Finding and reading the tokenizer of a folder: which file there is decides how it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from regard.errors import CheckpointError, Problems, RegardError, listed
from regard.text.backend import Backend, FastBackend
from regard.text.layout import Layout
from regard.text.pieces import load_pieces
from regard.text.settings import BERT, GPT2, ROBERTA, Settings, read_bytes


class Parts(NamedTuple):
    """What a :class:`~regard.text.tokenizer.Tokenizer` is made of; `roles` are its special tokens."""

    backend: Backend
    layout: Layout
    roles: Mapping[str, str]
    settings: Settings


WANTED = "tokenizer.json, vocab.txt, vocab.json with merges.txt, or one *.model or *.spm file"
PIECES = (".model", ".spm")


def load_parts(source: Path) -> Parts:
    """The tokenizer of a folder, or of one file with the settings beside it."""
    if not source.exists():
        raise CheckpointError("no such file or folder", where=str(source), fix="check the path")
    path = _find(source) if source.is_dir() else source
    settings = Settings.read(path.parent)
    if path.suffix in PIECES:
        return Parts(*load_pieces(path, settings), settings)
    reader = READERS.get(path.name, _read_fast_file)
    with _library_errors("not a tokenizer", str(path), "a file that the tokenizers library wrote"):
        tokenizer, roles = reader(path, settings)
        backend = FastBackend(tokenizer)
        return Parts(backend, backend.layout(str(path)), roles, settings)


@contextmanager
def _library_errors(what: str, where: str, allowed: str = "") -> Iterator[None]:
    """Says in our words what `tokenizers` raises: a bare Exception, or a panic, which is not even that."""
    try:
        yield
    except (RegardError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise CheckpointError(f"{what}: {error}", where=where, allowed=allowed, fix="get it anew") from None


def _find(folder: Path) -> Path:
    names = {path.name for path in folder.iterdir() if path.is_file()}
    for name in ("tokenizer.json", "vocab.txt"):
        if name in names:
            return folder / name
    if {"vocab.json", "merges.txt"} <= names:
        return folder / "vocab.json"
    pieces = sorted(name for name in names if name.endswith(PIECES))
    if "source.spm" in pieces or len(pieces) == 1:
        return folder / ("source.spm" if "source.spm" in pieces else pieces[0])
    if pieces:
        raise CheckpointError(
            "more than one SentencePiece file", where=str(folder), allowed=listed(pieces), fix="give the path of one"
        )
    what = "vocab.json without merges.txt" if "vocab.json" in names else "no tokenizer in this folder"
    fix = "copy the tokenizer's files there; besides the weights a checkpoint needs them"
    raise CheckpointError(what, where=str(folder), allowed=WANTED, fix=fix)


Fast = tuple[tokenizers.Tokenizer, dict[str, str]]


def _read_fast_file(path: Path, settings: Settings) -> Fast:
    """A `tokenizer.json`; where `tokenizer_config.json` sets case, accents, Chinese or the first space, it wins."""
    tokenizer = tokenizers.Tokenizer.from_str(read_bytes(path).decode())
    normalizer = tokenizer.normalizer
    if isinstance(normalizer, normalizers.BertNormalizer):
        tokenizer.normalizer = _bert_normalizer(settings, default=normalizer)
    first_space = settings.flag("add_prefix_space")
    if first_space is not None and isinstance(tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel):
        tokenizer.pre_tokenizer.add_prefix_space = first_space
    roles = settings.roles(lambda token: tokenizer.token_to_id(token) is not None)
    _add_specials(tokenizer, roles, settings)
    return tokenizer, roles


def _bert_normalizer(settings: Settings, default: normalizers.BertNormalizer | None = None) -> normalizers.BertNormalizer:
    default = default or normalizers.BertNormalizer()
    return normalizers.BertNormalizer(
        clean_text=default.clean_text,
        handle_chinese_chars=settings.flag("tokenize_chinese_chars", default.handle_chinese_chars),
        strip_accents=settings.flag("strip_accents", default.strip_accents),
        lowercase=settings.flag("do_lower_case", default.lowercase),
    )


def _read_wordpiece(path: Path, settings: Settings) -> Fast:
    """BERT's `vocab.txt`, one token a line (Devlin et al. 2019)."""
    vocabulary = _lines(path)
    roles = settings.roles(vocabulary.__contains__, BERT)
    problems = Problems(CheckpointError)
    for role in ("unk", "cls", "sep"):
        token = roles.get(role, BERT[role])
        if token not in vocabulary:
            fix = f'add the line, or name another "{role}_token" in tokenizer_config.json'
            problems.add(f"no line {token}", where=str(path), fix=fix)
    problems.raise_if_any()
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=roles["unk"]))
    tokenizer.normalizer = _bert_normalizer(settings)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    _add_specials(tokenizer, roles, settings)
    tokenizer.post_processor = bert_template(roles, vocabulary)
    return tokenizer, roles


def bert_template(roles: Mapping[str, str], vocabulary: Mapping[str, int]) -> processors.TemplateProcessing:
    """cls A sep, and cls A sep B sep with type 1 from B on."""
    cls, sep = roles["cls"], roles["sep"]
    return processors.TemplateProcessing(
        single=[cls, "$A", sep],
        pair=[cls, "$A", sep, "$B:1", f"{sep}:1"],
        special_tokens=[(token, vocabulary[token]) for token in dict.fromkeys((cls, sep))],
    )


def _lines(path: Path) -> dict[str, int]:
    try:
        lines = read_bytes(path).decode().replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"not UTF-8: {error.reason} at byte {error.start}", where=str(path), fix="get it anew"
        ) from None
    twice = [token for token, count in Counter(lines).items() if count > 1]
    problems = Problems(CheckpointError)
    for token in twice:
        numbers = [number for number, line in enumerate(lines, 1) if line == token]
        problems.add(
            f"token {token!r} stands on lines {listed(numbers)}", where=str(path), fix="get the file anew: ids would be lost"
        )
    problems.raise_if_any()
    return {token: index for index, token in enumerate(lines)}


BYTE_BPE = {"GPT2": GPT2, "Roberta": ROBERTA, "Bart": ROBERTA, "Longformer": ROBERTA, "LED": ROBERTA}
"""`tokenizer_class` -> special tokens of what `vocab.json` with `merges.txt` may be."""


def _read_byte_bpe(path: Path, settings: Settings) -> Fast:
    """GPT-2's byte-level `vocab.json` and `merges.txt` (Radford et al. 2019), also with RoBERTa's special tokens."""
    if settings.kind and settings.kind not in BYTE_BPE:
        raise CheckpointError(
            f"no rule for vocab.json and merges.txt of {settings.kind!r}",
            where=settings.where,
            allowed=listed(f"{name}Tokenizer" for name in BYTE_BPE),
            fix="save this tokenizer as tokenizer.json with the library it comes from",
        )
    merges = path.with_name("merges.txt")
    with _library_errors("not a vocabulary with its merges", f"{path} and {merges.name}"):
        vocabulary, pairs = models.BPE.read_file(str(path), str(merges))
    lost = {token for left, right in pairs for token in (left, right, left + right) if token not in vocabulary}
    if lost:
        raise CheckpointError(
            f"{merges.name} has tokens that {path.name} lacks: {listed(sorted(lost))}",
            where=str(path.parent),
            fix="get both files anew, from one place",
        )
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, pairs))
    first_space = settings.flag("add_prefix_space", False)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=first_space)
    tokenizer.decoder = decoders.ByteLevel()
    roles = settings.roles(vocabulary.__contains__, BYTE_BPE.get(settings.kind))
    _add_specials(tokenizer, roles, settings)
    if {"cls", "sep"} <= roles.keys():
        ids = tokenizer.get_vocab()
        sep, cls = ((roles[role], ids[roles[role]]) for role in ("sep", "cls"))
        trim = settings.flag("trim_offsets", True)
        tokenizer.post_processor = processors.RobertaProcessing(sep, cls, trim, first_space)
    elif settings.flag("add_bos_token", False) and "bos" in roles:
        bos = roles["bos"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[bos, "$A"],
            pair=[bos, "$A", f"{bos}:1", "$B:1"],
            special_tokens=[(bos, tokenizer.get_vocab()[bos])],
        )
    return tokenizer, roles


def _add_specials(tokenizer: tokenizers.Tokenizer, roles: Mapping[str, str], settings: Settings) -> None:
    """Makes the special tokens whole wherever they stand in a text; those that are new get the next ids."""
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    for content, (index, token) in settings.added().items():
        if content not in known:
            (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
            known.add(content)
        given = tokenizer.token_to_id(content)
        if index is not None and index != given:
            raise settings.misnumbered(content, wanted=index, given=given)
    new = [AddedToken(token, special=True, normalized=False) for token in roles.values() if token not in known]
    tokenizer.add_special_tokens(new)


READERS: Mapping[str, Callable[[Path, Settings], Fast]] = {"vocab.txt": _read_wordpiece, "vocab.json": _read_byte_bpe}
"""File name -> its reader; any other name is read as a `tokenizer.json`."""
