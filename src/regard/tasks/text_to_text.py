"""text2text-generation: an encoder reads a text, a decoder writes another. Translation and summarization are of its kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, ClassVar, Self, TypedDict

import numpy as np
import torch
from pydantic import Field

from regard.config import Settings, TokenizerConfig, parse
from regard.data.batch import Batch, Examples
from regard.data.check import Columns, Report
from regard.errors import Problem
from regard.layers.ragged import Unpadded
from regard.metrics import TextReport, modelled
from regard.metrics import answered as matched
from regard.models.config import HeadConfig, Kind, ModelConfig
from regard.models.model import Model
from regard.tasks.decoding import Generation
from regard.tasks.forcing import Told, forced_loss
from regard.tasks.foreseen import foreseen
from regard.tasks.generation import Writing, answered, renderings, worded
from regard.tasks.infer import evaluating
from regard.tasks.inputs import Input
from regard.tasks.task import TASKS, Defaults, Evaluation, Example, Fault, Learnable, Prediction, Row
from regard.text.tokenizer import Tokenizer
from regard.text.train import train_tokenizer
from regard.text.train_pieces import train_pieces

LONGEST = 256
"""Tokens that are written where the checkpoint names no bound."""
TWICE = 2
"""How much longer than the longest reference a text may become at an evaluation during training."""


class Options(Settings):
    """Keys of the run file's `[options]` for this task."""

    validate_on: int | None = Field(None, ge=1)
    """Rows that are written at the evaluations during training, drawn once by their order; None means all. The last
    evaluation always writes all."""


class Languages(TypedDict, total=False):
    """Arguments of :func:`~regard.text.train_pieces.train_pieces`."""

    languages: Sequence[str]
    pair: tuple[str, str] | None


@TASKS.register("text2text-generation")
@dataclass(frozen=True)
class TextToText(Writing, Learnable):
    """Columns `text` and, to learn from, the text to be written under the name of the answer."""

    name: ClassVar[str] = "text2text-generation"
    kind: ClassVar[Kind] = "encoder-decoder"
    answer: ClassVar[str] = "generated"
    """What the answer is called."""
    defaults: ClassVar[Defaults] = Defaults(epochs=(30, 3), lr=(1e-3, 1e-4), tokens=(4096, 2048), smoothing=(0.1, 0.1))
    settings_of: ClassVar[type[Options]] = Options

    options: Options = field(default_factory=Options)

    @classmethod
    def columns(cls, options: Mapping[str, Any]) -> Columns:
        """`text`, and the answer."""
        parse(cls.settings_of, options, where="options")
        return Columns(inputs=("text",), target=cls.answer, target_kind="text")

    @classmethod
    def metrics(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """`f1` of words, `exact_match`; `perplexity` of what should be written."""
        return ("f1", "exact_match", "perplexity")

    @classmethod
    def from_data(cls, options: Mapping[str, Any], report: Report) -> Self:
        """Of the data nothing needs to be known."""
        return cls(options=parse(cls.settings_of, options, where="options"))

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """From `task.json`, whose keys `generation` and `options` say how the model writes and how it was trained."""
        made = super().from_settings(settings)
        return replace(made, options=parse(cls.settings_of, settings.get("options", {}), where="options"))

    def settings(self) -> dict[str, Any]:
        """For `task.json`."""
        return {**super().settings(), "options": self.options.model_dump(exclude_none=True)}

    @property
    def inputs(self) -> tuple[Input, ...]:
        """`text`."""
        return (Input("text"),)

    def learn_tokenizer(self, rows: Iterable[Row], settings: TokenizerConfig) -> Tokenizer:
        """Pieces in Marian's files, for both sides or each by itself; other kinds are one vocabulary for both."""
        held = list(rows)
        pairs = [(str(row["text"]), str(row[self.answer])) for row in held]
        kind, size, lower_case = settings.kind or "bpe", settings.vocab_size, bool(settings.lower_case)
        if kind == "bpe" or kind == "unigram":
            sources, targets = zip(*pairs, strict=True)
            return train_pieces(
                sources,
                targets,
                kind=kind,
                vocab_size=size,
                joint=settings.joint,
                lower_case=lower_case,
                **self.languages(held),
            )
        both = (text for pair in pairs for text in pair)
        return train_tokenizer(both, kind=kind, vocab_size=size, lower_case=lower_case, specials="seq2seq")

    def languages(self, rows: Sequence[Row]) -> Languages:
        """What the rows say of the languages that are read and written."""
        return Languages()

    def starting(self, tokenizer: Tokenizer, found: Mapping[str, Any] | None) -> Self:
        """With what the checkpoint says of how it writes; from scratch, with Marian's ways."""
        if found is not None:
            return replace(self, generation=parse(Generation, found.get("generation", {}), where="generation"))
        target = tokenizer.target
        end, pad = target.eos_id, target.pad_id
        generation = Generation(eos_token_id=end, pad_token_id=pad, decoder_start_token_id=pad)
        return replace(self, generation=generation.model_copy(update={"bad_words_ids": ((pad,),)}))

    def head(self, found: HeadConfig | None, model: ModelConfig) -> HeadConfig:
        """The checkpoint's own, or one over all words."""
        if found is not None and found.over in self.over:
            return found
        return HeadConfig(over="vocabulary", dense=False, dropout=0.0, n_outputs=model.target_vocab_size)

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int | None) -> list[Example]:
        """`input_ids`, `truncated`, and of rows with a target `target_ids`, `start`, which the decoder begins with, and
        `reference`, the bytes of its text."""
        return self._encoded(rows, tokenizer, tokenizer.target, max_length=max_length)

    def _encoded(
        self, rows: Sequence[Row], reading: Tokenizer, writing: Tokenizer, *, max_length: int | None
    ) -> list[Example]:
        ids, _, cut = reading.ids([row["text"] for row in rows], max_length=max_length)
        examples = [Example(input_ids=row, truncated=int(long)) for row, long in zip(ids, cut, strict=True)]
        if not rows or self.answer not in rows[0]:
            return examples
        targets, _, cut = writing.ids([row[self.answer] for row in rows], max_length=max_length)
        for example, row, target, long in zip(examples, rows, targets, cut, strict=True):
            example |= {"target_ids": target, "start": self.generation.start, "reference": [*row[self.answer].encode()]}
            example["truncated"] = int(example["truncated"] or long)
        return examples

    def loss(self, model: Model, batch: Batch, *, smoothing: float, dtype: torch.dtype) -> tuple[torch.Tensor, int]:
        """Cross-entropy over the tokens of the targets."""
        told, hidden = self.read(model, batch, dtype=dtype)
        return forced_loss(model, hidden, told.labels, smoothing=smoothing), told.count

    def read(self, model: Model, batch: Batch, *, dtype: torch.dtype) -> tuple[Told, torch.Tensor]:
        """What the decoder is told of a batch, and its hidden states then."""
        told = Told.of(batch, model.device)
        return told, model.hidden(
            batch.input_ids,
            decoder_ids=told.ids,
            ragged=Unpadded.lined(batch.ragged, device=model.device),
            decoder_ragged=told.layout,
            dtype=dtype,
        )

    def measure(
        self, model: Model, examples: Examples, tokenizer: Tokenizer, *, dtype: torch.dtype, quick: bool = False
    ) -> Evaluation:
        """What is written against the references, and how likely those were; quick: greedily, on `validate_on` rows."""
        with evaluating(model):
            report = self._compared(model, examples, tokenizer, dtype=dtype, quick=quick)
        costs = foreseen(model, examples, lambda batch: self.read(model, batch, dtype=dtype), rows=len(examples))
        metrics = {**report.metrics, "perplexity": modelled(*costs)["perplexity"]}
        return Evaluation({name: metric.as_dict() for name, metric in metrics.items()}, report.tables)

    def _compared(
        self, model: Model, examples: Examples, tokenizer: Tokenizer, *, dtype: torch.dtype, quick: bool
    ) -> TextReport:
        held = list(islice(examples, self.options.validate_on if quick else None))
        generation = self.generation
        if quick:  # a model that has not yet learned to stop would write on and on
            longest = TWICE * max(len(example["target_ids"]) for example in held)
            generation = generation.model_copy(update={"num_beams": 1, "max_new_tokens": longest})
        sources = [[int(token) for token in example["input_ids"]] for example in held]
        written = answered(model, sources, generation, tokenizer, dtype=dtype, default=LONGEST)
        references = [bytes(np.asarray(example["reference"], np.uint8)).decode() for example in held]
        return self.compared(generation.rules.texts(written, tokenizer.target), references)

    def compared(self, written: Sequence[str], references: Sequence[str]) -> TextReport:
        """How near the texts come to their references."""
        return TextReport(matched(written, references), {})

    def faults(self, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None) -> Iterator[Fault]:
        """Texts that are longer than the model reads."""
        assert tokenizer is not None
        for number, ids in enumerate(tokenizer.ids([row["text"] for row in rows])[0]):
            if max_length is not None and len(ids) > max_length:
                fix = "split the text, best at the end of a sentence"
                yield Fault(number, "text", Problem(f"{len(ids)} tokens", allowed=f"at most {max_length}", fix=fix))

    def answers(
        self, model: Model, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None, dtype: torch.dtype
    ) -> list[Prediction]:
        """The text that is written under the name of the answer, `score`, and candidates; see
        :func:`~regard.tasks.generation.worded`."""
        assert tokenizer is not None
        return self._written(model, rows, tokenizer, self.generation, dtype=dtype)

    def _written(
        self, model: Model, rows: Sequence[Row], tokenizer: Tokenizer, generation: Generation, *, dtype: torch.dtype
    ) -> list[Prediction]:
        sources = tokenizer.ids([row["text"] for row in rows])[0]
        found = renderings(model, sources, generation, tokenizer, dtype=dtype, default=LONGEST)
        return worded(found, self.answer, generation, tokenizer.target)

    def told(self, result: Mapping[str, Any]) -> list[str]:
        """What was written, the text."""
        return [str(result[self.answer]), str(result["text"])]
