"""The loss is a sum, divided once by the global count: how a batch is split changes nothing (law 3)."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regard.config import TrainingConfig
from regard.data.batch import Listed, take
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.models.model import Model
from regard.tasks.dialogue import PLAIN
from regard.tasks.text_classification import Options, TextClassification
from regard.tasks.text_generation import TextGeneration
from regard.text import train_tokenizer
from regard.training.fit import fit
from regard.training.optimizers import optimizer_for

VOCABULARY, LABELS = 40, ("a", "b", "c")
KINDS: dict[str, tuple[dict[str, Any], float]] = {
    "plain": ({}, 0.0),
    "class weights": ({"class_weights": "balanced"}, 0.0),
    "smoothing": ({}, 0.2),
    "weights and smoothing": ({"class_weights": "balanced"}, 0.1),
    "several labels": ({"multi_label": True}, 0.0),
    "several labels, weights and smoothing": ({"multi_label": True, "class_weights": "balanced"}, 0.1),
}
few = settings(deadline=None, max_examples=10)


def made() -> Model:
    config = ModelConfig(vocab_size=VOCABULARY, d_model=16, n_layers=2, n_heads=2, d_ff=32, max_positions=16, dropout=0.0)
    torch.manual_seed(0)
    return build(config.model_copy(update={"attention_dropout": 0.0}), HeadConfig(n_outputs=len(LABELS), pool="mean"))


def examples(rows: int, *, several: bool) -> Listed:
    random = np.random.default_rng(rows)
    drawn = []
    for _ in range(rows):
        target: dict[str, Any] = {"label": int(random.integers(3))}
        if several:
            target = {"labels": [i for i in range(3) if random.random() < 0.4]}
        drawn.append({"input_ids": random.integers(1, VOCABULARY, int(random.integers(1, 12))).tolist(), **target})
    return Listed(drawn)


def after_a_step(kind: str, parts: Sequence[Sequence[int]]) -> tuple[Tensor, float, float]:
    """(all parameters after one step over these parts of the examples, loss, norm of the gradient)."""
    options, smoothing = KINDS[kind]
    task = TextClassification(LABELS, (10, 3, 1), Options(**options))
    model = made()
    held = examples(sum(map(len, parts)), several=task.options.multi_label)
    # a large epsilon, so that the step is about proportional to the gradient: AdamW's own first step is little but its signs
    optimizer = optimizer_for(model, TrainingConfig(eps=1.0), torch.float32)
    batches = [take(held, np.array(part)) for part in parts]
    (step,) = fit(model, task, [batches], optimizer, rate=lambda _: 10.0, smoothing=smoothing)
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]), step.loss, step.norm


@st.composite
def splits(draw: st.DrawFn) -> list[list[int]]:
    """Rows 0 to n-1 in any order, cut anywhere."""
    n = draw(st.integers(2, 14))
    order = draw(st.permutations(range(n)))
    cuts = sorted(draw(st.sets(st.integers(1, n - 1))))
    return [order[start:stop] for start, stop in zip([0, *cuts], [*cuts, n], strict=True)]


@pytest.mark.parametrize("kind", KINDS)
@few
@given(parts=splits())
def test_however_a_batch_is_split_the_step_is_the_same(kind: str, parts: list[list[int]]) -> None:
    whole, loss, norm = after_a_step(kind, [sorted(chain(*parts))])
    split, split_loss, split_norm = after_a_step(kind, parts)
    assert (split - whole).norm() <= 1e-6 * whole.norm()
    assert split_loss == pytest.approx(loss, rel=1e-6)
    assert split_norm == pytest.approx(norm, rel=1e-6)


TOKENIZER = train_tokenizer([], kind="byte", vocab_size=259, specials="gpt").templated(PLAIN)
TEXTS = ["a", "bc d", "efg", "h i", "jkl mnop", "q", "rs tuv", "w", "x y z", "ab", "cd", "e", "fg", "h"]


def after_a_step_of_writing(chat: bool, packing: str, parts: Sequence[Sequence[int]]) -> tuple[Tensor, float, float]:
    """The same for a decoder, over documents in blocks or over conversations."""
    task = TextGeneration.from_settings({"options": {"chat": True} if chat else {"packing": packing, "block": 3}})
    config = ModelConfig(kind="decoder", vocab_size=259, d_model=16, n_layers=1, n_heads=2, d_ff=32, max_positions=64)
    torch.manual_seed(0)
    head = task.head(None, config)
    model = build(config.model_copy(update={"dropout": 0.0, "attention_dropout": 0.0}), head)
    rows = [{"text": text, "instruction": text, "output": text[::-1]} for text in TEXTS]
    held = task.arranged(Listed(task.encode(rows, TOKENIZER, max_length=64)), TOKENIZER, max_length=64)
    optimizer = optimizer_for(model, TrainingConfig(eps=1.0), torch.float32)
    batches = [take(held, np.array(part)) for part in parts]
    (step,) = fit(model, task, [batches], optimizer, rate=lambda _: 10.0, smoothing=0.1)
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]), step.loss, step.norm


@pytest.mark.parametrize(("chat", "packing"), [(False, "stream"), (False, "documents"), (True, "")])
@few
@given(parts=splits())
def test_nor_does_it_matter_for_one_that_learns_to_write(chat: bool, packing: str, parts: list[list[int]]) -> None:
    whole, loss, norm = after_a_step_of_writing(chat, packing, [sorted(chain(*parts))])
    split, split_loss, split_norm = after_a_step_of_writing(chat, packing, parts)
    assert (split - whole).norm() <= 1e-6 * whole.norm()
    assert split_loss == pytest.approx(loss, rel=1e-6)
    assert split_norm == pytest.approx(norm, rel=1e-6)


def test_a_step_over_other_rows_is_another():
    whole, *_ = after_a_step("plain", [[0, 1, 2, 3]])
    half, *_ = after_a_step("plain", [[0, 1, 0, 1]])
    assert (whole - half).norm() > 1e-3 * whole.norm()
