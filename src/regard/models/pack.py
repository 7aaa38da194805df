"""A copy of a model made ready for prediction on a CPU."""

from __future__ import annotations

import copy

import torch
from torch import nn

from regard.layers.attention import Attention
from regard.layers.block import Block
from regard.layers.feedforward import FeedForward
from regard.layers.linear import POST_OPS, Linear, PackedLinear, QuantizedLinear
from regard.models.heads import Head, TiedLinear
from regard.models.model import Model


def packed(model: Model, dtype: torch.dtype = torch.bfloat16, *, int8: bool = False) -> Model:
    """A copy in bfloat16 or float32 whose layers hold their projections in the order in which a CPU's matrix kernels read
    them (queries, keys and values as one).

    It only predicts: there is nothing left to train, save or adapt, and what needs no other dtype or order it shares with
    the original. int8: projections in eight bits, see :class:`QuantizedLinear`; all else is in `dtype`. Where
    :meth:`PackedLinear.available` is false, nothing is reordered.
    """
    shared = {id(weight): nn.Parameter(weight.detach().to(dtype), requires_grad=False) for weight in model.parameters()}
    twin = copy.deepcopy(model, dict(shared)).to(dtype).eval()
    if not PackedLinear.available(dtype):
        return twin
    kind = QuantizedLinear if int8 else PackedLinear
    reading = {block.cross_attention for block in twin.modules() if isinstance(block, Block)}
    for module in list(twin.modules()):
        if isinstance(module, Attention):
            if module in reading:
                module.kv_proj = kind(module.k_proj, module.v_proj)
                _replace(module, "q_proj", kind)
            else:
                module.qkv_proj = kind(module.q_proj, module.k_proj, module.v_proj)
            _replace(module, "o_proj", kind)
        elif isinstance(module, FeedForward):
            activated = "up_proj" if module.gate_proj is None else "gate_proj"
            rides = module.activation_name in POST_OPS and not int8
            for name in ("up_proj", "gate_proj", "down_proj"):
                if rides and name == activated:
                    setattr(module, name, PackedLinear(getattr(module, name), activation=module.activation_name))
                else:
                    _replace(module, name, kind)
            if rides:
                module.activation = nn.Identity()
        elif isinstance(module, Head) and module.pool is None and module.out is not None:
            out = _plain(module.out)
            module.out = QuantizedLinear(out, dtype=torch.float32) if int8 else PackedLinear(out)
    return twin


def _plain(out: nn.Module) -> Linear:
    """The output layer of a head that answers for tokens; of a tied one, a layer with the table for its matrix."""
    if not isinstance(out, TiedLinear):
        assert isinstance(out, Linear)
        return out
    rows, width = out.table.weight.shape
    with torch.device("meta"):
        linear = Linear(width, rows, bias=False)
    linear.weight = nn.Parameter(out.table.weight, requires_grad=False)
    linear.register_parameter("bias", out.bias)
    return linear


def _replace(parent: nn.Module, name: str, kind: type[PackedLinear] | type[QuantizedLinear]) -> None:
    child = getattr(parent, name)
    if isinstance(child, Linear):
        setattr(parent, name, kind(child))
