"""Dropout drops the announced share, keeps the mean, and never strikes twice the same way."""

import pytest
import torch
from torch import nn

from regard.layers.attention import Attention
from regard.layers.block import Block, Look
from regard.layers.dropout import Dropout, kept
from regard.layers.embeddings import Embedding, Embeddings
from regard.layers.feedforward import FeedForward

N = 200_003  # no multiple of the four elements of one draw


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_share_and_mean(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    drawn = kept(torch.zeros(N, dtype=dtype), p)
    error = (p * (1 - p) / N) ** 0.5
    assert abs((drawn == 0).double().mean() - p) < 5 * error
    rounding = torch.finfo(dtype).eps
    assert abs(drawn.double().mean() - 1) < 5 * error / (1 - p) + rounding
    assert drawn.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=rounding + 2**-15 / (1 - p))


def test_neighbours_are_independent() -> None:
    torch.manual_seed(0)
    drawn = kept(torch.zeros(N), 0.5) - 1
    for lag in range(1, 9):
        assert abs((drawn[lag:] * drawn[:-lag]).mean()) < 5 / N**0.5


def test_shapes_of_any_size() -> None:
    for shape in ((), (0,), (1,), (3, 5), (2, 2, 2)):
        assert kept(torch.zeros(shape), 0.5).shape == shape


def test_each_call_differs_and_a_seed_repeats_it() -> None:
    dropout, x = Dropout(0.5), torch.ones(64)
    torch.manual_seed(3)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(3)
    assert not torch.equal(first, second)
    assert torch.equal(first, dropout(x))


def test_nothing_is_dropped_in_eval_or_at_zero() -> None:
    x = torch.randn(64)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_gradients_pass_where_values_pass() -> None:
    x = torch.ones(64, requires_grad=True)
    y = Dropout(0.5)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


@pytest.mark.parametrize(
    "module",
    [
        Embeddings(Embedding(8, 64), dropout=0.4),
        Attention(64, 2, dropout=0.4),
        Block(64, attention=Attention(64, 2), feedforward=FeedForward(64, 64), dropout=0.4),
    ],
    ids=["embeddings", "attention", "block"],
)
def test_modules_drop_while_training_only(module: nn.Module) -> None:
    torch.manual_seed(0)
    inputs = {
        Embeddings: (torch.zeros(4, 8, dtype=torch.int64), torch.arange(8)[None]),
        Attention: (torch.randn(4, 8, 64),),
        Block: (torch.randn(4, 8, 64), Look()),
    }[type(module)]
    with torch.no_grad():
        assert not torch.equal(module(*inputs), module(*inputs))
        module.eval()
        assert torch.equal(module(*inputs), module(*inputs))


def test_embeddings_drop_the_announced_share() -> None:
    torch.manual_seed(0)
    x = Embeddings(Embedding(8, 64), dropout=0.4)(torch.ones(50, 20, dtype=torch.int64), torch.arange(20)[None])
    assert abs((x == 0).double().mean() - 0.4) < 5 * (0.24 / x.numel()) ** 0.5
