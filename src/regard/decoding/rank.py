"""Choosing among finished candidates: the one that the others agree with most, or the likeliest for its length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

Utility = Callable[[str, str], float]
"""How good a candidate (first) would be if the other text were right; more is better."""


def chrf(candidate: str, reference: str) -> float:
    """chrF of a sentence, 0 to 1 (Popović 2015): the F2 of its n-grams of up to six characters, by sacrebleu's counting."""
    # Imported when it is asked for: it takes a tenth of a second, and a beam alone has no need of it.
    from sacrebleu.metrics.chrf import CHRF

    return float(CHRF().sentence_score(candidate, [reference]).score) / 100


def expected_utility(
    candidates: Sequence[str], references: Sequence[str] | None = None, *, utility: Utility = chrf
) -> list[float]:
    """How useful each candidate is on average, if each of the references is right as often as it occurs.

    With samples of a model as candidates and as references this estimates the risk that Eikema and Aziz (2020, §6)
    minimise; unlike a beam it needs many samples (their figures begin at 30) and no length penalty. As references the
    candidates stand, itself included; utility is asked once for each pair of different texts.

    Returns one number per candidate, in the unit of the utility (chrF: 0 to 1). Raises ValueError without references.
    """
    counts = Counter(candidates if references is None else references)
    if not counts:
        raise ValueError("no references: a candidate is judged by what other texts say")
    total = counts.total()
    found = {
        candidate: sum(count * utility(candidate, reference) for reference, count in counts.items()) / total
        for candidate in dict.fromkeys(candidates)
    }
    return [found[candidate] for candidate in candidates]


def minimum_bayes_risk(candidates: Sequence[str], *, utility: Utility = chrf) -> list[int]:
    """Places of the candidates, the one that agrees most with all of them first: :func:`expected_utility`.

    Of equally useful ones the earlier comes first. Raises ValueError without candidates.
    """
    return _best_first(expected_utility(candidates, utility=utility))


def likeliest(scores: Sequence[float], lengths: Sequence[int], *, length_penalty: float = 1.0) -> list[int]:
    """Places of the candidates, the best first, by log-probability / length ** length_penalty.

    scores: summed log-probabilities (natural), at most 0. lengths: in tokens, the end included. length_penalty: 0 compares
    the sums, which favours short texts; 1 the mean of a token; more favours long texts, as `length_penalty` of
    `transformers` does. An empty candidate counts as one token.

    Of equally good ones the earlier comes first. Raises ValueError when there are not as many lengths as scores.
    """
    pairs = zip(scores, lengths, strict=True)
    return _best_first([score / max(length, 1) ** length_penalty for score, length in pairs])


def _best_first(values: Sequence[float]) -> list[int]:
    return sorted(range(len(values)), key=lambda place: -values[place])
