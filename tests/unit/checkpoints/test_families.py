"""Families: their config.json in our words and back, and what is said when a checkpoint is not one that Regard has."""

from typing import Any

import pytest

from regard.checkpoints.families import FAMILIES, Architecture, Description, Family
from regard.errors import ConfigError
from regard.models.config import HeadConfig

SIZES: dict[str, dict[str, Any]] = {
    "bert": {
        "vocab_size": 20,
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 12,
    },
    "distilbert": {"vocab_size": 20, "dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 16, "max_position_embeddings": 12},
}
SIZES["roberta"] = {**SIZES["bert"], "max_position_embeddings": 14, "type_vocab_size": 1}


def architecture_of(name: str, n_outputs: int | None) -> Architecture:
    """The classifier, or the class without a head."""
    family = FAMILIES[name]
    found = family.base if n_outputs is None else family.serving("text-classification")
    assert found is not None
    return found


def read(name: str, n_outputs: int | None = None, **changes: Any) -> Description:
    values = {key: value for key, value in {**SIZES[name], **changes}.items() if value != "absent"}
    return FAMILIES[name].read(values, architecture_of(name, n_outputs), n_outputs, where="config.json")


def write(name: str, description: Description, original: dict[str, Any] | None = None) -> dict[str, Any]:
    family: Family = FAMILIES[name]
    architecture = architecture_of(name, None if description.head is None else description.head.n_outputs)
    return family.write(description, original or {}, architecture=architecture, where="the model")


@pytest.mark.parametrize("name", sorted(SIZES))
def test_sizes_and_what_never_changes(name: str):
    config, head, task = read(name)
    assert (config.vocab_size, config.d_model, config.n_layers, config.n_heads, config.d_ff) == (20, 8, 2, 2, 16)
    assert (config.kind, config.norm_place, config.norm, config.embedding_norm) == ("encoder", "post", "layer", True)
    assert (config.norm_eps, config.dropout, config.activation, config.max_positions) == (1e-12, 0.1, "gelu", 12)
    assert (config.position_offset, config.pad_id) == ((2, 1) if name == "roberta" else (0, 0))
    assert config.n_types == {"bert": 2, "roberta": 1, "distilbert": 0}[name]
    assert head is None
    assert task is None


@pytest.mark.parametrize("name", sorted(SIZES))
def test_the_head_is_the_family_s(name: str):
    head = read(name, n_outputs=3).head
    assert head is not None
    assert (head.pool, head.dense, head.n_outputs) == ("first", True, 3)
    assert (head.activation, head.dropout) == (("relu", 0.2) if name == "distilbert" else ("tanh", None))


@pytest.mark.parametrize("name", sorted(SIZES))
@pytest.mark.parametrize("n_outputs", [None, 1, 3])
def test_a_config_that_says_all_comes_back_as_it_was(name: str, n_outputs: int | None):
    rest = {
        "initializer_range": 0.02,
        "their_own": {"deep": [1]},
        "hidden_act": "gelu_pytorch_tanh",
        "classifier_dropout": None,
    }
    labels = {"id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0, "b": 1, "c": 2}} if n_outputs == 3 else {}
    original = {**SIZES[name], **rest, **labels, "model_type": name}
    description = FAMILIES[name].read(original, architecture_of(name, n_outputs), n_outputs, where="")
    written = write(name, description, original)
    assert {**written, "architectures": None} == {**original, "architectures": None}


@pytest.mark.parametrize("name", sorted(SIZES))
def test_a_model_without_an_original_says_all(name: str):
    description = read(name, n_outputs=2)
    written = write(name, description)
    assert {key.theirs for key in FAMILIES[name].keys} <= written.keys()
    assert FAMILIES[name].read(written, architecture_of(name, 2), 2, where="").config == description.config


def test_only_what_changed_is_written():
    config, head, task = read("bert", n_outputs=2, hidden_dropout_prob=0.3)
    assert head is not None
    assert task is not None
    original = {**SIZES["bert"], "hidden_dropout_prob": 0.3}
    changed = Description(config.model_copy(update={"dropout": 0.0}), HeadConfig(n_outputs=2, dropout=0.5), task)
    written = write("bert", changed, original)
    assert {key for key in written if written[key] != original.get(key)} == {
        "hidden_dropout_prob",
        "classifier_dropout",
        "architectures",
        "model_type",
    }
    assert (written["hidden_dropout_prob"], written["classifier_dropout"]) == (0.0, 0.5)


def test_a_dropout_that_is_the_model_s_own_is_written_where_the_family_has_another():
    description = read("distilbert", n_outputs=2, dropout=0.4)
    own = description._replace(head=HeadConfig(n_outputs=2, activation="relu"))
    assert write("distilbert", own)["seq_classif_dropout"] == 0.4


@pytest.mark.parametrize(
    ("theirs", "ours"), [("gelu", "gelu"), ("gelu_new", "gelu-tanh"), ("swish", "silu"), ("relu", "relu")]
)
def test_activations_have_several_names(theirs: str, ours: str):
    assert read("bert", hidden_act=theirs).config.activation == ours


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("bert", {"hidden_size": "absent"}, "missing key 'hidden_size'"),
        ("bert", {"vocab_size": None}, "missing key 'vocab_size'"),
        ("bert", {"hidden_size": "8"}, "key 'hidden_size' is '8'"),
        ("bert", {"hidden_size": -8}, "key 'hidden_size' is -8"),
        ("bert", {"hidden_size": True}, "key 'hidden_size' is True"),
        ("bert", {"hidden_dropout_prob": 1.5}, "key 'hidden_dropout_prob' is 1.5"),
        ("bert", {"num_attention_heads": 3}, "num_attention_heads=3 does not divide hidden_size=8"),
        ("distilbert", {"n_heads": 3}, "n_heads=3 does not divide dim=8"),
        ("bert", {"pad_token_id": 20}, "pad_token_id=20 is not below vocab_size=20"),
        ("bert", {"hidden_act": "mish"}, "key 'hidden_act' is 'mish'"),
        ("bert", {"hidden_act": ["gelu"]}, "key 'hidden_act' is ['gelu']"),
        ("bert", {"position_embedding_type": "relative_key"}, "key 'position_embedding_type' is 'relative_key'"),
        ("bert", {"is_decoder": True}, "key 'is_decoder' is True"),
        ("bert", {"pruned_heads": {"0": [1]}}, "key 'pruned_heads' is {'0': [1]}"),
        ("roberta", {"quantization_config": {"bits": 4}}, "key 'quantization_config' is {'bits': 4}"),
        ("roberta", {"pad_token_id": 0}, "key 'pad_token_id' is 0"),
        ("roberta", {"max_position_embeddings": "14"}, "key 'max_position_embeddings' is '14'"),
        ("roberta", {"max_position_embeddings": 2}, "key 'max_position_embeddings' is 0"),
    ],
)
def test_a_wrong_key_is_named_in_their_words(name: str, changes: dict[str, Any], says: str):
    with pytest.raises(ConfigError) as caught:
        read(name, **changes)
    assert f"config.json: {says}" in str(caught.value)


@pytest.mark.parametrize(
    ("n_outputs", "changes", "says"),
    [
        (2, {"id2label": {"0": "a"}}, 'allowed: {"0": …} with the ids 0 to 1'),
        (2, {"id2label": {"0": "a", "2": "b"}}, "id2label is {'0': 'a', '2': 'b'}"),
        (2, {"id2label": ["a", "b"]}, "id2label is ['a', 'b']"),
        (2, {"id2label": {"0": "a", "1": "a"}}, "allowed: texts that differ from each other"),
        (2, {"id2label": {"0": "a", "1": 7}}, "allowed: texts that differ from each other"),
        (2, {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}}, "id2label says otherwise"),
        (2, {"label2id": {"a": 1, "b": 0}}, "id2label says otherwise"),
        (2, {"num_labels": 3}, "key 'num_labels' is 3"),
        (2, {"problem_type": "ranking"}, "key 'problem_type' is 'ranking'"),
        (2, {"problem_type": []}, "key 'problem_type' is []"),
        (2, {"classifier_dropout": 2.0}, "key 'classifier_dropout' is 2.0"),
        (10**13, {}, "the output layer has 10000000000000 rows"),
    ],
)
def test_wrong_labels_are_named(n_outputs: int, changes: dict[str, Any], says: str):
    with pytest.raises(ConfigError) as caught:
        read("bert", n_outputs, **changes)
    assert says in str(caught.value)


def test_all_problems_of_a_config_come_at_once():
    with pytest.raises(ConfigError) as caught:
        read("bert", 2, hidden_size="absent", vocab_size="absent", hidden_act="mish", is_decoder=True, num_labels=5)
    assert len(caught.value.problems) == 5
    with pytest.raises(ConfigError) as caught:
        read("bert", hidden_size="8", num_hidden_layers=0)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("n_outputs", "kind", "task", "multi_label"),
    [
        (1, None, "regression", False),
        (3, None, "text-classification", False),
        (3, "multi_label_classification", "text-classification", True),
        (1, "multi_label_classification", "text-classification", True),
        (2, "regression", "regression", False),
    ],
)
def test_problem_types_are_tasks(n_outputs: int, kind: str | None, task: str, multi_label: bool):
    description = read("bert", n_outputs, problem_type=kind)
    labels = [f"LABEL_{i}" for i in range(n_outputs)]
    assert description.task == {"task": task, "labels": labels, "multi_label": multi_label}
    again = FAMILIES["bert"].read(write("bert", description), architecture_of("bert", n_outputs), n_outputs, where="")
    assert again.task == description.task


def test_new_labels_replace_the_original_s():
    description = read("bert", 2, id2label={"0": "a", "1": "b"})
    original = {**SIZES["bert"], "id2label": {"0": "x"}, "num_labels": 1, "label2id": {"x": 0}}
    written = write("bert", description, original)
    assert written["id2label"] == {"0": "a", "1": "b"}
    assert written["label2id"] == {"a": 0, "b": 1}
    assert "num_labels" not in written


def test_labels_must_be_as_many_as_outputs():
    config, head, _ = read("bert", 2)
    with pytest.raises(ConfigError, match="3 labels for 2 outputs"):
        write("bert", Description(config, head, {"task": "text-classification", "labels": ["a", "b", "c"]}))


@pytest.mark.parametrize(
    ("name", "config", "head", "says"),
    [
        ("bert", {"norm_place": "pre"}, {}, "norm_place is 'pre'\n  allowed: 'post' in the family 'bert'"),
        ("bert", {"n_kv_heads": 1}, {}, "n_kv_heads is 1\n  allowed: 2"),
        ("bert", {"window": 4}, {}, "window is 4\n  allowed: None"),
        ("roberta", {"pad_id": 0}, {}, "pad_id is 0\n  allowed: 1"),
        ("distilbert", {"norm_eps": 1e-5}, {}, "norm_eps is 1e-05\n  allowed: 1e-12"),
        ("bert", {}, {"pool": "mean"}, "head.pool is 'mean'\n  allowed: 'first'"),
        ("bert", {}, {"dense": False}, "head.dense is False\n  allowed: True"),
    ],
)
def test_a_setting_that_a_family_cannot_have_is_named(name: str, config: dict[str, Any], head: dict[str, Any], says: str):
    had = read(name, 2)
    assert had.head is not None
    changed = Description(had.config.model_copy(update=config), had.head.model_copy(update=head), had.task)
    with pytest.raises(ConfigError) as caught:
        write(name, changed)
    assert f"the model: {says}" in str(caught.value)


def test_all_settings_that_a_family_cannot_have_come_at_once():
    config, head, task = read("bert", 2)
    changed = Description(config.model_copy(update={"norm_place": "pre", "gated": True}), head, task)
    with pytest.raises(ConfigError) as caught:
        write("bert", changed)
    assert [problem.what for problem in caught.value.problems] == [
        "norm_place is 'pre'",
        "last_norm is True",
        "gated is True",
    ]


def test_every_architecture_knows_its_own_tensors_only():
    for family in FAMILIES.values():
        assert len(family.architectures) == 1 + len(family.heads)
        for architecture in family.architectures.values():
            templates = [name for entry in architecture.entries(family.prefix, {}) for name in entry.sources]
            targets = [name for entry in architecture.entries(family.prefix, {}) for name in entry.targets]
            assert len(set(templates)) == len(templates)
            assert len(set(targets)) == len(targets)
