"""What tasks that write text share: how a checkpoint says it writes, and rows of prompts or sources in good batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from regard.config import Settings, parse
from regard.decoding import Banned, Filter, Forced, ModelScorer, greedy
from regard.errors import DataError, Problems
from regard.models.model import Model
from regard.tasks.task import Task
from regard.text.tokenizer import Tokenizer

ROWS, TOKENS = 32, 4096
"""Most rows, and most tokens read, in one batch."""

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

    @property
    def filters(self) -> tuple[Filter, ...]:
        """What may not be written, and what must."""
        found: list[Filter] = []
        never: list[int | Sequence[int]] = [*(self.suppress_tokens or ()), *(self.bad_words_ids or ())]
        if never:
            found.append(Banned(never))
        if self.begin_suppress_tokens:
            found.append(Banned(self.begin_suppress_tokens, first=True))
        if self.forced_bos_token_id is not None:
            found.append(Forced({0: self.forced_bos_token_id}))
        return tuple(found)

    def longest(self, prompt: int, positions: int, *, default: int) -> int:
        """How many tokens may be written after a prompt of this length, in a model with so many positions."""
        asked = self.max_new_tokens or (
            self.max_length - prompt if self.max_length and self.max_length > prompt else default
        )
        return min(asked, positions - prompt)


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


@torch.inference_mode()
def continued(
    model: Model,
    prompts: Sequence[Sequence[int]],
    settings: Generation,
    tokenizer: Tokenizer,
    *,
    dtype: torch.dtype,
    default: int,
) -> list[list[int]]:
    """What a decoder writes after each prompt, in order. default: most new tokens where the checkpoint names no bound.

    Raises DataError for prompts that leave no room in the model's positions, all of them.
    """
    _refuse_long(prompts, model.config.max_positions - 1)
    texts: list[list[int]] = [[] for _ in prompts]
    on = model.device
    for rows in batches([len(prompt) for prompt in prompts]):
        ids, mask = padded([prompts[row] for row in rows], left=True)
        longest = settings.longest(ids.shape[1], model.config.max_positions, default=default)
        written = greedy(
            ModelScorer(model, dtype=dtype),
            ids.to(on),
            mask=mask.to(on),
            stop=settings.stop(tokenizer),
            longest=longest,
            filters=settings.filters,
        )
        for row, text in zip(rows, written, strict=True):
            texts[row] = text
    return texts


@torch.inference_mode()
def answered(
    model: Model,
    sources: Sequence[Sequence[int]],
    settings: Generation,
    tokenizer: Tokenizer,
    *,
    dtype: torch.dtype,
    default: int,
) -> list[list[int]]:
    """What an encoder-decoder writes for each source, in order; see :func:`continued`."""
    assert model.encoder is not None
    _refuse_long(sources, model.config.max_positions)
    texts: list[list[int]] = [[] for _ in sources]
    on = model.device
    positions = model.config.decoder_positions
    for rows in batches([len(source) for source in sources]):
        ids, mask = (part.to(on) for part in padded([sources[row] for row in rows], left=False))
        memory = model.encoder(ids, attention_mask=None if mask.all() else mask, dtype=dtype)
        written = greedy(
            ModelScorer(model, memory=memory, memory_mask=None if mask.all() else mask, dtype=dtype),
            torch.full((len(rows), 1), settings.start, device=on),
            stop=settings.stop(tokenizer),
            longest=settings.longest(1, positions, default=default),
            filters=settings.filters,
        )
        for row, text in zip(rows, written, strict=True):
            texts[row] = text
    return texts


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows of like lengths together, the longest first."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and (len(batch) == ROWS or (len(batch) + 1) * lengths[batch[0]] > TOKENS):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


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
