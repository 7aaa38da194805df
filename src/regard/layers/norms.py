"""LayerNorm and RMSNorm: statistics in float32, whatever the activations' dtype."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regard.layers.checks import one_of, positive


class LayerNorm(nn.LayerNorm):
    """Zero mean and unit variance over the features, then scale and shift (Ba et al. 2016)."""

    def reset_parameters(self) -> None:
        """Begin anew; in a model without memory nothing can, see :class:`~regard.layers.linear.Linear`."""
        if not self.weight.is_meta:
            super().reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """x (…, d_model) -> the same shape and dtype. The CPU kernel takes float32 weights with bfloat16 activations."""
        if x.dtype == self.weight.dtype or (x.is_cpu and self.weight.dtype == torch.float32):
            return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return super().forward(x.to(self.weight.dtype)).to(x.dtype)


class RMSNorm(nn.RMSNorm):
    """Unit root mean square over the features, then scale (Zhang and Sennrich 2019)."""

    def reset_parameters(self) -> None:
        """As :meth:`LayerNorm.reset_parameters`."""
        if not self.weight.is_meta:
            super().reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """x (…, d_model) -> the same shape and dtype."""
        return super().forward(x.to(self.weight.dtype)).to(x.dtype)


def make_norm(kind: str, d_model: int, eps: float, *, bias: bool = True) -> LayerNorm | RMSNorm:
    """`layer` or `rms` -> the module. bias: whether a LayerNorm shifts; an RMSNorm never does."""
    one_of(("layer", "rms"), norm=kind)
    positive(d_model=d_model)
    return LayerNorm(d_model, eps=eps, bias=bias) if kind == "layer" else RMSNorm(d_model, eps=eps)
