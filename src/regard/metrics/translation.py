"""How near translations come to references: BLEU, chrF and TER, each value as sacrebleu computes it (Post 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from regard.errors import ConfigError, DataError, did_you_mean, listed
from regard.metrics.bootstrap import Metric, resampled_sums
from regard.metrics.checks import Ints, texts_and_references
from regard.metrics.text_report import TextReport
from regard.metrics.tokens import mostly_undivided

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as Scorer
    from sacrebleu.metrics.ter import TER

Tokenize = Literal["13a", "zh", "char", "none"]
"""Words of BLEU: those of WMT's script; every ideograph by itself; every character by itself; as the spaces say, for text
that was tokenised before (with it BLEU is that of multi-bleu.perl)."""

TER_WORK, TER_WORK_OF_A_ROW = 2.5e8, 2e8
"""What TER may cost, in (words of both texts multiplied)², about 20 ns each where texts have little in common: four seconds.
Sentences of 12 words then take half a millisecond, of 50 words 0.15 s; in much longer ones the search gives up."""


def translated(
    hypotheses: Sequence[str],
    references: Sequence[str | Sequence[str]],
    *,
    tokenize: Tokenize = "13a",
    lowercase: bool = False,
    ter_rows: int | None = None,
    seed: int = 0,
) -> TextReport:
    """BLEU (Papineni et al. 2002), chrF2 (Popović 2015) and TER (Snover et al. 2006) of a corpus, in percent.

    hypotheses: (n,), detokenised unless `tokenize` is `none`. references: (n,), a text or several for each. lowercase: small
    letters for BLEU and chrF; TER, as in sacrebleu, never looks at case. A smaller TER is better, and it may pass 100;
    its words are divided by spaces, for `zh` and `char` also between ideographs.

    ter_rows: measure TER on so many rows, drawn at random; None means as many as take a few seconds, which are all of some
    thousand sentences of usual length. Tables: `signatures` by metric, `precisions` of BLEU's n-grams 1 to 4 in percent,
    `brevity_penalty`, `hypothesis_length` and `reference_length` in BLEU's words, and `ter_rows`.

    Raises DataError for no rows, unequal numbers of rows, rows without a reference, whatever is no text and `ter_rows` below
    1; ConfigError for an unknown `tokenize`.
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    if tokenize not in get_args(Tokenize):
        names = get_args(Tokenize)
        raise ConfigError(f"no BLEU tokeniser {tokenize!r}", allowed=listed(names), fix=did_you_mean(tokenize, names))
    written, wanted = texts_and_references(hypotheses, references)
    divided = tokenize in ("zh", "char")
    # force: no warning for text that looks tokenised; the signature says how it was read
    bleu, chrf = BLEU(lowercase=lowercase, tokenize=tokenize, force=True), CHRF(lowercase=lowercase)
    ter = TER(normalized=divided, asian_support=divided)
    rows = _ter_rows(ter, written, wanted, ter_rows, seed)
    draws = {
        "bleu": _draws(bleu, written, wanted, seed),
        "chrf": _draws(chrf, written, wanted, seed),
        "ter": _draws(ter, [written[row] for row in rows], [wanted[row] for row in rows], seed),
    }
    whole = draws["bleu"][0]
    scorers: dict[str, Scorer] = {"bleu": bleu, "chrf": chrf, "ter": ter}
    tables = {
        "signatures": {name: str(scorer.get_signature()) for name, scorer in scorers.items()},
        "precisions": [float(precision) for precision in whole.precisions],
        "brevity_penalty": float(whole.bp),
        "hypothesis_length": int(whole.sys_len),
        "reference_length": int(whole.ref_len),
        "ter_rows": len(rows),
    }
    metrics = {name: Metric.of(np.array([draw.score for draw in each])) for name, each in draws.items()}
    return TextReport(metrics, tables)


def bleu_tokenizer(references: Sequence[str | Sequence[str]]) -> Tokenize:
    """`zh` where most words of the references are ideographs, else `13a`: what :func:`translated` should cut them with."""
    texts = chain.from_iterable([row] if isinstance(row, str) else row for row in references)
    return "zh" if mostly_undivided(texts) else "13a"


def _draws(scorer: Scorer, written: list[str], wanted: list[list[str]], seed: int) -> list[Any]:
    """sacrebleu's score of the sample and of every resample: all that it takes is sums over rows."""
    # Theirs are the references of all rows, first ones first; None where a row has no more.
    streams: Any = list(zip_longest(*wanted))
    rows = np.array(scorer._extract_corpus_statistics(written, streams), dtype=np.float64)
    return [scorer._compute_score_from_stats(sums) for sums in resampled_sums(rows, seed=seed).tolist()]


def _ter_rows(ter: TER, written: list[str], wanted: list[list[str]], count: int | None, seed: int) -> Ints:
    """The rows that TER is measured on, in their order: a plain random sample, so that none is favoured for being short."""
    if count is not None and count < 1:
        raise DataError(f"TER on {count} rows", allowed="1 or more, or None")
    n_rows = len(written)
    if count is None:
        words = [[len(ter._preprocess_segment(text).split()) for text in row] for row in wanted]
        work = [
            min((len(ter._preprocess_segment(text).split()) * sum(lengths)) ** 2, TER_WORK_OF_A_ROW)
            for text, lengths in zip(written, words, strict=True)
        ]
        count = max(1, int(n_rows * TER_WORK / max(sum(work), 1)))
    return np.sort(np.random.default_rng(seed).permutation(n_rows)[:count])
