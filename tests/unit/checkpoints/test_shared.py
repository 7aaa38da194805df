"""The shared token table: where it goes, and what is written again."""

from typing import Any

import pytest
import torch
from torch import Tensor

from regard.checkpoints.rules import Rule, keep
from regard.checkpoints.shared import DECODER, ENCODER, SHARED, gather, spread

TABLE, OTHER = torch.arange(6.0).view(3, 2), torch.ones(3, 2)
ENTRIES = (keep("shared.weight"), Rule("e", ENCODER), Rule("d", DECODER))


@pytest.mark.parametrize("copies", [(), (ENCODER,), (DECODER,), (ENCODER, DECODER)])
def test_one_table_becomes_the_encoder_s(copies: tuple[str, ...]) -> None:
    tensors = {SHARED: TABLE, **{name: TABLE.clone() for name in copies}}
    assert gather(tensors) == {ENCODER: SHARED}
    assert list(tensors) == [ENCODER]
    assert tensors[ENCODER] is TABLE


@pytest.mark.parametrize("own", [ENCODER, DECODER])
def test_a_table_that_differs_leaves_all_where_they_are(own: str) -> None:
    tensors = {SHARED: TABLE, own: OTHER}
    assert gather(tensors) == {}
    other = DECODER if own == ENCODER else ENCODER
    assert tensors.keys() == {SHARED, ENCODER, DECODER}
    assert tensors[own] is OTHER
    assert tensors[other] is tensors[SHARED] is TABLE
    before = dict(tensors)
    spread(tensors, ENTRIES, {})
    assert tensors == before


def test_two_tables_and_no_shared_one_stay() -> None:
    tensors = {ENCODER: TABLE, DECODER: TABLE}
    assert gather(tensors) == {}
    assert tensors.keys() == {ENCODER, DECODER}


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({}, {SHARED}),
        ({"tie_word_embeddings": True}, {SHARED}),
        ({"tie_word_embeddings": False}, {SHARED, ENCODER, DECODER}),
    ],
)
def test_the_one_table_is_written_where_theirs_looks_for_it(config: dict[str, Any], names: set[str]) -> None:
    tensors: dict[str, Tensor] = {ENCODER: TABLE}
    spread(tensors, ENTRIES, config)
    assert tensors.keys() == names
    assert all(tensor is TABLE for tensor in tensors.values())


def test_families_without_a_shared_table_are_left_alone() -> None:
    tensors = {ENCODER: TABLE}
    spread(tensors, ENTRIES[1:], {"tie_word_embeddings": False})
    assert list(tensors) == [ENCODER]
