"""How much of a reference a summary holds: ROUGE (Lin 2004), equal to rouge-score's F1.

rouge-score itself is what the tests compare with. It brings NLTK for a stemmer and a second and a half of imports, reads
nothing but a to z and digits, and has had no release since 2022.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from regard.metrics.bootstrap import Metric, resampled_sums
from regard.metrics.checks import texts_and_references
from regard.metrics.text_report import TextReport
from regard.metrics.tokens import Tokens, cutter, n_grams

Sentences = list[list[str]]
"""A text: the words of its sentences."""


def summarized(
    hypotheses: Sequence[str],
    references: Sequence[str | Sequence[str]],
    *,
    tokenize: Tokens = "unicode",
    seed: int = 0,
) -> TextReport:
    """F1 of ROUGE-1, ROUGE-2 (shared words and pairs of words), ROUGE-L (longest common subsequence) and ROUGE-Lsum (the
    same by sentences, which are lines), from 0 to 1: the mean over rows.

    hypotheses: (n,). references: (n,), a text or several for each; each measure takes the reference that suits it best.
    tokenize: `unicode` knows all scripts, Chinese by characters; `porter` is rouge-score with its stemmer, which published
    numbers of English summaries use, `ascii` without it; both see nothing in other scripts. Texts are not cut into sentences
    here: without line breaks ROUGE-Lsum is much like ROUGE-L. Tables: `signatures`, mean `hypothesis_length` and
    `reference_length` in words.

    Raises DataError for no rows, unequal numbers of rows, rows without a reference and whatever is no text; ConfigError for
    an unknown `tokenize`.
    """
    cut = cutter(tokenize)
    written, wanted = texts_and_references(hypotheses, references)
    texts = [_sentences(text, cut) for text in written]
    several = [[_sentences(text, cut) for text in row] for row in wanted]
    scores = [
        [max(measure(text, other) for other in others) for measure in MEASURES.values()]
        for text, others in zip(texts, several, strict=True)
    ]
    means = resampled_sums(np.array(scores), seed=seed) / len(scores)
    metrics = {name: Metric.of(column) for name, column in zip(MEASURES, means.T, strict=True)}
    numbers = {len(row) for row in wanted}
    signature = f"f1|refs:{numbers.pop() if len(numbers) == 1 else 'var'}|multi:best|tok:{tokenize}|sentences:lines"
    tables = {
        "signatures": {"rouge": signature},
        "hypothesis_length": _mean_length(texts),
        "reference_length": _mean_length([*chain.from_iterable(several)]),
    }
    return TextReport(metrics, tables)


def _sentences(text: str, cut: Callable[[str], list[str]]) -> Sentences:
    return [cut(line) for line in text.split("\n")]


def _mean_length(texts: list[Sentences]) -> float:
    return sum(len(sentence) for text in texts for sentence in text) / len(texts)


def _f1(hits: int, hypothesis: int, reference: int) -> float:
    return 2 * hits / (hypothesis + reference) if hits else 0.0


def _shared_n_grams(n: int) -> Callable[[Sentences, Sentences], float]:
    def overlap(hypothesis: Sentences, reference: Sentences) -> float:
        one, other = (Counter(n_grams([*chain.from_iterable(text)], n)) for text in (hypothesis, reference))
        return _f1((one & other).total(), one.total(), other.total())

    return overlap


def _longest(hypothesis: Sentences, reference: Sentences) -> float:
    one, other = [*chain.from_iterable(hypothesis)], [*chain.from_iterable(reference)]
    return _f1(_zeros(_subsequences(one, other)[-1], len(one)), len(one), len(other))


def _longest_by_sentence(hypothesis: Sentences, reference: Sentences) -> float:
    """Lin 2004, §3.2: every sentence of the reference against all of the hypothesis; a word counts no more often than both
    texts have it, as in Lin's program."""
    left = Counter(chain.from_iterable(hypothesis)) & Counter(chain.from_iterable(reference))
    hits = 0
    for sentence in reference:
        found = {place for other in hypothesis for place in _places(sentence, other)}
        kept = Counter(sentence[place] for place in found) & left
        left -= kept
        hits += kept.total()
    return _f1(hits, sum(map(len, hypothesis)), sum(map(len, reference)))


def _subsequences(hypothesis: list[str], reference: list[str]) -> list[int]:
    """The table of longest common subsequences, a row for each length of the reference from 0, its bits the hypothesis.

    A bit is 0 where the subsequence grows by one (Hyyrö 2004, Bit-parallel LCS-length computation revisited): a row of the
    table is three operations on whole numbers.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(hypothesis):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(hypothesis)) - 1
    rows = [every]
    for word in reference:
        shared = rows[-1] & places.get(word, 0)
        rows.append((rows[-1] + shared | rows[-1] - shared) & every)
    return rows


def _zeros(row: int, length: int) -> int:
    """Zeros among the first bits: the longest subsequence with so many words of the hypothesis."""
    return length - (row & (1 << length) - 1).bit_count()


def _places(reference: list[str], hypothesis: list[str]) -> list[int]:
    """Places in the reference of a longest common subsequence: of several the one that rouge-score finds from the end."""
    rows = _subsequences(hypothesis, reference)
    row, column, places = len(reference), len(hypothesis), []
    while row and column:
        if reference[row - 1] == hypothesis[column - 1]:
            row, column = row - 1, column - 1
            places.append(row)
        elif _zeros(rows[row], column - 1) > _zeros(rows[row - 1], column):
            column -= 1
        else:
            row -= 1
    return places


MEASURES: dict[str, Callable[[Sentences, Sentences], float]] = {
    "rouge1": _shared_n_grams(1),
    "rouge2": _shared_n_grams(2),
    "rougeL": _longest,
    "rougeLsum": _longest_by_sentence,
}
"""By name: from the sentences of a hypothesis and of a reference to an F1 score."""
