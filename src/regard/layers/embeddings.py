"""Ids to vectors: tokens, positions and segments, summed."""

from __future__ import annotations

from torch import Tensor, nn

from regard.layers.checks import positive
from regard.layers.dropout import Dropout


class Embedding(nn.Embedding):
    """A table of vectors whose gradient is sparse while it trains alone (`sparse=True`): only the rows of the batch.

    A fresh table draws from N(0, 0.02²), as BERT's and GPT-2's do; N(0, 1) of torch would drown the positions.
    """

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        nn.init.normal_(self.weight, std=0.02)


class Embeddings(nn.Module):
    """Token + position + segment vectors, optionally scaled, normalised, then dropped out.

    tokens: (vocab_size, d_model) table; positions: a module from positions to vectors, or None where order enters elsewhere.
    """

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        *,
        positions: nn.Module | None = None,
        n_types: int = 0,
        scale: bool = False,
        norm: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        positive(vocab_size=vocab_size, d_model=d_model)
        self.tokens = Embedding(vocab_size, d_model)
        self.positions = positions
        self.types = Embedding(n_types, d_model) if n_types else None
        self.norm = norm
        self.dropout = Dropout(dropout)
        self.scale = d_model**0.5 if scale else 1.0

    def forward(self, input_ids: Tensor, positions: Tensor, type_ids: Tensor | None = None) -> Tensor:
        """input_ids (…), positions broadcastable to it, type_ids like input_ids (None = all 0) -> (…, d_model)."""
        x: Tensor = self.tokens(input_ids)
        if self.scale != 1.0:
            x = x * self.scale
        if self.positions is not None:
            x = x + self.positions(positions)
        if self.types is not None:
            x = x + (self.types.weight[0] if type_ids is None else self.types(type_ids))
        if self.norm is not None:
            x = self.norm(x)
        dropped: Tensor = self.dropout(x)
        return dropped
