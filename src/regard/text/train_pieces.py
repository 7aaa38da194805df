"""Learning the vocabulary of an encoder-decoder: pieces by the `sentencepiece` library, in the files that Marian has.

So a model that is trained from scratch can go wherever Marian models go: `source.spm` and `target.spm` cut the text,
`vocab.json` numbers the pieces, from `</s>` and `<unk>` at the beginning to `<pad>` at the end.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import sentencepiece

from regard.errors import ConfigError, DataError, WorkError
from regard.text.tokenizer import Tokenizer

END, UNKNOWN, PADDING = "</s>", "<unk>", "<pad>"
TRAINING_THREADS = 4
"""Fixed, because the sums of Unigram's expectations depend on it in the last bits."""
RARE = 8
"""A vocabulary has all characters of the texts if they are not more than one in so many of its entries."""


def train_pieces(
    sources: Iterable[str],
    targets: Iterable[str],
    *,
    kind: Literal["bpe", "unigram"],
    vocab_size: int,
    joint: bool = True,
    lower_case: bool = False,
    languages: Sequence[str] = (),
    pair: tuple[str, str] | None = None,
) -> Tokenizer:
    """A tokenizer whose two sides, what is read and what is written, are learned from texts, which are held in memory.

    kind: `bpe` merges the most frequent neighbours (Sennrich et al. 2016), `unigram` keeps the pieces of the likeliest way
    to cut (Kudo 2018); neither crosses a space. vocab_size: entries of each vocabulary, special tokens included; joint:
    both sides share one. Letters outside the vocabulary are unknown; the rarest 0.05% of a large alphabet (Chinese) are.
    lower_case: fold upper case before cutting. languages: codes of tags, `de` for `>>de<<`, of which one stands before each
    source and says what to write. pair: the languages of the two sides, where they are known and no others.

    Raises :class:`~regard.errors.ConfigError` for a vocab_size that cannot hold the alphabet, and
    :class:`~regard.errors.DataError` when there is no text.
    """
    sides = [list(sources), list(targets)]
    tags = [f">>{language}<<" for language in languages]
    if joint:
        sides = [sides[0] + sides[1]] * 2
    fixed = [END, UNKNOWN, *tags], [PADDING]
    taken = len(fixed[0]) + 1
    learned = [_learned(texts, kind, vocab_size, taken, lower_case) for texts in sides[: 2 - joint]]
    models = [model for model, _ in learned] * (1 + joint)
    # two vocabularies have the same ids for what is no piece
    before, behind = fixed if joint else ([*fixed[0], *fixed[1]], [])
    tables = [_numbered([*before, *pieces, *behind]) for _, pieces in learned]
    config = {
        "tokenizer_class": "MarianTokenizer",
        "eos_token": END,
        "unk_token": UNKNOWN,
        "pad_token": PADDING,
        "separate_vocabs": not joint,
        **dict(zip(("source_lang", "target_lang"), pair or (), strict=False)),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, model in zip(("source.spm", "target.spm"), models, strict=True):
            (folder / file).write_bytes(model)
        for file, table in zip(("vocab.json", "target_vocab.json"), tables, strict=False):
            (folder / file).write_text(json.dumps(table, ensure_ascii=False, indent=0), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        return Tokenizer.load(folder)


def _learned(texts: Sequence[str], kind: str, vocab_size: int, taken: int, lower_case: bool) -> tuple[bytes, list[str]]:
    """A SentencePiece model and its pieces, which with the tokens `taken` by others are at most vocab_size."""
    letters = Counter(letter for text in texts for letter in text)
    if not any(letter.strip() for letter in letters):
        raise DataError("no text to learn a vocabulary from", fix="give rows with text")
    rules = "".join(f"{ord(letter):X}\t{_codes(letter.lower())}\n" for letter in _upper()) if lower_case else ""
    whole = len(letters) * RARE <= vocab_size
    model = learned_model(texts, kind, vocab_size, taken, coverage=1.0 if whole else 0.9995, rules=rules)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    return model, [pieces.id_to_piece(index) for index in range(1, pieces.get_piece_size())]


def learned_model(
    texts: Sequence[str], kind: str, vocab_size: int, taken: int, *, coverage: float = 0.9995, rules: str = ""
) -> bytes:
    """A SentencePiece model with an unknown piece and at most vocab_size - taken others.

    kind: `bpe` or `unigram`. taken: entries of the vocabulary that are no pieces. coverage: share of the letters of the text
    that the rest may do without. rules: replacements of characters before cutting, in the library's TSV form.

    Raises :class:`~regard.errors.ConfigError` where the alphabet does not fit.
    """
    model = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as file:
        file.write(rules)
        file.flush()
        normalization: dict[str, Any] = (
            {"normalization_rule_tsv": file.name} if rules else {"normalization_rule_name": "identity"}
        )
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=model,
                model_type=kind,
                vocab_size=max(1, vocab_size - taken) + 1,
                hard_vocab_limit=False,
                character_coverage=coverage,
                max_sentence_length=2**30,
                num_threads=TRAINING_THREADS,
                unk_id=0,
                bos_id=-1,
                eos_id=-1,
                pad_id=-1,
                minloglevel=2,
                **normalization,
            )
        except RuntimeError as error:
            needed = re.search(r"required_chars\. \d+ vs (\d+)", str(error))
            if needed is None:
                what = f"sentencepiece could not learn a vocabulary: {error}"
                raise WorkError(what, fix="report it") from None
            raise too_small(vocab_size, taken, int(needed[1]) - 1) from None
    return model.getvalue()


def too_small(vocab_size: int, taken: int, needed: int) -> ConfigError:
    """The error for a vocabulary that cannot hold the `taken` special tokens and what its kind needs beside them."""
    allowed = f"{taken + needed} or more: {taken} special tokens and {needed} others"
    return ConfigError(f"vocab_size {vocab_size} is too small", allowed=allowed, fix="raise vocab_size")


def _upper() -> list[str]:
    """All letters that have a lower case, but for halves of surrogate pairs, which are no text."""
    return [letter for letter in map(chr, (*range(0xD800), *range(0xE000, 0x110000))) if letter.lower() != letter]


def _codes(text: str) -> str:
    return " ".join(f"{ord(letter):X}" for letter in text)


def _numbered(tokens: Sequence[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate(tokens)}
