"""Which of two values of a metric is the better one."""

from __future__ import annotations

SMALLER_IS_BETTER = frozenset(
    {
        "bits_per_byte",
        "bits_per_character",
        "calibration-error",
        "log-loss",
        "loss",
        "mae",
        "perplexity",
        "rmse",
        "ter",
        "word_perplexity",
    }
)
"""Metrics that count faults; of every other a larger value is better."""


def is_better(metric: str, value: float, than: float) -> bool:
    """Whether `value` of the metric of this name beats the value `than`; equal values do not, and NaN never does."""
    return value < than if metric in SMALLER_IS_BETTER else value > than
