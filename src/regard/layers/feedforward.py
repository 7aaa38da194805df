"""The position-wise feed-forward layer, plain or gated."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regard.layers.checks import one_of, positive
from regard.layers.linear import Linear

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu-tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "tanh": torch.tanh,
    "gelu-quick": lambda x: x * torch.sigmoid(1.702 * x),
}
"""Name -> function; `gelu` is the exact one (Hendrycks and Gimpel 2016), `gelu-tanh` its approximation in GPT-2,
`gelu-quick` the one in CLIP."""


class FeedForward(nn.Module):
    """down(activation(up(x))) (Vaswani et al. 2017, §3.3), or down(activation(gate(x)) * up(x)) (Shazeer 2020)."""

    def __init__(self, d_model: int, d_ff: int, *, activation: str = "gelu", gated: bool = False, bias: bool = True) -> None:
        super().__init__()
        positive(d_model=d_model, d_ff=d_ff)
        one_of(ACTIVATIONS, activation=activation)
        self.up_proj = Linear(d_model, d_ff, bias=bias)
        self.gate_proj = Linear(d_model, d_ff, bias=bias) if gated else None
        self.down_proj = Linear(d_ff, d_model, bias=bias)
        self.activation_name = activation
        self.activation: Callable[[Tensor], Tensor] = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """x (…, d_model) -> (…, d_model)."""
        if self.gate_proj is None:
            inner = self.activation(self.up_proj(x))
        else:
            inner = self.activation(self.gate_proj(x)) * self.up_proj(x)
        y: Tensor = self.down_proj(inner)
        return y
