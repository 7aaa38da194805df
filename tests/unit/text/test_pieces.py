"""SentencePiece files: equal to the library that reads them, with the special tokens of the models that use them."""

import json
import pickle
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from regard.errors import CheckpointError
from regard.text import Tokenizer

T5 = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
LLAMA = {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1}


@pytest.fixture(scope="session")
def texts(english: list[str], chinese: list[str]) -> list[str]:
    return english + chinese


def trained(texts: list[str], path: Path, **options: object) -> sentencepiece.SentencePieceProcessor:
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=file, vocab_size=1900, minloglevel=2, **options
        )
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def configure(folder: Path, **settings: object) -> Tokenizer:
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return Tokenizer.load(folder)


@pytest.fixture(scope="session")
def t5(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("t5")
    trained(texts, folder / "spiece.model", **T5)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 100}))
    return folder


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_equals_the_library(texts: list[str], model_type: str, tmp_path: Path) -> None:
    library = trained(texts, tmp_path / "any.spm", model_type=model_type, **T5)
    ours = Tokenizer.load(tmp_path)
    eos = library.eos_id()
    assert ours.ids(texts)[0] == [[*row, eos] for row in library.encode(texts)]
    assert [row.ids for row in ours.encode(texts, special=False)] == library.encode(texts)
    known = [text for text in texts if library.unk_id() not in library.encode(text)]
    assert len(known) > 500
    assert ours.decode(ours.ids(known)[0]) == library.decode(library.encode(known))
    assert ours.tokens(library.encode(texts[0])) == library.encode(texts[0], return_type=str)


def test_offsets_are_the_pieces_without_their_space(t5: Path) -> None:
    text = "  A charming  journey: 我们ﬁ 的电影½ ."
    (row,) = Tokenizer.load(t5).encode([text])
    seen = [text[start:stop] for start, stop in row.offsets]
    assert "".join("".join(seen).split()) == "".join(text.split())
    assert not any(piece.strip() and piece != piece.lstrip() for piece in seen)


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=4))
@settings(deadline=None, max_examples=60)
def test_offsets_point_into_any_text(t5: Path, texts: list[str]) -> None:
    ours = Tokenizer.load(t5)
    rows = ours.encode(texts)
    assert [row.ids for row in rows] == ours.ids(texts)[0]
    for text, row in zip(texts, rows, strict=True):
        assert all(0 <= start <= stop <= len(text) for start, stop in row.offsets)
        assert len(row.offsets) == len(row.ids)


def test_t5_equals_transformers(t5: Path, texts: list[str]) -> None:
    ours, theirs = Tokenizer.load(t5), AutoTokenizer.from_pretrained(t5)
    rows = [text.strip() for text in texts]
    pairs = rows[::-1]
    assert ours.ids(rows)[0] == theirs(rows)["input_ids"]
    assert ours.ids(rows, pairs)[0] == theirs(rows, pairs)["input_ids"]
    assert ours.ids(rows, max_length=9)[0] == theirs(rows, max_length=9, truncation=True)["input_ids"]
    assert (ours.pad_id, ours.eos_id, ours.unk_id, ours.bos_id) == (0, 1, 2, None)


def test_t5_sentinels_come_last_and_count_down(t5: Path) -> None:
    ours = Tokenizer.load(t5)
    assert ours.vocab_size == 2000
    assert (ours.id_of("<extra_id_0>"), ours.id_of("<extra_id_99>")) == (1999, 1900)
    (row,) = ours.encode(["the <extra_id_0> film</s>"])
    assert row.ids[-2:] == [1, 1]
    assert 1999 in row.ids
    assert row.offsets[row.ids.index(1999)] == (4, 16)
    assert ours.ids(["the <extra_id_0> film</s>"])[0] == [row.ids]


def test_xlm_roberta_equals_transformers(texts: list[str], tmp_path: Path) -> None:
    library = trained(texts, tmp_path / "sentencepiece.bpe.model", unk_id=0, bos_id=1, eos_id=2, pad_id=-1)
    ours = configure(tmp_path, tokenizer_class="XLMRobertaTokenizer")
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    rows = [text.strip() for text in texts]
    assert [ours.id_of(token) for token in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")] == [0, 1, 2, 3, 1901]
    assert ours.ids(rows)[0] == theirs(rows)["input_ids"]
    assert ours.ids(rows, rows[::-1])[0] == theirs(rows, rows[::-1])["input_ids"]
    assert ours.ids([rows[0]])[0][0] == [0, *(index + 1 for index in library.encode(rows[0])), 2]
    assert 1901 in ours.ids(["a <mask> film"])[0][0]


@pytest.mark.parametrize(
    ("settings", "single", "pair", "types"),
    [
        ({}, "bos $A", "bos $A bos $B", [0, 0, 1, 1]),
        ({"add_eos_token": True}, "bos $A eos", "bos $A eos bos $B eos", [0, 0, 0, 1, 1, 1]),
        ({"add_bos_token": False}, "$A", "$A $B", [0, 1]),
    ],
)
def test_llama_places(
    texts: list[str], settings: dict[str, bool], single: str, pair: str, types: list[int], tmp_path: Path
) -> None:
    library = trained(texts, tmp_path / "tokenizer.model", byte_fallback=True, **LLAMA)
    ours = configure(tmp_path, tokenizer_class="LlamaTokenizer", **settings)
    (piece,) = library.encode("a")
    spell = {"bos": 1, "eos": 2, "$A": piece, "$B": piece}
    assert ours.ids(["a"])[0] == [[spell[name] for name in single.split()]]
    ids, type_ids, _ = ours.ids(["a"], ["a"])
    assert ids == [[spell[name] for name in pair.split()]]
    assert type_ids == [types]
    assert ours.decode(ours.ids(["龘 a"])[0]) == ["龘 a"]


def test_albert_types_and_marian_table(texts: list[str], tmp_path: Path) -> None:
    symbols = {"control_symbols": ["[CLS]", "[SEP]"], "user_defined_symbols": ["[MASK]"]}
    library = trained(texts, tmp_path / "source.spm", **T5, **symbols)
    ours = configure(tmp_path, tokenizer_class="AlbertTokenizer")
    (_, type_ids, _) = ours.ids(["a"], ["a"])
    assert type_ids == [[0, 0, 0, 1, 1]]
    assert ours.mask_id == library.piece_to_id("[MASK]")
    pieces = [library.id_to_piece(index) for index in range(library.get_piece_size())]
    table = {piece: index for index, piece in enumerate(reversed(pieces))}
    (tmp_path / "vocab.json").write_text(json.dumps(table))
    ours = configure(tmp_path, tokenizer_class="MarianTokenizer")
    assert ours.ids(["a film"])[0] == [[*(table[p] for p in library.encode("a film", return_type=str)), table["</s>"]]]
    assert ours.decode(ours.ids(["a film"])[0]) == ["a film"]


def test_saves_and_pickles(t5: Path, texts: list[str], tmp_path: Path) -> None:
    ours = Tokenizer.load(t5)
    ours.save(tmp_path)
    for again in (Tokenizer.load(tmp_path), pickle.loads(pickle.dumps(ours))):  # noqa: S301 - our own bytes, as workers get them
        assert again.encode(texts) == ours.encode(texts)
        assert again.vocab_size == ours.vocab_size
    assert Tokenizer.load(tmp_path).digest == ours.digest


def test_specials_stay_readable_unless_skipped(t5: Path) -> None:
    ours = Tokenizer.load(t5)
    ids = ours.ids(["a film <extra_id_3> a film"])[0]
    assert ours.decode(ids) == ["a film a film"]
    assert ours.decode(ids, skip_special=False) == ["a film <extra_id_3> a film </s>"]


def test_refuses_what_it_cannot_know(t5: Path, tmp_path: Path) -> None:
    model = (t5 / "spiece.model").read_bytes()
    (tmp_path / "spiece.model").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"spiece\.model: not a SentencePiece model"):
        Tokenizer.load(tmp_path)
    (tmp_path / "spiece.model").write_bytes(model)
    with pytest.raises(CheckpointError, match=r"no rule for the SentencePiece files of 'Pegasus'\n.*T5Tokenizer"):
        configure(tmp_path, tokenizer_class="PegasusTokenizer")
    with pytest.raises(CheckpointError, match="no cls token, which this kind of tokenizer puts around texts"):
        configure(tmp_path, tokenizer_class="DebertaV2Tokenizer", unk_token="<unk>")
    with pytest.raises(CheckpointError, match=r"spiece\.model: no piece for unknown text\n  allowed: <unk>"):
        configure(tmp_path, tokenizer_class="DebertaV2Tokenizer")
    with pytest.raises(CheckpointError, match=r"key 'extra_ids' is -1\n  allowed: a whole number"):
        configure(tmp_path, tokenizer_class="T5Tokenizer", extra_ids=-1)
    with pytest.raises(CheckpointError, match="added token '</s>' must be 7 but the vocabulary gives 1"):
        configure(tmp_path, tokenizer_class="T5Tokenizer", added_tokens_decoder={"7": {"content": "</s>"}})
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 0}')
    with pytest.raises(CheckpointError, match=r"vocab\.json: no table of tokens with one id each"):
        configure(tmp_path, tokenizer_class="MarianTokenizer")
    (tmp_path / "second.model").write_bytes(model)
    with pytest.raises(CheckpointError, match=r"more than one SentencePiece file\n  allowed: second\.model, spiece\.model"):
        Tokenizer.load(tmp_path)
