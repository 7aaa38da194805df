"""Vocabularies of encoder-decoders: Marian's files, ids where its readers expect them, both sides or each by itself."""

import json
from pathlib import Path

import pytest

from regard.errors import ConfigError, DataError
from regard.text import Tokenizer, train_pieces

ENGLISH = ["the old man sees the red dog", "the red dog sees the old man", "an old dog runs"] * 4
GERMAN = ["der alte Mann sieht den roten Hund", "der rote Hund sieht den alten Mann", "ein alter Hund rennt"] * 4


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_both_sides_share_a_vocabulary_that_ends_in_padding(kind: str) -> None:
    made = train_pieces(ENGLISH, GERMAN, kind=kind, vocab_size=90)
    assert (made.eos_id, made.unk_id, made.pad_id) == (0, 1, made.vocab_size - 1)
    assert made.vocab_size <= 90
    for text in (*ENGLISH, *GERMAN):
        assert made.target.decode(made.target.ids([text])[0]) == [text]
        assert made.ids([text])[0] == made.target.ids([text])[0]
        assert made.ids([text])[0][0][-1] == made.eos_id


def test_each_side_may_have_its_own_with_the_same_special_ids() -> None:
    made = train_pieces(ENGLISH, GERMAN, kind="bpe", vocab_size=70, joint=False)
    assert made.vocab_size != made.target.vocab_size
    assert (
        (made.eos_id, made.unk_id, made.pad_id) == (made.target.eos_id, made.target.unk_id, made.target.pad_id) == (0, 1, 2)
    )
    assert made.target.decode(made.target.ids([GERMAN[0]])[0]) == [GERMAN[0]]


def test_tags_stand_before_the_source_and_a_pair_is_remembered(tmp_path: Path) -> None:
    tagged = train_pieces(ENGLISH, GERMAN, kind="bpe", vocab_size=90, languages=["de", "en"])
    assert tagged.languages == ("de", "en")
    tag, *rest = tagged.for_language("de").ids(["the dog"])[0][0]
    assert tagged.tokens([tag]) == [">>de<<"]
    assert rest == tagged.ids(["the dog"])[0][0]
    pair = train_pieces(ENGLISH, GERMAN, kind="bpe", vocab_size=90, pair=("en", "de"))
    assert (pair.pair, tagged.pair) == (("en", "de"), None)
    pair.save(tmp_path)
    assert Tokenizer.load(tmp_path).pair == ("en", "de")


def test_the_files_are_marian_s(tmp_path: Path) -> None:
    train_pieces(ENGLISH, GERMAN, kind="bpe", vocab_size=90).save(tmp_path)
    assert {"source.spm", "target.spm", "vocab.json", "tokenizer_config.json"} == {path.name for path in tmp_path.iterdir()}
    vocabulary = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    assert sorted(vocabulary.values()) == [*range(len(vocabulary))]
    assert max(vocabulary, key=vocabulary.__getitem__) == "<pad>"


def test_upper_case_folds_into_lower_case_also_where_the_texts_had_none() -> None:
    made = train_pieces(ENGLISH, ENGLISH, kind="bpe", vocab_size=90, lower_case=True)
    assert made.ids(["THE Old DOG"])[0] == made.ids(["the old dog"])[0]


def test_learning_twice_gives_the_same() -> None:
    once, again = (train_pieces(ENGLISH, GERMAN, kind="unigram", vocab_size=80).digest for _ in range(2))
    assert once == again


def test_chinese_has_its_characters() -> None:
    made = train_pieces(["我喜欢红色的狗", "老人看见红色的狗"] * 3, ENGLISH, kind="bpe", vocab_size=200)
    assert made.target.decode(made.ids(["老人看见狗"])[0]) == ["老人看见狗"]


def test_what_cannot_be_learned() -> None:
    with pytest.raises(ConfigError, match=r"vocab_size 8 is too small\n  allowed: .* special tokens and .* others"):
        train_pieces(ENGLISH, GERMAN, kind="bpe", vocab_size=8)
    with pytest.raises(DataError, match="no text to learn a vocabulary from"):
        train_pieces(["", " "], [""], kind="bpe", vocab_size=80)
