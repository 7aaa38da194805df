"""Ids to vectors: tokens, positions and segments, summed."""

from __future__ import annotations

from torch import Tensor, nn

from regard.layers.checks import positive
from regard.layers.dropout import Dropout
from regard.layers.linear import Linear


class Embedding(nn.Embedding):
    """A table of vectors whose gradient is sparse while it trains alone (`sparse=True`): only the rows of the batch.

    A fresh table draws from N(0, 0.02²), as BERT's and GPT-2's do; N(0, 1) of torch would drown the positions. std: another
    deviation. zero: a row that is 0, and that reading does not train.
    """

    def __init__(self, rows: int, width: int, *, std: float = 0.02, zero: int | None = None) -> None:
        positive(rows=rows, width=width)
        self.std = std
        super().__init__(rows, width, padding_idx=zero)

    def reset_parameters(self) -> None:
        """Draw the table anew; of a model without memory there is none, see :class:`~regard.layers.linear.Linear`."""
        if not self.weight.is_meta:
            nn.init.normal_(self.weight, std=self.std)
            self._fill_padding_idx_with_zero()


class Borrowed(nn.Module):
    """Another module's table, in its place: it is trained and stored where it is at home, and appears nowhere else."""

    def __init__(self, table: Embedding | Borrowed) -> None:
        super().__init__()
        self._home = (table,)  # a tuple, so that torch does not count its weights again

    @property
    def weight(self) -> Tensor:
        """(rows, width)."""
        return self._home[0].weight

    def forward(self, ids: Tensor) -> Tensor:
        """ids (…) -> (…, width)."""
        vectors: Tensor = self._home[0](ids)
        return vectors


class Embeddings(nn.Module):
    """Token + position + segment vectors, optionally scaled, normalised, dropped out and projected.

    tokens: the (vocab_size, width) table, or one borrowed from another stack. positions: a module from positions to vectors,
    or None where order enters elsewhere. d_model: what the vectors are projected to, after all else (Lan et al. 2020, §3.1);
    None = they are not. project_first: they are before the norm, and without a bias (DeBERTa-v2).
    """

    def __init__(
        self,
        tokens: Embedding | Borrowed,
        *,
        positions: nn.Module | None = None,
        n_types: int = 0,
        scale: bool = False,
        norm: nn.Module | None = None,
        dropout: float = 0.0,
        d_model: int | None = None,
        project_first: bool = False,
    ) -> None:
        super().__init__()
        width = tokens.weight.shape[1]
        self.tokens = tokens
        self.positions = positions
        self.types = Embedding(n_types, width) if n_types else None
        self.norm = norm
        self.dropout = Dropout(dropout)
        self.scale = width**0.5 if scale else 1.0
        self.project = None if d_model is None else Linear(width, d_model, bias=not project_first)
        self.project_first = project_first

    def forward(self, input_ids: Tensor, positions: Tensor, type_ids: Tensor | None = None) -> Tensor:
        """input_ids (…), positions broadcastable to it, type_ids like input_ids (None = all 0) -> (…, d_model)."""
        x: Tensor = self.tokens(input_ids)
        if self.scale != 1.0:
            x = x * self.scale
        if self.positions is not None:
            x = x + self.positions(positions)
        if self.types is not None:
            x = x + (self.types.weight[0] if type_ids is None else self.types(type_ids))
        if self.project is not None and self.project_first:
            x = self.project(x)
        if self.norm is not None:
            x = self.norm(x)
        x = self.dropout(x)
        return x if self.project is None or self.project_first else self.project(x)
