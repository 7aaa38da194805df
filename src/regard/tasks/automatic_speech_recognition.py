"""automatic-speech-recognition: a recording and what is said in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch

from regard.config import parse
from regard.decoding import ModelScorer
from regard.errors import ConfigError
from regard.models.model import Model
from regard.tasks.decoding import Generation
from regard.tasks.generation import written
from regard.tasks.sound import Sounds, hear
from regard.tasks.task import TASKS, Prediction, Row
from regard.text.characters import collapse
from regard.text.tokenizer import Tokenizer


class Spoken(Generation):
    """What a checkpoint says of how it transcribes."""

    lang_to_id: dict[str, int] | None = None
    """Tags of languages, of a model that knows several: `<|en|>` and its id."""
    task_to_id: dict[str, int] | None = None
    """Tags of what to do: `transcribe`, `translate`."""
    no_timestamps_token_id: int | None = None
    """The tag that keeps times out of the text."""
    is_multilingual: bool | None = None
    """Whether the language must be told; null means where there is a choice."""


@TASKS.register("automatic-speech-recognition")
@dataclass(frozen=True)
class SpeechRecognition(Sounds):
    """Column `audio`, the path of a recording. An encoder-decoder writes the text (Radford et al. 2023); an encoder alone
    says a letter a frame, or nothing (Graves et al. 2006)."""

    name: ClassVar[str] = "automatic-speech-recognition"
    over: ClassVar[tuple[str, ...]] = ("vocabulary", "tokens")

    features: Mapping[str, Any]
    """The checkpoint's preprocessor_config.json."""
    generation: Spoken = field(default_factory=Spoken)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """From `task.json`."""
        features = settings.get("features")
        if not isinstance(features, Mapping):
            fix = "get preprocessor_config.json from where the checkpoint comes from: it says what to feed the model"
            raise ConfigError("nothing is said of what the model hears", where="features", fix=fix)
        return cls(features, parse(Spoken, settings.get("generation", {}), where="generation"))

    def settings(self) -> dict[str, Any]:
        """What is fed to the model, and how it writes."""
        return {"features": dict(self.features), "generation": self.generation.model_dump(exclude_none=True)}

    def answers(
        self, model: Model, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None, dtype: torch.dtype
    ) -> list[Prediction]:
        """{text}, and {language} of a model that knows several. Long recordings are cut where it is quietest."""
        assert tokenizer is not None
        results: list[Prediction] = []
        for row in rows:
            said: list[Prediction] = []
            for values, mask, _ in hear(row["audio"], self.features):
                if model.decoder is not None:
                    language = said[0].get("language") if said else None
                    said += self._written(model, values, tokenizer, language, dtype=dtype)
                else:
                    said += self._spelled(model, values, mask, tokenizer, dtype=dtype)
            text = " ".join(part["text"].strip() for part in said if part["text"].strip())
            results.append({**said[0], "text": text})
        return results

    @torch.inference_mode()
    def _written(
        self, model: Model, values: torch.Tensor, tokenizer: Tokenizer, language: str | None, *, dtype: torch.dtype
    ) -> list[Prediction]:
        """Of pieces of one recording; language: its tag, None = it is heard from the first piece."""
        assert model.encoder is not None and model.decoder is not None
        memory = model.encoder(values.to(model.device), dtype=dtype)

        def remembered(inputs: Sequence[int]) -> tuple[torch.Tensor, None]:
            return memory[list(inputs)], None

        tags = self.generation.lang_to_id or {}
        if language is None and tags and self.generation.is_multilingual is not False:
            scorer = ModelScorer(model, [[self.generation.start]], remembered=remembered, dtype=dtype)
            scorer.read(scorer.join([0])[:, None])
            scores = scorer.logits()[0]
            language = max(tags, key=lambda tag: float(scores[tags[tag]]))
        prompt = [self.generation.start]
        if language is not None:
            prompt += [tags[language], *([self.generation.task_to_id["transcribe"]] if self.generation.task_to_id else ())]
        if self.generation.no_timestamps_token_id is not None:
            prompt.append(self.generation.no_timestamps_token_id)
        positions = model.config.decoder_positions
        found = written(
            model,
            [prompt] * len(memory),
            self.generation,
            self.generation.stop(tokenizer),
            longest=[self.generation.longest(len(prompt), positions, default=positions)] * len(memory),
            dtype=dtype,
            remembered=remembered,
        )
        known = {} if language is None else {"language": language}
        texts = self.generation.rules.texts([each[0].tokens for each in found], tokenizer)
        return [Prediction(text=text, **known) for text in texts]

    @staticmethod
    @torch.inference_mode()
    def _spelled(
        model: Model, values: torch.Tensor, mask: torch.Tensor | None, tokenizer: Tokenizer, *, dtype: torch.dtype
    ) -> list[Prediction]:
        on = model.device
        mask = None if mask is None else mask.to(on)
        outputs = model(values.to(on), attention_mask=mask, dtype=dtype)
        frames = None if mask is None else model.memory_mask(mask)
        lengths = [outputs.shape[1]] * len(outputs) if frames is None else frames.sum(1).tolist()
        best = [row[:length] for row, length in zip(outputs.argmax(-1).tolist(), lengths, strict=True)]
        blank = tokenizer.pad_id or 0
        return [Prediction(text=text) for text in tokenizer.decode([collapse(row, blank) for row in best])]

    def told(self, result: Mapping[str, Any]) -> list[str]:
        """What was said, the file."""
        return [str(result["text"]), str(result["audio"])]
