"""Who may look at whom: every mask of Regard is made here. True = may look.

Shapes: masks broadcast to (batch, heads, query, key). Query i of a sequence that continues `key - query` cached tokens
stands at key position i + (key - query): causal masks are aligned to the bottom right, which `is_causal=True` of torch's
fused kernel is not.
"""

from __future__ import annotations

import torch
from torch import Tensor


def padding(attention_mask: Tensor) -> Tensor:
    """(batch, key), non-zero = real token -> (batch, 1, 1, key)."""
    return attention_mask.bool()[:, None, None, :]


def causal(n_query: int, n_key: int, *, device: torch.device | None = None) -> Tensor:
    """(1, 1, query, key): the last query sees every key, each one before it sees one key less."""
    return torch.ones(n_query, n_key, dtype=torch.bool, device=device).tril(n_key - n_query)[None, None]


def window(n_query: int, n_key: int, size: int, *, device: torch.device | None = None) -> Tensor:
    """(1, 1, query, key): keys at most `size` tokens away, to either side (Beltagy et al. 2020, §3.1)."""
    near = torch.ones(n_query, n_key, dtype=torch.bool, device=device)
    offset = n_key - n_query
    return (near.tril(offset + size) & near.triu(offset - size))[None, None]


def near(query_positions: Tensor, key_positions: Tensor, size: int) -> Tensor:
    """Positions (batch | 1, query) and (batch | 1, key) -> (batch | 1, 1, query, key): :func:`window` by where tokens stand,
    wherever they lie."""
    return ((key_positions[:, None, :] - query_positions[:, :, None]).abs() <= size)[:, None]


def prefix(lengths: Tensor, n_query: int, n_key: int) -> Tensor:
    """(batch, 1, query, key): the first `lengths[b]` keys are open to all, later ones to what follows (Dong et al. 2019)."""
    inside = torch.arange(n_key, device=lengths.device) < lengths[:, None]
    return inside[:, None, None, :] | causal(n_query, n_key, device=lengths.device)


def both(*masks: Tensor | None) -> Tensor | None:
    """What every given mask allows; None where none is given (everything is allowed)."""
    result = None
    for mask in masks:
        if mask is not None:
            result = mask if result is None else result & mask
    return result
