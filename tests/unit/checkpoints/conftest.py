"""Small models and folders, and the ways in which a disk says no."""

import json
import os
import resource
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from regard.checkpoints import save_model, write_safetensors
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.models.model import Model
from regard.text import Tokenizer, train_tokenizer

TASK = {"task": "text-classification", "labels": ["bad", "good", "neither"], "multi_label": False}


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["a dull film", "a beautiful film", "一部好电影"] * 4, kind="wordpiece", vocab_size=60)


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=64,
        d_model=8,
        n_layers=2,
        n_heads=2,
        d_ff=16,
        max_positions=12,
        n_types=2,
        norm_eps=1e-12,
        norm_place="post",
        embedding_norm=True,
    )
    return build(config, HeadConfig(n_outputs=3))


@pytest.fixture
def ours(tmp_path: Path, model: Model, tokenizer: Tokenizer) -> Path:
    """A model folder of ours."""
    save_model(tmp_path / "ours", model, tokenizer=tokenizer, task=TASK)
    return tmp_path / "ours"


BERT_CONFIG = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
    "id2label": {"0": "bad", "1": "good"},
    "label2id": {"bad": 0, "good": 1},
    "initializer_range": 0.02,
}


def bert_tensors(prefix: str = "bert.") -> dict[str, Tensor]:
    """What BertForSequenceClassification of BERT_CONFIG holds, written down by hand."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (20, 8),
        "embeddings.position_embeddings.weight": (12, 8),
        "embeddings.token_type_embeddings.weight": (2, 8),
        "embeddings.LayerNorm.weight": (8,),
        "embeddings.LayerNorm.bias": (8,),
        "pooler.dense.weight": (8, 8),
        "pooler.dense.bias": (8,),
    }
    linear = {"attention.self.query": (8, 8), "attention.self.key": (8, 8), "attention.self.value": (8, 8)}
    linear |= {"attention.output.dense": (8, 8), "intermediate.dense": (16, 8), "output.dense": (8, 16)}
    for layer in ("encoder.layer.0.", "encoder.layer.1."):
        for name, shape in linear.items():
            shapes |= {f"{layer}{name}.weight": shape, f"{layer}{name}.bias": shape[:1]}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{layer}{name}.weight": (8,), f"{layer}{name}.bias": (8,)}
    shapes = {prefix + name: shape for name, shape in shapes.items()}
    shapes |= {"classifier.weight": (2, 8), "classifier.bias": (2,)}
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


WriteBert = Callable[..., Path]


@pytest.fixture
def write_bert(tmp_path: Path) -> WriteBert:
    """`write_bert(config={key: value or None to remove}, tensors={…}, prefix=…)` writes a small BERT folder of theirs."""

    def write(
        *, config: Mapping[str, Any] | None = None, tensors: Mapping[str, Tensor | None] | None = None, prefix: str = "bert."
    ) -> Path:
        folder = tmp_path / "theirs"
        folder.mkdir(exist_ok=True)
        values = BERT_CONFIG | dict(config or {})
        held = bert_tensors(prefix) | dict(tensors or {})
        (folder / "config.json").write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
        write_safetensors(folder / "model.safetensors", {k: v for k, v in held.items() if v is not None})
        return folder

    return write


Refusal = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def disk_full() -> Refusal:
    """`with disk_full():` the system refuses to let a file grow beyond a few bytes, in the middle of a write."""

    @contextmanager
    def limit() -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], AbstractContextManager[None]]]:
    """`with read_only(folder):` this process may not write there, not even as root."""

    @contextmanager
    def closed(folder: Path) -> Iterator[None]:
        mode, root = folder.stat().st_mode, os.geteuid() == 0
        folder.chmod(0o555)
        if root:
            os.seteuid(65534)
        try:
            yield
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(mode)

    yield closed


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that every user may reach; pytest's own is closed to others, which would be a refusal of another kind."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
