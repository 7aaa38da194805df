"""Outputs of many examples: each its own, in order, whatever the head answers for."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.data.batch import Listed
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.models.model import Model
from regard.tasks.infer import infer, passes

CONFIG = ModelConfig(vocab_size=40, d_model=16, n_layers=2, n_heads=2, d_ff=24, max_positions=32, n_types=2)
HEADS = {
    "sequence": HeadConfig(n_outputs=3),
    "tokens": HeadConfig(over="tokens", dense=False, n_outputs=3),
    "vocabulary": HeadConfig(over="vocabulary", activation="gelu", norm=True, n_outputs=40),
}
EXAMPLES = st.lists(st.integers(1, 20), min_size=1, max_size=12)


@pytest.fixture(scope="module", params=HEADS)
def model(request: pytest.FixtureRequest) -> Model:
    torch.manual_seed(0)
    return build(CONFIG, HEADS[request.param])


def examples(lengths: list[int], *, places: bool) -> list[dict[str, Any]]:
    """Of these lengths; with places, those of every third token, which a short one may have none of."""
    random = np.random.default_rng(sum(lengths))
    found = []
    for length in lengths:
        ids, types = random.integers(0, 40, length), random.integers(0, 2, length)
        example: dict[str, Any] = {"input_ids": ids.tolist(), "type_ids": types.tolist()}
        found.append({**example, "places": list(range(2, length, 3))} if places else example)
    return found


@torch.inference_mode()
def alone(model: Model, example: dict[str, Any]) -> np.ndarray:
    """(n_outputs,), or (tokens, n_outputs)."""
    ids, types = torch.tensor([example["input_ids"]]), torch.tensor([example["type_ids"]])
    outputs: np.ndarray = model.eval()(ids, type_ids=types)[0].numpy()
    return outputs


@settings(deadline=None, max_examples=10)
@given(lengths=EXAMPLES, tokens=st.integers(1, 60))
def test_each_example_has_its_own_outputs(model: Model, lengths: list[int], tokens: int) -> None:
    rows = examples(lengths, places=False)
    found = infer(model, Listed(rows), dtype=torch.float32, tokens=tokens)
    assert len(found) == len(rows)
    assert isinstance(found, np.ndarray) == (model.head_config is not None and model.head_config.over == "sequence")
    for output, row in zip(found, rows, strict=True):
        np.testing.assert_allclose(output, alone(model, row), atol=1e-5)


@settings(deadline=None, max_examples=10)
@given(lengths=EXAMPLES, tokens=st.integers(1, 60))
def test_places_are_asked_about_alone(lengths: list[int], tokens: int) -> None:
    torch.manual_seed(0)
    model = build(CONFIG, HEADS["tokens"])
    rows = examples(lengths, places=True)
    found = infer(model, Listed(rows), dtype=torch.float32, tokens=tokens)
    for output, row in zip(found, rows, strict=True):
        assert output.shape == (len(row["places"]), 3)
        np.testing.assert_allclose(output, alone(model, row)[row["places"]], atol=1e-5)


def test_nothing_is_asked() -> None:
    assert infer(build(CONFIG, HEADS["tokens"]), Listed([]), dtype=torch.float32) == []


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_came(training: bool) -> None:
    """Also where the batches are not all asked for."""
    model = build(CONFIG, HEADS["tokens"]).train(training)
    held = Listed(examples([3, 4, 5], places=False))
    infer(model, held, dtype=torch.float32)
    assert model.training == training
    batches = passes(model, held, dtype=torch.float32, tokens=5)
    next(batches)
    assert not model.training
    batches.close()
    assert model.training == training
