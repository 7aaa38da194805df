"""Norms: the formulas, and one result whatever dtypes meet."""

import pytest
import torch

from regard.layers.norms import make_norm


def test_layer_and_rms_by_hand() -> None:
    x = torch.tensor([[3.0, 5.0]])
    layer, rms = make_norm("layer", 2, 1e-12), make_norm("rms", 2, 1e-12)
    torch.testing.assert_close(layer(x), torch.tensor([[-1.0, 1.0]]))
    torch.testing.assert_close(rms(x), x / 17**0.5)
    assert layer.bias is not None
    assert not hasattr(rms, "bias")


@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("activations", [torch.float32, torch.bfloat16])
def test_any_activations_meet_any_weights(kind: str, weights: torch.dtype, activations: torch.dtype) -> None:
    torch.manual_seed(0)
    x = (torch.randn(5, 64) * 4).bfloat16()
    norm = make_norm(kind, 64, 1e-6)
    expected = norm(x.float())
    y = norm.to(weights)(x.to(activations))
    assert y.dtype == activations
    torch.testing.assert_close(y.float(), expected, atol=2e-2, rtol=0)
