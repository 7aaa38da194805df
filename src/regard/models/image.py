"""The front end for images: what stands in a stack in place of token embeddings when the input is pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regard.layers.checks import positive
from regard.layers.dropout import Dropout
from regard.layers.positions import LearnedPositions
from regard.models.stack import FrontEnd


class Patches(nn.Conv2d):
    """A linear map of each square of an image, written as the convolution that checkpoints store; in the input's dtype."""

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, channels, height, width) -> (batch, patches, d_model), the patches row by row."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.conv2d(x, self.weight.to(x.dtype), bias, stride=self.stride).flatten(2).transpose(1, 2)


class PatchEmbeddings(FrontEnd):
    """Vectors of patches behind learned ones, and positions for all of them (Dosovitskiy et al. 2021, §3.1).

    image_size and patch_size: pixels of a side. n_prefix: how many learned vectors come first; 1, the class token, or 2,
    with DeiT's distillation token behind it (Touvron et al. 2021, §4). bias: of the patches' map, in all but CLIP. norm: of
    the sum, in CLIP.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        channels: int,
        d_model: int,
        *,
        n_prefix: int = 1,
        bias: bool = True,
        norm: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        positive(image_size=image_size, patch_size=patch_size, channels=channels, d_model=d_model)
        if patch_size > image_size:
            raise ValueError(f"patch_size={patch_size} must not exceed image_size={image_size}")
        if n_prefix < 0:
            raise ValueError(f"n_prefix={n_prefix} must be at least 0")
        self.image_size = image_size
        self.patches = Patches(channels, d_model, patch_size, stride=patch_size, bias=bias)
        self.prefix = nn.ParameterList(nn.Parameter(torch.randn(d_model) * 0.02) for _ in range(n_prefix))
        self.positions = LearnedPositions(n_prefix + (image_size // patch_size) ** 2, d_model)
        self.norm = norm
        self.dropout = Dropout(dropout)

    def forward(self, inputs: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """inputs (batch, channels, height, width), of the size that the positions are for -> (batch, tokens, d_model)."""
        expected = (self.patches.in_channels, self.image_size, self.image_size)
        if tuple(inputs.shape[1:]) != expected:
            raise ValueError(f"pixels of shape {tuple(inputs.shape[1:])} where the model takes {expected}: resize them")
        x: Tensor = self.patches(inputs)
        prefix = [vector.to(x.dtype).expand(len(x), 1, -1) for vector in self.prefix]
        x = torch.cat([*prefix, x], dim=1) + self.positions.weight.to(x.dtype)
        dropped: Tensor = self.dropout(x if self.norm is None else self.norm(x))
        return dropped
