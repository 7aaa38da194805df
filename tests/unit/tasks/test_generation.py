"""How texts are written: what the checkpoint says, what the user says instead, and what cannot be."""

from pathlib import Path
from typing import Any

import pytest

import regard
from regard.checkpoints.theirs import GENERATION_KEYS
from regard.decoding import Beam, Greedy, Sample
from regard.errors import ConfigError
from regard.tasks.decoding import Generation
from regard.text import train_tokenizer

TOKENIZER = train_tokenizer(["bread"], kind="byte", vocab_size=300)


def test_the_checkpoint_says_how_and_null_says_nothing():
    assert isinstance(Generation().strategy([0], [[1]]), Greedy)
    told = {"num_beams": 4, "early_stopping": "never", "length_penalty": None, "do_sample": True, "unknown": 1}
    assert isinstance(Generation(**told).strategy([0], [[1]]), Beam)
    assert Generation(**told).length_penalty == 1.0
    assert isinstance(Generation(do_sample=True, top_k=50).strategy([0], [[1]]), Sample)


def test_all_that_a_checkpoint_may_say_reaches_the_task():
    assert set(Generation.model_fields) - {"seed", "rules"} <= set(GENERATION_KEYS)


@pytest.mark.parametrize(
    ("checkpoint", "decoding", "kind", "width"),
    [
        ({"num_beams": 4}, {"beams": 2}, Beam, 2),
        ({"num_beams": 4}, {"beams": 1}, Greedy, 1),
        ({"num_beams": 4}, {"sample": True, "n_best": 3}, Sample, 3),
        ({"do_sample": True}, {"beams": 1}, Greedy, 1),
        ({"do_sample": True}, {"beams": 6, "groups": 3, "diversity": 0.5}, Beam, 6),
        ({"do_sample": True}, {"temperature": 0.5, "seed": 4}, Sample, 1),
    ],
)
def test_the_user_says_otherwise(checkpoint: dict[str, Any], decoding: dict[str, Any], kind: type, width: int):
    strategy = Generation(**checkpoint).decoded(decoding, TOKENIZER).strategy([0], [[1]])
    assert type(strategy) is kind
    assert strategy.width == width


def test_names_are_translated():
    said = {"early": "full", "typical": 0.5, "max_new_tokens": 3, "length_penalty": 2.0, "top_k": 0}
    told = Generation().decoded(said, TOKENIZER)
    assert (told.early_stopping, told.typical_p, told.max_new_tokens, told.length_penalty, told.top_k) == (
        True,
        0.5,
        3,
        2.0,
        0,
    )
    assert Generation().decoded({"early": "likely"}, TOKENIZER).early_stopping is False


@pytest.mark.parametrize(
    ("decoding", "message"),
    [
        ({"beam": 4}, "decoding: unknown key 'beam'\n  allowed: .*\n  fix: did you mean 'beams'"),
        ({"beams": 0}, "decoding: key 'beams' is 0"),
        ({"beams": 2, "sample": True}, "decoding: tokens are drawn, and there are beams\n  fix: set sample or beams"),
        ({"n_best": 3}, "decoding: n_best=3\n  allowed: at most 1\n  fix: set beams=3, or sample=true"),
        (
            {"regex": "a", "stop": ["b"], "banned": ["c"]},
            "regex and stop, banned\n  allowed: .*\n  fix: leave out stop",
        ),
        ({"regex": "a", "json_schema": {}}, "decoding: regex and json_schema"),
        ({"json_schema": {}, "no_repeat_ngram": 2}, "decoding: json_schema and no_repeat_ngram"),
        ({"required": ["a"], "stop": ["b"], "beams": 2}, "decoding: required and stop"),
        ({"required": ["a"]}, "decoding: required strings, and no beam search\n  fix: set beams=4"),
        ({"required": ["a"], "beams": 4, "groups": 2}, "decoding: required strings, and groups"),
        ({"rank": "mbr"}, "decoding: rank='mbr', and one text to choose from\n  fix: set sample=true and n_best=30"),
        ({"rank": "best"}, "decoding: key 'rank' is 'best'"),
        ({"regex": "("}, "decoding.regex: not a regular expression"),
        ({"regex": "[^\\s\\S]"}, "decoding.regex: it admits no text at all"),
        ({"regex": "a"}, "decoding.regex: no token ends a text"),
        ({"json_schema": "nowhere.json"}, "decoding.json_schema: nowhere.json: the file cannot be read"),
        ({"json_schema": {"typ": "string"}}, "decoding.json_schema#: typ is not understood"),
        ({"stop": [""]}, "decoding: key 'stop.0' is ''"),
        ({"beams": 4, "groups": 3}, "decoding: 4 beams in 3 groups\n  allowed: groups of equal size"),
    ],
)
def test_what_cannot_be_is_refused(decoding: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        Generation().decoded(decoding, TOKENIZER)


def test_a_grammar_does_without_lengths_and_ngrams_of_the_checkpoint():
    bart = Generation(min_length=56, min_new_tokens=3, no_repeat_ngram_size=3, eos_token_id=0)
    told = bart.decoded({"regex": "bread"}, TOKENIZER)
    assert (told.min_length, told.min_new_tokens, told.no_repeat_ngram_size) == (0, None, 0)
    assert bart.decoded({"beams": 2}, TOKENIZER).min_length == 56


@pytest.mark.parametrize(
    ("content", "message"), [("[1]", "the file holds no schema"), ("{", "the file is not JSON"), ("\xff", "is not JSON")]
)
def test_a_file_that_holds_no_schema(tmp_path: Path, content: str, message: str):
    (tmp_path / "x.json").write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError, match=message):
        Generation(eos_token_id=0).decoded({"json_schema": str(tmp_path / "x.json")}, TOKENIZER)


def test_only_what_writes_can_be_told_how(untrained: Any):
    with pytest.raises(ConfigError, match="text-classification writes no text\n  fix: leave out these settings"):
        regard.load(untrained / "text-classification", decoding={"beams": 2})
