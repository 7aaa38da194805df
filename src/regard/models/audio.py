"""Front ends for sound, what stands in a stack in place of token embeddings: from spectrograms and from waveforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regard.layers.checks import one_of, positive
from regard.layers.convolution import Convolution, convolve
from regard.layers.dropout import Dropout
from regard.layers.feedforward import ACTIVATIONS
from regard.layers.linear import Linear
from regard.layers.norms import LayerNorm
from regard.layers.positions import LearnedPositions
from regard.models.stack import FrontEnd

Norm = Literal["group", "layer"]
"""Where the convolutions of wav2vec 2.0 are normalised: over time after the first alone, or over channels after each."""


class MelEmbeddings(FrontEnd):
    """Two convolutions over a log-mel spectrogram, the second of stride 2, and positions (Radford et al. 2022, §2.2).

    The paper's positions are fixed sines; checkpoints store them as a table, and so it is one here.
    """

    def __init__(self, n_mels: int, d_model: int, max_positions: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = Convolution(n_mels, d_model, 3, padding=1)
        self.second = Convolution(d_model, d_model, 3, stride=2, padding=1)
        self.positions = LearnedPositions(max_positions, d_model)
        self.dropout = Dropout(dropout)

    def mask(self, attention_mask: Tensor) -> Tensor:
        """attention_mask (batch, frames), non-zero = real -> (batch, frames / 2 rounded up)."""
        return attention_mask[:, ::2]

    def forward(self, inputs: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """inputs (batch, n_mels, frames), at most 2 max_positions of them -> (batch, frames / 2 rounded up, d_model)."""
        longest = 2 * self.positions.num_embeddings
        if inputs.shape[2] > longest:
            raise ValueError(f"{inputs.shape[2]} frames are more than the {longest} that the model has positions for")
        x = F.gelu(self.second(F.gelu(self.first(inputs.transpose(1, 2)))))
        dropped: Tensor = self.dropout(x + self.positions.weight[: x.shape[1]].to(x.dtype))
        return dropped


class TimeNorm(nn.Module):
    """Zero mean and unit variance of each channel over the real frames of a row, then scale and shift.

    It is GroupNorm with one channel a group (Wu and He 2018), which has no mask: there a row's result would depend on how
    much padding its batch brings.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        positive(channels=channels)
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """x (batch, frames, channels), real (batch, frames) bool, True first, None = all -> like x, with padding 0."""
        if real is None:
            return self._normed(x)
        y = torch.zeros_like(x)
        for row, length in enumerate(real.sum(1).tolist()):  # a masked sum over all rows at once is the slower one
            if length:
                y[row, :length] = self._normed(x[row : row + 1, :length])[0]
        return y

    def _normed(self, x: Tensor) -> Tensor:
        line = x.transpose(1, 2).unsqueeze(2)  # the layout of `convolve`
        if not (x.is_cpu and self.weight.dtype == torch.float32):  # only the CPU kernel takes float32 weights with bfloat16
            line = line.to(self.weight.dtype)
        normed = torch.group_norm(line, x.shape[2], self.weight, self.bias, self.eps)
        return normed.squeeze(2).transpose(1, 2).to(x.dtype)


class FrameLayer(nn.Module):
    """One layer of the feature encoder: convolution, norm or none, activation."""

    def __init__(self, convolution: Convolution, norm: TimeNorm | LayerNorm | None, activation: str) -> None:
        super().__init__()
        self.convolution, self.norm = convolution, norm
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """x (batch, frames, channels), real (batch, frames') for a norm over time -> (batch, frames', channels')."""
        x = self.convolution(x)
        if isinstance(self.norm, TimeNorm):
            x = self.norm(x, real)
        elif self.norm is not None:
            x = self.norm(x)
        return self.activation(x)


class PositionalConvolution(nn.Module):
    """Positions relative to each other: a grouped convolution with a wide kernel (Baevski et al. 2020, §2).

    Its weight is `scale * direction / |direction|`, a scale and a norm for each place of the kernel (Salimans and Kingma
    2016); both factors are kept as they are trained and stored.
    """

    def __init__(self, d_model: int, *, kernel: int = 128, groups: int = 16, activation: str = "gelu") -> None:
        super().__init__()
        positive(d_model=d_model, kernel=kernel, groups=groups)
        one_of(ACTIVATIONS, activation=activation)
        if d_model % groups:
            raise ValueError(f"groups={groups} does not divide d_model={d_model}")
        self.groups, self.activation = groups, ACTIVATIONS[activation]
        self.direction = nn.Parameter(torch.empty(d_model, d_model // groups, kernel))
        self.scale = nn.Parameter(torch.empty(1, 1, kernel))
        self.bias = nn.Parameter(torch.zeros(d_model))
        nn.init.normal_(self.direction, std=2 / (kernel * d_model) ** 0.5)
        self.scale.data.copy_(torch.linalg.vector_norm(self.direction, dim=(0, 1), keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, frames, d_model) -> what is added to it, of the same shape."""
        kernel = self.direction.shape[2]
        weight = torch._weight_norm(self.direction, self.scale, 2)  # what torch's own parametrization calls
        y = convolve(x, weight, self.bias, padding=kernel // 2, groups=self.groups)
        return self.activation(y[:, : x.shape[1]])  # an even kernel gives one frame too many


class WaveEmbeddings(FrontEnd):
    """Convolutions over a waveform, a projection and positions: wav2vec 2.0 and HuBERT (Baevski et al. 2020, §2; Hsu et al.
    2021, §3).

    widths, kernels, strides: one a layer of the convolutions. convolution_norm: see :data:`Norm`. projection_norm: of the
    features before their projection; some HuBERT models have none. norm: after the positions, in models that normalise after
    their sublayers.

    Two things differ from the published code, so that a row's result does not depend on its batch. Padding is left out of
    the norm over time; there, models of that kind get padded rows without a mask. And a row too short for one frame has no
    real frame; there, all its frames become real.
    """

    def __init__(
        self,
        d_model: int,
        *,
        widths: Sequence[int],
        kernels: Sequence[int],
        strides: Sequence[int],
        convolution_bias: bool = False,
        convolution_norm: Norm = "group",
        activation: str = "gelu",
        projection_norm: LayerNorm | None = None,
        projection_dropout: float = 0.0,
        position_kernel: int = 128,
        position_groups: int = 16,
        norm: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        one_of(("group", "layer"), convolution_norm=convolution_norm)
        one_of(ACTIVATIONS, activation=activation)
        if not len(widths) == len(kernels) == len(strides) > 0:
            counts = f"{len(widths)} widths, {len(kernels)} kernels and {len(strides)} strides"
            raise ValueError(f"{counts}: there must be one of each for every layer, and one layer at least")
        self.convolutions = nn.ModuleList()
        self.window, self.stride = 1, 1
        for i, (before, width, kernel, stride) in enumerate(zip([1, *widths], widths, kernels, strides, strict=False)):
            convolution = Convolution(before, width, kernel, stride=stride, bias=convolution_bias)
            over_time = TimeNorm(width) if i == 0 else None
            layer_norm = LayerNorm(width) if convolution_norm == "layer" else over_time
            self.convolutions.append(FrameLayer(convolution, layer_norm, activation))
            self.window += (kernel - 1) * self.stride
            self.stride *= stride
        self.projection_norm = projection_norm
        self.projection = Linear(widths[-1], d_model)
        self.projection_dropout = Dropout(projection_dropout)
        self.positions = PositionalConvolution(
            d_model, kernel=position_kernel, groups=position_groups, activation=activation
        )
        self.norm = norm
        self.dropout = Dropout(dropout)
        self._first = kernels[0], strides[0]

    def frames(self, samples: int) -> int:
        """How many frames this many samples give; frame i sees the samples from i * stride, `window` of them."""
        return max(0, (samples - self.window) // self.stride + 1)

    def mask(self, attention_mask: Tensor) -> Tensor:
        """attention_mask (batch, samples), non-zero = real -> (batch, frames) bool: whether all that a frame sees is."""
        return _windows(attention_mask, self.window, self.stride)

    def forward(self, inputs: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """inputs (batch, samples), their mask of the same shape, real samples first -> (batch, frames, d_model)."""
        if inputs.shape[1] < self.window:
            raise ValueError(f"{inputs.shape[1]} samples are too few: one frame takes {self.window}")
        x, real = inputs.unsqueeze(2), None if attention_mask is None else _windows(attention_mask, *self._first)
        for layer in self.convolutions:
            x = layer(x, real)
        x = self.projection_dropout(self.projection(x if self.projection_norm is None else self.projection_norm(x)))
        if attention_mask is not None:
            x = x.masked_fill(~self.mask(attention_mask).unsqueeze(2), 0.0)
        x = x + self.positions(x)
        dropped: Tensor = self.dropout(x if self.norm is None else self.norm(x))
        return dropped


def _windows(mask: Tensor, window: int, stride: int) -> Tensor:
    """Of each window of a (batch, samples) mask, whether its first and its last sample are real: (batch, windows) bool."""
    last = mask[:, window - 1 :: stride] != 0
    return last & (mask[:, ::stride][:, : last.shape[1]] != 0)
