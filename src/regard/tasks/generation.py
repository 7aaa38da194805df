"""What tasks that write text share: how a checkpoint says it writes, and rows of prompts or sources in good batches."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from regard.config import Settings, parse
from regard.decoding import (
    Banned,
    Beam,
    Closed,
    Filter,
    Forced,
    Greedy,
    Hypothesis,
    ModelScorer,
    Sample,
    Strategy,
    search,
)
from regard.decoding.beam import Early
from regard.decoding.sample import seeds
from regard.decoding.scorer import Remembered
from regard.errors import ConfigError, DataError, Problems
from regard.models.model import Model
from regard.tasks.task import Prediction, Task
from regard.text.tokenizer import Tokenizer

HYPOTHESES = 256
"""Most texts that are written at the same time."""
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
    """Sequences that are never written."""
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

    def filters(self, longest: Sequence[int]) -> tuple[Filter, ...]:
        """What may not be written, and what must. longest: most tokens of each input."""
        found: list[Filter] = []
        never: list[int | Sequence[int]] = [*(self.suppress_tokens or ()), *(self.bad_words_ids or ())]
        if never:
            found.append(Banned(never))
        if self.begin_suppress_tokens:
            found.append(Banned(self.begin_suppress_tokens, first=True))
        if self.forced_bos_token_id is not None:
            found.append(Forced({0: self.forced_bos_token_id}))
        if self.forced_eos_token_id is not None:
            found.append(Closed(self.forced_eos_token_id, torch.tensor(longest)))
        return tuple(found)

    def strategy(self, stop: Collection[int], inputs: Sequence[Sequence[int]]) -> Strategy:
        """How tokens are chosen. stop: tokens that end a text. inputs: what is read of each one, which draws depend on."""
        if self.num_beams > 1:
            return Beam(
                self.num_beams,
                stop=stop,
                length_penalty=self.length_penalty,
                early=EARLY[self.early_stopping],
                groups=self.num_beam_groups,
                diversity=self.diversity_penalty,
            )
        if self.do_sample:
            return Sample(
                seeds(self.seed, inputs),
                stop=stop,
                width=self.num_return_sequences,
                temperature=self.temperature,
                top_k=self.top_k or None,
                top_p=self.top_p,
                min_p=self.min_p,
                typical=self.typical_p,
            )
        return Greedy(stop=stop)

    def decoded(self, decoding: Mapping[str, Any]) -> Self:
        """The same checkpoint, told to write in another way; decoding: keys of :class:`Decoding`.

        Beams do without draws and draws without beams, whatever the checkpoint says. Raises ConfigError, for all that is
        wrong.
        """
        asked = parse(Decoding, decoding, where="decoding")
        told = {THEIRS[name]: value for name, value in asked.model_dump(exclude_none=True).items()}
        if asked.early is not None:
            told["early_stopping"] = {name: value for value, name in EARLY.items()}[asked.early]
        if asked.sample:
            told["num_beams"] = 1
        elif asked.beams is not None:
            told["do_sample"] = False
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
        problems.raise_if_any()
        return changed

    def longest(self, prompt: int, positions: int, *, default: int) -> int:
        """How many tokens may be written after a prompt of this length, in a model with so many positions."""
        asked = self.max_new_tokens or (
            self.max_length - prompt if self.max_length and self.max_length > prompt else default
        )
        return min(asked, positions - prompt)


class Decoding(Settings):
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


THEIRS = {
    "beams": "num_beams",
    "early": "early_stopping",
    "groups": "num_beam_groups",
    "diversity": "diversity_penalty",
    "sample": "do_sample",
    "typical": "typical_p",
    "n_best": "num_return_sequences",
    **{same: same for same in ("length_penalty", "temperature", "top_k", "top_p", "min_p", "seed", "max_new_tokens")},
}
"""Our names of settings -> those in files."""


@dataclass(frozen=True)
class Writing(Task):
    """A task whose answer is written, token by token."""

    over: ClassVar[tuple[str, ...]] = ("vocabulary",)

    generation: Generation = field(default_factory=Generation)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """From `task.json`, whose key `generation` says how the checkpoint writes."""
        return cls(parse(Generation, settings.get("generation", {}), where="generation"))

    def settings(self) -> dict[str, Any]:
        """How the checkpoint writes."""
        return {"generation": self.generation.model_dump(exclude_none=True)}


def continued(
    model: Model,
    prompts: Sequence[Sequence[int]],
    settings: Generation,
    tokenizer: Tokenizer,
    *,
    dtype: torch.dtype,
    default: int,
) -> list[list[int]]:
    """What a decoder writes after each prompt, in order: the best of what :func:`continuations` finds."""
    return [texts[0].tokens for texts in continuations(model, prompts, settings, tokenizer, dtype=dtype, default=default)]


def answered(
    model: Model,
    sources: Sequence[Sequence[int]],
    settings: Generation,
    tokenizer: Tokenizer,
    *,
    dtype: torch.dtype,
    default: int,
) -> list[list[int]]:
    """What an encoder-decoder writes for each source, in order: the best of what :func:`renderings` finds."""
    return [texts[0].tokens for texts in renderings(model, sources, settings, tokenizer, dtype=dtype, default=default)]


def continuations(
    model: Model,
    prompts: Sequence[Sequence[int]],
    settings: Generation,
    tokenizer: Tokenizer,
    *,
    dtype: torch.dtype,
    default: int,
) -> list[list[Hypothesis]]:
    """What a decoder finds to write after each prompt, in order, best first. default: most new tokens where the checkpoint
    names no bound.

    Raises DataError for prompts that leave no room in the model's positions, all of them.
    """
    positions = model.config.max_positions
    _refuse_long(prompts, positions - 1)
    longest = [settings.longest(len(prompt), positions, default=default) for prompt in prompts]
    return written(model, prompts, settings, settings.stop(tokenizer), longest=longest, dtype=dtype)


def renderings(
    model: Model,
    sources: Sequence[Sequence[int]],
    settings: Generation,
    tokenizer: Tokenizer,
    *,
    dtype: torch.dtype,
    default: int,
) -> list[list[Hypothesis]]:
    """What an encoder-decoder finds to write for each source, in order, best first; see :func:`continuations`."""
    assert model.encoder is not None
    _refuse_long(sources, model.config.max_positions)
    encoder, on = model.encoder, model.device

    def remembered(inputs: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        ids, mask = (part.to(on) for part in padded([sources[number] for number in inputs], left=False))
        real = None if mask.all() else mask.bool()
        return encoder(ids, attention_mask=real, dtype=dtype), real

    longest = [settings.longest(1, model.config.decoder_positions, default=default)] * len(sources)
    return written(
        model,
        [[settings.start]] * len(sources),
        settings,
        settings.stop(tokenizer),
        longest=longest,
        dtype=dtype,
        remembered=remembered,
        sources=sources,
    )


@torch.inference_mode()
def written(
    model: Model,
    prompts: Sequence[Sequence[int]],
    settings: Generation,
    stop: Collection[int],
    *,
    longest: Sequence[int],
    dtype: torch.dtype,
    remembered: Remembered | None = None,
    sources: Sequence[Sequence[int]] | None = None,
) -> list[list[Hypothesis]]:
    """What is found to write for each input, in order, best first: as many texts as the settings ask for.

    prompts: what the decoder reads before it writes. longest: most tokens of each text. remembered: see
    :class:`ModelScorer`. sources: what an encoder reads of each input, None = nothing, or no tokens.
    """
    inputs = prompts if sources is None else sources
    strategy = settings.strategy(stop, inputs)
    texts: list[list[Hypothesis]] = [[] for _ in prompts]
    for input, _, found in search(
        ModelScorer(model, prompts, width=strategy.width, remembered=remembered, dtype=dtype),
        strategy,
        longest=longest,
        filters=settings.filters(longest),
        sizes=[len(tokens) for tokens in inputs],
        rows=max(1, HYPOTHESES // strategy.width),
    ):
        texts[input] = found[: settings.num_return_sequences]
    return texts


def worded(found: Sequence[Sequence[Hypothesis]], name: str, tokenizer: Tokenizer, *, every: bool) -> list[Prediction]:
    """{name: text, score} of the best of each input's texts; every: and {candidates}, all of them in the same form, best
    first.

    score: the log-probability of its tokens and its end, divided by their count to the power of the length penalty.
    """
    texts = iter(tokenizer.decode([text.tokens for texts in found for text in texts]))
    told = [[Prediction({name: next(texts), "score": text.score}) for text in each] for each in found]
    return [{**each[0], "candidates": each} if every else each[0] for each in told]


def decoded(task: Task, decoding: Mapping[str, Any]) -> Task:
    """The task, told to write in another way; decoding: keys of :class:`Decoding`. Raises ConfigError, also for a task that
    writes nothing."""
    generation = getattr(task, "generation", None)
    if not isinstance(generation, Generation):
        raise ConfigError(f"{task.name} writes no text", where="decoding", fix="leave out these settings")
    return replace(task, generation=generation.decoded(decoding))  # type: ignore[type-var]


def padded(rows: Sequence[Sequence[int]], *, left: bool) -> tuple[Tensor, Tensor]:
    """ids (rows, longest), and what of it is real."""
    width = max(map(len, rows))
    ids, mask = torch.zeros(2, len(rows), width, dtype=torch.int64)
    for i, row in enumerate(rows):
        here = slice(width - len(row), None) if left else slice(len(row))
        ids[i, here], mask[i, here] = torch.tensor(list(row), dtype=torch.int64), 1
    return ids, mask


def _refuse_long(rows: Sequence[Sequence[int]], most: int) -> None:
    problems = Problems()
    for number, row in enumerate(rows, start=1):
        if len(row) > most:
            problems.add(f"{len(row)} tokens", where=f"text {number}", allowed=f"at most {most}", fix="shorten the text")
    problems.raise_if_any()
