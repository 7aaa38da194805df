"""audio-classification: what a recording is, of labels learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from regard.models.model import Model
from regard.tasks.media import LabelledMedia, best
from regard.tasks.sound import Sounds, hear
from regard.tasks.task import TASKS, Prediction, Row
from regard.text.tokenizer import Tokenizer


@TASKS.register("audio-classification")
@dataclass(frozen=True)
class AudioClassification(Sounds, LabelledMedia):
    """Column `audio`, the path of a recording; the labels are those that the model learned."""

    name: ClassVar[str] = "audio-classification"

    @torch.inference_mode()
    def answers(
        self, model: Model, rows: Sequence[Row], tokenizer: Tokenizer | None, *, max_length: int | None, dtype: torch.dtype
    ) -> list[Prediction]:
        """{label, score, scores}; of a long recording the mean over its pieces, each for its length."""
        on = model.device
        results = []
        for row in rows:
            sums, whole = torch.zeros(len(self.labels)), 0
            for values, mask, lengths in hear(row["audio"], self.features):
                outputs = model(values.to(on), attention_mask=None if mask is None else mask.to(on), dtype=dtype)
                sums += (outputs.softmax(-1).cpu() * torch.tensor(lengths)[:, None]).sum(0)
                whole += sum(lengths)
            results.append(best(self.labels, (sums / whole).tolist()))
        return results

    def told(self, result: Mapping[str, Any]) -> list[str]:
        """The label, its score, the file."""
        return [str(result["label"]), f"{result['score']:.4f}", str(result["audio"])]
