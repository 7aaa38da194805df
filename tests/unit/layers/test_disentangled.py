"""Scores of distances: each is what the table says of its distance, however many tokens there are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regard.layers.attention import Attention
from regard.layers.disentangled import BLOCK, Disentangled, PositionProjections
from regard.layers.linear import Linear
from regard.layers.norms import make_norm

WIDTH, HEADS = 6, 3
terms = st.sampled_from([("c2p",), ("p2c",), ("c2p", "p2c"), ("p2c", "c2p")])


def made(*, shared: bool = True, norm: bool = False, **options: object) -> tuple[Disentangled, Attention]:
    torch.manual_seed(0)
    table = Disentangled(WIDTH, norm=make_norm("layer", WIDTH, 1e-7) if norm else None, **options)  # type: ignore[arg-type]
    attention = Attention(WIDTH, HEADS, scale=0.7)
    if not shared:
        attention.position = PositionProjections(WIDTH, WIDTH, table.terms)
    with torch.no_grad():
        for parameter in [*table.parameters(), *attention.parameters()]:
            parameter.normal_()
    return table, attention


def one_by_one(table: Disentangled, attention: Attention, q: Tensor, k: Tensor) -> Tensor:
    """The sum of He et al. 2021, equation 4, score by score."""
    own = attention.position
    rows = table.table.weight if table.norm is None else table.norm(table.table.weight)
    bias = torch.zeros(*q.shape[:3], k.shape[2])
    for i in range(q.shape[2]):
        for j in range(k.shape[2]):
            row = rows[table.rows(torch.tensor(i - j))]
            if "c2p" in table.terms:
                project = attention.k_proj if own is None else own.k_proj
                assert isinstance(project, Linear)
                bias[:, :, i, j] += (q[:, :, i] * project(row).view(HEADS, -1)).sum(-1)
            if "p2c" in table.terms:
                project = attention.q_proj if own is None else own.q_proj
                assert isinstance(project, Linear)
                bias[:, :, i, j] += (k[:, :, j] * project(row).view(HEADS, -1)).sum(-1)
    return bias * 0.7


@settings(deadline=None, max_examples=25)
@given(
    batch=st.integers(1, 3),
    tokens=st.integers(1, 9),
    distance=st.integers(4, 12),
    buckets=st.none() | st.integers(4, 5),
    terms=terms,
    shared=st.booleans(),
    norm=st.booleans(),
)
@torch.no_grad()
def test_every_score_is_that_of_its_distance(
    batch: int, tokens: int, distance: int, buckets: int | None, terms: tuple[str, ...], shared: bool, norm: bool
) -> None:
    table, attention = made(distance=distance, buckets=buckets, terms=terms, shared=shared, norm=norm)
    q, k = torch.randn(2, batch, HEADS, tokens, WIDTH // HEADS)
    bias = table(tokens, torch.float32).within(attention)(q, k)
    torch.testing.assert_close(bias, one_by_one(table, attention, q, k), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tokens", [BLOCK, BLOCK + 1, 2 * BLOCK + 5])
@torch.no_grad()
def test_blocks_do_not_show(tokens: int) -> None:
    table, attention = made(distance=40, buckets=16)
    q, k = torch.randn(2, 2, HEADS, tokens, WIDTH // HEADS)
    between = table(tokens + 50, torch.float32).within(attention)  # laid out for longer rows of the same batch
    places = torch.randint(tokens - 20, (4,)).tolist()
    whole = between(q, k)
    for start in (0, tokens - 20, *places):  # a score depends on its two tokens and their distance alone
        part = slice(start, start + 20)
        torch.testing.assert_close(whole[:, :, part, part], between(q[:, :, part], k[:, :, part]), atol=1e-5, rtol=1e-5)
    row = table.table.weight[table.rows(torch.tensor(tokens - 1))]
    far = q[:, :, -1] * attention.k_proj(row).view(HEADS, -1) + k[:, :, 0] * attention.q_proj(row).view(HEADS, -1)
    torch.testing.assert_close(whole[:, :, -1, 0], far.sum(-1) * 0.7, atol=1e-5, rtol=1e-5)


def test_buckets_are_exact_up_to_half_of_them_and_then_grow() -> None:
    table = Disentangled(2, distance=512, buckets=256)
    rows = table.rows(torch.arange(-600, 601)).tolist()
    assert rows[600 - 128 : 600 + 129] == list(range(256 - 128, 256 + 129))
    assert rows == sorted(rows)
    assert (rows[600 + 511], rows[600 - 511]) == (256 + 255, 256 - 255)
    assert (rows[0], rows[-1]) == (0, 511)
    assert Disentangled(2, distance=3).rows(torch.arange(-5, 6)).tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 5, 5, 5]
