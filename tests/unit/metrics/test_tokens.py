"""Words of generated text, and their stems: NLTK's for every word."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer
from rouge_score.tokenizers import DefaultTokenizer

from regard.metrics.porter import DERIVED, DOUBLE, IRREGULAR, LAST, stem
from regard.metrics.tokens import (
    answer_words,
    ascii_words,
    mostly_undivided,
    n_grams,
    porter_words,
    spaced_words,
    unicode_words,
)

ENDINGS = [rule.partition("=")[0] for rule in f"{DOUBLE} {DERIVED} {LAST}".split()]
ENDINGS += ["alli", "logi", "ies", "ied", "eed", "ed", "ing", "sses", "ss", "s", "y", "e", "ll", "tt", "at", "bl", "iz"]
MADE_UP = st.builds("{}{}{}".format, st.text("aeiouybcdlstwxz0", max_size=6), *[st.sampled_from(["", *ENDINGS])] * 2)


@settings(max_examples=1000)
@given(MADE_UP.filter(bool))
def test_stems_are_those_of_nltk(word):
    assert stem(word) == PorterStemmer().stem(word)


@pytest.mark.parametrize(
    "word", [*IRREGULAR, "ties", "tied", "happy", "by", "hopping", "hoping", "falling", "agreed", "feed"]
)
def test_so_are_words_of_a_rule_of_their_own(word):
    assert stem(word) == PorterStemmer().stem(word)


@given(st.text())
def test_english_words_are_those_of_rouge_score(text):
    assert ascii_words(text) == DefaultTokenizer(use_stemmer=False).tokenize(text)
    assert porter_words(text) == DefaultTokenizer(use_stemmer=True).tokenize(text)


@given(st.text(st.characters(max_codepoint=127)))
def test_unicode_words_of_plain_english_are_the_same(text):
    assert unicode_words(text) == ascii_words(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Zwei Männer, größer.", "zwei männer größer"),
        ("我爱 Python3！", "我 爱 python3"),
        ("Ｆｕｌｌ１２", "full12"),
        ("cafe\u0301", "café"),
        ("हिन्दी भाषा।", "हिन्दी भाषा"),
        ("ありがとう", "あ り が と う"),
        ("… — ?!", ""),
    ],
)
def test_words_of_any_script(text, words):
    assert unicode_words(text) == words.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The U.S. army", "us army"),
        ("an apple-pie, the", "applepie"),
        ("《红楼梦》第 12 回", "红 楼 梦 第 12 回"),
        ("Theatre", "theatre"),
    ],
)
def test_words_of_an_answer(text, words):
    assert answer_words(text) == words.split()


def test_n_grams_are_words_that_follow_each_other():
    assert n_grams(["a", "b", "c"], 2) == [("a", "b"), ("b", "c")]
    assert n_grams(["a"], 2) == []


def test_text_without_spaces_is_known_by_most_of_its_words():
    assert mostly_undivided(["我爱猫", "ok fine"])
    assert not mostly_undivided(["我爱", "ok fine"])
    assert not mostly_undivided([])


def test_words_of_a_language_model_are_as_they_are_written():
    assert spaced_words(" The cat, sat.\n你好 OK!") == ["The", "cat,", "sat.", "你", "好", "OK!"]
