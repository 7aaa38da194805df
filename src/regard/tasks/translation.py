"""translation: between two languages, or among many in one model, where a tag says into which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import torch

from regard.data.check import Columns
from regard.errors import Problem, Problems, did_you_mean, listed
from regard.metrics import TextReport, bleu_tokenizer, translated
from regard.metrics.translation import Tokenize
from regard.models.model import Model
from regard.tasks.inputs import Input
from regard.tasks.task import TASKS, Example, Fault, Prediction, Row
from regard.tasks.text_to_text import Languages, Options, TextToText
from regard.text.tokenizer import Tokenizer

SOURCE, TARGET = "source_language", "target_language"


class TranslationOptions(Options):
    """Keys of the run file's `[options]` for this task."""

    tokenize: Tokenize | None = None
    """How BLEU cuts words, see :data:`~regard.metrics.translation.Tokenize`; None means `zh` for Chinese, else `13a`."""
    lowercase: bool = False
    """BLEU and chrF take upper case for lower case."""


@TASKS.register("translation")
@dataclass(frozen=True)
class Translation(TextToText):
    """Columns `text`, `translation` and, for a model of many languages, `source_language` and `target_language`, by its own
    codes. A model from scratch has a tag for each language that its training rows go into, if they are several."""

    name: ClassVar[str] = "translation"
    answer: ClassVar[str] = "translation"
    settings_of: ClassVar[type[Options]] = TranslationOptions

    options: TranslationOptions = field(default_factory=TranslationOptions)

    @classmethod
    def columns(cls, options: Mapping[str, Any]) -> Columns:
        """`text`, `translation`, and the languages where there are several."""
        return replace(super().columns(options), languages=(SOURCE, TARGET))

    @classmethod
    def metrics(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """`bleu`, `chrf`, `ter`, `perplexity`."""
        return ("bleu", "chrf", "ter", "perplexity")

    @property
    def inputs(self) -> tuple[Input, ...]:
        """`text`, and the languages where there are several."""
        return (Input("text"), Input(TARGET, optional=True), Input(SOURCE, optional=True))

    def languages(self, rows: Sequence[Row]) -> Languages:
        """Tags for the languages that the rows go into, if they are several; else the two that there are."""
        pairs = sorted(pair for pair in _by_languages(rows) if all(pair))
        targets = sorted({target for _, target in pairs})
        return Languages(languages=targets if len(targets) > 1 else (), pair=pairs[0] if len(pairs) == 1 else None)

    def compared(self, written: Sequence[str], references: Sequence[str]) -> TextReport:
        """BLEU, chrF and TER, with their signatures."""
        cut = self.options.tokenize or bleu_tokenizer(references)
        return translated(written, references, tokenize=cut, lowercase=self.options.lowercase)

    def encode(self, rows: Sequence[Row], tokenizer: Tokenizer, *, max_length: int | None) -> list[Example]:
        """See :class:`TextToText`; with tags where the tokenizer has them.

        Raises DataError for languages that the tokenizer does not have.
        """
        problems = Problems()
        for fault in self._strange(rows, tokenizer):
            problems.append(replace(fault.problem, where=f"row {fault.row + 1}, column {fault.column}"))
        problems.raise_if_any()
        examples: list[Example] = [{} for _ in rows]
        for languages, places in _by_languages(rows).items():
            task, reading, writing = self._between(*languages, tokenizer)
            group = task._encoded([rows[place] for place in places], reading, writing, max_length=max_length)
            for place, example in zip(places, group, strict=True):
                examples[place] = example
        return examples

    def faults(self, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None) -> Iterator[Fault]:
        """Languages that the model does not know, or that it must be told; texts that are longer than it reads."""
        assert tokenizer is not None
        yield from self._strange(rows, tokenizer)
        yield from super().faults(rows, tokenizer, max_length=max_length)

    def _strange(self, rows: Sequence[Row], tokenizer: Tokenizer) -> Iterator[Fault]:
        """Languages that the tokenizer does not have, and none where one must be said."""
        known = tokenizer.languages
        allowed: dict[str, Sequence[str]] = {SOURCE: known, TARGET: known}
        if tokenizer.pair is not None:
            allowed = {SOURCE: tokenizer.pair[:1], TARGET: tokenizer.pair[1:]}
        elif known and not tokenizer.target.languages:  # Marian's tags say what is written, sources have none
            allowed = {TARGET: known}
        for number, row in enumerate(rows):
            for column, languages in allowed.items():
                if (language := row.get(column)) and language not in languages:
                    two = "this model translates between two languages only"
                    what = f"unknown language {language!r}" if languages else two
                    fix = did_you_mean(language, languages) or ("" if known else f"leave out {column}")
                    yield Fault(number, column, Problem(what, allowed=listed(languages), fix=fix))
            if known and not row.get(TARGET) and self.generation.forced_bos_token_id is None:
                yield Fault(number, TARGET, Problem("which language to translate into?", allowed=listed(known)))

    def answers(
        self, model: Model, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None, dtype: torch.dtype
    ) -> list[Prediction]:
        """{translation}; rows of the same two languages are translated together."""
        assert tokenizer is not None
        results: list[Prediction] = [{} for _ in rows]
        for languages, places in _by_languages(rows).items():
            task, reading, _ = self._between(*languages, tokenizer)
            found = task._written(model, [rows[place] for place in places], reading, task.generation, dtype=dtype)
            for place, result in zip(places, found, strict=True):
                results[place] = result
        return results

    def _between(self, source: str, target: str, tokenizer: Tokenizer) -> tuple[Self, Tokenizer, Tokenizer]:
        """The task and the tokenizers of its two sides for a pair of languages, empty = not said.

        Marian's tag stands before the source and says into what it goes. Elsewhere each side has its own; the target's is
        the first that is written, and mBART's decoder even begins with it.
        """
        if not tokenizer.languages:
            return self, tokenizer, tokenizer.target
        if not tokenizer.target.languages:
            reading = tokenizer.for_language(target) if target else tokenizer
            return self, reading, reading.target
        reading = tokenizer.for_language(source) if source else tokenizer
        if not target:
            return self, reading, reading.target
        tag = tokenizer.language_id(target)
        tags = {tokenizer.language_id(language) for language in tokenizer.languages}
        first = "decoder_start_token_id" if self.generation.decoder_start_token_id in tags else "forced_bos_token_id"
        generation = self.generation.model_copy(update={first: tag})
        return replace(self, generation=generation), reading, reading.target.for_language(target)


def _by_languages(rows: Sequence[Row]) -> dict[tuple[str, str], list[int]]:
    """Which rows there are for each pair of source and target language, empty = not said."""
    places: dict[tuple[str, str], list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault((row.get(SOURCE) or "", row.get(TARGET) or ""), []).append(place)
    return places
