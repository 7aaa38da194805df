"""The promises of one tokenizer: offsets point into the text, calls leave no trace, every mistake is named."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.errors import CheckpointError, ConfigError, DataError, WorkError
from regard.text import Tokenizer, train_tokenizer

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
TEXTS = st.lists(TEXT, min_size=1, max_size=5)
KINDS = ["wordpiece", "bpe", "unigram", "byte", "char", "word"]


@pytest.fixture(scope="session")
def trained(corpus: list[str]) -> dict[str, Tokenizer]:
    return {kind: train_tokenizer(corpus, kind=kind, vocab_size=400) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@given(texts=TEXTS)
@settings(deadline=None, max_examples=50)
def test_offsets_point_into_the_text(trained: dict[str, Tokenizer], kind: str, texts: list[str]) -> None:
    for text, row in zip(texts, trained[kind].encode(texts), strict=True):
        assert all(0 <= start <= stop <= len(text) for start, stop in row.offsets)
        starts = [start for (start, _), special in zip(row.offsets, row.special, strict=True) if not special]
        assert starts == sorted(starts)


@given(texts=TEXTS, max_length=st.integers(4, 12))
@settings(deadline=None, max_examples=50)
def test_a_row_is_the_same_alone_and_after_other_calls(wordpiece: Tokenizer, texts: list[str], max_length: int) -> None:
    together = wordpiece.encode(texts)
    wordpiece.encode(texts, max_length=max_length, stride=1)
    wordpiece.ids(texts, texts, max_length=max_length + 1)
    assert wordpiece.encode(texts) == together
    alone = [wordpiece.encode([text])[0] for text in texts]
    assert [row.ids for row in alone] == [row.ids for row in together]
    assert [row.offsets for row in alone] == [row.offsets for row in together]


@given(texts=TEXTS, max_length=st.integers(5, 14), paired=st.booleans())
@settings(deadline=None, max_examples=50)
def test_the_fast_path_equals_encode(wordpiece: Tokenizer, texts: list[str], max_length: int, paired: bool) -> None:
    pairs = texts[::-1] if paired else None
    rows = wordpiece.encode(texts, pairs, max_length=max_length)
    ids, type_ids, truncated = wordpiece.ids(texts, pairs, max_length=max_length)
    assert ids == [row.ids for row in rows]
    assert type_ids == ([row.type_ids for row in rows] if paired else None)
    assert truncated == [row.truncated for row in rows]
    assert all(len(row) <= max_length for row in ids)


@pytest.mark.parametrize("kind", ["byte", "bpe"])
@given(texts=TEXTS)
@settings(deadline=None, max_examples=50)
def test_bytes_come_back_exactly(trained: dict[str, Tokenizer], kind: str, texts: list[str]) -> None:
    rows = [row.ids for row in trained[kind].encode(texts, special=False)]
    assert trained[kind].decode(rows, skip_special=False) == texts


@given(data=st.data())
@settings(deadline=None, max_examples=50)
def test_known_characters_come_back_exactly(trained: dict[str, Tokenizer], corpus: list[str], data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.text(sorted(set("".join(corpus)))), min_size=1))
    rows = [row.ids for row in trained["char"].encode(texts, special=False)]
    assert trained["char"].decode(rows, skip_special=False) == texts


@pytest.mark.parametrize("kind", KINDS)
def test_saved_is_the_same(trained: dict[str, Tokenizer], corpus: list[str], kind: str, tmp_path: Path) -> None:
    ours = trained[kind]
    ours.save(tmp_path / "deep/folder")
    for again in (Tokenizer.load(tmp_path / "deep/folder"), pickle.loads(pickle.dumps(ours))):  # noqa: S301 - our own bytes
        assert again.encode(corpus, corpus[::-1]) == ours.encode(corpus, corpus[::-1])
        assert again.digest == ours.digest
        assert again.special_ids == ours.special_ids


def test_arrays_decode(wordpiece: Tokenizer) -> None:
    ids = wordpiece.ids(["北京", "the café"])[0]
    assert wordpiece.decode(np.array([ids[0]])) == wordpiece.decode(ids[:1]) == ["北 京"]


def test_digest_tells_tokenizers_apart(trained: dict[str, Tokenizer]) -> None:
    assert len({tokenizer.digest for tokenizer in trained.values()}) == len(trained)


def test_threads_share_one(wordpiece: Tokenizer, corpus: list[str]) -> None:
    lengths = [5, 7, 9, 11] * 5
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda length: wordpiece.ids(corpus, max_length=length)[0], lengths))
    assert rows == [wordpiece.ids(corpus, max_length=length)[0] for length in lengths]


def test_an_encoding_tells_what_each_token_is(wordpiece: Tokenizer) -> None:
    (row,) = wordpiece.encode(["The café"], ["北京"])
    assert wordpiece.tokens(row.ids) == ["[CLS]", "the", "cafe", "[SEP]", "北", "京", "[SEP]"]
    assert row.type_ids == [0, 0, 0, 0, 1, 1, 1]
    assert row.offsets == [(0, 0), (0, 3), (4, 8), (0, 0), (0, 1), (1, 2), (0, 0)]
    assert row.special == [1, 0, 0, 1, 0, 0, 1]
    assert row.segments == [None, 0, 0, None, 1, 1, None]
    assert (row.row, row.truncated) == (0, False)
    (bare,) = wordpiece.encode(["The café"], ["北京"], special=False)
    assert bare.type_ids == [0, 0, 1, 1]


def test_windows_share_the_row_and_drop_nothing(wordpiece: Tokenizer) -> None:
    rows = wordpiece.encode(["北京", "我们今天去北京大学"], max_length=6, stride=2)
    assert [row.row for row in rows] == [0, 1, 1, 1, 1]
    assert not any(row.truncated for row in rows)
    assert [[start for start, _ in row.offsets[1:-1]] for row in rows[1:]] == [
        [0, 1, 2, 3],
        [2, 3, 4, 5],
        [4, 5, 6, 7],
        [6, 7, 8],
    ]


def test_a_left_truncation_side_keeps_the_end(wordpiece: Tokenizer, tmp_path: Path) -> None:
    wordpiece.save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "truncation_side": "left"}))
    ours = Tokenizer.load(tmp_path)
    assert ours.tokens(ours.ids(["我们去北京"], max_length=4)[0][0]) == ["[CLS]", "北", "京", "[SEP]"]


def test_no_rows_are_no_rows(wordpiece: Tokenizer) -> None:
    assert wordpiece.encode([]) == []
    assert wordpiece.ids([], []) == ([], [], [])
    assert wordpiece.decode([]) == []


def test_added_tokens_have_their_ids(wordpiece: Tokenizer, tmp_path: Path) -> None:
    wordpiece.save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    size = wordpiece.vocab_size
    saved = json.loads(path.read_text())
    path.write_text(json.dumps({**saved, "added_tokens_decoder": {str(size): {"content": "<tag>", "special": True}}}))
    ours = Tokenizer.load(tmp_path)
    assert ours.id_of("<tag>") == size
    assert size in ours.ids(["the <tag> café"])[0][0]
    assert ours.vocab_size == size + 1
    path.write_text(json.dumps({**saved, "added_tokens_decoder": {str(size + 5): {"content": "<tag>"}}}))
    with pytest.raises(CheckpointError, match=rf"added token '<tag>' must be {size + 5} but the vocabulary gives {size}"):
        Tokenizer.load(tmp_path)


class TestMistakes:
    """What the caller gave is named, with what is allowed."""

    def test_lengths(self, wordpiece: Tokenizer) -> None:
        with pytest.raises(
            ConfigError, match=r"max_length 2 leaves no room for text\n  allowed: 3 or more: 2 special tokens"
        ):
            wordpiece.ids(["a"], max_length=2)
        with pytest.raises(ConfigError, match=r"allowed: 5 or more: 3 special tokens and 2 of text"):
            wordpiece.encode(["a"], ["b"], max_length=4)

    def test_cuts(self, wordpiece: Tokenizer) -> None:
        with pytest.raises(
            ConfigError, match=r"2 problems:\ntruncate is 'end'\n  allowed: longest, .*\nstride without max_length"
        ):
            wordpiece.encode(["a"], truncate="end", stride=1)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"stride is 4\n  allowed: 0 to 3: less than a window's 4 tokens"):
            wordpiece.encode(["a"], max_length=6, stride=4)
        with pytest.raises(ConfigError, match=r"stride with truncate='longest'\n  fix: say which text"):
            wordpiece.encode(["a"], ["b"], max_length=8, stride=1)
        with pytest.raises(ConfigError, match="truncate='second' without pairs"):
            wordpiece.encode(["a"], truncate="second")

    def test_rows_that_do_not_fit_are_all_named(self, wordpiece: Tokenizer) -> None:
        texts = ["北京", "我们今天去北京", "大学北京大学"]
        with pytest.raises(
            DataError, match=r"2 problems:\ntexts\[1\]: 7 tokens are too many\n  allowed: 3 (.|\n)*texts\[2\]: 6"
        ):
            wordpiece.encode(texts, max_length=5, truncate="refuse")
        with pytest.raises(DataError, match=r"texts\[1\]: 7 \+ 7 tokens are too many(.|\n)*cut the other text"):
            wordpiece.encode(texts, ["冷", texts[1], "冷"], max_length=9, truncate="first")

    def test_what_is_no_text(self, wordpiece: Tokenizer) -> None:
        with pytest.raises(DataError, match=r"texts is one string\n  allowed: a list of strings\n  fix: give \[texts\]"):
            wordpiece.ids("abc")
        with pytest.raises(DataError, match=r"2 problems:\npairs\[1\]: NoneType instead of text(.|\n)*pairs\[2\]: float"):
            wordpiece.ids(["a", "b", "c"], ["a", None, 0.5])  # type: ignore[list-item]
        with pytest.raises(DataError, match="2 texts but 1 pairs"):
            wordpiece.ids(["a", "b"], ["a"])
        with pytest.raises(DataError, match=r"texts\[1\]: character '\\ud800' at 2 is half of a pair"):
            wordpiece.ids(["fine", "ab\ud800"])

    def test_ids_out_of_range(self, wordpiece: Tokenizer) -> None:
        size = wordpiece.vocab_size
        with pytest.raises(DataError, match=rf"rows\[1\]: no such id: -1, {size}\n  allowed: 0 to {size - 1}"):
            wordpiece.decode([[1], [-1, 2, size]])
        with pytest.raises(DataError, match="no such id: 99999"):
            wordpiece.tokens([99999])

    def test_a_place_that_cannot_be_written(self, wordpiece: Tokenizer, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(WorkError, match=r"file: cannot write the tokenizer"):
            wordpiece.save(tmp_path / "file")


VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b"]


class TestBrokenFolders:
    """What a folder holds is named by file, and by line or key."""

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(
            CheckpointError, match=r"no tokenizer in this folder\n  allowed: tokenizer.json, vocab.txt, vocab.json"
        ):
            Tokenizer.load(tmp_path)
        with pytest.raises(CheckpointError, match=r"nowhere: no such file or folder"):
            Tokenizer.load(tmp_path / "nowhere")
        (tmp_path / "vocab.json").write_text("{}")
        with pytest.raises(CheckpointError, match=r"vocab.json without merges.txt\n(.|\n)*or name .*Wav2Vec2CTCTokenizer"):
            Tokenizer.load(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[1]", b'{"version": "1.0", "model": {"type": "X"}}'])
    def test_tokenizer_json(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "tokenizer.json").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"tokenizer\.json: not a tokenizer: .+\n  allowed: a file that"):
            Tokenizer.load(tmp_path)

    def test_tokenizer_json_with_wrong_ids(self, wordpiece: Tokenizer, tmp_path: Path) -> None:
        path = tmp_path / "tokenizer.json"
        path.write_bytes(b"\xff\xfe")
        with pytest.raises(CheckpointError, match=r"tokenizer\.json: not UTF-8: invalid start byte at byte 0"):
            Tokenizer.load(tmp_path)
        wordpiece.save(tmp_path)
        whole = json.loads(path.read_text())
        for entry in whole["added_tokens"][:2]:
            entry["id"] += 7000
        path.write_text(json.dumps(whole))
        with pytest.raises(
            CheckpointError,
            match=r"2 problems:\n.*tokenizer\.json: added token '\[PAD\]' must be 7000 but the vocabulary gives 0",
        ):
            Tokenizer.load(tmp_path)
        model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 1}, "merges": []}
        path.write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
        (tmp_path / "tokenizer_config.json").unlink()
        with pytest.raises(CheckpointError, match=r"tokenizer\.json: tokens share ids: 1 is '[bc]' and '[bc]'"):
            Tokenizer.load(tmp_path)

    def test_a_model_that_cannot_encode(self, tmp_path: Path) -> None:
        model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "[UNK]"}
        (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
        ours = Tokenizer.load(tmp_path)
        assert ours.ids(["a"])[0] == [[0]]
        with pytest.raises(
            DataError, match=r"the tokenizer cannot encode this: .*\n  fix: give the vocabulary an unknown token"
        ):
            ours.ids(["b"])
        model["vocab"] = {"b": 0}
        (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
        with pytest.raises(CheckpointError, match=r"not a tokenizer: WordLevel error: Missing \[UNK\]"):
            Tokenizer.load(tmp_path)

    def test_empty_vocabulary(self, tmp_path: Path) -> None:
        model = {"type": "BPE", "vocab": {}, "merges": []}
        (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
        with pytest.raises(CheckpointError, match=r"tokenizer\.json: the vocabulary has no token that a text could become"):
            Tokenizer.load(tmp_path)

    def test_merges_that_lack_their_prefix(self, tmp_path: Path) -> None:
        model = {"type": "BPE", "vocab": {"a": 0, "é": 1, "aé": 2}, "merges": [["a", "é"]], "continuing_subword_prefix": "#"}
        (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
        with pytest.raises(CheckpointError, match=r"tokenizer\.json: merges of pieces without the prefix '#'"):
            Tokenizer.load(tmp_path)

    def test_an_id_far_away_takes_no_time(self, tmp_path: Path) -> None:
        model = {"type": "WordLevel", "vocab": {"[UNK]": 0, "word": 2**32 - 1}, "unk_token": "[UNK]"}
        words = {"type": "Whitespace"}
        (tmp_path / "tokenizer.json").write_text(
            json.dumps({"version": "1.0", "added_tokens": [], "model": model, "pre_tokenizer": words})
        )
        assert Tokenizer.load(tmp_path).ids(["word"])[0] == [[2**32 - 1]]

    def test_post_processor_without_the_text(self, wordpiece: Tokenizer, tmp_path: Path) -> None:
        wordpiece.save(tmp_path)
        path = tmp_path / "tokenizer.json"
        values = json.loads(path.read_text())
        values["post_processor"]["pair"] = values["post_processor"]["single"]
        path.write_text(json.dumps(values))
        with pytest.raises(CheckpointError, match="the post_processor does not hold each text exactly once"):
            Tokenizer.load(tmp_path)

    def test_vocab_txt(self, tmp_path: Path) -> None:
        path = tmp_path / "vocab.txt"
        path.write_text("\n".join([*VOCABULARY, "a", "c", "a", "##b"]))
        with pytest.raises(
            CheckpointError, match=r"2 problems:\n.*token 'a' stands on lines 6, 8, 10\n(.|\n)*'##b' .* 7, 11"
        ):
            Tokenizer.load(tmp_path)
        path.write_text("\n".join(VOCABULARY[2:]))
        with pytest.raises(
            CheckpointError, match=r"vocab\.txt: no line \[UNK\]\n  fix: add the line, or name another \"unk_token\""
        ):
            Tokenizer.load(tmp_path)
        path.write_bytes("[UNK]\n中".encode("gb18030"))
        with pytest.raises(CheckpointError, match=r"vocab\.txt: not UTF-8: .* at byte 6"):
            Tokenizer.load(tmp_path)

    def test_vocab_txt_with_other_names(self, tmp_path: Path) -> None:
        (tmp_path / "vocab.txt").write_bytes("\r\n".join(["<u>", *VOCABULARY[2:], ""]).encode())
        (tmp_path / "special_tokens_map.json").write_text('{"unk_token": {"content": "<u>"}}')
        ours = Tokenizer.load(tmp_path)
        assert ours.ids(["a q"])[0] == [[1, 4, 0, 2]]
        assert (ours.unk_id, ours.pad_id, ours.vocab_size) == (0, None, 6)

    def test_merges(self, tmp_path: Path) -> None:
        (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1}')
        (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
        with pytest.raises(
            CheckpointError, match=r"merges\.txt has tokens that vocab\.json lacks: ab\n  fix: get both files"
        ):
            Tokenizer.load(tmp_path)
        (tmp_path / "merges.txt").write_text("a b c\n")
        with pytest.raises(
            CheckpointError, match=r"vocab\.json and merges\.txt: not a vocabulary with its merges: .*line 1"
        ):
            Tokenizer.load(tmp_path)
        (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "CodeGenTokenizerFast"}')
        with pytest.raises(
            CheckpointError, match=r"no rule for vocab\.json and merges\.txt of 'CodeGen'\n  allowed: GPT2Tokenizer"
        ):
            Tokenizer.load(tmp_path)

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ("{}", r"no tokens\n  allowed: \{\"token\": id"),
            ('{"a": 0, "b": null, "c": true, "d": -1}', r"no ids for 'b', 'c', 'd'"),
            (
                '{"a": 0, "b": 1, "c": 1, "d": 0}',
                r"tokens share ids: 0 is 'a' and 'd', 1 is 'b' and 'c'\n  allowed: an id each",
            ),
            (
                '{"a": 0, "b": 3, "c": 900000000000}',
                r"3 tokens with ids up to 900000000000, but none for the ids 1, 2",
            ),
        ],
    )
    @pytest.mark.parametrize("kind", ["GPT2", "Wav2Vec2CTC"])
    def test_vocab_json(self, table: str, message: str, kind: str, tmp_path: Path) -> None:
        (tmp_path / "vocab.json").write_text(table)
        (tmp_path / "merges.txt").write_text("#version: 0.2\n")
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": f"{kind}Tokenizer"}))
        with pytest.raises(CheckpointError, match=r"vocab\.json: " + message):
            Tokenizer.load(tmp_path)

    def test_what_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY))
        (tmp_path / "tokenizer_config.json").mkdir()
        with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: cannot be read: Is a directory"):
            Tokenizer.load(tmp_path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", r"not JSON: Expecting .* line 1 column 2"),
            ("[]", r"not a JSON object"),
            ('{"model_max_length": "long"}', r"key 'model_max_length' is 'long'\n  allowed: a whole number of tokens"),
            ('{"do_lower_case": "yes"}', r"key 'do_lower_case' is 'yes'\n  allowed: true, false or null"),
            ('{"pad_token": 0}', r"key 'pad_token' is 0\n  allowed: a token, as \"\[PAD\]\""),
            ('{"truncation_side": "up"}', r"key 'truncation_side' is 'up'\n  allowed: right, left"),
            ('{"added_tokens_decoder": {"7": null}}', r"key 'added_tokens_decoder\.7' is None"),
            ('{"added_tokens_decoder": []}', r"key 'added_tokens_decoder' is \[\]"),
            ('{"added_tokens_decoder": {"x": "y"}}', r"key 'added_tokens_decoder' is .*\n  allowed: an object such as"),
            ('{"added_tokens_decoder": {"9": "y"}}', r"key 'added_tokens_decoder\.9' is 'y'"),
            ('{"additional_special_tokens": 3}', r"key 'additional_special_tokens' is 3"),
        ],
    )
    def test_settings(self, content: str, message: str, tmp_path: Path) -> None:
        (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY))
        (tmp_path / "tokenizer_config.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: " + message):
            Tokenizer.load(tmp_path)
