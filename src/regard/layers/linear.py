"""Projections that compute in the dtype of what they are given, whatever dtype their weights are kept in.

So mixed precision is no mode: float32 weights meet bfloat16 activations, the product runs in bfloat16, the gradient arrives
in float32, and nothing has to be switched on.
"""

from __future__ import annotations

from collections.abc import Sequence

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
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight)
        self._bias = _biases(linears).to(weight.dtype)

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


class QuantizedLinear(nn.Module):
    """One or several :class:`Linear` of the same input, frozen for prediction in eight bits: each row of the weights and
    each token has a scale of its own, so that its largest value is 127 (Dettmers et al. 2022, §2). Products and sums are
    exact.

    dtype: of the result; None = that of the input. Its weights cannot be trained or saved: keep the original.
    """

    def __init__(self, *linears: nn.Linear, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        weight = torch.cat([linear.weight.detach() for linear in linears]).float()
        self._dtype = dtype
        self._scales = weight.abs().amax(1).clamp_(min=torch.finfo(torch.float32).tiny) / 127
        whole = (weight / self._scales[:, None]).round_().to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(whole, None)
        self._zeros = torch.zeros(len(weight), dtype=torch.int32)
        self._bias = _biases(linears) if any(linear.bias is not None for linear in linears) else None

    @staticmethod
    def available() -> bool:
        """Whether this torch build and this processor run it faster than bfloat16: it needs VNNI."""
        return torch.backends.mkldnn.is_available() and bool(torch.cpu._is_vnni_supported())

    def forward(self, x: Tensor) -> Tensor:
        """x (…, in_features) -> (…, sum of out_features)."""
        flat = x.flatten(0, -2)
        scales = flat.abs().amax(1, keepdim=True).float().clamp_(min=torch.finfo(torch.float32).tiny).div_(127)
        whole = flat.mul(1 / scales).add_(ZERO + 0.5).to(torch.uint8)  # cutting off what follows the point rounds
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            whole, 1.0, ZERO, self._weight, self._scales, self._zeros, None, 1.0, 0, torch.float32, "none", [], ""
        ).mul_(scales)
        y = y if self._bias is None else y.add_(self._bias)
        return y.to(self._dtype or x.dtype).view(*x.shape[:-1], -1)


ZERO = 128
"""What stands for 0 in unsigned bytes: the processor multiplies unsigned with signed ones."""


def _biases(linears: Sequence[nn.Linear]) -> Tensor:
    """All their biases, float32; 0 where there is none."""
    none = (torch.zeros(linear.out_features) for linear in linears)
    return torch.cat(
        [zero if linear.bias is None else linear.bias.detach().float() for linear, zero in zip(linears, none, strict=True)]
    )
