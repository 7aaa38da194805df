"""The one loop of every search: inputs join a running batch, hypotheses grow by a token, rows that are done leave.

What a search does with the scores is a :class:`Strategy`. A row's answer does not depend on what else is in the batch, nor
on when it joined.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from regard.decoding.filters import NEVER, Banned, Filter, Sometimes, Written
from regard.decoding.scorer import Scorer
from regard.layers.output import Best

ROWS = 64
"""Most rows in a running batch, where nobody says otherwise."""
TOKENS = 4096
"""Most tokens that the rows of a running batch brought along, padding counted in."""
REFILL = 4
"""Inputs join, and rows that are done leave, when this part of a batch is free: moving the others costs a copy of all they
have read."""


class Hypothesis(NamedTuple):
    """One finished text. tokens: without the prompt and the token that ended it. score: what it is ranked by, a
    log-probability."""

    tokens: list[int]
    score: float


class Progress(NamedTuple):
    """What a search tells. input: its number. new: tokens that were just written, of searches that never take one back.
    found: all that was found, best first, once the input is done; until then it is empty."""

    input: int
    new: list[int]
    found: list[Hypothesis]


@dataclass(frozen=True)
class Rows:
    """The state of a running batch, one row an input.

    inputs (rows,): their numbers. longest (rows,): most tokens to be written. lengths (rows,): tokens written. tokens (rows,
    width, T): of the open hypotheses, right-aligned, -1 before the first. totals (rows, width) float32: the sum of their
    log-probabilities, -inf = there is no such hypothesis. found (rows, n, T): finished ones, -1 where there is no token;
    scores (rows, n) float32: -inf = none yet. done (rows,): nothing better can come.
    """

    inputs: Tensor
    longest: Tensor
    lengths: Tensor
    tokens: Tensor
    totals: Tensor
    found: Tensor
    scores: Tensor
    done: Tensor

    @property
    def written(self) -> Written:
        """What filters see: a hypothesis a row."""
        return Written(self.tokens.flatten(0, 1), self.inputs.repeat_interleave(self.tokens.shape[1]))

    def take(self, rows: Tensor) -> Rows:
        """These rows alone, (new rows,)."""
        return Rows(*(getattr(self, name).index_select(0, rows) for name in self.__dataclass_fields__))

    def below(self, other: Rows) -> Rows:
        """Another batch's rows behind these."""
        longest = max(self.tokens.shape[2], other.tokens.shape[2])
        mine, theirs = self._widened(longest), other._widened(longest)
        return Rows(*(torch.cat([getattr(mine, name), getattr(theirs, name)]) for name in self.__dataclass_fields__))

    def _widened(self, longest: int) -> Rows:
        front = (longest - self.tokens.shape[2], 0)
        return replace(self, tokens=pad(self.tokens, front, value=-1), found=pad(self.found, front, value=-1))

    def trimmed(self) -> Rows:
        """Without what stands in front of all tokens."""
        longest = int(self.lengths.max()) if len(self.lengths) else 0
        start = self.tokens.shape[2] - longest
        return replace(self, tokens=self.tokens[:, :, start:], found=self.found[:, :, start:])


class Step(NamedTuple):
    """A batch after one more token. last (rows, width): what each hypothesis reads next; parents (rows, width): which one it
    descends from, None = itself."""

    rows: Rows
    last: Tensor
    parents: Tensor | None


class Strategy(Protocol):
    """Chooses tokens.

    width: hypotheses of a row. keeps: finished ones that are kept of it. final: nothing is taken back that was written, so
    that it can be shown at once.
    """

    width: int
    keeps: int
    final: bool

    @abstractmethod
    def totals(self, rows: int) -> Tensor:
        """The hypotheses that new rows begin with: (rows, width) float32, 0 or -inf = none."""

    @abstractmethod
    def step(self, rows: Rows, scores: Scores) -> Step:
        """Let every hypothesis grow by a token."""


class Scores:
    """The next tokens of a running batch, as the filters leave them."""

    def __init__(self, scorer: Scorer, written: Written, filters: Sequence[Filter], never: Tensor) -> None:
        self._scorer, self._written, self._never = scorer, written, never
        self._filters = [each for each in filters if not isinstance(each, Sometimes) or each.wakes(written)]

    def best(self, count: int) -> Best:
        """The likeliest tokens; filters change log-probabilities."""
        if not self._filters:
            return self._scorer.best(count, never=self._never)
        logs = self._changed(self._scorer.logits().log_softmax(1))
        return Best(*logs.topk(min(count, logs.shape[1]), dim=1))

    def best_with(self, count: int, wanted: Sequence[Collection[int]]) -> Best:
        """The likeliest tokens and behind them those that each hypothesis wants, however likely they are; what is there
        twice, or fills the row, has the log-probability -inf the second time."""
        logs = self._changed(self._scorer.logits().log_softmax(1))
        top = logs.topk(min(count, logs.shape[1]), dim=1)
        width = max(map(len, wanted), default=0)
        rows = [[*sorted(tokens), *[-1] * (width - len(tokens))] for tokens in wanted]
        more = torch.tensor(rows, dtype=torch.int64, device=logs.device).view(len(rows), width)
        again = (more[:, :, None] == top.indices[:, None]).any(2) | (more < 0)
        more = more.clamp(min=0)
        return Best(
            torch.cat([top.values, logs.gather(1, more).masked_fill(again, NEVER)], dim=1),
            torch.cat([top.indices, more], dim=1),
        )

    def first(self) -> Best:
        """The likeliest token, the smallest of equals; filters change logits, and its log-probability is the model's own."""
        if not self._filters:
            return self._scorer.best(1, never=self._never)
        logits = self._scorer.logits()
        tokens = self._changed(logits).argmax(1, keepdim=True)
        return self.told(logits, tokens)

    def logits(self) -> tuple[Tensor, Tensor]:
        """Logits as the model gives them and as the filters leave them, (hypotheses, vocab_size) both."""
        logits = self._scorer.logits()
        return logits, self._changed(logits)

    @staticmethod
    def told(logits: Tensor, tokens: Tensor) -> Best:
        """Tokens (hypotheses, 1) with their log-probabilities."""
        return Best(logits.gather(1, tokens) - logits.logsumexp(1, keepdim=True), tokens)

    def _changed(self, scores: Tensor) -> Tensor:
        scores = scores.index_fill(1, self._never, NEVER) if len(self._never) else scores
        for change in self._filters:
            scores = change(scores, self._written)
        return scores


def search(
    scorer: Scorer,
    strategy: Strategy,
    *,
    longest: Sequence[int],
    filters: Sequence[Filter] = (),
    sizes: Sequence[int] | None = None,
    rows: int = ROWS,
    tokens: int = TOKENS,
    stream: bool = False,
) -> Iterator[Progress]:
    """What is written for every input, as it is found; inputs are numbered from 0.

    longest: most tokens of each input. sizes: tokens that each one brings along; the largest begin, so that inputs of like
    sizes are in the batch at the same time. rows and tokens: bounds of the running batch, which any single input may
    exceed. stream: tell each token as it is written, where the strategy takes none back.
    """
    sizes = [1] * len(longest) if sizes is None else sizes
    waiting = [number for number in sorted(range(len(longest)), key=lambda number: -sizes[number]) if longest[number] > 0]
    for number in set(range(len(longest))).difference(waiting):
        yield Progress(number, [], [Hypothesis([], 0.0)])
    singles = [each.single for each in filters if isinstance(each, Banned) and each.always]
    others = [each for each in filters if not (isinstance(each, Banned) and each.always)]
    batch: Rows | None = None
    last = torch.empty(0, strategy.width, dtype=torch.int64)
    while True:
        if batch is not None and _leaves(batch.done, waiting, rows):
            going = (~batch.done).nonzero()[:, 0]
            batch, last = batch.take(going).trimmed(), last.index_select(0, going)
            scorer.keep(going)
            batch = batch if len(going) else None
        held = [] if batch is None else batch.inputs.tolist()
        if joining := _fitting(waiting, held, sizes, rows=rows, tokens=tokens):
            del waiting[: len(joining)]
            first = scorer.join(joining)
            new = _begun(joining, strategy, longest, first.device)
            batch = new if batch is None else batch.below(new)
            last = torch.cat([last.to(first.device), first[:, None].expand(-1, strategy.width)])
        if batch is None:
            return
        scorer.read(last)
        never = torch.cat(singles).to(last.device) if singles else last.new_empty(0)
        was = batch.done
        batch, last, parents = strategy.step(batch, Scores(scorer, batch.written, others, never))
        if parents is not None:
            scorer.follow(parents)
        if stream and strategy.final:
            yield from _new(batch, was)
        yield from _ended(batch, was)


def _leaves(done: Tensor, waiting: Sequence[int], rows: int) -> bool:
    """Whether it is time for rows that are done to go."""
    free = int(done.sum())
    if waiting and free + rows - len(done) >= max(1, rows // REFILL):
        return free > 0
    return free == len(done) or free >= max(1, len(done) // REFILL)


def _fitting(waiting: Sequence[int], held: Sequence[int], sizes: Sequence[int], *, rows: int, tokens: int) -> list[int]:
    """The next inputs that find room, once there is room for some."""
    joining: list[int] = []
    if held and len(held) > rows - max(1, rows // REFILL):
        return joining
    widest = max((sizes[number] for number in held), default=0)
    for number in waiting[: max(0, rows - len(held))]:
        widest = max(widest, sizes[number])
        count = len(held) + len(joining) + 1
        if count > 1 and count * widest > tokens:
            break
        joining.append(number)
    return joining


def _begun(inputs: Sequence[int], strategy: Strategy, longest: Sequence[int], on: torch.device) -> Rows:
    n = len(inputs)
    return Rows(
        inputs=torch.tensor(inputs, device=on),
        longest=torch.tensor([longest[number] for number in inputs], device=on),
        lengths=torch.zeros(n, dtype=torch.int64, device=on),
        tokens=torch.empty(n, strategy.width, 0, dtype=torch.int64, device=on),
        totals=strategy.totals(n).to(on),
        found=torch.empty(n, strategy.keeps, 0, dtype=torch.int64, device=on),
        scores=torch.full((n, strategy.keeps), NEVER, device=on),
        done=torch.zeros(n, dtype=torch.bool, device=on),
    )


def _new(batch: Rows, was: Tensor) -> Iterator[Progress]:
    """The last token of every row that was not done."""
    for number, token in zip(batch.inputs[~was].tolist(), batch.tokens[~was, 0, -1].tolist(), strict=True):
        if token >= 0:
            yield Progress(number, [token], [])


def _ended(batch: Rows, was: Tensor) -> Iterator[Progress]:
    """What was found for rows that are done now."""
    ended = batch.done & ~was
    if not ended.any():
        return
    found, scores = batch.found[ended].tolist(), batch.scores[ended].tolist()
    for number, texts, marks in zip(batch.inputs[ended].tolist(), found, scores, strict=True):
        kept = [
            Hypothesis([token for token in text if token >= 0], mark)
            for text, mark in zip(texts, marks, strict=True)
            if mark > NEVER
        ]
        yield Progress(number, [], sorted(kept, key=lambda each: -each.score) or [Hypothesis([], NEVER)])
