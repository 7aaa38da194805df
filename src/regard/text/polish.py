"""What some kinds of tokenizer do to a decoded text last."""

from __future__ import annotations

import re
from collections.abc import Callable

from regard.text.settings import Settings

ENGLISH = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")
"""Where WordPiece leaves a space before English punctuation."""

TIMESTAMP = re.compile(r"<\|\d+\.\d+\|>")


def polish_of(settings: Settings, *, bpe: bool) -> Callable[[str], str] | None:
    """The last step of decoding, if the kind of tokenizer has one. bpe: whether pieces carry the spaces themselves."""
    if settings.kind == "CLIP":
        return without_word_ends
    if settings.kind == "Whisper":
        return without_timestamps
    return tidied if settings.flag("clean_up_tokenization_spaces", False) and not bpe else None


def without_word_ends(text: str) -> str:
    """CLIP's marks behind words become spaces."""
    return text.replace("</w>", " ").strip()


def without_timestamps(text: str) -> str:
    """Whisper's times, such as <|1.08|>, are read off the ids."""
    return TIMESTAMP.sub("", text)


def tidied(text: str) -> str:
    """English punctuation without the space before it."""
    for spaced in ENGLISH:
        text = text.replace(spaced, spaced.strip() if spaced.endswith(" ") else spaced[1:])
    return text
