"""Windows over long texts, and the words that tokens make up."""

from collections.abc import Callable
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.tasks.windows import Token, places_of, stride_of, trimmed, windows, word_spans, words
from regard.text import Tokenizer, train_tokenizer
from regard.text.train import Kind

CORPUS = ["Unbelievable prices rose 3.5% in cafés.", "我们今天去北京大学，明天再去上海。", "Nobody believes it."] * 4
TEXTS = (
    "",
    "  ",
    "Unbelievably, prices rose 3.5% in 12.",
    "我们去北京 café-bar 大学。",
    "cafe\u0301 at  noon\n\tNobody",
    "ไทย ていねい nobody",
    "👩‍🚀 rose",
)


@pytest.fixture(scope="module", params=get_args(Kind))
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    size = 320 if request.param in ("bpe", "byte") else 75
    return train_tokenizer(CORPUS, kind=request.param, vocab_size=size)


@pytest.fixture(scope="module")
def wordpiece() -> Tokenizer:
    return train_tokenizer(CORPUS, kind="wordpiece", vocab_size=75)


# Windows


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(st.sampled_from([" ".join(TEXTS), *TEXTS]).map(lambda text: text * 2), max_size=4),
    max_length=st.integers(5, 40),
)
def test_each_token_is_told_once_and_in_order(tokenizer: Tokenizer, texts: list[str], max_length: int) -> None:
    encodings, tokens = windows(texts, tokenizer, max_length=max_length)
    whole = tokenizer.encode(texts)
    assert [len(row) for row in tokens] == [len(places_of(encoding, 0)) for encoding in whole]
    for row, encoding in zip(tokens, whole, strict=True):
        assert [encodings[token.window].ids[token.place] for token in row] == [
            encoding.ids[place] for place in places_of(encoding, 0)
        ]
    assert all(len(encoding.ids) <= max_length for encoding in encodings)


@settings(deadline=None, max_examples=60)
@given(n_words=st.integers(0, 60), max_length=st.integers(5, 40))
def test_a_token_is_seen_where_most_is_around_it(wordpiece: Tokenizer, n_words: int, max_length: int) -> None:
    encodings, (tokens,) = windows(["去" * n_words], wordpiece, max_length=max_length)
    shared = stride_of(max_length - 4)
    room = max_length - 2
    last = len(encodings) - 1
    for token in tokens:
        behind = token.place - 1
        ahead = len(encodings[token.window].ids) - 2 - token.place
        assert behind >= shared // 2 or token.window == 0
        assert ahead >= shared - shared // 2 or token.window == last
    assert all(len(encoding.ids) == room + 2 for encoding in encodings[:-1])


def test_what_stands_before_is_in_each_window(wordpiece: Tokenizer) -> None:
    texts, before = ["去" * 30, "", "大学"], ["今天", "明天", ""]
    encodings, tokens = windows(texts, wordpiece, max_length=20, stride=4, before=before)
    assert [len(row) for row in tokens] == [30, 0, 2]
    assert [encoding.row for encoding in encodings] == [0, 0, 0, 1, 2]
    for encoding in encodings:
        asked = [encoding.ids[place] for place in places_of(encoding, 0)]
        assert asked == wordpiece.encode([before[encoding.row]], special=False)[0].ids
    assert [token.start for token in tokens[0]] == list(range(30))


@pytest.mark.parametrize(
    ("span", "expected"),
    [((0, 4), (2, 4)), ((0, 6), (2, 4)), ((0, 2), (2, 2)), ((4, 6), (6, 6)), ((2, 3), (2, 3)), ((3, 3), (3, 3))],
)
def test_trimmed(span: tuple[int, int], expected: tuple[int, int]) -> None:
    assert trimmed(" \tab\n ", *span) == expected


# Words


def texts_of(text: str, tokenizer: Tokenizer) -> list[str]:
    (tokens,) = windows([text], tokenizer, max_length=None)[1]
    return [text[word.start : word.end] for word in words(text, tokens)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Unbelievably nobody", ["Unbelievably", "nobody"]),
        ("prices-rose, 12", ["prices", "-", "rose", ",", "12"]),
        ("去北京café大学", ["去", "北", "京", "café", "大", "学"]),
    ],
)
@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "byte", "char"])
def test_words_are_the_same_in_every_vocabulary(text: str, expected: list[str], kind: Kind) -> None:
    if kind == "bpe" and "去" in text:
        expected = ["去北京", "café", "大学"]  # a token of several ideographs stays whole
    size = 320 if kind in ("bpe", "byte") else 75
    assert texts_of(text, train_tokenizer([*CORPUS, text], kind=kind, vocab_size=size, min_frequency=1)) == expected


Split = Callable[[str], list[Token]]


@pytest.fixture
def split() -> Split:
    """Tokens from text whose pieces are parted by `|`; `▁` stands for a bare blank."""

    def made(pieces: str) -> list[Token]:
        tokens, start = [], 0
        for place, piece in enumerate(pieces.split("|")):
            word = piece.removeprefix("▁").removeprefix("##").lstrip()
            start += len(piece.removeprefix("▁").removeprefix("##")) - len(word)
            tokens.append(Token(0, place, piece.strip(), start, start + len(word)))
            start += len(word)
        return tokens

    return made


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ("un|##believ|##able| price", [(0, "unbelievable"), (3, "price")]),
        ("€|##5|.", [(0, "€5"), (2, ".")]),  # the vocabulary says that it is one
        ("un|believ|able| pri|ce", [(0, "unbelievable"), (3, "price")]),
        ("well|-|known|,|3|.|5", [(0, "well"), (1, "-"), (2, "known"), (3, ","), (4, "3"), (5, "."), (6, "5")]),
        ("中国|人|a|b", [(0, "中国"), (1, "人"), (2, "ab")]),
        ("▁|他|去", [(0, "他"), (2, "去")]),
        ("a|▁|b", [(0, "a"), (1, "b")]),
        ("e|\u0301|t", [(0, "e\u0301t")]),
        ("▁", []),
        ("한국|어", [(0, "한국어")]),
        ("これ|は", [(0, "これ"), (1, "は")]),
    ],
)
def test_which_pieces_make_a_word(split: Split, pieces: str, expected: list[tuple[int, str]]) -> None:
    text = pieces.replace("|", "").replace("▁", "").replace("##", "")
    tokens = split(pieces)
    found = words(text, tokens)
    assert [(word.first, text[word.start : word.end]) for word in found] == expected
    spans = word_spans(text, tokens)
    assert [spans[word.first] for word in found] == [(word.start, word.end) for word in found]
    assert len(spans) == len(tokens)


def test_pieces_of_one_character_are_one_word() -> None:
    """Bytes of an ideograph or an emoji."""
    tokens = [Token(0, 0, "ä»", 0, 1), Token(0, 1, "ĸ", 0, 1), Token(0, 2, "åİ", 1, 2), Token(0, 3, "»", 1, 2)]
    assert [(word.first, word.start, word.end) for word in words("他去", tokens)] == [(0, 0, 1), (2, 1, 2)]


@settings(deadline=None, max_examples=60)
@given(text=st.text(max_size=30))
def test_words_lie_in_order_and_hold_every_token(tokenizer: Tokenizer, text: str) -> None:
    (tokens,) = windows([text], tokenizer, max_length=None)[1]
    found = words(text, tokens)
    places = [place for word in found for place in (word.start, word.end)]
    assert places == sorted(places)
    assert all(word.start < word.end for word in found)
    assert not any(text[word.start].isspace() or text[word.end - 1].isspace() for word in found)
    for token, (start, end) in zip(tokens, word_spans(text, tokens), strict=True):
        assert token.start == token.end or start <= token.start < token.end <= end
