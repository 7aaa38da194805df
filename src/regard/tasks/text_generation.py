"""text-generation: a text and how it goes on; for a model that was trained to chat, a message and the answer.

It is learned from raw text (:mod:`regard.tasks.raw_text`) or from conversations (:mod:`regard.tasks.dialogue`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field

from regard.config import Settings, TokenizerConfig, parse
from regard.data.batch import Batch, Examples, Part
from regard.data.check import Columns, Report
from regard.data.documents import Documents
from regard.data.pack import Blocks, apart
from regard.errors import ConfigError, Problem, Problems
from regard.metrics import modelled
from regard.models.config import HeadConfig, Kind, ModelConfig
from regard.models.model import Model
from regard.tasks import dialogue, raw_text
from regard.tasks.decoding import Generation
from regard.tasks.forcing import Told, forced_loss
from regard.tasks.foreseen import foreseen
from regard.tasks.generation import Writing, continuations, worded
from regard.tasks.inputs import Input
from regard.tasks.raw_text import Packing
from regard.tasks.task import TASKS, Defaults, Evaluation, Example, Fault, Learnable, Prediction, Row
from regard.text.tokenizer import Tokenizer
from regard.text.train import train_tokenizer

LONGEST = 128
"""Tokens that are written where the checkpoint names no bound."""


class Options(Settings):
    """Keys of the run file's `[options]` for this task."""

    chat: bool = False
    """Learn from conversations and not from raw text."""
    documents: Documents = "line"
    """What a document of a `.txt` file is: a `line`, the lines between `blank` ones, or the whole `file`."""
    packing: Packing = "stream"
    """How blocks are filled: as one `stream` of all documents, or with whole `documents` that do not see each other."""
    block: int | None = Field(None, ge=1)
    """Tokens of an example; None means as many as the model reads."""
    validate_on: int | None = Field(None, ge=1)
    """Rows of the evaluation data, the first ones, that are measured during training; None means all. The last evaluation
    always measures all."""


@TASKS.register("text-generation")
@dataclass(frozen=True)
class TextGeneration(Writing, Learnable):
    """Column `text`. With a chat template it is a message of the user, and the answer is written; else it goes on."""

    name: ClassVar[str] = "text-generation"
    kind: ClassVar[Kind] = "decoder"
    defaults: ClassVar[Defaults] = Defaults(epochs=(10, 3), lr=(1e-3, 5e-5), tokens=(4096, 2048))

    options: Options = field(default_factory=Options)
    start: int | None = None
    """The token with which a text begins that is to go on; None means what the tokenizer itself puts there."""

    @classmethod
    def columns(cls, options: Mapping[str, Any]) -> Columns:
        """`text`, or conversations."""
        chosen = _options(options)
        if chosen.chat:
            return Columns(inputs=("messages",), target=None, input_kind="messages")
        blank = "remove the row, or set options.documents=blank where blank lines part the documents"
        return Columns(inputs=("text",), target=None, documents=chosen.documents, if_empty=blank)

    @classmethod
    def metrics(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """`loss` in nats a token, and the same in other units."""
        return ("loss", "perplexity", "bits_per_character", "word_perplexity")

    @classmethod
    def from_data(cls, options: Mapping[str, Any], report: Report) -> Self:
        """Of the data nothing needs to be known."""
        return cls(options=_options(options))

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """From `task.json`: how the model writes, how it was trained, and what its texts begin with."""
        given = parse(_Settings, {key: settings[key] for key in ("options", "start") if key in settings}, where="task")
        return replace(super().from_settings(settings), options=_options(given.options), start=given.start)

    def settings(self) -> dict[str, Any]:
        """For `task.json`."""
        options = self.options.model_dump(exclude_none=True)
        return {**super().settings(), "options": options, **({} if self.start is None else {"start": self.start})}

    @property
    def inputs(self) -> tuple[Input, ...]:
        """`text`."""
        return (Input("text"),)

    def learn_tokenizer(self, rows: Iterable[Row], settings: TokenizerConfig) -> Tokenizer:
        """Merged bytes, as GPT-2 has them, if nothing else is asked for; for conversations with a plain chat template."""
        chat = self.options.chat
        texts = dialogue.spoken(rows) if chat else (str(row["text"]) for row in rows)
        kind, size, lower_case = settings.kind or "bpe", settings.vocab_size, bool(settings.lower_case)
        tokenizer = train_tokenizer(texts, kind=kind, vocab_size=size, lower_case=lower_case, specials="gpt")
        return tokenizer.templated(dialogue.PLAIN) if chat else tokenizer

    def starting(self, tokenizer: Tokenizer, found: Mapping[str, Any] | None) -> Self:
        """With what the checkpoint says of how it writes; raw text begins as it was learned."""
        ours = {"eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
        says = ours if found is None else found.get("generation", {})
        task = replace(self, generation=parse(Generation, says, where="generation"))
        if self.options.chat:
            dialogue.check(tokenizer)
            return task
        return replace(task, start=None if raw_text.opening(tokenizer) else raw_text.ending(tokenizer))

    def head(self, found: HeadConfig | None, model: ModelConfig) -> HeadConfig:
        """The checkpoint's own, or one over all words. Raises ConfigError for a model that sees what it is to foresee."""
        if model.kind != self.kind:
            allowed, fix = "a decoder, such as GPT-2 or Llama", "take another model, or --task text2text-generation"
            raise ConfigError(f"the model is an {model.kind}", where="model", allowed=allowed, fix=fix)
        if found is not None and found.over in self.over:
            return found
        return HeadConfig(over="vocabulary", dense=False, bias=False, dropout=0.0, n_outputs=model.target_vocab_size)

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int | None) -> list[Example]:
        """Documents, whole, or conversations; see :mod:`regard.tasks.raw_text` and :mod:`regard.tasks.dialogue`."""
        if self.options.chat:
            return dialogue.encoded(rows, tokenizer, stop=self.generation.stop(tokenizer), max_length=max_length)
        self._block(max_length)
        return raw_text.encoded(rows, tokenizer)

    def arranged(self, examples: Examples, tokenizer: Tokenizer, *, max_length: int | None) -> Examples:
        """Documents in blocks; conversations without those that do not fit."""
        if self.options.chat:
            return dialogue.Fitting(examples)
        length = self._block(max_length)
        return raw_text.blocks(examples, tokenizer, packing=self.options.packing, length=length)

    def noted(self, examples: Examples, *, max_length: int) -> Iterator[str]:
        """How much there is to learn from, or which conversations were too long."""
        if self.options.chat:
            yield from dialogue.told(examples, max_length=max_length)
        else:
            length = self._block(max_length)
            yield raw_text.told(examples, packing=self.options.packing, length=length)
            if length < max_length:
                what = (
                    f"the model reads {max_length} tokens at once; of these places only the first {length} are learned here"
                )
                yield f"{what} (options.block)"

    def _block(self, max_length: int | None) -> int:
        most, asked = max_length, self.options.block
        if asked is not None and most is not None and asked > most:
            allowed = f"at most {most}, what the model reads at once"
            fix = "lower it, or raise architecture.max_positions of a model from scratch"
            raise ConfigError(f"{asked} tokens", where="options.block", allowed=allowed, fix=fix)
        length = asked or most
        assert length is not None
        return length

    def loss(self, model: Model, batch: Batch, *, smoothing: float, dtype: torch.dtype) -> tuple[torch.Tensor, int]:
        """Cross-entropy over the tokens of documents, or of the answers."""
        told, hidden = self.read(model, batch, dtype=dtype)
        return forced_loss(model, hidden, told.labels, smoothing=smoothing), told.count

    def forced(self, batch: Batch) -> Told:
        """What the model is told of a batch, and what it is to say."""
        return Told.alone(apart(batch) if self.options.packing == "documents" else batch)

    def read(self, model: Model, batch: Batch, *, dtype: torch.dtype) -> tuple[Told, torch.Tensor]:
        """What the model is told of a batch, and its hidden states then."""
        told = self.forced(batch)
        return told, model.hidden(told.ids, ragged=told.layout, dtype=dtype)

    def measure(
        self, model: Model, examples: Examples, tokenizer: Tokenizer, *, dtype: torch.dtype, quick: bool = False
    ) -> Evaluation:
        """How well each token is foreseen from those before it in its block or conversation; rows are documents or
        conversations. quick: of the first `validate_on` rows. Tables: `tokens` that were foreseen, and what became of the
        `conversations`."""
        held = _first(examples, self.options.validate_on) if quick and self.options.validate_on else examples
        rows = held.documents if isinstance(held, Blocks) else held
        nats, tokens = foreseen(model, held, lambda batch: self.read(model, batch, dtype=dtype), rows=len(rows))
        columns = rows.gather(np.arange(len(rows)))
        words, characters = (np.asarray(columns[name]) for name in ("words", "characters"))
        metrics = modelled(nats, tokens, words=words, characters=characters)
        tables: dict[str, Any] = {"tokens": int(tokens.sum())}
        if isinstance(held, dialogue.Fitting):
            tables["conversations"] = [held.counts]
        return Evaluation({name: metrics[name].as_dict() for name in self.metrics({})}, tables)

    def faults(self, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None) -> Iterator[Fault]:
        """Texts that leave no room to go on, and empty ones where there is nothing else to begin with."""
        assert tokenizer is not None
        for number, ids in enumerate(self.prompts(rows, tokenizer)):
            if not ids:
                yield Fault(number, "text", Problem("an empty text", fix="give the beginning of what is to be written"))
            elif max_length is not None and len(ids) >= max_length:
                problem = Problem(f"{len(ids)} tokens", allowed=f"at most {max_length - 1}", fix="shorten the text")
                yield Fault(number, "text", problem)

    def answers(
        self, model: Model, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None, dtype: torch.dtype
    ) -> list[Prediction]:
        """{generated, score}, what comes after the text, and its candidates; see :func:`~regard.tasks.generation.worded`."""
        assert tokenizer is not None
        told = self.generation
        found = continuations(model, self.prompts(rows, tokenizer), told, tokenizer, dtype=dtype, default=LONGEST)
        return worded(found, "generated", told, tokenizer)

    def told(self, result: Mapping[str, Any]) -> list[str]:
        """What was written, the text."""
        return [str(result["generated"]), str(result["text"])]

    def prompts(self, rows: Sequence[Row], tokenizer: Tokenizer) -> list[list[int]]:
        """What the model reads of each row."""
        if self.start is None and tokenizer.chat_template is not None:
            chats = [tokenizer.chat([{"role": "user", "content": row["text"]}]) for row in rows]
            return [encoding.ids for encoding in tokenizer.encode(chats, special=False)]
        begin = [] if self.start is None else [self.start]
        return [[*begin, *ids] for ids in tokenizer.ids([row["text"] for row in rows])[0]]


class _Settings(Settings):
    """What `task.json` holds of the task beside `generation`."""

    options: Mapping[str, Any] = Field(default_factory=dict)
    start: int | None = Field(None, ge=0)


def _first(examples: Examples, rows: int) -> Examples:
    """Those of the first rows, documents or conversations."""
    return examples.first(rows) if isinstance(examples, Blocks) else Part(examples, np.arange(len(examples))[:rows])


def _options(given: Mapping[str, Any]) -> Options:
    """The options; those for raw text are wrong beside `chat`."""
    options = parse(Options, given, where="options")
    problems = Problems(ConfigError)
    for name in ("documents", "packing", "block"):
        if options.chat and getattr(options, name) != Options.model_fields[name].default:
            fix = f"leave out options.{name}, or options.chat"
            problems.add("is for raw text, and conversations are to be learned", where=f"options.{name}", fix=fix)
    problems.raise_if_any()
    return options
