"""BLEU, chrF and TER: sacrebleu's own values, on the sample and on every resample; BLEU also by the paper's formula."""

import json
from collections import Counter
from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF, TER

from regard.errors import ConfigError, DataError
from regard.metrics import Metric, bleu_tokenizer, translated
from regard.metrics.bootstrap import times_drawn
from regard.metrics.tokens import n_grams

HYPOTHESES = [
    "The cat sat on the mat.",
    "A dog is running in a park",
    "",
    "Two men, in blue shirts, play the guitar.",
    "She reads a book on the long train home",
]
REFERENCES = [
    ["The cat sat on a mat.", "A cat was sitting on the mat"],
    ["A dog runs in the park."],
    ["Nobody is here."],
    ["Two men in blue shirts are playing guitar.", "Two men play the guitar, in blue shirts.", "Guitar players"],
    ["On the long train home she reads a book."],
]
TEXTS = st.lists(st.sampled_from(["a", "b", "c", "A", ".", ",", "猫", "狗", "12", "l'eau"]), max_size=9).map(" ".join)
CASES = st.lists(st.tuples(TEXTS, st.one_of(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))), min_size=1, max_size=8)


def scorers(tokenize="13a", lowercase=False):
    divided = tokenize in ("zh", "char")
    return {
        "bleu": BLEU(tokenize=tokenize, lowercase=lowercase, force=True),
        "chrf": CHRF(lowercase=lowercase),
        "ter": TER(normalized=divided, asian_support=divided),
    }


def streams(references):
    """References as sacrebleu takes them."""
    rows = [[row] if isinstance(row, str) else row for row in references]
    return [[row[at] if at < len(row) else None for row in rows] for at in range(max(map(len, rows)))]


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("tokenize", ["13a", "zh", "char", "none"])
@settings(max_examples=10)
@given(CASES)
def test_values_and_signatures_are_those_of_sacrebleu(tokenize, lowercase, case):
    hypotheses, references = zip(*case, strict=True)
    report = translated(hypotheses, references, tokenize=tokenize, lowercase=lowercase)
    for name, scorer in scorers(tokenize, lowercase).items():
        score = scorer.corpus_score(hypotheses, streams(references)).score
        assert report.metrics[name].value == pytest.approx(score, rel=1e-12)
        assert report.tables["signatures"][name] == str(scorer.get_signature())


def test_intervals_are_those_of_sacrebleu_on_the_same_resamples():
    report = translated(HYPOTHESES, REFERENCES, seed=3)
    samples = [np.repeat(np.arange(5), row.astype(int)) for times in times_drawn(5, seed=3) for row in times]
    for name, scorer in scorers().items():
        draws = [
            scorer.corpus_score([HYPOTHESES[row] for row in rows], streams([REFERENCES[row] for row in rows])).score
            for rows in [np.arange(5), *samples]
        ]
        brute = Metric.of(np.array(draws))
        assert list(report.metrics[name].as_dict().values()) == pytest.approx(list(brute.as_dict().values()), rel=1e-9)
        assert brute.low < brute.value < brute.high


def multi_bleu(hypotheses, references):
    """Papineni et al. 2002, §2.3, without smoothing and over words as the spaces say: what multi-bleu.perl prints."""
    hits, total = Counter(), Counter()
    length = closest = 0
    for hypothesis, row in zip(hypotheses, references, strict=True):
        words, others = hypothesis.split(), [reference.split() for reference in row]
        length += len(words)
        closest += min((abs(len(other) - len(words)), len(other)) for other in others)[1]
        for n in range(1, 5):
            most = Counter()
            for other in others:
                most |= Counter(n_grams(other, n))
            hits[n] += (Counter(n_grams(words, n)) & most).total()
            total[n] += len(n_grams(words, n))
    penalty = min(1.0, exp(1 - closest / length))
    return 100 * penalty * exp(sum(log(hits[n] / total[n]) for n in range(1, 5)) / 4), penalty


def test_bleu_of_tokenised_text_is_that_of_multi_bleu():
    report = translated(HYPOTHESES, REFERENCES, tokenize="none")
    value, penalty = multi_bleu(HYPOTHESES, REFERENCES)
    assert report.metrics["bleu"].value == pytest.approx(value, rel=1e-9)
    assert report.tables["brevity_penalty"] == pytest.approx(penalty, rel=1e-12)
    assert penalty < 1


def test_tables_hold_what_a_paper_prints():
    report = translated(["the cat sat", "a dog"], ["the cat sat", "a dog ran"])
    tables = json.loads(json.dumps(report.as_dict()))
    assert tables["precisions"][:3] == [100, 100, 100]
    assert (tables["hypothesis_length"], tables["reference_length"], tables["ter_rows"]) == (5, 6, 2)
    assert tables["brevity_penalty"] == pytest.approx(exp(-1 / 5))
    assert tables["metrics"]["ter"]["value"] == pytest.approx(100 / 6)


def test_perfect_translations_are_certain():
    texts = ["one two three four five", "six seven eight nine ten"]
    metrics = translated(texts, texts).metrics
    assert [metrics["bleu"].low, metrics["chrf"].low] == pytest.approx([100, 100])
    assert metrics["ter"].high == 0


def test_nothing_written_is_worth_nothing():
    metrics = translated(["", ""], ["one two", "three"]).metrics
    assert [(metric.value, metric.low, metric.high) for metric in metrics.values()] == [
        (0, 0, 0),
        (0, 0, 0),
        (100, 100, 100),
    ]


def test_chinese_is_measured_by_characters():
    report = translated(["我喜欢猫和狗"], ["我喜欢狗和猫"], tokenize="zh")
    assert report.tables["hypothesis_length"] == 6
    assert report.metrics["ter"].value == pytest.approx(100 / 6 * 2)
    assert translated(["我喜欢猫和狗"], ["我喜欢狗和猫"]).metrics["ter"].value == 100


def test_ter_is_measured_on_rows_drawn_at_random():
    hypotheses, references = [f"a {row}" for row in range(40)], [f"b {row}" for row in range(40)]
    assert translated(hypotheses, references, ter_rows=100).tables["ter_rows"] == 40
    some = translated(hypotheses, [*references[:20], *hypotheses[20:]], ter_rows=10)
    assert some.tables["ter_rows"] == 10
    assert 0 < some.metrics["ter"].value < 50
    assert some.metrics == translated(hypotheses, [*references[:20], *hypotheses[20:]], ter_rows=10).metrics


def test_ter_takes_as_many_rows_as_it_has_time_for(monkeypatch):
    texts = [f"one two three four {row}" for row in range(40)]
    monkeypatch.setattr("regard.metrics.translation.TER_WORK", 10 * 25**2)
    assert translated(texts, texts).tables["ter_rows"] == 10
    monkeypatch.setattr("regard.metrics.translation.TER_WORK", 1)
    assert translated(texts, texts).tables["ter_rows"] == 1


@pytest.mark.parametrize(
    ("references", "tokenizer"),
    [
        (["我喜欢猫。", "他有 2 只狗"], "zh"),
        ([["我用 Python 写程序", "我写 Python"]], "zh"),
        (["Ich mag Katzen", "das Zeichen 猫"], "13a"),
        (["", "..."], "13a"),
    ],
)
def test_references_say_which_tokenizer_suits_them(references, tokenizer):
    assert bleu_tokenizer(references) == tokenizer


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: translated([], []), "hypotheses hold no rows"),
        (lambda: translated("a", ["a"]), "hypotheses are a single text"),
        (lambda: translated(["a"], "a"), "references are a single text"),
        (lambda: translated(["a", "b"], ["a"]), "hypotheses and references differ in rows: 2 and 1"),
        (lambda: translated(["a", 3], ["a", "b"]), "row 2: hypotheses hold 3, which is no text"),
        (lambda: translated(["a"], [None]), "row 1: references hold nothing"),
        (lambda: translated(["a"], [["a", None]]), "row 1: references hold a list with nothing"),
        (lambda: translated(["a", "b"], ["a", []]), "row 2: no reference"),
        (lambda: translated(["a"], ["a"], ter_rows=0), "TER on 0 rows"),
    ],
)
def test_errors(call, message):
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value).startswith(message)
    assert caught.value.problems[0].allowed


def test_an_unknown_tokenizer_is_an_error_with_the_known_ones():
    with pytest.raises(ConfigError, match="no BLEU tokeniser '13'") as caught:
        translated(["a"], ["a"], tokenize="13")
    assert caught.value.problems[0].allowed == "13a, zh, char, none"
    assert "13a" in caught.value.problems[0].fix
