"""The run file: how `--set`, TOML and keywords become one frozen value, and all that is wrong with them at once."""

import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from regard.config import (
    BatchConfig,
    DataConfig,
    RunConfig,
    TokenizerConfig,
    TrainingConfig,
    dump_toml,
    merged,
    overrides,
    parse,
    read_toml,
)
from regard.errors import ConfigError

# --set


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-5", 2e-5),
        ("3", 3),
        ("true", True),
        ("null", None),
        ("[0.9, 0.98]", [0.9, 0.98]),
        ('{"text": "review"}', {"text": "review"}),
        ('"3"', "3"),
        ("cosine", "cosine"),
        ("True", "True"),
        ("", ""),
        ("a=b", "a=b"),
        (" x", " x"),
        ("很好", "很好"),
        ("C:\\films.csv", "C:\\films.csv"),
    ],
)
def test_the_right_side_is_json_where_it_is_json(text: str, value: Any) -> None:
    assert overrides([f"a={text}"]) == {"a": value}


def test_dots_are_sections() -> None:
    found = overrides(
        ["training.lr=1e-3", "training.epochs=2", "seed=1", "data.columns.text=review", "data.columns.label=1"]
    )
    assert found == {
        "training": {"lr": 1e-3, "epochs": 2},
        "seed": 1,
        "data": {"columns": {"text": "review", "label": 1}},
    }
    assert overrides([]) == {}
    assert overrides(["a=1", "a=2"]) == {"a": 2}
    assert overrides(['options={"pair": true}', "options.pool=last"]) == {"options": {"pair": True, "pool": "last"}}


@pytest.mark.parametrize("assignment", ["training.lr", "=3", "training.=3", ".lr=3", "a..b=3", ""])
def test_what_is_no_assignment(assignment: str) -> None:
    with pytest.raises(ConfigError) as caught:
        overrides([assignment])
    (problem,) = caught.value.problems
    assert (problem.what, problem.where) == (f"{assignment!r} is not key=value", "--set")
    assert problem.allowed == "section.key=value, as training.lr=2e-5"


def test_a_value_cannot_be_a_section() -> None:
    with pytest.raises(ConfigError, match="--set: 'batch' is a value and a section at once\n  fix: remove one of the two"):
        overrides(["batch=1", "batch.rows=2"])


# Layers


names = st.sampled_from("abc")
flat = st.dictionaries(names, st.integers(0, 9))
nested = st.dictionaries(names, flat) | st.just({})


@given(layers=st.lists(nested, max_size=4))
def test_the_last_layer_wins_key_by_key(layers: list[dict[str, dict[str, int]]]) -> None:
    before = json.dumps(layers)
    expected: dict[tuple[str, str], int] = {}
    for layer in layers:
        expected |= {(section, key): value for section, keys in layer.items() for key, value in keys.items()}
    found = merged(*layers)
    assert {(section, key): value for section, keys in found.items() for key, value in keys.items()} == expected
    assert found.keys() == {section for layer in layers for section in layer}
    assert json.dumps(layers) == before


def test_layers_of_different_kinds_replace_each_other() -> None:
    assert merged({"a": 1}, {"a": {"b": 2}}) == {"a": {"b": 2}}
    assert merged({"a": {"b": 2}}, {"a": 1}) == {"a": 1}
    assert merged({"a": {"b": [1, 2]}}, {"a": {"b": [3]}}) == {"a": {"b": [3]}}
    assert merged() == {}


# Parsing


def test_a_task_is_enough() -> None:
    config = parse(RunConfig, {"task": "x"}, where="here")
    assert (config.model, config.seed, config.training.clip, config.batch.tokens) == ("mini", 0, 1.0, None)
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 3  # type: ignore[misc]


def test_all_problems_are_told_at_once_with_what_was_meant() -> None:
    values = {
        "seed": -1,
        "modle": "tiny",
        "training": {"epoch": 3, "lr": "fast", "betas": [0.9]},
        "batch": {"rows": 0},
        "data": 3,
        "tokenizer": {"kind": "words"},
    }
    with pytest.raises(ConfigError) as caught:
        parse(RunConfig, values, where="run.toml")
    found = {problem.what: (problem.allowed, problem.fix) for problem in caught.value.problems}
    assert {problem.where for problem in caught.value.problems} == {"run.toml"}
    assert found["missing key 'task'"] == ("", "add task = …")
    assert found["unknown key 'modle'"] == (
        "architecture, batch, data, model, options, out, seed, task, tokenizer, training",
        "did you mean 'model'?",
    )
    assert found["unknown key 'training.epoch'"][1] == "did you mean 'epochs'?"
    assert "keep_checkpoints" not in found["unknown key 'modle'"][0]
    assert "lr" in found["unknown key 'training.epoch'"][0]
    assert found["key 'seed' is -1"][0] == "input should be greater than or equal to 0"
    assert found["key 'training.lr' is 'fast'"][0].startswith("input should be a valid number")
    assert found["key 'batch.rows' is 0"][0] == "input should be greater than or equal to 1"
    assert (
        found["key 'tokenizer.kind' is 'words'"][0]
        == "input should be 'wordpiece', 'bpe', 'unigram', 'byte', 'char' or 'word'"
    )
    assert any(what.startswith("key 'data' is 3") for what in found)
    assert any(what.startswith("missing key 'training.betas.1'") for what in found)
    assert len(found) == 9 == str(caught.value).count("run.toml: ")
    assert str(caught.value).startswith("9 problems:\n")


@pytest.mark.parametrize("key", ["lr", "epochs", "eps", "weight_decay", "warmup", "label_smoothing", "dropout"])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "inf", "nan"])
def test_numbers_are_finite(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"key 'training.{key}' is .*\n  allowed: input should be a finite number"):
        parse(RunConfig, merged({"task": "x"}, overrides([f"training.{key}={value}"])), where="--set")


@pytest.mark.parametrize("value", ["inf", "Infinity", "null"])
def test_clipping_can_be_switched_off(value: str) -> None:
    config = parse(RunConfig, merged({"task": "x"}, overrides([f"training.clip={value}"])), where="--set")
    assert config.training.clip == math.inf
    assert parse(RunConfig, tomllib.loads(dump_toml(config)), where="run.toml") == config
    for wrong in ("0", "-1", "NaN", "-Infinity"):
        with pytest.raises(ConfigError, match=r"key 'training.clip' is .*\n  allowed: input should be greater than 0"):
            parse(RunConfig, merged({"task": "x"}, overrides([f"training.clip={wrong}"])), where="--set")


def test_every_setting_says_what_it_is() -> None:
    for kind in (RunConfig, DataConfig, TokenizerConfig, BatchConfig, TrainingConfig):
        sections = {"data", "tokenizer", "batch", "training"} if kind is RunConfig else set()
        assert [name for name, field in kind.model_fields.items() if not field.description and name not in sections] == []


# TOML


def test_read_toml(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('task = "x"\n[data]\ntrain = "影评.csv"\n', encoding="utf-8")
    assert read_toml(path) == {"task": "x", "data": {"train": "影评.csv"}}
    for content, says in (
        (b"a = = 1", "line 1"),
        ("a = '影评'".encode("gbk"), "utf-8"),
        (b"a = 1\na = 2", "Cannot overwrite"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="not a TOML file") as caught:
            read_toml(path)
        assert says in str(caught.value)
        assert caught.value.problems[0].where == str(path)
    with pytest.raises(ConfigError, match="no such file\n  fix: check the path of the run file"):
        read_toml(tmp_path / "none.toml")


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
positive = st.floats(1e-12, 1e12)
counts = st.integers(1, 10**9)
optional_counts = st.none() | counts
values: st.SearchStrategy[Any] = st.recursive(
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
runs = st.builds(
    RunConfig,
    task=words,
    model=words,
    out=st.none() | words,
    seed=st.integers(0, 2**32 - 1),
    options=st.dictionaries(words, values, max_size=3),
    data=st.builds(
        DataConfig,
        train=st.none() | words,
        eval=st.none() | words,
        eval_share=st.floats(0.01, 0.99),
        columns=st.dictionaries(words, words | st.integers(0, 99), max_size=3),
    ),
    tokenizer=st.builds(TokenizerConfig, vocab_size=st.integers(2, 10**6), lower_case=st.booleans()),
    batch=st.builds(BatchConfig, tokens=optional_counts, rows=optional_counts, accumulate=counts, pool=counts),
    training=st.builds(
        TrainingConfig,
        epochs=st.none() | positive,
        steps=optional_counts,
        lr=st.none() | positive,
        betas=st.tuples(st.floats(0, 1), st.floats(0, 1)),
        clip=st.none() | positive | st.just(math.inf),
        dropout=st.none() | st.floats(0, 0.99),
        schedule=words,
        precision=st.sampled_from(["auto", "float32", "bfloat16"]),
        patience=optional_counts,
        metric=st.none() | words,
    ),
)


@settings(deadline=None)
@given(config=runs)
def test_what_is_written_reads_back(config: RunConfig) -> None:
    text = dump_toml(config)
    assert parse(RunConfig, tomllib.loads(text), where="run.toml") == config
    assert parse(RunConfig, config.model_dump(mode="json"), where="JSON") == config


def test_what_toml_cannot_hold_is_left_out() -> None:
    config = parse(RunConfig, {"task": "x", "options": {"pool": None, "deep": {"a": None, "b": math.inf}}}, where="here")
    assert tomllib.loads(dump_toml(config))["options"] == {"deep": {"b": math.inf}}


@settings(deadline=None)
@given(config=runs)
def test_what_was_said_of_a_run_can_be_set_again(config: RunConfig) -> None:
    """Each key of a run file, given by `--set`, makes the same run."""

    def leaves(values: Mapping[str, Any], prefix: str = "") -> list[str]:
        found = []
        for key, value in values.items():
            if isinstance(value, dict) and prefix == "" and key != "options":
                found += leaves(value, f"{key}.")
            else:
                found.append(f"{prefix}{key}={json.dumps(value)}")
        return found

    assert parse(RunConfig, overrides(leaves(tomllib.loads(dump_toml(config)))), where="--set") == config
