"""Letters as tokens, and what frames spell."""

import itertools
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import CheckpointError
from regard.text import Tokenizer
from regard.text.characters import collapse

LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", "NG", *"ABCDEFGHILNORTW"]


def write(folder: Path, vocabulary: object, **settings: object) -> Tokenizer:
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Wav2Vec2CTCTokenizer", **settings}))
    return Tokenizer.load(folder)


@pytest.fixture
def ours(tmp_path: Path) -> Tokenizer:
    return write(tmp_path, {letter: index for index, letter in enumerate(LETTERS)})


@given(st.lists(st.integers(0, 3), max_size=12))
def test_collapse_is_what_its_definition_says(frames: list[int]) -> None:
    spelled = collapse(frames, blank=0)
    assert 0 not in spelled
    # All that a path can spell: drop repeats by hand, then blanks.
    kept = [index for index, before in zip(frames, [None, *frames], strict=False) if index != before]
    assert spelled == [index for index in kept if index]


def test_every_path_of_a_word_spells_it() -> None:
    word, blank = [1, 1, 2], 0
    paths = [path for path in itertools.product(range(3), repeat=5) if collapse(path, blank) == word]
    # Two equal letters need a blank between them: 1 _ 1 2 with one more frame, or with one of them repeated.
    assert len(paths) == 7
    assert all(0 in path for path in paths)


def test_letters_come_back(ours: Tokenizer) -> None:
    (row,) = ours.encode(["HELLO  ALL"])
    assert ours.tokens(row.ids) == ["H", "E", "L", "L", "O", "|", "|", "A", "L", "L"]
    assert row.offsets == [(index, index + 1) for index in range(10)]
    assert ours.decode([row.ids]) == ["HELLO  ALL"]
    assert ours.ids(["LONG DOG"])[0] == [[ours.id_of(token) for token in ["L", "O", "NG", "D", "O", "G"]]]
    assert ours.decode(ours.ids(["A?B"])[0]) == ["AB"]
    assert ours.decode(ours.ids(["A?B"])[0], skip_special=False) == ["A<unk>B"]
    assert ours.ids(["A <pad> B"])[0] == [[ours.id_of("A"), 0, ours.id_of("B")]]
    assert (ours.pad_id, ours.unk_id, ours.bos_id, ours.vocab_size) == (0, 3, 1, len(LETTERS))


def test_lower_case_is_written_for_upper_case_letters(tmp_path: Path) -> None:
    ours = write(tmp_path, {letter: index for index, letter in enumerate([*LETTERS, "S"])}, do_lower_case=True)
    (row,) = ours.encode(["weiß one"])
    assert ours.tokens(row.ids) == ["W", "E", "I", "S", "S", "|", "O", "N", "E"]
    assert row.offsets == [(0, 1), (1, 2), (2, 3), (3, 4), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8)]
    assert ours.decode([row.ids]) == ["weiss one"]


def test_saves_and_pickles(ours: Tokenizer, tmp_path: Path) -> None:
    ours.save(tmp_path / "saved")
    for again in (Tokenizer.load(tmp_path / "saved"), pickle.loads(pickle.dumps(ours))):  # noqa: S301 - our own bytes
        assert again.encode(["LONG A?B"]) == ours.encode(["LONG A?B"])
        assert again.digest == ours.digest


def test_many_languages_in_one_file(tmp_path: Path) -> None:
    nested = {"eng": {"<pad>": 0, "<unk>": 1, "a": 2}, "fra": {"<pad>": 0, "<unk>": 1, "b": 2, "a": 3}}
    ours = write(tmp_path, nested, target_lang="fra")
    assert ours.ids(["ab"])[0] == [[3, 2]]
    ours.save(tmp_path / "saved")
    assert Tokenizer.load(tmp_path / "saved").ids(["ab"])[0] == [[3, 2]]
    with pytest.raises(CheckpointError, match=r"key 'target_lang' is 'deu'\n  allowed: a key of vocab\.json"):
        write(tmp_path, nested, target_lang="deu")
    with pytest.raises(CheckpointError, match=r"vocab\.json: no ids for 'eng', 'fra'"):
        write(tmp_path, nested)


def test_added_letters_get_the_next_ids(tmp_path: Path) -> None:
    (tmp_path / "added_tokens.json").write_text('{"<s>": 3, "</s>": 4}')
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    ours = write(tmp_path, {"[PAD]": 0, "[UNK]": 1, "a": 2}, **names)
    assert (ours.bos_id, ours.eos_id, ours.vocab_size) == (3, 4, 5)
    assert ours.ids(["<s>a</s>"])[0] == [[3, 2, 4]]
    (tmp_path / "added_tokens.json").write_text('{"<s>": 9}')
    with pytest.raises(CheckpointError, match="added token '<s>' must be 9 but the vocabulary gives 3"):
        Tokenizer.load(tmp_path)
    with pytest.raises(CheckpointError, match=r"vocab\.json: no token for unknown letters\n  allowed: <unk>"):
        write(tmp_path, {"a": 0})
