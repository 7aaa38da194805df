"""Masks as one would draw them by hand."""

import torch
from torch import Tensor

from regard.layers import masks


def drawn(mask: Tensor) -> list[str]:
    return ["".join("x" if seen else "." for seen in row) for row in mask[0, 0].tolist()]


def test_causal_is_aligned_to_the_bottom_right() -> None:
    assert drawn(masks.causal(3, 3)) == ["x..", "xx.", "xxx"]
    assert drawn(masks.causal(2, 5)) == ["xxxx.", "xxxxx"]
    assert drawn(masks.causal(1, 3)) == ["xxx"]
    assert drawn(masks.causal(3, 2)) == ["..", "x.", "xx"]


def test_window_reaches_to_both_sides_of_the_query() -> None:
    assert drawn(masks.window(4, 4, 1)) == ["xx..", "xxx.", ".xxx", "..xx"]
    assert drawn(masks.window(2, 5, 2)) == [".xxxx", "..xxx"]


def test_a_prefix_is_open_to_all() -> None:
    mask = masks.prefix(torch.tensor([2, 0]), 3, 4)
    assert mask.shape == (2, 1, 3, 4)
    assert drawn(mask[:1]) == ["xx..", "xxx.", "xxxx"]
    assert drawn(mask[1:]) == ["xx..", "xxx.", "xxxx"]
    assert drawn(masks.prefix(torch.tensor([3]), 4, 4)) == ["xxx.", "xxx.", "xxx.", "xxxx"]


def test_padding_hides_keys_of_any_dtype() -> None:
    for dtype in (torch.bool, torch.int64, torch.float32):
        mask = masks.padding(torch.tensor([[1, 1, 0]], dtype=dtype))
        assert mask.shape == (1, 1, 1, 3)
        assert drawn(mask) == ["xx."]


def test_both_allows_what_each_allows() -> None:
    assert masks.both(None, None) is None
    causal = masks.causal(2, 2)
    assert masks.both(None, causal) is causal
    assert drawn(masks.both(causal, masks.padding(torch.tensor([[0, 1]])))) == ["..", ".x"]
