"""The token table that BART and its kin store as `shared`, in place of the encoder's and the decoder's own or beside them.

Their files hold it alone where all three are one, with copies in some older ones; where they are not, or config.json says
that nothing is tied, they hold all three, and the shared one is in no use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from regard.checkpoints.rules import Entry, keep

SHARED = keep("shared.weight").ours
ENCODER, DECODER = "encoder.embeddings.tokens.weight", "decoder.embeddings.tokens.weight"


def gather(tensors: dict[str, Tensor]) -> dict[str, str]:
    """After reading: tables that are one become the encoder's, which the decoder borrows. Returns what it was called.

    Where they differ, each stays, and the shared one is kept for its owner.
    """
    shared = tensors.get(SHARED)
    if shared is None:
        return {}
    tables = [tensors.setdefault(name, shared) for name in (ENCODER, DECODER)]
    if not all(table is shared or torch.equal(table, shared) for table in tables):
        return {}
    tensors[ENCODER] = tensors.pop(SHARED)
    del tensors[DECODER]
    return {ENCODER: SHARED}


def spread(tensors: dict[str, Tensor], entries: Sequence[Entry], config: Mapping[str, Any]) -> None:
    """Before writing: the one table goes where a model of theirs with this config.json looks for it, the reverse."""
    known = any(SHARED in entry.targets for entry in entries)
    if not known or ENCODER not in tensors or DECODER in tensors:
        return
    if config.get("tie_word_embeddings") is False:
        tensors[DECODER] = tensors[SHARED] = tensors[ENCODER]
    else:
        tensors[SHARED] = tensors.pop(ENCODER)
