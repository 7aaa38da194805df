"""What is measured of generated texts: numbers with intervals, and what does not fit one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from regard.metrics.bootstrap import Metric


@dataclass(frozen=True, slots=True)
class TextReport:
    """All that is measured of the texts a model wrote."""

    metrics: dict[str, Metric]
    """By name: the headline numbers."""
    tables: dict[str, Any]
    """By name: how it was measured (`signatures`, to be published with the numbers), and counts. Ready for JSON."""

    def as_dict(self) -> dict[str, Any]:
        """`{"metrics": {name: {value, low, high}}, …the tables}`, ready for JSON."""
        return {"metrics": {name: metric.as_dict() for name, metric in self.metrics.items()}, **self.tables}
