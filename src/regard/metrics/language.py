"""How well a language model foresees text: perplexity per token and word, bits per character and byte."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from regard.errors import DataError
from regard.metrics.bootstrap import Metric, ratio, resampled_sums
from regard.metrics.checks import Floats, floats, same_length

HIGHEST = 700.0
"""Nats beyond which a perplexity is no number any more: e^700 is told instead."""


def modelled(
    nll: ArrayLike,
    tokens: ArrayLike,
    *,
    words: ArrayLike | None = None,
    characters: ArrayLike | None = None,
    octets: ArrayLike | None = None,
    seed: int = 0,
) -> dict[str, Metric]:
    """`{"perplexity", "loss"}` of texts; `word_perplexity`, `bits_per_character`, `bits_per_byte` where those are counted.

    nll: (n,), each text's negative log-likelihood in nats, summed over its tokens. tokens: (n,), how many these were. words,
    characters, octets (bytes of UTF-8): (n,), how many the same texts have. `loss` is in nats a token. Only what is not
    counted in tokens can be compared between vocabularies: a perplexity per word (Mielke 2019) or bits per character.
    All are smaller for better models. Rows are resampled whole, since the tokens of one text are not independent.

    Raises DataError for no rows, NaN, unequal numbers of rows, negative numbers and counts that are all 0.
    """
    nats = _amounts(nll, "negative log-likelihoods")
    units = {"tokens": tokens, "words": words, "characters": characters, "bytes": octets}
    counts = {name: _counts(values, name, nats) for name, values in units.items() if values is not None}
    sums = resampled_sums(np.column_stack([nats, *counts.values()]), seed=seed)
    per = {name: ratio(sums[:, 0], sums[:, column]) for column, name in enumerate(counts, 1)}
    metrics = {"perplexity": _perplexity(per["tokens"]), "loss": Metric.of(per["tokens"])}
    if "words" in per:
        metrics["word_perplexity"] = _perplexity(per["words"])
    for unit, name in (("characters", "bits_per_character"), ("bytes", "bits_per_byte")):
        if unit in per:
            metrics[name] = Metric.of(per[unit] / np.log(2))
    return metrics


def _perplexity(nats: Floats) -> Metric:
    return Metric.of(np.exp(np.minimum(nats, HIGHEST)))


def _counts(values: ArrayLike, name: str, nats: Floats) -> Floats:
    counts = _amounts(values, name)
    same_length(nats, counts, f"negative log-likelihoods and {name}")
    if not counts.any():
        raise DataError(f"no {name}", allowed=f"{name} in at least one row", fix="check that the texts are not empty")
    return counts


def _amounts(values: ArrayLike, name: str) -> Floats:
    amounts = floats(values, name, ndim=1)
    if (amounts < 0).any():
        row = int((amounts < 0).argmax())
        raise DataError(f"{name} hold {amounts[row]:g}", where=f"row {row + 1}", allowed="0 or more")
    return amounts
