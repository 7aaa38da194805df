"""Model folders, ours and theirs: the same bits come back, and what does not fit together is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from regard.checkpoints import Loaded, Origin, export_hf, load, save_model
from regard.checkpoints import folder as folder_module
from regard.checkpoints.tensors import read_weights, write_safetensors
from regard.errors import CheckpointError, ConfigError, RegardError, WorkError
from regard.models.build import build
from regard.models.config import HeadConfig
from regard.models.model import Model
from regard.text import Tokenizer

TASK = {"task": "text-classification", "labels": ["bad", "good", "neither"], "multi_label": False}
WriteBert = Callable[..., Path]


def same(left: Any, right: Any) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left
    )


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hub names that were asked for; none of them exists."""
    asked: list[str] = []

    def fetch(name: str, revision: str | None = None) -> Path:
        asked.append(name if revision is None else f"{name}@{revision}")
        raise CheckpointError("no such hub model", where=name)

    monkeypatch.setattr(folder_module, "fetch", fetch)
    return asked


def test_a_saved_model_comes_back_bit_for_bit(ours: Path, model: Model, tokenizer: Tokenizer):
    loaded = load(ours)
    assert (loaded.config, loaded.head, loaded.task) == (model.config, model.head_config, TASK)
    assert (loaded.source, loaded.revision, loaded.origin, loaded.extra) == (str(ours), None, None, {})
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.digest == tokenizer.digest
    assert same(loaded.tensors, model.state_dict())
    again = build(loaded.config, loaded.head)
    again.load_state_dict(loaded.tensors)
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(again.eval()(ids), model.eval()(ids))


def test_loading_draws_no_random_numbers(ours: Path):
    before = torch.get_rng_state()
    load(ours)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, None])
def test_tensors_come_in_the_dtype_asked_for(ours: Path, model: Model, dtype: torch.dtype | None):
    model.half()
    write_safetensors(ours / "model.safetensors", model.state_dict())
    tensors = load(ours, dtype=dtype).tensors
    assert same(tensors, {name: tensor.to(dtype or torch.float16) for name, tensor in model.state_dict().items()})


def test_the_origin_and_other_files_stay(ours: Path, model: Model, tokenizer: Tokenizer):
    origin = Origin(family="bert", architecture="BertModel", config={"theirs": [1]})
    (ours / "run.toml").write_text("seed = 1")
    save_model(ours, model, tokenizer=tokenizer, task=TASK, origin=origin)
    assert load(ours).origin == origin
    assert (ours / "run.toml").read_text() == "seed = 1"


def test_a_disk_that_fills_up_leaves_the_old_model_whole(ours: Path, model: Model, tokenizer: Tokenizer, disk_full: Any):
    before = {path.name: path.read_bytes() for path in ours.iterdir()}
    with disk_full(), pytest.raises(WorkError):
        save_model(ours, build(model.config, HeadConfig(n_outputs=3)), tokenizer=tokenizer, task=TASK)
    assert {path.name: path.read_bytes() for path in ours.iterdir()} == before


@pytest.mark.parametrize(
    ("file", "values", "says"),
    [
        ("config.json", {"format": "regard/2"}, "key 'format' is 'regard/2'"),
        ("config.json", {"modle": 1}, "unknown key 'modle'"),
        ("config.json", {"model": {"d_model": 8}}, "missing key 'model.vocab_size'"),
        ("config.json", {"head": {"n_outputs": 4}}, "shape (3, 8)"),
        ("config.json", {"head": None}, "tensor 'head.out.weight': the model has no such tensor"),
        ("config.json", {"head": {"n_outputs": 3, "dense": False}}, "tensor 'head.dense.bias': the model has no such"),
        ("task.json", {"task": None}, "key 'task' is not a name"),
        ("task.json", {"labels": ["a"]}, "1 labels\n  allowed: 3, one for each output"),
        ("task.json", {"labels": "abc"}, "key 'labels' is not a list of texts"),
        ("task.json", {"labels": ["a", "b", 3]}, "key 'labels' is not a list of texts"),
    ],
)
def test_what_is_wrong_in_our_folder_is_named(ours: Path, file: str, values: dict[str, Any], says: str):
    change(ours / file, **values)
    with pytest.raises(RegardError) as caught:
        load(ours)
    assert says in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("vocab_size", 65, "config.json says 65 for vocab_size, encoder.embeddings.tokens.weight has 64"),
        ("d_model", 16, "config.json says 16 for d_model, encoder.embeddings.tokens.weight has 8"),
        ("n_layers", 9999, "config.json says 9999 for n_layers, the encoder has 2"),
        ("d_head", 10**15, "for n_heads, encoder.layers.0.attention.q_proj.weight has 8"),
        ("n_kv_heads", 1, "config.json says 4 for n_kv_heads, encoder.layers.0.attention.k_proj.weight has 8"),
        ("d_ff", 17, "config.json says 17 for d_ff, encoder.layers.0.feedforward.up_proj.weight has 16"),
        ("max_positions", 11, "config.json says 11 for max_positions, encoder.embeddings.positions.weight has 12"),
        ("n_types", 0, "config.json says 0 for n_types, encoder.embeddings.types.weight has 2"),
        ("kind", "decoder", "config.json says 2 for n_layers, the decoder has 0"),
    ],
)
def test_sizes_that_config_and_tensors_disagree_about_are_named(ours: Path, field: str, value: Any, says: str):
    change(ours / "config.json", model={**json.loads((ours / "config.json").read_text())["model"], field: value})
    with pytest.raises(CheckpointError) as caught:
        load(ours)
    assert says in str(caught.value)


def test_sizes_that_no_model_can_have_are_refused(ours: Path, model: Model):
    change(ours / "config.json", model={**model.config.model_dump(), "input": {"n_mels": 2**62, "kind": "mel"}})
    with pytest.raises(CheckpointError, match="no model has these sizes"):
        load(ours)
    change(ours / "config.json", model={**model.config.model_dump(), "n_layers": 10**9})
    with pytest.raises(ConfigError, match="less than or equal to 10000"):
        load(ours)


@pytest.mark.parametrize("name", ["attention.q_proj", "feedforward.up_proj"])
def test_a_size_that_no_tensor_confirms_is_never_built(ours: Path, model: Model, name: str):
    change(ours / "config.json", model={**model.config.model_dump(), "n_heads": 2**40, "d_head": 1, "d_ff": 2**40})
    missing = f"encoder.layers.0.{name}.weight"
    tensors = {other: tensor for other, tensor in model.state_dict().items() if other != missing}
    write_safetensors(ours / "model.safetensors", tensors)
    with pytest.raises(CheckpointError) as caught:
        load(ours)
    assert f"tensor {missing!r}: missing" in str(caught.value)


def test_all_tensors_that_do_not_fit_are_named_at_once(ours: Path, model: Model):
    tensors: dict[str, Tensor] = dict(model.state_dict())
    del tensors["encoder.layers.1.attention.v_proj.bias"]
    tensors["encoder.layers.1.attention.o_proj.bias"] = torch.zeros(7)
    tensors["encoder.embeddings.norm.bias"] = torch.zeros(8, dtype=torch.int64)
    tensors["head.uot.weight"] = torch.zeros(1)
    write_safetensors(ours / "model.safetensors", tensors)
    with pytest.raises(CheckpointError) as caught:
        load(ours)
    found = {
        problem.where.rpartition(" ")[2]: (problem.what, problem.allowed or problem.fix) for problem in caught.value.problems
    }
    assert found == {
        "'encoder.layers.1.attention.v_proj.bias'": ("missing", "get the checkpoint anew"),
        "'encoder.layers.1.attention.o_proj.bias'": ("shape (7,)", "(8,)"),
        "'encoder.embeddings.norm.bias'": ("dtype torch.int64", "a floating-point dtype"),
        "'head.uot.weight'": ("the model has no such tensor", "did you mean 'head.out.weight'?"),
    }


def test_a_tokenizer_of_another_model_is_refused(ours: Path, model: Model, tokenizer: Tokenizer):
    small = build(model.config.model_copy(update={"vocab_size": tokenizer.vocab_size - 1}), model.head_config)
    save_model(ours, small, tokenizer=tokenizer, task=TASK)
    with pytest.raises(CheckpointError, match=f"the tokenizer knows {tokenizer.vocab_size} tokens"):
        load(ours)


def test_a_folder_without_a_tokenizer_or_a_task_is_read(ours: Path):
    for path in (*ours.glob("token*"), ours / "task.json"):
        path.unlink()
    loaded = load(ours)
    assert loaded.tokenizer is None
    assert loaded.task is None


# Where a model is looked for


def test_a_folder_may_be_given_as_text_or_path(ours: Path, no_network: list[str]):
    assert same(load(str(ours)).tensors, load(ours).tensors)
    assert no_network == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("ours/model.safetensors", "a file, not a model folder"),
        ("ours/model.bin", "a pickled file"),
        ("oursx", "did you mean 'ours'?"),
        ("missing/deep", "no such folder"),
    ],
)
def test_paths_never_open_the_network(ours: Path, no_network: list[str], given: str, says: str):
    (ours / "model.bin").write_bytes(b"")
    for source in (ours.parent / given, str(ours.parent / given)):
        with pytest.raises(CheckpointError) as caught:
            load(source)
        assert says in str(caught.value)
    assert no_network == []


def test_a_missing_folder_beside_others_never_opens_the_network(
    ours: Path, no_network: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ours.parent.parent)
    with pytest.raises(CheckpointError, match="did you mean 'ours'"):
        load(f"{ours.parent.name}/ourz")
    with pytest.raises(CheckpointError, match="no such folder"):
        load(Path("owner/name"))
    assert no_network == []


def test_names_are_looked_up_on_the_hub(no_network: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner").mkdir()
    for name, revision in (("minilm", "v1"), ("minilm@v2", None), ("other/some.model_1", None), ("hub:owner/name@v3", None)):
        with pytest.raises(CheckpointError, match="no such hub model"):
            load(name, revision=revision)
    minilm = "sentence-transformers/all-MiniLM-L6-v2"
    assert no_network == [f"{minilm}@v1", f"{minilm}@v2", "other/some.model_1", "owner/name@v3"]


def test_a_preset_has_no_weights_to_load(no_network: list[str]):
    with pytest.raises(CheckpointError, match="a preset is a size"):
        load("tiny")
    assert no_network == []


def test_a_hub_model_tells_its_commit(ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    snapshot = tmp_path / "0123abc"
    shutil.copytree(ours, snapshot)
    monkeypatch.setattr(folder_module, "fetch", lambda name, revision: snapshot)
    loaded = load("owner/name")
    assert (loaded.source, loaded.revision) == ("owner/name", "0123abc")


def test_a_folder_without_config_is_named(tmp_path: Path):
    with pytest.raises(CheckpointError, match="no such file") as caught:
        load(tmp_path)
    assert caught.value.problems[0].where == str(tmp_path / "config.json")


# Theirs


def exported(loaded: Loaded, tmp_path: Path, **options: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    export_hf(loaded, tmp_path / "exported", **options)
    return json.loads((tmp_path / "exported/config.json").read_text()), dict(read_weights(tmp_path / "exported"))


def test_theirs_goes_in_and_out_unchanged(write_bert: WriteBert, tmp_path: Path):
    folder = write_bert(config={"dtype": "float32"})
    loaded = load(folder)
    assert loaded.head == HeadConfig(n_outputs=2)
    assert loaded.task == {"task": "text-classification", "labels": ["bad", "good"], "multi_label": False}
    config, tensors = exported(loaded, tmp_path)
    assert config == json.loads((folder / "config.json").read_text())
    assert same(tensors, read_weights(folder))


def test_what_was_fine_tuned_goes_out_with_what_came_in(write_bert: WriteBert, tokenizer: Tokenizer, tmp_path: Path):
    loaded = load(write_bert())
    model = build(loaded.config, HeadConfig(n_outputs=3))
    task = {"task": "text-classification", "labels": ["a", "b", "c"], "multi_label": True}
    change(tmp_path / "theirs/config.json", vocab_size=99)
    save_model(tmp_path / "tuned", model, tokenizer=Small(tokenizer), task=task, origin=loaded.origin)
    config, tensors = exported(load(tmp_path / "tuned"), tmp_path)
    assert config["initializer_range"] == 0.02
    assert config["id2label"] == {"0": "a", "1": "b", "2": "c"}
    assert config["problem_type"] == "multi_label_classification"
    assert config["dtype"] == "float32"
    assert tensors["classifier.weight"].shape == (3, 8)


class Small:
    """A tokenizer that writes nothing: the small checkpoint has fewer tokens than the real one."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.vocab_size = tokenizer.vocab_size

    def save(self, folder: Path) -> None:
        """No file."""


def test_a_bare_prefix_and_old_names_are_read(write_bert: WriteBert, tmp_path: Path):
    new = load(write_bert()).tensors
    old: dict[str, Tensor | None] = {"embeddings.position_ids": torch.arange(12)[None]}
    for name, tensor in read_weights(tmp_path / "theirs").items():
        bare = name.removeprefix("bert.")
        if "LayerNorm" in bare:
            old |= {bare: None, bare.replace(".weight", ".gamma").replace(".bias", ".beta"): tensor}
    assert same(load(write_bert(prefix="", tensors=old)).tensors, new)


def test_the_dtype_of_an_export_is_that_of_the_tensors(write_bert: WriteBert, tmp_path: Path):
    config, tensors = exported(load(write_bert(config={"torch_dtype": "float32"}), dtype=torch.bfloat16), tmp_path)
    assert (config["torch_dtype"], "dtype" in config) == ("bfloat16", False)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}


KEPT: dict[str, Tensor | None] = {
    "cls.seq_relationship.weight": torch.ones(2, 8),
    "cls.seq_relationship.bias": torch.zeros(2),
}
GONE: dict[str, Tensor | None] = {"classifier.weight": None, "classifier.bias": None}
NEXT = "BertForNextSentencePrediction"


def test_a_head_that_regard_does_not_use_is_kept_and_given_back(write_bert: WriteBert, tmp_path: Path):
    folder = write_bert(config={"architectures": [NEXT]}, tensors=GONE | KEPT)
    loaded = load(folder)
    assert loaded.head is None
    assert loaded.task is None
    assert {name for name in loaded.extra if name.startswith("cls")} == KEPT.keys()
    config, tensors = exported(loaded, tmp_path)
    assert config["architectures"] == [NEXT]
    assert same(tensors, read_weights(folder))


def test_tensors_count_more_than_the_architecture_that_is_stated(write_bert: WriteBert):
    for stated in (["BertForMaskedLM"], ["Strange"], [], None, "BertModel"):
        assert load(write_bert(config={"architectures": stated})).head == HeadConfig(n_outputs=2)
        loaded = load(write_bert(config={"architectures": stated}, tensors=GONE | KEPT))
        assert loaded.origin is not None
        assert loaded.origin.architecture == "BertForPreTraining"  # the first class that knows all of them


@pytest.mark.parametrize(
    ("config", "tensors", "says"),
    [
        ({"model_type": None}, {}, "missing key 'model_type'\n  allowed: "),
        (
            {"model_type": "brt"},
            {},
            "did you mean 'bert'?",
        ),
        ({"model_type": ["bert"]}, {}, "unknown model_type ['bert']"),
        ({"vocab_size": 19}, {}, "config.json says 19 for vocab_size, bert.embeddings.word_embeddings.weight has 20"),
        ({"num_hidden_layers": 3}, {}, "config.json says 3 for num_hidden_layers, the encoder has 2"),
        ({}, {"bert.pooler.dense.bias": None}, "tensor 'bert.pooler.dense.bias': missing"),
        ({}, {"bert.pooler.dense.bias": torch.zeros(3)}, "tensor 'bert.pooler.dense.bias': shape (3,)\n  allowed: (8,)"),
        ({}, {"strange.weight": torch.zeros(3)}, "tensor 'strange.weight': no rule knows this tensor"),
        (
            {},
            {"bert.encoder.layer.0.output.dense.wieght": torch.zeros(3)},
            "mean 'bert.encoder.layer.0.output.dense.weight'?",
        ),
        ({"id2label": {"0": "a"}}, {}, "id2label is {'0': 'a'}"),
        ({}, {"classifier.weight": torch.zeros(())}, "the output layer has shape ()"),
    ],
)
def test_what_is_wrong_in_their_folder_is_named(write_bert: WriteBert, config: Any, tensors: Any, says: str):
    with pytest.raises(RegardError) as caught:
        load(write_bert(config=config, tensors=tensors))
    assert says in str(caught.value)
    assert caught.value.exit_status == 2


def test_only_pickled_weights_are_refused(write_bert: WriteBert):
    folder = write_bert()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="a pickled file, which can run any code"):
        load(folder)


def test_a_model_from_scratch_is_exported_as_the_family_that_is_named(ours: Path, tmp_path: Path, tokenizer: Tokenizer):
    loaded = load(ours)
    with pytest.raises(ConfigError, match="made from scratch"):
        export_hf(loaded, tmp_path / "exported")
    config, _ = exported(loaded, tmp_path, family="bert")
    assert (config["architectures"], config["hidden_size"]) == (["BertForSequenceClassification"], 8)
    back = load(tmp_path / "exported")
    assert (back.config, back.task) == (loaded.config, loaded.task)
    assert same(back.tensors, loaded.tensors)
    assert back.tokenizer is not None
    assert back.tokenizer.digest == tokenizer.digest
    with pytest.raises(ConfigError, match="unknown family 'gpt'"):
        export_hf(loaded, tmp_path / "no", family="gpt")
    with pytest.raises(ConfigError, match=r"n_types is 2\n  allowed: 0 in the family 'distilbert'"):
        export_hf(loaded, tmp_path / "no", family="distilbert")
    assert not (tmp_path / "no").exists()
