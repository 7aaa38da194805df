"""Vocabularies learned from texts."""

from pathlib import Path

import pytest
import sentencepiece

from regard.errors import ConfigError, DataError, WorkError
from regard.text import Tokenizer, train_tokenizer

KINDS = ["wordpiece", "bpe", "unigram", "byte", "char", "word"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("specials", ["bert", "gpt", "seq2seq"])
def test_specials_come_first_and_stand_in_their_places(corpus: list[str], kind: str, specials: str) -> None:
    ours = train_tokenizer(corpus, kind=kind, vocab_size=400, specials=specials)
    assert ours.vocab_size <= 400
    assert ours.pad_id == 0
    assert ours.special_ids == set(range(len(ours.special_ids)))
    (row,) = ours.encode(["noon"], ["café"])
    places = "".join("AB"[segment] if segment is not None else "." for segment in row.segments)
    squeezed = "".join(place for place, before in zip(places, " " + places, strict=False) if place == "." or place != before)
    assert squeezed == {"bert": ".A.B.", "gpt": "AB", "seq2seq": "A.B."}[specials]
    ends = {"bert": ours.sep_id, "gpt": row.ids[-1], "seq2seq": ours.eos_id}
    assert row.ids[-1] == ends[specials]


@pytest.mark.parametrize("kind", KINDS)
def test_training_repeats_and_lower_cases(corpus: list[str], kind: str) -> None:
    first, second = (train_tokenizer(iter(corpus), kind=kind, vocab_size=400, lower_case=True) for _ in range(2))
    assert first.digest == second.digest
    assert first.ids(["THE CAFÉ"]) == first.ids(["the café"])
    cased = train_tokenizer(corpus, kind=kind, vocab_size=400)
    assert cased.ids(["THE CAFÉ"]) != cased.ids(["the café"])


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "char"])
def test_chinese_is_known(chinese: list[str], kind: str) -> None:
    ours = train_tokenizer(chinese, kind=kind, vocab_size=4000, min_frequency=1)
    ids = ours.ids(chinese)[0]
    unknown = sum(row.count(ours.unk_id) for row in ids)
    assert unknown <= (0.001 * sum(map(len, chinese)) if kind == "unigram" else 0)
    assert ours.vocab_size <= 4000
    text = "北京大学"
    assert ours.decode(ours.ids([text])[0])[0].replace(" ", "") == text


def test_pieces_are_learned(english: list[str]) -> None:
    tokens = {kind: train_tokenizer(english, kind=kind, vocab_size=1200) for kind in KINDS}
    lengths = {kind: sum(map(len, tokenizer.ids(english)[0])) for kind, tokenizer in tokens.items()}
    assert max(lengths["wordpiece"], lengths["bpe"], lengths["unigram"]) < 0.6 * lengths["char"]
    assert lengths["byte"] >= lengths["char"]


def test_min_frequency_leaves_rare_characters_unknown() -> None:
    ours = train_tokenizer(["aab", "ab c"], kind="char", vocab_size=50, min_frequency=2)
    assert ours.tokens(ours.ids(["abc"])[0][0]) == ["[CLS]", "a", "b", "[UNK]", "[SEP]"]


def test_a_small_vocabulary_keeps_the_frequent_characters() -> None:
    ours = train_tokenizer(["aaa bb c"], kind="char", vocab_size=7, min_frequency=1)
    assert (ours.id_of("a"), ours.vocab_size) == (5, 7)


def test_words_are_what_stands_between_white_space(tmp_path: Path) -> None:
    texts = [" the <unk> sat , the cat \n", "the cat , <unk>"]
    ours = train_tokenizer(texts, kind="word", vocab_size=7, specials="gpt")
    assert ours.tokens(range(7)) == ["<|padding|>", "<|unknown|>", "<|endoftext|>", "the", ",", "<unk>", "cat"]
    (row,) = ours.ids(["the  dog,\tcat the"])[0]
    assert ours.tokens(row) == ["the", "<|unknown|>", "cat", "the"]
    ours.save(tmp_path)
    assert Tokenizer.load(tmp_path).decode([row]) == ["the cat the"]


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "char", "bpe"])
@pytest.mark.parametrize("texts", [[], ["", "  "]])
def test_no_text_is_an_error_or_bytes(kind: str, texts: list[str]) -> None:
    if kind == "bpe":
        assert train_tokenizer(texts, kind="bpe", vocab_size=300).vocab_size == 261
    elif kind == "char" and texts:
        assert train_tokenizer(texts, kind="char", vocab_size=300).vocab_size == 6
    else:
        with pytest.raises(DataError, match="no text to learn a vocabulary from"):
            train_tokenizer(texts, kind=kind, vocab_size=300)


def test_bytes_need_no_texts() -> None:
    ours = train_tokenizer([], kind="byte", vocab_size=1000)
    assert ours.vocab_size == 261
    assert len(ours.ids(["北"])[0][0]) == 5


def test_mistakes(corpus: list[str]) -> None:
    with pytest.raises(
        ConfigError, match=r"kind is 'wordpieces'\n  allowed: wordpiece, bpe, .*\n  fix: did you mean 'wordpiece'"
    ):
        train_tokenizer(corpus, kind="wordpieces", vocab_size=100)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"specials is 'bart'\n  allowed: bert, gpt, seq2seq"):
        train_tokenizer(corpus, kind="char", vocab_size=100, specials="bart")  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match=r"vocab_size 256 is too small\n  allowed: 261 or more: 5 special tokens and 256 others"
    ):
        train_tokenizer(corpus, kind="bpe", vocab_size=256)
    with pytest.raises(ConfigError, match=r"vocab_size 20 is too small\n  allowed: \d\d or more"):
        train_tokenizer(corpus, kind="unigram", vocab_size=20)
    with pytest.raises(DataError, match="texts is one string"):
        train_tokenizer("abc", kind="char", vocab_size=100)


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "char"])
def test_what_is_no_text_is_named(kind: str) -> None:
    with pytest.raises(DataError, match=r"texts\[1\]: int instead of text"):
        train_tokenizer(["a", 1], kind=kind, vocab_size=400)  # type: ignore[list-item]


def test_a_failure_of_the_trainer_is_no_traceback(corpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("INTERNAL: out of luck")

    monkeypatch.setattr(sentencepiece.SentencePieceTrainer, "train", fail)
    with pytest.raises(WorkError, match="sentencepiece could not learn a vocabulary: INTERNAL: out of luck"):
        train_tokenizer(corpus, kind="unigram", vocab_size=400)


def test_a_wordpiece_vocabulary_is_bert(wordpiece: Tokenizer) -> None:
    assert wordpiece.tokens([0, 1, 2, 3, 4]) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert (wordpiece.mask_id, wordpiece.bos_id, wordpiece.max_length) == (4, None, None)
    assert wordpiece.decode(wordpiece.ids(["Nobody opened the café."])[0]) == ["nobody opened the cafe."]
