"""Folders whose files are damaged somewhere: an error that says so, or a tokenizer that works; never anything else."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.errors import InputError
from regard.text import Tokenizer, train_tokenizer

ODD = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1,
        7,
        2**40,
        1.5,
        "",
        "a",
        "<unk>",
        "x" * 300,
        "\ud800",
        [],
        [[]],
        ["a"],
        {},
        {"content": "a"},
        {"id": 3},
    ]
)


@pytest.fixture(scope="module")
def folders(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, bytes]]:
    """Small folders of several kinds: file name -> content."""
    made = []
    for kind, specials in (("wordpiece", "bert"), ("bpe", "gpt"), ("unigram", "seq2seq"), ("char", "bert")):
        path = tmp_path_factory.mktemp(kind)
        train_tokenizer(corpus, kind=kind, vocab_size=330, specials=specials).save(path)
        made.append({file.name: file.read_bytes() for file in path.iterdir()})
    vocabulary = {token: index for index, token in enumerate(["<pad>", "<unk>", "<|endoftext|>", "|", "a", "b", "ab"])}
    table = json.dumps(vocabulary).encode()
    tag = {"additional_special_tokens": ["<x>"], "pad_token": {"content": "<pad>"}, "chat_template": "{{ bos_token }}"}
    added = {"<x>": 7, "<|startoftranscript|>": 8, "<|notimestamps|>": 9, "<|en|>": 10}
    for kind in ("GPT2", "Whisper", "Qwen2", "CLIP", "Wav2Vec2CTC"):
        config = json.dumps({"tokenizer_class": f"{kind}Tokenizer", "model_max_length": 9, "src_lang": "en", **tag}).encode()
        files = {"vocab.json": table, "tokenizer_config.json": config, "added_tokens.json": json.dumps(added).encode()}
        made.append({**files, "merges.txt": b"#version: 0.2\na b\n", "config.json": b'{"model_type": "whisper"}'})
    return made


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a JSON value."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from places(entry, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


@given(data=st.data())
@settings(deadline=None, max_examples=250)
def test_a_damaged_folder_is_refused_or_works(
    folders: list[dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    files = data.draw(st.sampled_from(folders))
    name = data.draw(st.sampled_from(sorted(files)))
    content = files[name]
    if name.endswith(".json") and data.draw(st.booleans()):
        value = json.loads(content)
        content = json.dumps(changed(value, data.draw(st.sampled_from(list(places(value)))), data.draw(ODD))).encode()
    else:
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(len(content), start + 30)))
        content = content[:start] + data.draw(st.binary(max_size=8)) + content[stop:]
    folder = tmp_path_factory.mktemp("damaged")
    for file, kept in {**files, name: content}.items():
        (folder / file).write_bytes(kept)
    try:
        tokenizer = Tokenizer.load(folder)
        (ids,), _, _ = tokenizer.ids(["a ab <x>\n我们"])
        tokenizer.decode([ids])
        tokenizer.save(folder / "saved")
        assert Tokenizer.load(folder / "saved").ids(["a ab <x>\n我们"])[0] == [ids]
        tokenizer.chat([{"role": "user", "content": "a"}])
    except InputError as error:
        assert error.problems
