"""Strings that end a text, found as it grows, and text that is handed out as soon as it is final."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from regard.decoding.filters import Written
from regard.decoding.vocabulary import Vocabulary
from regard.errors import ConfigError
from regard.text.polish import tidied

REACH = 6
"""Characters that tidying looks at to tell whether a space stays: `n ' t` with the space before it."""


class Stops:
    """Strings that end a text; what comes before them is kept. Borders of tokens play no part.

    Of several strings the one counts that is complete first, and of those that end together the longest: the same as if
    the text came letter by letter. They are looked for in the text before decoding trims or tidies it.

    Raises :class:`~regard.errors.ConfigError` when there is no string, or an empty one.
    """

    def __init__(self, strings: Iterable[str], vocabulary: Vocabulary) -> None:
        self.strings = tuple(dict.fromkeys(strings))
        if not self.strings or "" in self.strings:
            what = "an empty stop string" if self.strings else "no stop strings"
            raise ConfigError(what, allowed="strings of one character or more", fix="leave the stop strings out for none")
        self.longest = max(map(len, self.strings))
        """Characters of the longest."""
        self._vocabulary = vocabulary
        self._encoded = [string.encode() for string in self.strings]
        last = {string[-1] for string in self._encoded}
        self._closing = torch.tensor(
            [not last.isdisjoint(first + later) for first, later in zip(vocabulary.first, vocabulary.later, strict=True)]
        )
        """(tokens,) bool: whether a token can complete one at all, which few can."""

    def ended(self, written: Written) -> Tensor:
        """(hypotheses,) bool: whether the newest token of each completed a stop string. To be asked after each step."""
        ended = torch.zeros(len(written.tokens), dtype=torch.bool)
        if written.tokens.shape[1]:
            newest = written.tokens[:, -1].cpu()
            known = newest.clamp(0, len(self._closing) - 1)
            for hypothesis in (self._closing[known] & (known == newest)).nonzero()[:, 0].tolist():
                tokens = written.tokens[hypothesis].tolist()
                *before, piece = self._vocabulary.pieces(token for token in tokens if token >= 0)
                fresh = sum(map(len, before))
                joined = b"".join([*before, piece])
                ended[hypothesis] = any(joined.find(each, max(0, fresh - len(each) + 1)) >= 0 for each in self._encoded)
        return ended.to(written.tokens.device)

    def among(self, texts: Tensor) -> Tensor:
        """The same for each of several texts of a row: (rows, n, T) -> (rows, n) bool."""
        rows = torch.arange(len(texts), device=texts.device).repeat_interleave(texts.shape[1])
        return self.ended(Written(texts.flatten(0, 1), rows)).view(texts.shape[:2])

    def kept(self, tokens: Sequence[int]) -> str:
        """The text of a row of ids up to its first stop string; all of it where there is none."""
        joined = b"".join(self._vocabulary.pieces(tokens)).decode(errors="replace")
        return self._vocabulary.finished(joined[: self.start(joined)])

    def start(self, text: str, *, after: int = 0) -> int | None:
        """Where in a text the first stop string begins; None where there is none. after: where to begin to look."""
        places = [(place + len(string), place) for string in self.strings if (place := text.find(string, after)) >= 0]
        return min(places)[1] if places else None

    def begun(self, text: str) -> int:
        """How many characters at the end of a text are the beginning of a stop string."""
        starts = range(max(0, len(text) - self.longest + 1), len(text))
        return next((len(text) - at for at in starts if any(s.startswith(text[at:]) for s in self.strings)), 0)


class TextStream:
    """Tokens in, text out, as soon as nothing that follows can change it.

    Held back are bytes that are no whole character yet, what may become a stop string, white space that decoding drops at
    the end, and spaces that it takes before English punctuation. All that comes out, joined, is what decoding the whole
    row gives, up to the first stop string.
    """

    def __init__(self, vocabulary: Vocabulary, stops: Stops | None = None) -> None:
        self._vocabulary, self._stops = vocabulary, stops
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._begun = False
        self._text = ""
        self._shown = 0
        self.ended = False
        """Whether a stop string has come; what is fed after it is ignored."""

    def feed(self, token: int) -> str:
        """The text that a token makes final; often none, and sometimes more than its own."""
        if self.ended or token in self._vocabulary.skipped:
            return ""
        piece = (self._vocabulary.later if self._begun else self._vocabulary.first)[token]
        self._begun = True
        return self._out(self._decoder.decode(piece), last=False)

    def close(self) -> str:
        """The text that was held back, once no token follows."""
        return "" if self.ended else self._out(self._decoder.decode(b"", final=True), last=True)

    def _out(self, fresh: str, *, last: bool) -> str:
        before = len(self._text)
        self._text += fresh
        if self._stops is not None:
            start = self._stops.start(self._text, after=max(0, before - self._stops.longest + 1))
            if start is not None:
                self._text, self.ended = self._text[:start], True
        final = self._vocabulary.finished(self._text) if last or self.ended else self._final()
        shown, self._shown = self._shown, max(self._shown, len(final))
        return final[shown:]

    def _final(self) -> str:
        """What no further text can change of the finished text."""
        text = self._text.lstrip() if self._vocabulary.trimmed else self._text
        known = text[: len(text) - (self._stops.begun(text) if self._stops else 0)]
        known = known.rstrip() if self._vocabulary.trimmed else known
        if not self._vocabulary.tidied:
            return known
        space = text.find(" ", max(0, len(text) - REACH))
        known = known if space < 0 else known[:space]
        # Tidying takes spaces only: the other letters are counted to find the same place.
        return _with_letters(tidied(text), len(known) - known.count(" "))


def _with_letters(text: str, count: int) -> str:
    """The shortest beginning of a text with so many letters that are no spaces."""
    place = 0
    while count:
        count -= text[place] != " "
        place += 1
    return text[:place]
