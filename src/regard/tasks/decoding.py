"""How texts are written: what a checkpoint says of it, and what the user says instead."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, Self

import torch
from pydantic import Field, InstanceOf, model_validator

from regard.config import Settings, parse
from regard.decoding import (
    Banned,
    Beam,
    Behind,
    Closed,
    Filter,
    Forced,
    Greedy,
    LexicalBeam,
    MinimumLength,
    NoRepeat,
    RepetitionPenalty,
    Required,
    Sample,
    Strategy,
)
from regard.decoding.beam import Early
from regard.decoding.sample import seeds
from regard.errors import ConfigError, DataError, Problems, listed
from regard.tasks.rules import Asked, Rules, spellings
from regard.text.tokenizer import Tokenizer

EARLY: dict[bool | str, Early] = {True: "full", False: "likely", "never": "never"}
"""What files call `early_stopping` -> what a beam search calls it."""

Ids = int | tuple[int, ...]


class Generation(Settings, extra="ignore"):
    """What `generation_config.json`, or an older `config.json`, says of how a checkpoint writes; names are theirs."""

    eos_token_id: Ids | None = None
    """Tokens that end a text; None means the tokenizer's."""
    decoder_start_token_id: int | None = None
    """What the decoder of an encoder-decoder begins with; None means bos_token_id, else pad_token_id."""
    bos_token_id: Ids | None = None
    """What a text begins with."""
    pad_token_id: Ids | None = None
    """What fills batches; some encoder-decoders begin with it."""
    forced_bos_token_id: int | None = None
    """The first token to be written, in many models the target language."""
    suppress_tokens: tuple[int, ...] | None = None
    """Tokens that are never written."""
    begin_suppress_tokens: tuple[int, ...] | None = None
    """Tokens that are never written first."""
    bad_words_ids: tuple[tuple[int, ...], ...] | None = None
    """Sequences that are never written, nor completed where a prompt begins them."""
    no_repeat_ngram_size: int = Field(0, ge=0)
    """Tokens of the n-grams that never come twice, in the prompt of a decoder or behind it; 0 means all may."""
    repetition_penalty: float = Field(1.0, gt=0)
    """What was read by the decoder or written already becomes less likely by this factor."""
    min_length: int = Field(0, ge=0)
    """Shortest text in tokens, the prompt of a decoder counted in and the end not; `min_new_tokens` goes before it."""
    min_new_tokens: int | None = Field(None, ge=0)
    """Shortest text in tokens, without the prompt and the end."""
    max_length: int | None = None
    """Longest text in tokens, the prompt of a decoder counted in."""
    max_new_tokens: int | None = None
    """Longest text in tokens, without the prompt."""
    forced_eos_token_id: int | None = None
    """What the longest text ends with."""
    num_beams: int = Field(1, ge=1)
    """Hypotheses of a beam search; 1 means no such search."""
    length_penalty: float = 1.0
    """A text of n tokens is ranked by its log-probability over n to this power."""
    early_stopping: bool | Literal["never"] = False
    """When a beam search ends, see :data:`regard.decoding.beam.Early`: `full`, `likely` and `never` are true, false and
    "never"."""
    num_beam_groups: int = Field(1, ge=1)
    """Groups of beams that are kept apart."""
    diversity_penalty: float = Field(0.0, ge=0)
    """How far they are."""
    do_sample: bool = False
    """Tokens are drawn, where there is no beam search."""
    temperature: float = Field(1.0, gt=0)
    """Logits are divided by it before a draw."""
    top_k: int | None = Field(None, ge=0)
    """Tokens that are drawn from; 0 means all."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Probability of those that are drawn from."""
    min_p: float | None = Field(None, ge=0, le=1)
    """Least share of the likeliest token's probability."""
    typical_p: float | None = Field(None, gt=0, le=1)
    """Probability of the most typical tokens, which are drawn from."""
    num_return_sequences: int = Field(1, ge=1)
    """Texts that are told of each input."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Of the draws. No file of a checkpoint says it."""
    rules: InstanceOf[Rules] = Field(Rules(), exclude=True)
    """What the user asks of the text. No file says it either."""

    @model_validator(mode="before")
    @classmethod
    def _unsaid(cls, values: Any) -> Any:
        """What their files give as null is not said."""
        return {key: value for key, value in values.items() if value is not None} if isinstance(values, dict) else values

    def stop(self, tokenizer: Tokenizer) -> frozenset[int]:
        """Tokens that end a text."""
        ends = self.eos_token_id
        if ends is None:
            ends = () if tokenizer.eos_id is None else tokenizer.eos_id
        return frozenset((ends,) if isinstance(ends, int) else ends)

    @property
    def start(self) -> int:
        """What the decoder of an encoder-decoder begins with. Raises DataError where the checkpoint does not say."""
        for token in (self.decoder_start_token_id, self.bos_token_id, self.pad_token_id):
            if isinstance(token, int):
                return token
        fix = "add decoder_start_token_id to the checkpoint's generation_config.json"
        raise DataError("the checkpoint does not say what its decoder begins with", fix=fix)

    def filters(self, longest: Sequence[int], prompts: Sequence[Sequence[int]], stop: Collection[int]) -> tuple[Filter, ...]:
        """What may not be written, and what must.

        longest: most tokens of each input. prompts: what the decoder reads of it before it writes. stop: tokens that end a
        text.
        """
        words = self.bad_words_ids or ()
        never = [*(self.suppress_tokens or ()), *(word[0] for word in words if len(word) == 1)]
        sequences = [word for word in words if len(word) > 1]
        found: list[Filter] = []
        if self.repetition_penalty != 1:
            found.append(Behind(prompts, RepetitionPenalty(self.repetition_penalty)))
        if self.no_repeat_ngram_size:
            found.append(Behind(prompts, NoRepeat(self.no_repeat_ngram_size)))
        if never:
            found.append(Banned(never))
        if sequences:
            found.append(Behind(prompts, Banned(sequences)))
        if self.min_new_tokens is not None:
            found.append(MinimumLength(self.min_new_tokens, stop))
        elif self.min_length:
            found.append(Behind(prompts, MinimumLength(self.min_length, stop)))
        found += self.rules.filters
        if self.rules.lexicon is not None:
            found.append(Required([self.rules.lexicon] * len(longest), stop))
        if self.begin_suppress_tokens:
            found.append(Banned(self.begin_suppress_tokens, first=True))
        if self.forced_bos_token_id is not None:
            found.append(Forced({0: self.forced_bos_token_id}))
        if self.forced_eos_token_id is not None:
            found.append(Closed(self.forced_eos_token_id, torch.tensor(longest)))
        return tuple(found)

    def strategy(self, stop: Collection[int], inputs: Sequence[Sequence[int]]) -> Strategy:
        """How tokens are chosen. stop: tokens that end a text. inputs: what is read of each one, which draws depend on."""
        stops = self.rules.stops
        if self.rules.lexicon is not None:
            return LexicalBeam(
                self.num_beams,
                lexicon=self.rules.lexicon,
                stop=stop,
                length_penalty=self.length_penalty,
                early=EARLY[self.early_stopping],
            )
        if self.num_beams > 1:
            return Beam(
                self.num_beams,
                stop=stop,
                stops=stops,
                length_penalty=self.length_penalty,
                early=EARLY[self.early_stopping],
                groups=self.num_beam_groups,
                diversity=self.diversity_penalty,
            )
        if self.do_sample:
            return Sample(
                seeds(self.seed, inputs),
                stop=stop,
                stops=stops,
                width=self.num_return_sequences,
                temperature=self.temperature,
                top_k=self.top_k or None,
                top_p=self.top_p,
                min_p=self.min_p,
                typical=self.typical_p,
            )
        return Greedy(stop=stop, stops=stops)

    def decoded(self, decoding: Mapping[str, Any], tokenizer: Tokenizer) -> Self:
        """The same checkpoint, told to write in another way; decoding: keys of :class:`Decoding`.

        Beams do without draws and draws without beams, whatever the checkpoint says; and a grammar does without the shortest
        length and the n-grams that come once, which could forbid all that it allows. Raises ConfigError, for all that is
        wrong.
        """
        asked = parse(Decoding, decoding, where="decoding")
        said = asked.model_dump(exclude_none=True)
        told = {theirs: said[ours] for ours, theirs in THEIRS.items() if ours in said}
        if asked.early is not None:
            told["early_stopping"] = {name: value for value, name in EARLY.items()}[asked.early]
        if asked.sample:
            told["num_beams"] = 1
        elif asked.beams is not None:
            told["do_sample"] = False
        if asked.grammar:
            told |= {"min_length": 0, "min_new_tokens": None, "no_repeat_ngram_size": 0}
        changed = self.model_copy(update=told)
        problems = Problems(ConfigError)
        if asked.sample and (asked.beams or 1) > 1:
            problems.add("tokens are drawn, and there are beams", where="decoding", fix="set sample or beams")
        paths = changed.num_return_sequences if changed.do_sample and changed.num_beams == 1 else changed.num_beams
        if changed.num_return_sequences > paths:
            fix = f"set beams={changed.num_return_sequences}, or sample=true"
            problems.add(f"n_best={changed.num_return_sequences}", where="decoding", allowed=f"at most {paths}", fix=fix)
        if changed.num_beams % changed.num_beam_groups:
            what = f"{changed.num_beams} beams in {changed.num_beam_groups} groups"
            problems.add(what, where="decoding", allowed="groups of equal size")
        for ours, others in ALONE.items():
            if ours in said and (beside := [name for name in others if name in said]):
                what = f"{ours} and {listed(beside)}"
                problems.add(what, where="decoding", allowed=f"{ours} without them", fix=f"leave out {listed(beside)}")
        if asked.required and changed.num_beams == 1:
            problems.add("required strings, and no beam search", where="decoding", fix="set beams=4, or more")
        if asked.required and changed.num_beam_groups > 1:
            problems.add("required strings, and groups of beams", where="decoding", fix="set groups=1")
        if asked.rank == "mbr" and paths == 1:
            fix = "set sample=true and n_best=30, or beams=4"
            problems.add("rank='mbr', and one text to choose from", where="decoding", fix=fix)
        problems.raise_if_any()
        return changed._ruled(asked, tokenizer)

    def _ruled(self, asked: Decoding, tokenizer: Tokenizer) -> Self:
        """With the rules for texts that are asked for."""
        words = [tuple(row) for word in asked.banned or () for row in spellings(word, tokenizer.target)]
        never = {*(self.suppress_tokens or ()), *(word[0] for word in self.bad_words_ids or () if len(word) == 1)}
        rules = Rules.made(asked, tokenizer, ends=self.stop(tokenizer), never=never)
        return self.model_copy(update={"rules": rules, "bad_words_ids": (*(self.bad_words_ids or ()), *words)})

    def longest(self, prompt: int, positions: int, *, default: int) -> int:
        """How many tokens may be written after a prompt of this length, in a model with so many positions."""
        asked = self.max_new_tokens or (
            self.max_length - prompt if self.max_length and self.max_length > prompt else default
        )
        return min(asked, positions - prompt)


class Decoding(Asked):
    """How the user wants texts to be written; None means as the checkpoint says."""

    beams: int | None = Field(None, ge=1)
    """Hypotheses of a beam search; 1 means the likeliest token, one after the other."""
    length_penalty: float | None = None
    """A text of n tokens is ranked by its log-probability over n to this power: more favours longer texts."""
    early: Early | None = None
    """When a beam search ends, see :data:`regard.decoding.beam.Early`."""
    groups: int | None = Field(None, ge=1)
    """Groups of beams that are kept from choosing the same (Vijayakumar et al. 2018)."""
    diversity: float | None = Field(None, ge=0)
    """By how much a token's log-probability is lowered for each group that chose it."""
    sample: bool | None = None
    """Draw tokens."""
    temperature: float | None = Field(None, gt=0)
    """Logits are divided by it before a draw: less is safer, more is bolder."""
    top_k: int | None = Field(None, ge=0)
    """Draw from so many of the likeliest tokens; 0 means all."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Draw from the likeliest tokens that have this probability together."""
    min_p: float | None = Field(None, ge=0, le=1)
    """Draw from tokens with at least this share of the likeliest one's probability."""
    typical: float | None = Field(None, gt=0, le=1)
    """Draw from the most typical tokens that have this probability together."""
    seed: int | None = Field(None, ge=0, lt=2**32)
    """Of the draws."""
    n_best: int | None = Field(None, ge=1)
    """Texts that are told of each input, with their scores."""
    max_new_tokens: int | None = Field(None, ge=1)
    """Longest text in tokens."""
    min_new_tokens: int | None = Field(None, ge=0)
    """Shortest text in tokens, the end not counted."""
    no_repeat_ngram: int | None = Field(None, ge=0)
    """No sequence of so many tokens comes twice, what a decoder reads counted in; 0 means all may."""
    repetition_penalty: float | None = Field(None, gt=0)
    """A token that was read by the decoder or written already becomes less likely by this factor; 1 changes nothing."""


THEIRS = {
    "beams": "num_beams",
    "early": "early_stopping",
    "groups": "num_beam_groups",
    "diversity": "diversity_penalty",
    "sample": "do_sample",
    "typical": "typical_p",
    "n_best": "num_return_sequences",
    "no_repeat_ngram": "no_repeat_ngram_size",
    **{same: same for same in ("length_penalty", "temperature", "top_k", "top_p", "min_p", "seed", "max_new_tokens")},
    **{same: same for same in ("min_new_tokens", "repetition_penalty")},
}
"""Our names of settings -> those in files."""
HARD = ("stop", "banned", "required", "min_new_tokens", "no_repeat_ngram")
ALONE = {"regex": ("json_schema", *HARD), "json_schema": HARD, "required": ("stop",)}
"""Settings that do not go with others, because together they may allow no text at all."""
