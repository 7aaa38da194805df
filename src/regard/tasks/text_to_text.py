"""text2text-generation and translation: an encoder reads a text, a decoder writes another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from regard.errors import Problem, did_you_mean, listed
from regard.models.model import Model
from regard.tasks.generation import Generation, Writing, renderings, worded
from regard.tasks.inputs import Input
from regard.tasks.task import TASKS, Fault, Prediction, Row
from regard.text.tokenizer import Tokenizer

LONGEST = 256
"""Tokens that are written where the checkpoint names no bound."""


@TASKS.register("text2text-generation")
@dataclass(frozen=True)
class TextToText(Writing):
    """Column `text`."""

    name: ClassVar[str] = "text2text-generation"
    answer: ClassVar[str] = "generated"
    """What the answer is called."""

    @property
    def inputs(self) -> tuple[Input, ...]:
        """`text`."""
        return (Input("text"),)

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
        """{generated, score}, and its candidates; see :func:`~regard.tasks.generation.worded`."""
        assert tokenizer is not None
        return self._written(model, rows, tokenizer, self.generation, dtype=dtype)

    def _written(
        self, model: Model, rows: Sequence[Row], tokenizer: Tokenizer, generation: Generation, *, dtype: torch.dtype
    ) -> list[Prediction]:
        sources = tokenizer.ids([row["text"] for row in rows])[0]
        found = renderings(model, sources, generation, tokenizer, dtype=dtype, default=LONGEST)
        return worded(found, self.answer, tokenizer.target, every=generation.num_return_sequences > 1)

    def told(self, result: Mapping[str, Any]) -> list[str]:
        """What was written, the text."""
        return [str(result[self.answer]), str(result["text"])]


SOURCE, TARGET = "source_language", "target_language"


@TASKS.register("translation")
@dataclass(frozen=True)
class Translation(TextToText):
    """Columns `text` and, for a model of many languages, `source_language` and `target_language`, by its own codes."""

    name: ClassVar[str] = "translation"
    answer: ClassVar[str] = "translation"

    @property
    def inputs(self) -> tuple[Input, ...]:
        """`text`, and the languages where there are several."""
        return (Input("text"), Input(TARGET, optional=True), Input(SOURCE, optional=True))

    def faults(self, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None) -> Iterator[Fault]:
        """Languages that the model does not know, or that it must be told; texts that are longer than it reads."""
        assert tokenizer is not None
        known = tokenizer.languages
        for number, row in enumerate(rows):
            for column in (TARGET, SOURCE):
                if (language := row.get(column)) and language not in known:
                    what = f"unknown language {language!r}" if known else "this model translates between two languages only"
                    fix = did_you_mean(language, known) or ("" if known else f"leave out {column}")
                    yield Fault(number, column, Problem(what, allowed=listed(known), fix=fix))
            if known and not row.get(TARGET) and self.generation.forced_bos_token_id is None:
                yield Fault(number, TARGET, Problem("which language to translate into?", allowed=listed(known)))
        yield from super().faults(rows, tokenizer, max_length=max_length)

    def answers(
        self, model: Model, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None, dtype: torch.dtype
    ) -> list[Prediction]:
        """{translation}; rows of the same two languages are translated together."""
        assert tokenizer is not None
        places: dict[tuple[str, str], list[int]] = {}
        for place, row in enumerate(rows):
            places.setdefault((row.get(SOURCE) or "", row.get(TARGET) or ""), []).append(place)
        results: list[Prediction] = [{} for _ in rows]
        for (source, target), group in places.items():
            reading = tokenizer.for_language(source or target) if self._tags_source(tokenizer, source) else tokenizer
            generation = self._into(target, tokenizer)
            found = self._written(model, [rows[place] for place in group], reading, generation, dtype=dtype)
            for place, result in zip(group, found, strict=True):
                results[place] = result
        return results

    @staticmethod
    def _tags_source(tokenizer: Tokenizer, source: str) -> bool:
        return bool(tokenizer.languages) and bool(source)

    def _into(self, target: str, tokenizer: Tokenizer) -> Generation:
        """The settings for a target language: its tag comes first, where mBART's decoder also begins with one."""
        if not target:
            return self.generation
        tag = tokenizer.language_id(target)
        start = self.generation.decoder_start_token_id
        tags = {tokenizer.language_id(language) for language in tokenizer.languages}
        changed = {"decoder_start_token_id": tag} if start in tags else {"forced_bos_token_id": tag}
        return self.generation.model_copy(update=changed)
