"""Projections that compute in the dtype of what they are given, whatever dtype their weights are kept in.

So mixed precision is no mode: float32 weights meet bfloat16 activations, the product runs in bfloat16, the gradient arrives
in float32, and nothing has to be switched on.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """y = x Wᵀ + b, computed in x's dtype."""

    def reset_parameters(self) -> None:
        """Draw the weights anew; of a model without memory there are none, and torch would load its compiler to say so."""
        if not self.weight.is_meta:
            super().reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """x (…, in_features) -> (…, out_features)."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


POST_OPS = {
    "none": ("none", ""),
    "relu": ("relu", ""),
    "gelu": ("gelu", "none"),
    "gelu-tanh": ("gelu", "tanh"),
    "silu": ("swish", ""),
    "tanh": ("tanh", ""),
}
"""Name of an activation, as in :mod:`regard.layers.feedforward` -> what oneDNN calls it: (operation, algorithm)."""


class PackedLinear(nn.Module):
    """A :class:`Linear` frozen for prediction: one or several projections of the same input, reordered once into the blocks
    that the CPU's matrix kernels read (oneDNN); torch would reorder them at every call.

    activation: a name of :data:`POST_OPS`, applied to the result before it is rounded to the weights' dtype. Its weights
    cannot be trained or saved: keep the original.
    """

    def __init__(self, *linears: nn.Linear, activation: str = "none") -> None:
        super().__init__()
        self._post_op = POST_OPS[activation]
        if len({linear.in_features for linear in linears}) != 1:
            raise ValueError("projections packed as one must read inputs of one width")
        weight = torch.cat([linear.weight.detach() for linear in linears])
        biases = [linear.out_features * [0.0] if linear.bias is None else linear.bias.tolist() for linear in linears]
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight)
        self._bias = torch.tensor([value for bias in biases for value in bias], dtype=weight.dtype)

    @staticmethod
    def available(dtype: torch.dtype) -> bool:
        """Whether this torch build and this processor can run it: in float32, or in bfloat16."""
        if not torch.backends.mkldnn.is_available():
            return False
        return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())

    def forward(self, x: Tensor) -> Tensor:
        """x (…, in_features), of the weights' dtype -> (…, sum of out_features)."""
        name, algorithm = self._post_op
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, name, [], algorithm)
        return y
