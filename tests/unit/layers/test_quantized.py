"""Eight bits: what is a whole number of the scale is exact, all else is off by half a step of it at most."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.layers.linear import Linear, QuantizedLinear

pytestmark = pytest.mark.skipif(not QuantizedLinear.available(), reason="this processor has no VNNI")


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(1, 40), width=st.integers(1, 70), seed=st.integers(0, 99), bias=st.booleans())
def test_whole_numbers_are_exact(rows: int, width: int, seed: int, bias: bool):
    generator = torch.Generator().manual_seed(seed)
    linears = [Linear(width, n, bias=bias) for n in (3, 16)]
    x = torch.randint(-127, 128, (2, rows, width), generator=generator).float()
    x[:, :, 0] = 127.0
    for linear in linears:
        linear.weight.data = torch.randint(-127, 128, linear.weight.shape, generator=generator).float()
        linear.weight.data[:, 0] = -127.0
    with torch.no_grad():
        expected = torch.cat([linear(x) for linear in linears], dim=2)
        torch.testing.assert_close(QuantizedLinear(*linears)(x), expected, rtol=1e-6, atol=1e-2)


def test_any_numbers_are_near_and_each_token_has_its_own_scale():
    torch.manual_seed(0)
    linear, x = Linear(64, 32), torch.randn(5, 64)
    x[2] *= 1e-4
    x[3] = 0.0
    with torch.no_grad():
        close = QuantizedLinear(linear)(x) - linear(x)
        assert (close.norm(dim=1)[:2] < 0.02 * linear(x).norm(dim=1)[:2]).all()
        assert close[2:4].abs().max() < 1e-5
        assert QuantizedLinear(linear)(x.bfloat16()).dtype == torch.bfloat16
        assert QuantizedLinear(linear, dtype=torch.float32)(x.bfloat16()).dtype == torch.float32
