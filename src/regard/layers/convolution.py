"""Convolutions over tokens, in the layout of hidden states and in the dtype of what they are given.

torch's own reads (batch, channels, tokens). With the channels innermost, as everywhere else in a Transformer, nothing has to
be turned before a norm or a projection, and on a CPU the kernel itself is the quicker one, by a tenth to a half.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from regard.layers.checks import one_of, positive
from regard.layers.dropout import Dropout
from regard.layers.feedforward import ACTIVATIONS
from regard.layers.ragged import Ragged


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0, groups: int = 1
) -> Tensor:
    """x (batch, tokens, channels) with weight (out_channels, channels / groups, kernel), as torch and checkpoints keep it ->
    (batch, (tokens + 2 padding - kernel) // stride + 1, out_channels)."""
    weight, bias = weight.to(x.dtype), None if bias is None else bias.to(x.dtype)
    # an image of one line in channels-last memory is the only form in which torch's kernels take this layout
    line = x.transpose(1, 2).unsqueeze(2)
    y = F.conv2d(line, weight.unsqueeze(2), bias, stride=(1, stride), padding=(0, padding), groups=groups)
    return y.squeeze(2).transpose(1, 2)


class Convolution(nn.Conv1d):
    """:func:`convolve` with a weight and, or not, a bias of its own."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        positive(in_channels=in_channels, out_channels=out_channels, kernel=kernel, stride=stride)
        super().__init__(in_channels, out_channels, kernel, bias=bias)
        self.step, self.margin = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, tokens, in_channels) -> (batch, tokens', out_channels)."""
        return convolve(x, self.weight, self.bias, stride=self.step, padding=self.margin)


class Neighbours(nn.Conv1d):
    """What stands around each token: a convolution that ends where a row ends, dropout and an activation."""

    def __init__(
        self, d_model: int, kernel: int, *, groups: int = 1, activation: str = "tanh", dropout: float = 0.0
    ) -> None:
        positive(d_model=d_model, kernel=kernel, groups=groups)
        one_of(ACTIVATIONS, activation=activation)
        if kernel % 2 == 0 or d_model % groups:
            raise ValueError(f"kernel={kernel} must be odd, and groups={groups} divide d_model={d_model}")
        super().__init__(d_model, d_model, kernel, groups=groups)
        self.dropout = Dropout(dropout)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor, *, real: Tensor | None = None, ragged: Ragged | None = None) -> Tensor:
        """x (batch, tokens, d_model), or (tokens, d_model) with `ragged` -> the same shape. real: which tokens are no
        padding, (batch, tokens), None = all."""
        if ragged is not None:
            return ragged.join([self.forward(part) for part in ragged.split(x)])
        if real is not None:
            x = x * real[..., None]
        y = convolve(x, self.weight, self.bias, padding=self.kernel_size[0] // 2, groups=self.groups)
        return self.activation(self.dropout(y))
