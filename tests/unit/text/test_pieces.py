"""SentencePiece files: equal to the library that reads them, or, where a family converts them, with its ids and places."""

import json
import pickle
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.errors import CheckpointError
from regard.text import Tokenizer
from regard.text.proto import CONTROL, NORMAL, UNKNOWN, read_pieces

T5 = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
LLAMA = {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1, "model_type": "bpe", "byte_fallback": True}


@pytest.fixture(scope="session")
def texts(english: list[str], chinese: list[str]) -> list[str]:
    return english + chinese


def trained(texts: list[str], path: Path, **options: object) -> sentencepiece.SentencePieceProcessor:
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=file, **{"vocab_size": 1900, "minloglevel": 2, **options}
        )
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def configure(folder: Path, **settings: object) -> Tokenizer:
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return Tokenizer.load(folder)


@pytest.fixture(scope="session")
def plain(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that no family claims."""
    folder = tmp_path_factory.mktemp("plain")
    trained(texts, folder / "spiece.model", **T5)
    return folder


@pytest.fixture(scope="session")
def t5(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("t5")
    (folder / "spiece.model").write_bytes((plain / "spiece.model").read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 100}))
    return folder


@pytest.fixture(scope="session")
def loaded(plain: Path, t5: Path) -> list[Tokenizer]:
    return [Tokenizer.load(plain), Tokenizer.load(t5)]


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


def test_what_the_file_says_equals_what_its_library_says(texts: list[str], tmp_path: Path) -> None:
    path = tmp_path / "any.model"
    library = trained(texts, path, control_symbols=["<x>"], user_defined_symbols=["<y>"], **T5)
    pieces = read_pieces(path.read_bytes(), "any.model")
    numbers = list(range(library.get_piece_size()))
    assert pieces.tokens == library.id_to_piece(numbers)
    assert pieces.scores == library.get_score(numbers)
    assert [kind == CONTROL for kind in pieces.kinds] == [library.is_control(index) for index in numbers]
    assert [kind == UNKNOWN for kind in pieces.kinds] == [library.is_unknown(index) for index in numbers]
    assert pieces.kinds[pieces.tokens.index("<y>")] not in (NORMAL, CONTROL, UNKNOWN)
    assert pieces.unknown == library.unk_id()
    assert (len(pieces.charsmap) > 1000, pieces.bpe) == (True, False)


@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_a_damaged_file_is_named_or_still_a_tokenizer(
    plain: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = (plain / "spiece.model").read_bytes()
    start = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, 60))
    stop = data.draw(st.integers(start, min(start + 40, len(whole))))
    damaged = whole[:start] + data.draw(st.binary(max_size=12)) + whole[stop:]
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "spiece.model").write_bytes(damaged)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": data.draw(st.sampled_from(CLASSES))}))
    try:
        Tokenizer.load(folder).ids(["a film"])
    except CheckpointError as error:
        assert "spiece.model" in str(error)


CLASSES = ["", "T5Tokenizer", "AlbertTokenizer", "XLMRobertaTokenizer", "MBartTokenizer"]


@pytest.mark.parametrize(
    "data", [b"", b"\x0a", b"\x80" * 5000, b"\xff" * 5000, b"\x0a\xff\xff\xff\xff\x0f", b"\x08\x01", b"\x0b"]
)
def test_what_is_no_model(data: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"x\.model: not a SentencePiece model\n  fix: get the file anew"):
        read_pieces(data, "x.model")


def test_offsets_are_the_pieces_without_their_space(plain: Path) -> None:
    text = "  A charming  journey: 我们ﬁ 的电影½ ."
    (row,) = Tokenizer.load(plain).encode([text])
    seen = [text[start:stop] for start, stop in row.offsets]
    assert "".join("".join(seen).split()) == "".join(text.split())
    assert not any(piece.strip() and piece != piece.lstrip() for piece in seen)


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=4))
@settings(deadline=None, max_examples=60)
def test_offsets_point_into_any_text(loaded: list[Tokenizer], texts: list[str]) -> None:
    for ours in loaded:
        rows = ours.encode(texts)
        assert [row.ids for row in rows] == ours.ids(texts)[0]
        for text, row in zip(texts, rows, strict=True):
            assert all(0 <= start <= stop <= len(text) for start, stop in row.offsets)
            assert len(row.offsets) == len(row.ids)


def test_t5_sentinels_come_last_and_count_down(t5: Path) -> None:
    ours = Tokenizer.load(t5)
    assert ours.vocab_size == 2000
    assert (ours.id_of("<extra_id_0>"), ours.id_of("<extra_id_99>")) == (1999, 1900)
    (row,) = ours.encode(["the <extra_id_0> film</s>"])
    assert row.ids[-2:] == [1, 1]
    assert 1999 in row.ids
    assert row.offsets[row.ids.index(1999)] == (4, 16)
    assert ours.ids(["the <extra_id_0> film</s>"])[0] == [row.ids]
    assert (ours.pad_id, ours.eos_id, ours.unk_id, ours.bos_id) == (0, 1, 2, None)


def test_fairseq_numbers_its_own_tokens_first(texts: list[str], tmp_path: Path) -> None:
    library = trained(texts, tmp_path / "sentencepiece.bpe.model", unk_id=0, bos_id=1, eos_id=2, pad_id=-1)
    ours = configure(tmp_path, tokenizer_class="XLMRobertaTokenizer")
    assert [ours.id_of(token) for token in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")] == [0, 1, 2, 3, 1901]
    assert ours.ids([texts[0]])[0][0] == [0, *(index + 1 for index in library.encode(texts[0])), 2]
    assert 1901 in ours.ids(["a <mask> film"])[0][0]
    # Without a class the special tokens that the settings name are put around the file's own ids.
    bare = configure(tmp_path, cls_token="<s>", sep_token="</s>")
    assert bare.ids([texts[0]], [texts[1]])[0] == [[1, *library.encode(texts[0]), 2, *library.encode(texts[1]), 2]]


@pytest.mark.parametrize(
    ("settings", "single", "pair", "types"),
    [
        ({"add_bos_token": True}, "bos $A", "bos $A bos $B", [0, 0, 1, 1]),
        ({"add_bos_token": True, "add_eos_token": True}, "bos $A eos", "bos $A eos bos $B eos", [0, 0, 0, 1, 1, 1]),
        ({}, "$A", "$A $B", [0, 1]),
    ],
)
def test_llama_places(
    texts: list[str], settings: dict[str, bool], single: str, pair: str, types: list[int], tmp_path: Path
) -> None:
    library = trained(texts, tmp_path / "tokenizer.model", **LLAMA)
    ours = configure(tmp_path, tokenizer_class="LlamaTokenizer", **settings)
    (piece,) = library.encode("a")
    spell = {"bos": 1, "eos": 2, "$A": piece, "$B": piece}
    assert ours.ids(["a"])[0] == [[spell[name] for name in single.split()]]
    ids, type_ids, _ = ours.ids(["a"], ["a"])
    assert ids == [[spell[name] for name in pair.split()]]
    assert type_ids == [types]
    assert ours.decode(ours.ids(["龘 a"])[0]) == ["龘 a"]


def test_albert_types(texts: list[str], tmp_path: Path) -> None:
    symbols = {"control_symbols": ["[CLS]", "[SEP]"], "user_defined_symbols": ["[MASK]"]}
    library = trained(texts, tmp_path / "spiece.model", **T5, **symbols)
    ours = configure(tmp_path, tokenizer_class="AlbertTokenizer")
    (_, type_ids, _) = ours.ids(["a"], ["a"])
    assert type_ids == [[0, 0, 0, 1, 1]]
    assert ours.mask_id == library.piece_to_id("[MASK]")


@pytest.mark.parametrize("which", ["plain", "t5"])
def test_saves_and_pickles(which: str, texts: list[str], tmp_path: Path, request: pytest.FixtureRequest) -> None:
    ours = Tokenizer.load(request.getfixturevalue(which))
    ours.save(tmp_path)
    for again in (Tokenizer.load(tmp_path), pickle.loads(pickle.dumps(ours))):  # noqa: S301 - our own bytes, as workers get them
        assert again.encode(texts) == ours.encode(texts)
        assert again.vocab_size == ours.vocab_size
    assert Tokenizer.load(tmp_path).digest == ours.digest


def test_specials_stay_readable_unless_skipped(t5: Path) -> None:
    ours = Tokenizer.load(t5)
    ids = ours.ids(["a film <extra_id_3> a film"])[0]
    assert ours.decode(ids) == ["a film a film"]
    assert ours.decode(ids, skip_special=False) == ["a film<extra_id_3> a film</s>"]


def test_refuses_what_it_cannot_know(t5: Path, tmp_path: Path) -> None:
    model = (t5 / "spiece.model").read_bytes()
    (tmp_path / "spiece.model").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"spiece\.model: not a SentencePiece model"):
        Tokenizer.load(tmp_path)
    (tmp_path / "spiece.model").write_bytes(model)
    with pytest.raises(CheckpointError, match=r"no rule for spiece\.model of 'Pegasus'\n  allowed: T5Tokenizer"):
        configure(tmp_path, tokenizer_class="PegasusTokenizer")
    with pytest.raises(CheckpointError, match=r"spiece\.model: no cls token, which this kind of tokenizer puts around"):
        configure(tmp_path, tokenizer_class="DebertaV2Tokenizer")
    with pytest.raises(CheckpointError, match=r"spiece\.model: a unigram model, but LlamaTokenizer takes a bpe one"):
        configure(tmp_path, tokenizer_class="LlamaTokenizer")
    with pytest.raises(CheckpointError, match=r"key 'extra_ids' is -1\n  allowed: a whole number"):
        configure(tmp_path, tokenizer_class="T5Tokenizer", extra_ids=-1)
    with pytest.raises(CheckpointError, match="added token '</s>' must be 7 but the vocabulary gives 1"):
        configure(tmp_path, tokenizer_class="T5Tokenizer", added_tokens_decoder={"7": {"content": "</s>"}})
    with pytest.raises(CheckpointError, match="added token '<far>' must be 9999 but the vocabulary gives 1900"):
        configure(tmp_path, added_tokens_decoder={"9999": {"content": "<far>"}})
    with pytest.raises(CheckpointError, match=r"spiece\.model: no vocab\.json beside it\n  fix: copy the tokenizer's"):
        configure(tmp_path, tokenizer_class="M2M100Tokenizer")
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 0}')
    with pytest.raises(CheckpointError, match=r"vocab\.json: tokens share ids: 0 is 'a' and 'b'"):
        configure(tmp_path, tokenizer_class="M2M100Tokenizer")
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1}')
    with pytest.raises(CheckpointError, match=r"spiece\.model: no token for unknown text\n  allowed: <unk>"):
        configure(tmp_path, tokenizer_class="M2M100Tokenizer")
    with pytest.raises(CheckpointError, match=r"spiece\.model: no source\.spm, target\.spm beside it"):
        configure(tmp_path, tokenizer_class="MarianTokenizer")
    (tmp_path / "second.model").write_bytes(model)
    with pytest.raises(CheckpointError, match=r"more than one SentencePiece file\n  allowed: second\.model, spiece\.model"):
        Tokenizer.load(tmp_path)
