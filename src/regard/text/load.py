"""Finding and reading the tokenizer of a folder: which files there are, and of which kind, decides how it is read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from regard.errors import CheckpointError, Problems, RegardError, listed
from regard.text import converted, languages
from regard.text.backend import Backend, FastBackend
from regard.text.bpe import read_bpe
from regard.text.characters import load_characters
from regard.text.chat import template_files
from regard.text.files import read_bytes, read_text
from regard.text.growth import check_growth
from regard.text.kinds import BERT
from regard.text.languages import Part
from regard.text.layout import Layout
from regard.text.pieces import load_m2m100, load_marian, load_plain
from regard.text.polish import polish_of
from regard.text.proto import read_pieces
from regard.text.settings import Settings
from regard.text.specials import add_specials, no_rule, template


class Parts(NamedTuple):
    """What a :class:`~regard.text.tokenizer.Tokenizer` is made of.

    roles: its special tokens. languages: the id of each language's tag. target: what the decoder's side has, if it is
    another. companions: files that travel with it, by name.
    """

    backend: Backend
    layout: Layout
    roles: Mapping[str, str]
    settings: Settings
    part: Part = "source"
    languages: Mapping[str, int] = {}
    target: Parts | None = None
    companions: Mapping[str, bytes] = {}


WANTED = "tokenizer.json, vocab.txt, vocab.json with merges.txt, or one *.model or *.spm file"
PIECES = (".model", ".spm")
OWN_FILES = {"Marian": "source.spm", "M2M100": "sentencepiece.bpe.model", "Wav2Vec2CTC": "vocab.json"}
"""Kinds that come with files which say more than a `tokenizer.json` beside them."""


def load_parts(source: Path) -> Parts:
    """The tokenizer of a folder, or of one file with the settings beside it."""
    if not source.exists():
        raise CheckpointError("no such file or folder", where=str(source), fix="check the path")
    settings = Settings.read(source if source.is_dir() else source.parent)
    path = _find(source, settings.kind) if source.is_dir() else source
    try:
        return _load(path, settings)._replace(companions=template_files(path.parent))
    except CheckpointError as error:
        raise error.at(str(path)) from None


def in_language(parts: Parts, language: str) -> Parts:
    """The parts with a language's tag; the target's follow the source's where they name no language of their own."""
    code = languages.find(parts.settings, parts.languages, language)
    settings = languages.with_language(parts.settings, parts.part, code)
    if parts.part == "source":
        target = parts.target.backend if parts.target else parts.backend
        return _multilingual(parts.backend, target, parts.roles, settings)._replace(companions=parts.companions)
    layout = languages.layout(settings, parts.part, parts.languages, parts.roles, parts.backend)
    return parts._replace(settings=settings, layout=layout)


def _load(path: Path, settings: Settings) -> Parts:
    if path.suffix in PIECES and settings.kind not in converted.RECIPES:
        return _load_pieces(path, settings)
    if path.name == "vocab.json" and settings.kind == "Wav2Vec2CTC":
        letters, roles = load_characters(path, settings)
        return Parts(letters, Layout.parse("$A", "$A $B", {}), roles, settings)
    with _library_errors("not a tokenizer", str(path), "a file that the tokenizers library wrote"):
        tokenizer, roles, vocabulary = _read_fast(path, settings)
        polish = polish_of(settings, bpe=isinstance(tokenizer.model, models.BPE))
        fast = FastBackend(tokenizer, polish, languages.prompt(settings, tokenizer.token_to_id), vocabulary)
        if settings.kind in languages.KINDS:
            return _multilingual(fast, fast, roles, settings)
        return Parts(fast, fast.layout(str(path)), roles, settings)


def _load_pieces(path: Path, settings: Settings) -> Parts:
    """A SentencePiece file that its own library reads."""
    if settings.kind in ("Marian", "M2M100"):
        source, target, roles = (load_marian if settings.kind == "Marian" else load_m2m100)(path, settings)
        return _multilingual(source, target, roles, settings)
    if settings.kind:
        raise no_rule(settings, path.name, [*converted.RECIPES, "Marian", "M2M100"])
    plain, roles, layout = load_plain(path, settings)
    return Parts(plain, layout, roles, settings)


def _multilingual(source: Backend, target: Backend, roles: Mapping[str, str], settings: Settings) -> Parts:
    """A tokenizer with language tags: its source side, and with it the target side if places or pieces differ there."""
    tags = languages.tags(settings, source)
    layout = languages.layout(settings, "source", tags, roles, source)
    other = None
    if settings.kind in languages.SIDED:
        theirs = {} if settings.kind == "Marian" else tags
        other = Parts(target, languages.layout(settings, "target", theirs, roles, target), roles, settings, "target", theirs)
    return Parts(source, layout, roles, settings, "source", tags, other)


@contextmanager
def _library_errors(what: str, where: str, allowed: str = "") -> Iterator[None]:
    """Says in our words what `tokenizers` raises: a bare Exception, or a panic, which is not even that."""
    try:
        yield
    except (RegardError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise CheckpointError(f"{what}: {error}", where=where, allowed=allowed, fix="get it anew") from None


def _find(folder: Path, kind: str) -> Path:
    names = {path.name for path in folder.iterdir() if path.is_file()}
    own = OWN_FILES.get(kind, "")
    for name in (own, "tokenizer.json", "vocab.txt"):
        if name in names:
            return folder / name
    if {"vocab.json", "merges.txt"} <= names:
        return folder / "vocab.json"
    pieces = sorted(name for name in names if name.endswith(PIECES))
    if len(pieces) == 1:
        return folder / pieces[0]
    if pieces:
        raise CheckpointError(
            "more than one SentencePiece file", where=str(folder), allowed=listed(pieces), fix="give the path of one"
        )
    fix = "copy the tokenizer's files there; besides the weights a checkpoint needs them"
    what = "no tokenizer in this folder"
    if "vocab.json" in names:
        what = "vocab.json without merges.txt"
        fix = 'copy merges.txt there; or name "tokenizer_class": "Wav2Vec2CTCTokenizer" in tokenizer_config.json'
    raise CheckpointError(what, where=str(folder), allowed=WANTED, fix=fix)


Fast = tuple[tokenizers.Tokenizer, dict[str, str], Mapping[str, int] | None]
"""A tokenizer, its special tokens, and token -> id as far as it is known without asking the library."""


def _read_fast(path: Path, settings: Settings) -> Fast:
    if path.suffix in PIECES:
        return *converted.convert(read_pieces(read_bytes(path), str(path)), settings, str(path)), None
    if path.name == "vocab.txt":
        return _read_wordpiece(path, settings)
    return (*read_bpe(path, settings), None) if path.name == "vocab.json" else _read_json(path, settings)


def _read_json(path: Path, settings: Settings) -> Fast:
    """A `tokenizer.json`; where `tokenizer_config.json` sets case, accents, Chinese or the first space, it wins."""
    text = read_text(path)
    content = json.loads(text)
    _check_merges(content["model"], str(path))
    tokenizer = tokenizers.Tokenizer.from_str(text)
    _check_added(tokenizer, content, str(path))
    check_growth(content, str(path))
    if settings.kind in converted.RECIPES and '"ByteLevel"' not in text:  # Llama 3 and its like are no SentencePiece
        converted.refit(tokenizer, settings, content)
    normalizer = tokenizer.normalizer
    if isinstance(normalizer, normalizers.BertNormalizer):
        tokenizer.normalizer = _bert_normalizer(settings, default=normalizer)
    first_space = settings.flag("add_prefix_space")
    if first_space is not None and isinstance(tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel):
        tokenizer.pre_tokenizer.add_prefix_space = first_space
    roles = settings.roles(lambda token: tokenizer.token_to_id(token) is not None)
    add_specials(tokenizer, roles, settings)
    vocabulary = content["model"]["vocab"]
    return tokenizer, roles, vocabulary if isinstance(vocabulary, dict) else None


def _check_merges(model: Any, where: str) -> None:
    """Refuses a prefix that pieces inside words do not have: the library would cut their bytes, and end the process."""
    prefix = model.get("continuing_subword_prefix")
    merges = model.get("merges") if prefix else None
    if any(not (pair.split(" ") if isinstance(pair, str) else pair)[-1].startswith(prefix) for pair in merges or ()):
        raise CheckpointError(f"merges of pieces without the prefix {prefix!r}", where=where, fix="get the file anew")


def _check_added(tokenizer: tokenizers.Tokenizer, content: Any, where: str) -> None:
    """Refuses added tokens that the library could only give other ids than the file wants."""
    problems = Problems(CheckpointError)
    for entry in content.get("added_tokens") or ():
        given = tokenizer.token_to_id(entry["content"])
        if given != entry["id"]:
            problems.add(
                f"added token {entry['content']!r} must be {entry['id']} but the vocabulary gives {given}",
                where=where,
                fix="get the file anew",
            )
    problems.raise_if_any()


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
    roles = settings.changed(tokenizer_class="BertTokenizer").roles(vocabulary.__contains__)
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
    add_specials(tokenizer, roles, settings)
    tokenizer.post_processor = template(tokenizer, *AROUND, roles)
    return tokenizer, roles, vocabulary


AROUND = ("cls $A sep", "cls $A sep $B:1 sep:1")
"""Where BERT's special tokens stand."""


def _lines(path: Path) -> dict[str, int]:
    lines = read_text(path).replace("\r\n", "\n").removesuffix("\n").split("\n")
    twice = [token for token, count in Counter(lines).items() if count > 1]
    problems = Problems(CheckpointError)
    for token in twice:
        numbers = [number for number, line in enumerate(lines, 1) if line == token]
        problems.add(
            f"token {token!r} stands on lines {listed(numbers)}", where=str(path), fix="get the file anew: ids would be lost"
        )
    problems.raise_if_any()
    return {token: index for index, token in enumerate(lines)}
