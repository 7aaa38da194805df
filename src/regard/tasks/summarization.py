"""summarization: a long text becomes a short one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from regard.metrics import TextReport, summarized
from regard.tasks.task import TASKS
from regard.tasks.text_to_text import TextToText


@TASKS.register("summarization")
@dataclass(frozen=True)
class Summarization(TextToText):
    """Columns `text` and `summary`."""

    name: ClassVar[str] = "summarization"
    answer: ClassVar[str] = "summary"

    @classmethod
    def metrics(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """`rouge2`, which tells summaries apart best, and the others."""
        return ("rouge2", "rouge1", "rougeL", "rougeLsum", "perplexity")

    def compared(self, written: Sequence[str], references: Sequence[str]) -> TextReport:
        """ROUGE; Chinese by characters."""
        return summarized(written, references)
