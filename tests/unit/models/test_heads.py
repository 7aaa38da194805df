"""Heads: which hidden state stands for a sequence, and what is made of it."""

from typing import Any

import pytest
import torch

from regard.layers.ragged import Ragged
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.models.heads import Head, pooled

HIDDEN = torch.arange(24.0).view(2, 4, 3)
FIRST, LAST = [0.0, 1.0, 2.0], [9.0, 10.0, 11.0]


@pytest.mark.parametrize(
    ("pool", "mask", "expected"),
    [
        ("first", None, FIRST),
        ("first", [1, 1, 0, 0], FIRST),
        ("first", [0, 1, 1, 1], [3.0, 4.0, 5.0]),
        ("last", None, LAST),
        ("last", [1, 1, 0, 0], [3.0, 4.0, 5.0]),
        ("last", [0, 1, 1, 1], LAST),
        ("mean", None, [4.5, 5.5, 6.5]),
        ("mean", [1, 1, 0, 0], [1.5, 2.5, 3.5]),
        ("mean", [0, 0, 1, 1], [7.5, 8.5, 9.5]),
        ("mean", [0, 0, 0, 0], [0.0, 0.0, 0.0]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64])
def test_pooling_sees_real_tokens_only(pool: str, mask: list[int] | None, expected: list[float], dtype: torch.dtype) -> None:
    told = None if mask is None else torch.tensor([mask, [1, 1, 1, 1]], dtype=dtype)
    assert pooled(HIDDEN, pool, attention_mask=told)[0].tolist() == expected


@pytest.mark.parametrize("pool", ["first", "mean", "last"])
def test_pooling_a_ragged_batch(pool: str) -> None:
    layout = Ragged.of([2, 2, 3], multiple=8)
    flat = torch.cat([torch.arange(21.0), torch.full((3,), torch.nan)]).view(8, 3)  # the spare token is nobody's
    rows = [flat[0:2], flat[2:4], flat[4:7]]
    expected = {"first": [row[0] for row in rows], "mean": [row.mean(0) for row in rows], "last": [row[-1] for row in rows]}
    assert torch.equal(pooled(flat, pool, ragged=layout), torch.stack(expected[pool]))


def test_a_mean_of_many_bfloat16_states_is_made_in_float32() -> None:
    hidden = torch.full((1, 4000, 1), 1.0, dtype=torch.bfloat16)
    assert pooled(hidden, "mean").item() == 1.0


def test_the_head_by_hand() -> None:
    head = Head(3, 2, d_dense=3, activation="relu").eval()
    with torch.no_grad():
        head.dense.weight.copy_(torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, 2]]))
        head.dense.bias.copy_(torch.tensor([1.0, 0, 0]))
        head.out.weight.copy_(torch.arange(6.0).view(2, 3))
        head.out.bias.copy_(torch.tensor([0.0, 10.0]))
    # (0, 1, 2) -> relu (1, -1, 4) = (1, 0, 4) -> (0*1 + 2*4, 3*1 + 5*4 + 10)
    assert head(HIDDEN)[0].tolist() == [8.0, 33.0]


def test_parts_can_be_left_out() -> None:
    assert Head(3, 0)(HIDDEN)[0].tolist() == FIRST
    assert Head(3, 1)(HIDDEN).shape == (2, 1)
    assert Head(3, 2, d_dense=3)(HIDDEN.bfloat16()).dtype == torch.float32


def test_a_distilled_head_is_the_mean_of_two_by_hand() -> None:
    head = Head(3, 1, distilled=True).eval()
    assert head.out is not None and head.distilled is not None
    with torch.no_grad():
        head.out.weight.copy_(torch.tensor([[1.0, 1, 1]]))
        head.out.bias.copy_(torch.tensor([1.0]))
        head.distilled.weight.copy_(torch.tensor([[0.0, 0, 2]]))
        head.distilled.bias.copy_(torch.tensor([4.0]))
    # (0 + 1 + 2 + 1 + 2 * 5 + 4) / 2
    assert head(HIDDEN)[0].tolist() == [9.0]


@pytest.mark.parametrize("wrong", [{"pool": "mean"}, {"pool": None}, {"d_dense": 3}, {"n_outputs": 0}])
def test_a_distilled_head_reads_the_first_two_tokens(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="two output layers over the first two tokens, and nothing between"):
        Head(3, **{"n_outputs": 1, "distilled": True, **wrong})


def test_its_dropout_is_its_own_or_the_models() -> None:
    config = ModelConfig(vocab_size=8, d_model=4, n_layers=1, n_heads=1, d_ff=4, dropout=0.3)
    assert build(config, HeadConfig(n_outputs=1)).head.dropout.p == 0.3
    assert build(config, HeadConfig(n_outputs=1, dropout=0.0)).head.dropout.p == 0.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pool": "max"}, "pool='max' is unknown: use one of first, mean, last"),
        ({"activation": "selu"}, "activation='selu' is unknown"),
        ({"dropout": 1.5}, "p=1.5 must be at least 0 and below 1"),
    ],
)
def test_wrong_choices_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Head(4, 2, **wrong)
    with pytest.raises(ValueError, match="n_outputs=-1 must be at least 0"):
        Head(4, -1)
    with pytest.raises(ValueError, match="d_model=0 must be at least 1"):
        Head(0, 1)
