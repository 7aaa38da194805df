"""Checkpoint families against transformers: the same tensors there and back, and the same numbers out of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from regard.checkpoints import export_hf, load
from regard.checkpoints.families import FAMILIES
from regard.checkpoints.rules import Skip
from regard.checkpoints.tensors import read_weights
from regard.models.build import build

SIZES: dict[str, dict[str, Any]] = {
    "bert": {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 3},
    "distilbert": {"dim": 8, "hidden_dim": 16, "n_heads": 2, "n_layers": 3},
}
SIZES["roberta"] = {**SIZES["bert"], "type_vocab_size": 1}

ARCHITECTURES = [(family.name, name) for family in FAMILIES.values() for name in family.architectures]


def reference(family: str, architecture: str, **changes: Any) -> Any:
    """A random model of transformers, with weights large enough that a swapped pair would show."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **SIZES[family], vocab_size=20, max_position_embeddings=14, **changes)
    model = getattr(transformers, architecture)(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def assert_same(left: Any, right: Any) -> None:
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) and left[name].dtype == right[name].dtype for name in left)


@pytest.mark.parametrize(("family", "architecture"), ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_architecture_goes_in_and_out_unchanged(family: str, architecture: str, dtype: torch.dtype, tmp_path: Path):
    reference(family, architecture).to(dtype).save_pretrained(tmp_path / "theirs")
    export_hf(load(tmp_path / "theirs", dtype=None), tmp_path / "ours")
    assert_same(read_weights(tmp_path / "ours"), read_weights(tmp_path / "theirs"))
    configs = [json.loads((tmp_path / folder / "config.json").read_text()) for folder in ("theirs", "ours")]
    assert configs[0] == configs[1]


@pytest.mark.parametrize(("family", "architecture"), ARCHITECTURES)
def test_an_export_loads_there_with_nothing_missing(family: str, architecture: str, tmp_path: Path):
    model = reference(family, architecture)
    model.save_pretrained(tmp_path / "theirs")
    export_hf(load(tmp_path / "theirs"), tmp_path / "ours")
    again, report = type(model).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values())
    assert_same(again.state_dict(), model.state_dict())


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("n_labels", [1, 3])
def test_a_classifier_computes_the_same(family: str, n_labels: int, tmp_path: Path):
    theirs = reference(family, FAMILIES[family].classifier.name, num_labels=n_labels)
    theirs.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    ours = build(loaded.config, loaded.head).eval()
    ours.load_state_dict(loaded.tensors)
    ids = torch.randint(3, 20, (4, 9))
    with torch.no_grad():
        expected = theirs(ids, output_hidden_states=True)
        torch.testing.assert_close(ours.hidden(ids), expected.hidden_states[-1], atol=1e-5, rtol=0)
        torch.testing.assert_close(ours(ids), expected.logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_pooler_computes_the_same(family: str, tmp_path: Path):
    theirs = reference(family, FAMILIES[family].base.name)
    theirs.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    ours = build(loaded.config, loaded.head).eval()
    ours.load_state_dict(loaded.tensors)
    ids = torch.randint(3, 20, (4, 9))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).pooler_output, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_labels_and_tasks_mean_the_same_there(family: str, tmp_path: Path):
    names = {0: "bad", 1: "good", 2: "neither"}
    theirs = reference(family, FAMILIES[family].classifier.name, id2label=names, label2id={v: k for k, v in names.items()})
    theirs.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert loaded.task == {"task": "text-classification", "labels": ["bad", "good", "neither"], "multi_label": False}


@pytest.mark.real
@pytest.mark.parametrize("name", ["bert-tiny-question", "m3e-small", "minilm-l6"])
def test_real_checkpoints_go_in_and_out_unchanged(name: str, real: Callable[[str], Path], tmp_path: Path):
    folder = real(name)
    loaded = load(folder, dtype=None)
    export_hf(loaded, tmp_path / "ours")
    before, after = read_weights(folder), read_weights(tmp_path / "ours")
    skipped = {entry.theirs for entry in FAMILIES["bert"].base.body if isinstance(entry, Skip)}
    assert_same(after, {name: tensor for name, tensor in before.items() if name not in skipped})
    export_hf(load(tmp_path / "ours", dtype=torch.float32), tmp_path / "float32")
    assert all(
        torch.equal(tensor.to(after[name].dtype), after[name]) for name, tensor in read_weights(tmp_path / "float32").items()
    )
    configs = [json.loads((path / "config.json").read_text()) for path in (folder, tmp_path / "ours")]
    stored = str(next(iter(before[name] for name in after)).dtype).removeprefix("torch.")
    assert configs[1] == {**configs[0], "dtype": stored}
    assert load(tmp_path / "ours", dtype=None).config == loaded.config
