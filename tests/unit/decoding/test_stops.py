"""Stop strings and streams of text: over any borders of tokens, the same as looking at the whole text."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.parity.test_tokenizers import LETTERS, ROWS
from tests.unit.decoding.vocabularies import every

from regard.decoding.filters import Written
from regard.decoding.stops import Stops, TextStream
from regard.decoding.vocabulary import Vocabulary
from regard.errors import ConfigError

LETTERED = ["", "a", "b", "ab", "ba", "龘", *(bytes([byte]) for byte in "龘".encode()), "\n"]
PIECES = tuple(piece if isinstance(piece, bytes) else piece.encode() for piece in LETTERED)
TOY = Vocabulary(PIECES, PIECES, frozenset({0}))
STRINGS = st.lists(st.text("ab龘\n", min_size=1, max_size=3), min_size=1, max_size=3)
TOKENS = st.lists(st.integers(0, len(PIECES) - 1), max_size=12)


def before_the_first(text: str, strings: list[str]) -> tuple[str, bool]:
    """Letter by letter: the text before the first string that is complete, and whether there is one."""
    for stop in range(len(text) + 1):
        complete = [string for string in strings if text[:stop].endswith(string)]
        if complete:
            return text[: stop - max(map(len, complete))], True
    return text, False


@settings(deadline=None, max_examples=300)
@given(strings=STRINGS, tokens=TOKENS)
def test_the_first_stop_string_ends_a_text_whatever_tokens_spell_it(strings: list[str], tokens: list[int]):
    stops = Stops(strings, TOY)
    text, ended = before_the_first(TOY.text(tokens), strings)
    assert stops.kept(tokens) == text
    stream = TextStream(TOY, stops)
    shown = ""
    for token in tokens:
        shown += stream.feed(token)
        assert text.startswith(shown)
    assert shown + stream.close() == text
    assert stream.ended == ended


@settings(deadline=None, max_examples=200)
@given(strings=STRINGS, rows=st.lists(TOKENS, min_size=1, max_size=4))
def test_a_search_is_told_at_the_token_that_completes_one(strings: list[str], rows: list[list[int]]):
    width = max(map(len, rows))
    tokens = torch.tensor([[-1] * (width - len(row)) + row for row in rows], dtype=torch.int64).view(len(rows), width)
    ended = Stops(strings, TOY).ended(Written(tokens, torch.zeros(len(rows), dtype=torch.int64)))
    for row, told in zip(rows, ended.tolist(), strict=True):
        *before, newest = [*TOY.pieces(row)] or [b""]
        start, whole = len(b"".join(before)), b"".join([*before, newest])
        ends = range(start + 1, len(whole) + 1)
        assert told == any(whole[:end].endswith(string.encode()) for end in ends for string in strings)


def test_tokens_beyond_the_vocabulary_end_nothing():
    written = Written(torch.tensor([[1], [99], [-1]]), torch.zeros(3, dtype=torch.int64))
    assert Stops(["a"], TOY).ended(written).tolist() == [True, False, False]


def test_half_a_character_is_never_shown():
    stream = TextStream(TOY)
    assert [stream.feed(token) for token in (1, 6, 7, 8, 6, 7, 1)] == ["a", "", "", "龘", "", "", "\ufffda"]
    assert stream.close() == ""
    stream = TextStream(TOY)
    assert (stream.feed(6), stream.close()) == ("", "\ufffd")


def test_what_may_become_a_stop_string_is_held_back():
    stream = TextStream(TOY, Stops(["abb"], TOY))
    assert [stream.feed(token) for token in (1, 1, 2, 1, 2, 2, 1)] == ["", "a", "", "ab", "", "", ""]
    assert stream.ended
    assert stream.close() == ""


def streamed(vocabulary: Vocabulary, tokens: list[int]) -> str:
    stream = TextStream(vocabulary)
    shown = ""
    for token in tokens:
        shown += stream.feed(token)
    return shown + stream.close()


def test_every_tokenizer_streams_what_it_decodes():
    for kind, (tokenizer, vocabulary) in every().items():
        rows = tokenizer.ids(ROWS)[0]
        assert [streamed(vocabulary, row) for row in rows] == tokenizer.decode(rows), kind


@settings(deadline=None, max_examples=40)
@given(text=st.text(LETTERS | st.sampled_from(" .?!,'nt'msvred"), max_size=40))
def test_of_any_text(text: str):
    for kind, (tokenizer, vocabulary) in every().items():
        row = tokenizer.ids([text])[0][0]
        assert [streamed(vocabulary, row)] == tokenizer.decode([row]), kind


@settings(deadline=None, max_examples=300)
@given(text=st.text(" nt'm.!s", max_size=16), trimmed=st.booleans())
def test_spaces_that_tidying_takes_are_not_shown(text: str, trimmed: bool):
    letters = tuple(letter.encode() for letter in " nt'm.!s")
    vocabulary = Vocabulary(letters, letters, frozenset(), trimmed=trimmed, tidied=True)
    tokens = [letters.index(letter.encode()) for letter in text]
    assert streamed(vocabulary, tokens) == vocabulary.text(tokens)


def test_little_is_held_back_where_spaces_may_go():
    letters = tuple(letter.encode() for letter in " nt'm.!s")
    stream = TextStream(Vocabulary(letters, letters, frozenset(), trimmed=True, tidied=True))
    shown = "".join(stream.feed(letters.index(letter.encode())) for letter in " tnt ' s mmmm ! ns")
    assert (shown, stream.close()) == ("tnt's mmmm", "! ns")


@pytest.mark.parametrize(("strings", "what"), [([], "no stop strings"), (["a", ""], "an empty stop string")])
def test_stop_strings_without_text_are_refused(strings: list[str], what: str):
    with pytest.raises(ConfigError, match=rf"^{what}\n  allowed: .*\n  fix: "):
        Stops(strings, TOY)
