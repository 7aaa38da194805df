"""What tokens add to a text: joined, the pieces of every kind of tokenizer are what decoding gives."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.parity.test_tokenizers import LETTERS, ROWS
from tests.unit.decoding.vocabularies import Known, every

from regard.decoding.vocabulary import Vocabulary
from regard.errors import CheckpointError
from regard.text import Tokenizer, train_tokenizer


def check_joined(known: Known, texts: list[str], kind: str) -> None:
    tokenizer, vocabulary = known
    rows = tokenizer.ids(texts)[0] + [encoding.ids for encoding in tokenizer.encode(texts, special=False)]
    assert [vocabulary.text(row) for row in rows] == tokenizer.decode(rows), kind


def test_joined_pieces_are_the_decoded_text():
    for kind, known in every().items():
        check_joined(known, ROWS, kind)


@settings(deadline=None, max_examples=25)
@given(texts=st.lists(st.text(LETTERS, max_size=20), min_size=1, max_size=4))
def test_of_any_text(texts: list[str]):
    for kind, known in every().items():
        check_joined(known, texts, kind)


@pytest.mark.parametrize("kind", ["albert-tiny-zh", "bart-g2p-en", "m3e-small"])
def test_of_real_tokenizers(shared: Path, kind: str):
    tokenizer = Tokenizer.load(shared / "checkpoints" / kind)
    check_joined((tokenizer, Vocabulary.of(tokenizer)), ROWS, kind)


def test_a_character_may_lie_in_several_tokens():
    tokenizer, vocabulary = every()["trained-byte"]
    (ids,) = tokenizer.encode(["龘a"], special=False)
    assert list(vocabulary.pieces(ids.ids)) == [b"\xe9", b"\xbe", b"\x98", b"a"]
    assert {piece for piece in vocabulary.later if len(piece) == 1} == {bytes([byte]) for byte in range(256)}
    tokenizer, vocabulary = every()["llama"]
    assert b"".join(vocabulary.pieces(tokenizer.encode(["龘"], special=False)[0].ids)) == "龘".encode()


def test_the_first_token_of_a_text_loses_its_space():
    for kind in ("trained-unigram", "t5", "llama", "marian", "bert"):
        tokenizer, vocabulary = every()[kind]
        token = next(i for i in range(vocabulary.size) if vocabulary.later[i].startswith(b" ") and vocabulary.first[i])
        assert vocabulary.first[token] == vocabulary.later[token][1:]
        special = tokenizer.eos_id if tokenizer.eos_id is not None else tokenizer.sep_id
        assert special in vocabulary.skipped
        assert list(vocabulary.pieces([special, token, special, token]))[1::2] == [
            vocabulary.first[token],
            vocabulary.later[token],
        ]


def test_a_vocabulary_of_signs_is_refused():
    with pytest.raises(CheckpointError, match=r"no token that is a word\n  fix: train"):
        Vocabulary.of(train_tokenizer(["!?", "?!"] * 3, kind="char", vocab_size=9))


def test_decoding_that_is_no_joining_is_refused():
    tokenizer = every()["trained-char"][0]

    class Backwards(Tokenizer):
        def decode(self, rows, *, skip_special=True):
            return super().decode([row[::-1] for row in rows], skip_special=skip_special)

    with pytest.raises(CheckpointError, match=r"do not decode one by one: .* in all\)\n  fix: use"):
        Vocabulary.of(Backwards(tokenizer._parts))
