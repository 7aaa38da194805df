"""Dropout whose random numbers do not cost more than the layer they regularise.

torch draws one Bernoulli number an element, which on a CPU takes about 5 ns each, a sixth of a training step. Here one
64-bit draw serves four elements.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.layers.checks import share


def kept(like: Tensor, p: float) -> Tensor:
    """What to multiply with: 0 with probability p, else 1/(1-p); `like`'s shape, dtype and device.

    On a CPU, p is rounded to a multiple of 2^-16. Drawn from torch's default generator.
    """
    if not like.is_cpu:
        return torch.empty_like(like).bernoulli_(1 - p).div_(1 - p)
    n = like.numel()
    bits = torch.empty(-(-n // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:n].view(like.shape)
    dropped = round(p * 2**16)
    ones, scale = bits.ge_(dropped - 2**15), 2**16 / (2**16 - dropped)
    if like.dtype in (torch.bfloat16, torch.float16):  # written as the bits of the number: several times quicker than a cast
        return ones.mul_(int(torch.tensor(scale, dtype=like.dtype).view(torch.int16))).view(like.dtype)
    return ones.to(like.dtype).mul_(scale)


class Dropout(nn.Module):
    """While training, zero each element with probability p and scale the rest to keep the mean (Srivastava et al. 2014)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        share(p=p)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; the same shape."""
        return x * kept(x, self.p) if self.training and self.p else x
