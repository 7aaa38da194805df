"""What a fine-tuning begins with: the checkpoint's own head, or the form that its family gives to the task."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

import regard
from regard.checkpoints import load
from regard.checkpoints.start import start_for
from regard.text import Tokenizer

SIZES = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}


@pytest.fixture
def saved(tmp_path: Path, tokenizer: Tokenizer) -> Callable[[str], Path]:
    """`saved("BertForMaskedLM")`: a folder that transformers wrote, with a tokenizer."""

    def save(name: str) -> Path:
        torch.manual_seed(0)
        kind = getattr(transformers, name)
        model = kind(kind.config_class(vocab_size=tokenizer.vocab_size, initializer_range=0.5, num_labels=3, **SIZES))
        model.save_pretrained(tmp_path / name)
        tokenizer.save(tmp_path / name)
        return tmp_path / name

    return save


def test_a_model_that_was_trained_for_the_task_keeps_its_head(saved: Callable[[str], Path]):
    loaded = load(saved("BertForSequenceClassification"))
    head, tensors = start_for(loaded, "text-classification")
    assert head is loaded.head
    assert tensors is loaded.tensors


def test_a_language_model_gives_its_pooler_and_not_its_own_head(saved: Callable[[str], Path]):
    loaded = load(saved("BertForPreTraining"))
    assert loaded.head is not None
    assert loaded.head.over == "vocabulary"
    head, tensors = start_for(loaded, "text-classification")
    assert head is not None
    assert (head.over, head.pool, head.dense, head.activation, head.norm) == ("sequence", "first", True, "tanh", False)
    own = {name for name in tensors if name.startswith("head.")}
    assert own == {"head.dense.weight", "head.dense.bias"}
    assert torch.equal(tensors["head.dense.weight"], loaded.extra["pooler.dense.weight"])


def test_a_head_of_another_form_gives_nothing(saved: Callable[[str], Path]):
    loaded = load(saved("RobertaForMaskedLM"))
    head, tensors = start_for(loaded, "text-classification")
    assert head is not None
    assert head.over == "sequence"
    assert not [name for name in tensors if name.startswith("head.")]


def test_a_fine_tuned_language_model_is_exported_as_a_classifier(saved: Callable[[str], Path], tmp_path: Path):
    folder = saved("BertForPreTraining")
    rows = "text,label\n" + "".join(f"a {word} film {i},{word}\n" for i in range(10) for word in ("dull", "fine"))
    (tmp_path / "rows.csv").write_text(rows)
    settings = {"batch": {"rows": 4}, "training": {"steps": 2, "threads": 1}}
    regard.train(str(tmp_path / "rows.csv"), model=str(folder), out=tmp_path / "run", settings=settings)
    regard.export(tmp_path / "run", tmp_path / "theirs")
    model, report = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "theirs", output_loading_info=True)
    assert not any(report.values())
    assert model.config.id2label == {0: "dull", 1: "fine"}
    origin = load(tmp_path / "run").origin
    assert origin is not None
    assert origin.source == str(folder)
    assert origin.digests.keys() >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert all(len(digest) == 64 for digest in origin.digests.values())
