"""Byte-level vocabularies in two files, `vocab.json` and `merges.txt`: GPT-2 and those that changed something about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors

from regard.errors import CheckpointError, listed
from regard.text.files import read_vocabulary
from regard.text.settings import Settings
from regard.text.specials import add_specials, between, no_rule, number, template

QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def _gpt2_words(first_space: bool) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=first_space)


def _qwen_words(first_space: bool) -> pre_tokenizers.PreTokenizer:
    words = pre_tokenizers.Split(Regex(QWEN_WORDS), "isolated")
    return pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=first_space, use_regex=False)])


def _clip_words(first_space: bool) -> pre_tokenizers.PreTokenizer:
    words = pre_tokenizers.Split(Regex(CLIP_WORDS), "removed", invert=True)
    return pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])


def _clip_normalizer() -> normalizers.Normalizer:
    return normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])


class Recipe(NamedTuple):
    """How a kind of tokenizer departs from GPT-2's (Radford et al. 2019).

    words: what cuts a text before bytes are merged, made for "put a space before the text" or not.
    end: what marks the last piece of a word; where there is such a mark, what no merge reaches is the unknown token.
    """

    normalizer: Callable[[], normalizers.Normalizer] | None = None
    words: Callable[[bool], pre_tokenizers.PreTokenizer] = _gpt2_words
    end: str = ""


RECIPES = {
    "GPT2": Recipe(),
    "Roberta": Recipe(),
    "Whisper": Recipe(),
    "GPTNeoX": Recipe(normalizer=normalizers.NFC),
    "Qwen2": Recipe(normalizer=normalizers.NFC, words=_qwen_words),
    "CLIP": Recipe(normalizer=_clip_normalizer, words=_clip_words, end="</w>"),
}


def read_bpe(path: Path, settings: Settings) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """The tokenizer of a `vocab.json` with the `merges.txt` beside it, and its special tokens."""
    kind = settings.kind or "GPT2"
    if kind not in RECIPES:
        raise no_rule(settings, "vocab.json and merges.txt", RECIPES)
    recipe = RECIPES[kind]
    vocabulary, merges = _read(path)
    roles = settings.roles(vocabulary.__contains__)
    unk = roles.get("unk") if recipe.end else None
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix=recipe.end, unk_token=unk))
    if recipe.normalizer is not None:
        tokenizer.normalizer = recipe.normalizer()
    tokenizer.pre_tokenizer = recipe.words(settings.flag("add_prefix_space", False))
    tokenizer.decoder = decoders.ByteLevel()
    add_specials(tokenizer, roles, settings)
    tokenizer.post_processor = _around(kind, tokenizer, roles, settings)
    return tokenizer, roles


def _around(
    kind: str, tokenizer: tokenizers.Tokenizer, roles: Mapping[str, str], settings: Settings
) -> processors.PostProcessor:
    if kind == "CLIP":
        first, last, trim, first_space = "bos", "eos", False, False
    else:
        first, last, trim = "cls", "sep", settings.flag("trim_offsets", True)
        first_space = settings.flag("add_prefix_space", False)
    if not {first, last} <= roles.keys():
        return template(tokenizer, *between(settings, roles), roles)
    sep, cls = ((roles[role], number(tokenizer, role, roles)) for role in (last, first))
    return processors.RobertaProcessing(sep, cls, trim, first_space)


def _read(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    merges = path.with_name("merges.txt")
    vocabulary = read_vocabulary(path)
    try:
        _, pairs = models.BPE.read_file(str(path), str(merges))
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(
            f"not a vocabulary with its merges: {error}", where=f"{path} and {merges.name}", fix="get it anew"
        ) from None
    lost = {token for left, right in pairs for token in (left, right, left + right) if token not in vocabulary}
    if lost:
        raise CheckpointError(
            f"{merges.name} has tokens that {path.name} lacks: {listed(sorted(lost))}",
            where=str(path.parent),
            fix="get both files anew, from one place",
        )
    return vocabulary, pairs
