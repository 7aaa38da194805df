"""A copy of a model made ready for prediction on a CPU with a bfloat16 matrix unit."""

from __future__ import annotations

import copy

import torch
from torch import nn

from regard.layers.attention import Attention
from regard.layers.feedforward import FeedForward
from regard.layers.linear import Linear, PackedLinear
from regard.models.model import Model


def packed(model: Model) -> Model:
    """A bfloat16 copy whose layers hold their projections in the matrix unit's own order (queries, keys and values as one).

    It only predicts: there is nothing left to train, save or adapt. Where :meth:`PackedLinear.available` is false, the copy
    is plain bfloat16.
    """
    twin = copy.deepcopy(model).to(torch.bfloat16).eval().requires_grad_(False)
    if not PackedLinear.available():
        return twin
    for module in list(twin.modules()):
        if isinstance(module, Attention):
            module.qkv_proj = PackedLinear(module.q_proj, module.k_proj, module.v_proj)
            _replace(module, "o_proj")
        elif isinstance(module, FeedForward):
            activated = "up_proj" if module.gate_proj is None else "gate_proj"
            for name in ("up_proj", "gate_proj", "down_proj"):
                _replace(module, name, activation=module.activation_name if name == activated else "none")
            module.activation = nn.Identity()
    return twin


def _replace(parent: nn.Module, name: str, *, activation: str = "none") -> None:
    child = getattr(parent, name)
    if isinstance(child, Linear):
        setattr(parent, name, PackedLinear(child, activation=activation))
