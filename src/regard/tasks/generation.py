"""What tasks that write text share: rows of prompts or sources are written to in good batches, and told as texts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from regard.config import parse
from regard.decoding import Hypothesis, ModelScorer, search
from regard.decoding.scorer import Remembered
from regard.errors import ConfigError, Problems
from regard.models.model import Model
from regard.tasks.decoding import Generation
from regard.tasks.task import Prediction, Task
from regard.text.tokenizer import Tokenizer

HYPOTHESES = 256
"""Most texts that are written at the same time."""


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
        ids, mask = (part.to(on) for part in padded([sources[number] for number in inputs]))
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
    stop = [token for token in stop if token < model.config.target_vocab_size]
    strategy = settings.strategy(stop, inputs)
    texts: list[list[Hypothesis]] = [[] for _ in prompts]
    for input, _, found in search(
        ModelScorer(model, prompts, width=strategy.width, remembered=remembered, dtype=dtype),
        strategy,
        longest=longest,
        filters=settings.filters(longest, prompts, stop),
        sizes=[len(tokens) for tokens in inputs],
        rows=max(1, HYPOTHESES // strategy.width),
    ):
        texts[input] = settings.rules.ranked(found)[: settings.num_return_sequences]
    return texts


def worded(found: Sequence[Sequence[Hypothesis]], name: str, settings: Generation, tokenizer: Tokenizer) -> list[Prediction]:
    """{name: text, score} of the best of each input's texts; where several are asked for, also {candidates}, all of them in
    the same form, best first.

    score: the log-probability of its tokens and its end, divided by their count to the power of the length penalty.
    """
    texts = iter(settings.rules.texts([text.tokens for texts in found for text in texts], tokenizer))
    told = [[Prediction({name: next(texts), "score": text.score}) for text in each] for each in found]
    return [{**each[0], "candidates": each} if settings.num_return_sequences > 1 else each[0] for each in told]


def decoded(task: Task, decoding: Mapping[str, Any], tokenizer: Tokenizer | None) -> Task:
    """The task, told to write in another way; decoding: keys of :class:`~regard.tasks.decoding.Decoding`.

    Raises ConfigError, also for a task that writes nothing.
    """
    generation = getattr(task, "generation", None)
    if not isinstance(generation, Generation) or tokenizer is None:
        raise ConfigError(f"{task.name} writes no text", where="decoding", fix="leave out these settings")
    return replace(task, generation=generation.decoded(decoding, tokenizer))  # type: ignore[type-var]


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """ids (rows, longest), padded behind, and what of it is real."""
    width = max(map(len, rows))
    ids, mask = torch.zeros(2, len(rows), width, dtype=torch.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(list(row), dtype=torch.int64), 1
    return ids, mask


def _refuse_long(rows: Sequence[Sequence[int]], most: int) -> None:
    problems = Problems()
    for number, row in enumerate(rows, start=1):
        if len(row) > most:
            problems.add(f"{len(row)} tokens", where=f"text {number}", allowed=f"at most {most}", fix="shorten the text")
    problems.raise_if_any()
