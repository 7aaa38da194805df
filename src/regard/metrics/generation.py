"""Short answers against the right ones, and how varied the texts are that a model writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from regard.metrics.bootstrap import Metric, ratio, resampled_sums, times_drawn
from regard.metrics.checks import Floats, texts, texts_and_references
from regard.metrics.text_report import TextReport
from regard.metrics.tokens import Tokens, answer_words, cutter, n_grams

if TYPE_CHECKING:
    from scipy.sparse import csc_array

COLUMNS = 4_000_000
"""Entries of a table of resamples by n-grams held in memory at once (32 MB)."""


def answered(hypotheses: Sequence[str], references: Sequence[str | Sequence[str]], *, seed: int = 0) -> dict[str, Metric]:
    """`{"exact_match", "f1"}` of short answers, from 0 to 1 (Rajpurkar et al. 2016, §6.1): the mean over rows.

    hypotheses: (n,). references: (n,), an answer or several for each, of which the best counts. Case, punctuation and
    articles do not matter; Chinese is compared by characters. Nothing answers nothing: two empty texts are equal.
    Raises DataError for no rows, unequal numbers of rows, rows without a reference and whatever is no text.
    """
    written, wanted = texts_and_references(hypotheses, references)
    scores = [
        np.max([_agreement(answer_words(text), answer_words(other)) for other in others], axis=0)
        for text, others in zip(written, wanted, strict=True)
    ]
    means = resampled_sums(np.array(scores), seed=seed) / len(scores)
    return {"exact_match": Metric.of(means[:, 0]), "f1": Metric.of(means[:, 1])}


def _agreement(one: list[str], other: list[str]) -> tuple[float, float]:
    equal = float(one == other)
    shared = (Counter(one) & Counter(other)).total()
    return equal, 2 * shared / (len(one) + len(other)) if one or other else equal


def varied(hypotheses: Sequence[str], *, tokenize: Tokens = "unicode", seed: int = 0) -> TextReport:
    """`distinct1` and `distinct2`: distinct words and pairs of words among all that were written (Li et al. 2016, §5.2).

    hypotheses: (n,). From 0 to 1, larger for replies that are not all the same. Differs from the paper as most programs do:
    pairs are divided by the number of pairs, not of words. The value falls as texts grow in number: compare equally many.
    A resample repeats rows and is less varied than the sample: its spread is kept and its centre moved to the value.
    Tables: `signatures` and `words`, the number of all. Raises DataError for no rows and whatever is no text; ConfigError
    for an unknown `tokenize`.
    """
    cut = cutter(tokenize)
    rows = [cut(text) for text in texts(hypotheses, "hypotheses")]
    metrics = {f"distinct{n}": _centred(_distinct([n_grams(row, n) for row in rows], seed)) for n in (1, 2)}
    return TextReport(metrics, {"signatures": {"distinct": f"tok:{tokenize}|per:n-gram"}, "words": sum(map(len, rows))})


def _centred(draws: Floats) -> Metric:
    resamples = draws[1:]
    moved = np.clip(resamples - resamples.mean() + draws[0], 0, 1)
    return Metric.of(np.concatenate([draws[:1], moved]))


def _distinct(rows: list[list[tuple[str, ...]]], seed: int) -> Floats:
    """Distinct n-grams divided by all, of the sample and of every resample: (1 + resamples,)."""
    alone, shared = _holders(rows)
    lengths = np.array([len(row) for row in rows], dtype=np.float64)
    draws = []
    for times in ([[1.0] * len(rows)], *times_drawn(len(rows), seed=seed)):
        drawn = np.asarray(times)
        held = (drawn > 0).astype(np.float64)
        distinct = held @ alone
        step = max(1, COLUMNS // len(held))
        for start in range(0, shared.shape[1], step):
            distinct += ((held @ shared[:, start : start + step]) > 0).sum(axis=1)
        draws.append(ratio(distinct, drawn @ lengths))
    return np.concatenate(draws)


def _holders(rows: list[list[tuple[str, ...]]]) -> tuple[Floats, csc_array]:
    """How many n-grams each row alone has, (n,); and which rows have each of the others, (n, others) of 0 and 1."""
    from scipy.sparse import csc_array

    numbers: dict[tuple[str, ...], int] = {}
    cells = [(row, numbers.setdefault(gram, len(numbers))) for row, grams in enumerate(rows) for gram in set(grams)]
    places = np.array(cells, dtype=np.int64).reshape(-1, 2)
    table = csc_array((np.ones(len(places)), places.T), shape=(len(rows), len(numbers)))
    alone = np.diff(table.indptr) == 1
    return np.asarray(table[:, alone].sum(axis=1)), table[:, ~alone]
