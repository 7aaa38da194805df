"""Wrong sizes and names are refused where they are given, with what would be right."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from regard.layers.attention import Attention
from regard.layers.block import Block
from regard.layers.cache import Cache
from regard.layers.convolution import Neighbours
from regard.layers.disentangled import Disentangled
from regard.layers.dropout import Dropout
from regard.layers.embeddings import Embedding
from regard.layers.feedforward import FeedForward
from regard.layers.linear import Linear, PackedLinear
from regard.layers.norms import make_norm
from regard.layers.positions import Alibi, LearnedPositions, RelativePositions, Rotary, SinusoidalPositions
from regard.layers.ragged import Ragged

REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: Attention(10, 3), "n_heads=3 does not divide d_model=10: set d_head"),
    (lambda: Attention(8, 4, n_kv_heads=3), "n_kv_heads=3 does not divide n_heads=4"),
    (lambda: Attention(8, 0), "n_heads=0 must be at least 1"),
    (lambda: Attention(8, 4, n_kv_heads=0), "n_kv_heads=0 must be at least 1"),
    (lambda: Attention(0, 1), "d_model=0 must be at least 1"),
    (lambda: Attention(8, 4, d_head=0), "d_head=0 must be at least 1"),
    (lambda: Attention(8, 4, dropout=1.0), "dropout=1.0 must be at least 0 and below 1"),
    (lambda: FeedForward(8, 0), "d_ff=0 must be at least 1"),
    (lambda: FeedForward(8, 8, activation="selu"), "activation='selu' is unknown: use one of relu, gelu"),
    (lambda: make_norm("batch", 8, 1e-5), "norm='batch' is unknown: use one of layer, rms"),
    (lambda: make_norm("rms", 0, 1e-5), "d_model=0 must be at least 1"),
    (
        lambda: Block(4, attention=Attention(4, 1), feedforward=FeedForward(4, 4), norm_place="middle"),
        "norm_place='middle' is unknown: use one of pre, post",
    ),
    (lambda: Dropout(-0.1), "p=-0.1 must be at least 0 and below 1"),
    (lambda: Dropout(1.0), "p=1.0 must be at least 0 and below 1"),
    (lambda: Embedding(0, 8), "rows=0 must be at least 1"),
    (lambda: LearnedPositions(0, 8), "max_positions=0 must be at least 1"),
    (lambda: LearnedPositions(4, 8, offset=-1), "offset=-1 must be at least 0"),
    (lambda: SinusoidalPositions(0), "d_model=0 must be at least 1"),
    (lambda: Rotary(5), "width=5 must be even"),
    (lambda: Rotary(0), "width=0 must be at least 1"),
    (lambda: Alibi(0), "n_heads=0 must be at least 1"),
    (lambda: RelativePositions(0), "n_heads=0 must be at least 1"),
    (lambda: RelativePositions(2, buckets=3), "buckets=3 must hold one exact distance"),
    (lambda: RelativePositions(2, buckets=32, distance=16, bidirectional=False), "distance=16 must exceed their 16"),
    (lambda: PackedLinear(Linear(2, 2), Linear(3, 2)), "inputs of one width"),
    (lambda: Ragged.of([]), "at least one row"),
    (lambda: Ragged.of([3, 0]), "a row at least one token"),
    (lambda: Cache(0), "n_layers=0 must be at least 1"),
    (lambda: Disentangled(4, distance=0), "distance=0"),
    (lambda: Disentangled(4, distance=8, buckets=3), "buckets=3 must be at least 4"),
    (lambda: Disentangled(4, distance=3, buckets=4), "half of them below distance=3 less 1"),
    (lambda: Disentangled(4, distance=3, terms=("p2p",)), "term='p2p' is unknown: use one of c2p, p2c"),
    (lambda: Neighbours(4, 2), "kernel=2 must be odd"),
    (lambda: Neighbours(4, 3, groups=3), "groups=3 divide d_model=4"),
    (lambda: Neighbours(4, 3, activation="mish"), "activation='mish' is unknown"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_wrong_sizes_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_head_width_of_its_own_needs_no_division() -> None:
    assert Attention(10, 3, d_head=4)(torch.zeros(1, 2, 10)).shape == (1, 2, 10)
