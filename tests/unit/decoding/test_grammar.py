"""Grammars as filters: what can be written through one is its whole language, and nothing else."""

import itertools
import json
import random
import re
from collections.abc import Iterator, Sequence

import jsonschema
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.decoding.test_regex import PATTERNS

from regard.decoding.filters import NEVER, Written
from regard.decoding.grammar import Grammar
from regard.decoding.vocabulary import Vocabulary
from regard.errors import ConfigError
from regard.text import Tokenizer, train_tokenizer

END = 0


def vocabulary(*pieces: str | bytes, first: Sequence[str] = (), **options: bool) -> Vocabulary:
    """The end, a special token, and these pieces; first: what they add as the first token, if that differs."""
    later = [b"", b"", *(piece if isinstance(piece, bytes) else piece.encode() for piece in pieces)]
    opening = later[:2] + [piece.encode() for piece in first] if first else later
    return Vocabulary(tuple(opening), tuple(later), frozenset({0, 1}), **options)


def allowed(grammar: Grammar, tokens: Sequence[int], size: int) -> list[int]:
    written = Written(torch.tensor([tokens], dtype=torch.int64).view(1, -1), torch.tensor([0]))
    return (grammar(torch.zeros(1, size), written)[0] > NEVER).nonzero()[:, 0].tolist()


def texts(grammar: Grammar, pieces: Vocabulary, longest: int) -> Iterator[str]:
    """All that can be written in so many tokens; nothing that is begun may be a dead end."""
    waiting: list[list[int]] = [[]]
    while waiting:
        tokens = waiting.pop()
        choices = allowed(grammar, tokens, pieces.size)
        assert choices, f"nothing may follow {tokens}"
        if END in choices:
            assert grammar.accepts(tokens)
            yield pieces.text(tokens)
        if len(tokens) < longest:
            waiting += [[*tokens, token] for token in choices if token != END]


def all_texts(letters: str, longest: int) -> Iterator[str]:
    for length in range(longest + 1):
        yield from map("".join, itertools.product(letters, repeat=length))


@pytest.mark.parametrize(
    ("pattern", "language"),
    [
        ("ab|ba", {"ab", "ba"}),
        ("(a|b){2}", {"aa", "ab", "ba", "bb"}),
        ("a?b?", {"", "a", "b", "ab"}),
        ("b(ab){1,2}", {"bab", "babab"}),
        ("[^b]", {"a"}),
    ],
)
def test_what_can_be_written_is_the_language(pattern: str, language: set[str]):
    pieces = vocabulary("a", "b", "ab", "ba", "bab")
    assert set(texts(Grammar.regex(pattern, pieces, [END]), pieces, 5)) == language


@settings(deadline=None, max_examples=60)
@given(
    pattern=PATTERNS,
    pieces=st.lists(
        st.sampled_from(["a", "b", "1", "é", "龘", "ab", "a1", "ba", "\n", " "]), min_size=1, max_size=6, unique=True
    ),
)
def test_of_any_language_and_any_vocabulary(pattern: str, pieces: list[str]):
    table = vocabulary(*pieces)
    spelled = {"".join(parts) for n in range(5) for parts in itertools.product(pieces, repeat=n)}
    language = {text for text in spelled if re.fullmatch(pattern, text)}
    try:
        grammar = Grammar.regex(pattern, table, [END])
    except ConfigError:
        assert language == set()
        return
    found = set(texts(grammar, table, 3))
    assert {"".join(parts) for n in range(4) for parts in itertools.product(pieces, repeat=n)} & language == found
    assert found <= language


def test_a_token_that_leads_nowhere_may_not_come():
    pieces = vocabulary("a", "b", "x")
    grammar = Grammar.regex("a(y|z)|b", pieces, [END])
    assert allowed(grammar, [], pieces.size) == [3]
    longer = vocabulary("a", "b", "ab")
    assert set(texts(Grammar.regex("(ab)?c|abab", vocabulary("ab", "a"), [END]), vocabulary("ab", "a"), 4)) == {"abab"}
    assert allowed(Grammar.regex("a(b|c)d|b", longer, [END]), [], longer.size) == [3]


def test_characters_may_be_written_byte_by_byte():
    pieces = vocabulary(*(bytes([byte]) for byte in range(256)), "龘".encode()[:2])
    grammar = Grammar.regex("[一-龥é]", pieces, [END])
    first, second, third = (2 + byte for byte in "龘".encode())
    assert second not in allowed(grammar, [], pieces.size)
    assert allowed(grammar, [first, second], pieces.size) == allowed(grammar, [258], pieces.size) == list(range(0x82, 0xA8))
    assert allowed(grammar, [258, third], pieces.size) == [END]


def test_the_first_token_may_add_other_text_than_later_ones():
    pieces = vocabulary(" a", " b", "a", first=("a", "b", "a"))
    assert set(texts(Grammar.regex("[ab]( [ab])?", pieces, [END]), pieces, 3)) == {
        *("a", "b", "a a", "a b", "b a", "b b"),
    }


def test_special_tokens_add_nothing_and_may_not_come():
    pieces = vocabulary("a", "b")
    grammar = Grammar.regex("ab", pieces, [END])
    assert allowed(grammar, [1, 2, 1], pieces.size) == [3]
    assert allowed(grammar, [-1, -1, 2], pieces.size) == [3]


def test_an_end_that_is_text_only_ends():
    pieces = vocabulary("a", "\n")
    grammar = Grammar.regex("a(\n\na)?", pieces, [END, 3])
    assert allowed(grammar, [], pieces.size) == [2]
    assert allowed(grammar, [2], pieces.size) == [END, 3]
    with pytest.raises(ConfigError, match="can spell none"):
        Grammar.regex("a\na", pieces, [END, 3])


def test_what_was_forced_out_of_the_language_may_only_end():
    pieces = vocabulary("a", "b")
    grammar = Grammar.regex("ab", pieces, [END])
    assert allowed(grammar, [3], pieces.size) == allowed(grammar, [2, 2], pieces.size) == [END]


def test_a_model_may_have_more_rows_than_its_tokenizer():
    pieces = vocabulary("a", "b")
    grammar = Grammar.regex("ab", pieces, [END])
    assert allowed(grammar, [], 9) == [2]
    assert allowed(grammar, [2, 8], 9) == [3]


def test_hypotheses_are_looked_at_one_by_one():
    pieces = vocabulary("a", "b")
    grammar = Grammar.regex("ab|b", pieces, [END])
    scores = torch.arange(12.0).view(3, 4)
    given_scores = scores.clone()
    filtered = grammar(scores, Written(torch.tensor([[-1, -1], [-1, 2], [-1, 3]]), torch.tensor([1, 0, 0])))
    assert filtered.tolist() == [[NEVER, NEVER, 2.0, 3.0], [NEVER, NEVER, NEVER, 7.0], [8.0, NEVER, NEVER, NEVER]]
    assert torch.equal(scores, given_scores)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Grammar.regex(r"[^\s\S]", vocabulary("a"), [END]), "regex: it admits no text at all\n  fix: remove"),
        (
            lambda: Grammar.regex("bac?d", vocabulary("a", "b"), [END]),
            "regex: the vocabulary can spell none of its texts; the furthest it gets is 'ba'\n  fix: use",
        ),
        (lambda: Grammar.regex("a", vocabulary("a"), []), "regex: no token ends a text\n  fix: name the eos_token_id"),
        (
            lambda: Grammar.regex("a", vocabulary("a", tidied=True), [END], where="code"),
            'code: decoding takes away spaces that were written\n  fix: set "clean_up',
        ),
        (lambda: Grammar.json_schema({"enum": [1], "type": "string"}, vocabulary("1"), [END]), "schema: it admits no text"),
    ],
)
def test_a_grammar_that_admits_nothing_says_so_at_once(make, message: str):
    with pytest.raises(ConfigError, match="^" + re.escape(message)):
        make()


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 8},
        "age": {"type": ["integer", "null"]},
        "tags": {"type": "array", "items": {"enum": ["the", "of", "北京"]}, "maxItems": 3},
    },
    "required": ["name", "tags"],
}


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    corpus = ['{"name": "the café", "age": -17, "tags": ["the", "of", "北京"]} null 0123456789. x, [y] z: the of {a}'] * 4
    kinds = ("bpe", "unigram", "byte", "char")
    return {kind: train_tokenizer(corpus, kind=kind, vocab_size=330, specials="seq2seq") for kind in kinds}


@pytest.mark.parametrize("kind", ["bpe", "unigram", "byte", "char"])
def test_every_tokenizer_writes_json_that_its_schema_accepts(tokenizers: dict[str, Tokenizer], kind: str):
    tokenizer = tokenizers[kind]
    pieces, end = Vocabulary.of(tokenizer), tokenizer.eos_id
    assert end is not None
    grammar = Grammar.json_schema(SCHEMA, pieces, [end])
    draw = random.Random(0)
    for _ in range(10):
        tokens: list[int] = []
        while end not in tokens:
            choices = allowed(grammar, tokens, pieces.size)
            # Numbers have no longest one: the end of what can end comes soon.
            closing = [token for token in choices if token == end or set(pieces.later[token]) <= set(b'"}], ')]
            tokens.append(draw.choice(closing if closing and draw.random() < 0.5 else choices))
        jsonschema.validate(json.loads(tokenizer.decode([tokens])[0]), SCHEMA)


def test_words_of_wordpiece_come_with_their_spaces():
    tokenizer = train_tokenizer(["the cat saw the dog"] * 3, kind="wordpiece", vocab_size=60)
    pieces = Vocabulary.of(tokenizer)
    grammar = Grammar.regex("the (cat|dog)( saw)?", pieces, [tokenizer.sep_id])
    tokens = tokenizer.encode(["the cat saw"], special=False)[0].ids
    for n, token in enumerate(tokens):
        assert token in allowed(grammar, tokens[:n], pieces.size)
        assert grammar.accepts(tokens[:n]) == (tokenizer.decode([tokens[:n]])[0] == "the cat")
    assert allowed(grammar, tokens, pieces.size) == [tokenizer.sep_id]
