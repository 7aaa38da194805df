"""What is asked of the text itself comes true, whatever a model that has learned nothing would write."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import regard
from regard.checkpoints import save_model
from regard.decoding import minimum_bayes_risk
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.text import train_tokenizer

TEXTS = ["The bread was warm and the bill was fair.", "Nobody answered the telephone, and the room was dark.", "A"]
Written = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("writer")
    tokenizer = train_tokenizer(TEXTS * 2, kind="bpe", vocab_size=330)
    sizes = {"d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 64, "max_positions": 96}
    config = ModelConfig(kind="decoder", vocab_size=tokenizer.vocab_size, **sizes)
    torch.manual_seed(0)
    writer = build(config, HeadConfig(over="vocabulary", dense=False, bias=False, n_outputs=tokenizer.vocab_size))
    for tensor in writer.state_dict().values():
        if tensor.ndim > 1:
            tensor.normal_(std=0.3)
    end = min(tokenizer.special_ids)
    save_model(folder, writer, tokenizer=tokenizer, task={"task": "text-generation", "generation": {"eos_token_id": end}})
    return folder


@pytest.fixture
def written(model: Path) -> Written:
    """`written(beams=4)`: the answers to all texts."""

    def told(**decoding: Any) -> list[dict[str, Any]]:
        return regard.load(model, decoding={"max_new_tokens": 24, **decoding}).predict(TEXTS)

    return told


def texts(answers: list[dict[str, Any]]) -> list[str]:
    """All that was written, candidates included."""
    return [each["generated"] for answer in answers for each in answer.get("candidates", [answer])]


SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beams": {"beams": 3, "n_best": 2},
    "drawn": {"sample": True, "n_best": 3},
}


@pytest.mark.parametrize("search", SEARCHES)
def test_texts_match_a_pattern(written: Written, search: str):
    found = texts(written(regex=r"(yes|no|[0-9]{2,4}), (sir|madam)", **SEARCHES[search]))
    assert all(re.fullmatch(r"(yes|no|[0-9]{2,4}), (sir|madam)", text) for text in found)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("in_a_file", [False, True])
def test_texts_follow_a_schema(written: Written, search: str, in_a_file: bool, tmp_path: Path):
    schema: Any = {"type": "object", "properties": {"n": {"enum": [1, 2]}, "b": {"type": "boolean"}}}
    schema["required"] = ["n", "b"]
    (tmp_path / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    found = texts(written(json_schema=str(tmp_path / "schema.json") if in_a_file else schema, **SEARCHES[search]))
    for text in found:
        value = json.loads(text)
        assert value["n"] in (1, 2)
        assert value["b"] in (True, False)


@pytest.mark.parametrize("search", SEARCHES)
def test_texts_end_before_the_first_stop_string(written: Written, search: str):
    whole = texts(written(**SEARCHES[search]))
    middle = whole[0][len(whole[0]) // 2 :][:2]
    found = texts(written(stop=[middle], **SEARCHES[search]))
    assert not any(middle in text for text in found)
    assert middle in whole[0]
    if search != "beams":  # where no hypothesis takes another's place, the beginning is the same
        assert found[0] == whole[0].split(middle)[0]


@pytest.mark.parametrize("search", SEARCHES)
def test_banned_strings_do_not_come(model: Path, written: Written, search: str):
    tokenizer = regard.load(model).tokenizer
    assert tokenizer is not None
    pieces = [text.strip() for text in tokenizer.decode([[token] for token in range(tokenizer.vocab_size)])]
    free = "|".join(texts(written(**SEARCHES[search])))
    word = max((piece for piece in pieces if piece.isalpha() and piece in free), key=len)
    assert len(word) > 1
    assert word not in "|".join(texts(written(banned=[word], **SEARCHES[search])))


@pytest.mark.parametrize("beams", [2, 5])
def test_required_strings_come(written: Written, beams: int):
    words = ["telephone", "room", "warm bread"]
    assert not any(word in text for text in texts(written(beams=beams)) for word in words)
    for text in texts(written(beams=beams, n_best=2, required=words, max_new_tokens=30)):
        assert all(word in text for word in words)


def test_with_too_little_room_for_what_is_required_something_is_written(written: Written):
    assert all(texts(written(beams=2, required=["telephone", "dark", "Nobody answered"], max_new_tokens=1)))


def test_the_text_that_others_agree_with_comes_first(written: Written):
    drawn = {"sample": True, "n_best": 8, "temperature": 0.7, "max_new_tokens": 5}
    by_score = [texts([answer]) for answer in written(**drawn)]
    by_risk = [texts([answer]) for answer in written(rank="mbr", **drawn)]
    assert by_risk == [[found[place] for place in minimum_bayes_risk(found)] for found in by_score]
    assert by_risk != by_score
    assert len(texts(written(rank="mbr", beams=4))) == len(TEXTS)


def test_no_ngram_twice_and_no_short_text(model: Path, written: Written):
    tokenizer = regard.load(model).tokenizer
    assert tokenizer is not None
    for text in written(no_repeat_ngram=1, min_new_tokens=20):
        tokens = tokenizer.encode([text["generated"]], special=False)[0].ids
        assert len(tokens) > 5
    plain = texts(written(sample=True, temperature=0.1, repetition_penalty=1.0))
    assert texts(written(sample=True, temperature=0.1, repetition_penalty=5.0)) != plain


def test_what_the_vocabulary_cannot_spell_is_not_required(untrained: Path):
    with pytest.raises(regard.errors.ConfigError, match=r"decoding\.required: the vocabulary cannot spell 'ж'"):
        regard.load(untrained / "text-generation", decoding={"beams": 2, "required": ["ж", "bread"]})
