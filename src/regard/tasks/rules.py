"""What a user asks of the text itself, not of the search for it: a form, an end, words that come or do not."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from regard.config import Settings
from regard.decoding import Filter, Grammar, Hypothesis, Lexicon, Stops, Vocabulary, minimum_bayes_risk
from regard.errors import ConfigError, Problems
from regard.text.tokenizer import Tokenizer

Rank = Literal["score", "mbr"]
"""What the best of several texts is: the likeliest, or the one that the others agree with most (minimum Bayes risk)."""
Words = tuple[Annotated[str, Field(min_length=1)], ...]


class Asked(Settings):
    """The rules as the user writes them; None means there is none."""

    regex: str | None = None
    """A regular expression, in Python's syntax, that a whole text matches; where `max_new_tokens` is too few, its
    beginning."""
    json_schema: dict[str, Any] | str | None = None
    """A JSON schema, or the path of a .json file with one, that a text follows; likewise."""
    stop: Words | None = None
    """A text ends before the first of these strings."""
    banned: Words | None = None
    """Strings that are never written, as the tokenizer spells them at the beginning of a text and within it."""
    required: Words | None = None
    """Strings that must occur, spelled likewise, for which a beam search makes room (Post and Vilar 2018)."""
    rank: Rank | None = None
    """Which of several texts is the best one: `score`, the likeliest, or `mbr`, the one that is most like the others, by
    chrF (Eikema and Aziz 2020)."""

    @property
    def grammar(self) -> str:
        """Which of the settings gives texts their form, empty = none."""
        return "regex" if self.regex is not None else "json_schema" if self.json_schema is not None else ""

    def parsed_schema(self) -> dict[str, Any]:
        """The JSON schema. Raises ConfigError for a file that holds none."""
        where = f"decoding.json_schema: {self.json_schema}"
        try:
            found = self.json_schema
            if isinstance(found, str):
                found = json.loads(Path(found).read_text(encoding="utf-8"))
        except OSError as error:
            fix = "check the path, or give the schema itself"
            raise ConfigError(f"the file cannot be read: {error.strerror}", where=where, fix=fix) from None
        except ValueError as error:
            raise ConfigError(f"the file is not JSON: {error}", where=where, fix="correct the file") from None
        if not isinstance(found, dict):
            raise ConfigError("the file holds no schema", where=where, allowed="a JSON object")
        return found


@dataclass(frozen=True)
class Rules:
    """The rules, made ready for a vocabulary.

    filters: what they change of the scores. stops: strings before which a text ends. lexicon: what must occur. ranking: the
    tokenizer with which texts are compared, None = they are ranked by their scores.
    """

    filters: tuple[Filter, ...] = ()
    stops: Stops | None = None
    lexicon: Lexicon | None = None
    ranking: Tokenizer | None = None

    @classmethod
    def made(cls, asked: Asked, tokenizer: Tokenizer, *, ends: Collection[int], never: Collection[int]) -> Rules:
        """All but `banned`, which is :func:`spellings`. ends: tokens that end a text. never: those that may not come.

        Raises ConfigError for a grammar that admits nothing and for words that cannot be spelled.
        """
        writing = tokenizer.target
        filters: tuple[Filter, ...] = ()
        stops = None
        if asked.grammar or asked.stop:
            vocabulary = Vocabulary.of(writing)
            if asked.grammar:
                left = replace(vocabulary, skipped=vocabulary.skipped | frozenset(never))
                filters = (_grammar(asked, left, [token for token in ends if token < vocabulary.size]),)
            if asked.stop:
                stops = Stops(asked.stop, vocabulary)
        return cls(
            filters,
            stops,
            Lexicon(_phrases(asked.required, writing)) if asked.required else None,
            writing if asked.rank == "mbr" else None,
        )

    def texts(self, rows: Sequence[Sequence[int]], tokenizer: Tokenizer) -> list[str]:
        """What rows of tokens say, up to a stop string."""
        return tokenizer.decode(rows) if self.stops is None else [self.stops.kept(row) for row in rows]

    def ranked(self, found: list[Hypothesis]) -> list[Hypothesis]:
        """What was found for an input, best first, from the order of scores. Scores stay what they are."""
        if self.ranking is None:
            return found
        return [found[place] for place in minimum_bayes_risk(self.texts([text.tokens for text in found], self.ranking))]


def spellings(text: str, tokenizer: Tokenizer) -> list[list[int]]:
    """The tokens of a string at the beginning of a text and behind a space; none where the vocabulary lacks a part of it."""
    rows = [encoding.ids for encoding in tokenizer.encode([text, f" {text}"], special=False)]
    known = (row for row in rows if row and tokenizer.unk_id not in row)
    return [list(row) for row in dict.fromkeys(map(tuple, known))]


def _phrases(words: Sequence[str], tokenizer: Tokenizer) -> list[list[list[int]]]:
    found = [spellings(word, tokenizer) for word in words]
    problems = Problems(ConfigError)
    for word, phrase in zip(words, found, strict=True):
        if not phrase:
            fix = "leave it out, or use a model that knows it"
            problems.add(f"the vocabulary cannot spell {word!r}", where="decoding.required", fix=fix)
    problems.raise_if_any()
    return found


def _grammar(asked: Asked, vocabulary: Vocabulary, ends: Collection[int]) -> Grammar:
    if asked.regex is not None:
        return Grammar.regex(asked.regex, vocabulary, ends, where="decoding.regex")
    return Grammar.json_schema(asked.parsed_schema(), vocabulary, ends, where="decoding.json_schema")
