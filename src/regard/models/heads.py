"""Output layers: from a stack's hidden states to what a task predicts."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from regard.layers.checks import one_of, positive
from regard.layers.dropout import Dropout
from regard.layers.feedforward import ACTIVATIONS
from regard.layers.linear import Linear
from regard.layers.ragged import Ragged
from regard.models.config import HeadConfig


class SequenceHead(nn.Module):
    """One prediction a sequence, for classification (one output a class) or regression (one output).

    pool: which hidden state stands for the sequence, see :class:`HeadConfig`. dense: a square layer with `activation` first.
    n_outputs 0: no output layer, the pooled state is the result.
    """

    def __init__(
        self,
        d_model: int,
        n_outputs: int,
        *,
        pool: Literal["first", "mean", "last"] = "first",
        dense: bool = True,
        activation: str = "tanh",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        positive(d_model=d_model)
        one_of(("first", "mean", "last"), pool=pool)
        one_of(ACTIVATIONS, activation=activation)
        if n_outputs < 0:
            raise ValueError(f"n_outputs={n_outputs} must be at least 0")
        self.pool: Literal["first", "mean", "last"] = pool
        self.dense = Linear(d_model, d_model) if dense else None
        self.activation = ACTIVATIONS[activation]
        self.dropout = Dropout(dropout)
        self.out = Linear(d_model, n_outputs) if n_outputs else None

    @classmethod
    def from_config(cls, config: HeadConfig, d_model: int, *, dropout: float) -> SequenceHead:
        """The head that `config` describes; `dropout` counts where the config names none."""
        settings = config.model_dump(exclude={"dropout"})
        return cls(d_model, dropout=dropout if config.dropout is None else config.dropout, **settings)

    def forward(self, hidden: Tensor, *, attention_mask: Tensor | None = None, ragged: Ragged | None = None) -> Tensor:
        """hidden (batch, tokens, d_model), or (tokens, d_model) with `ragged` -> (rows, n_outputs), float32."""
        x = pooled(hidden, self.pool, attention_mask=attention_mask, ragged=ragged)
        if self.dense is not None:
            x = self.activation(self.dense(x))
        if self.out is not None:
            x = self.out(self.dropout(x))
        return x.float()


def pooled(hidden: Tensor, pool: str, *, attention_mask: Tensor | None = None, ragged: Ragged | None = None) -> Tensor:
    """One vector a row: `first`, `last` or `mean` over its real tokens. Shapes as in :meth:`SequenceHead.forward`."""
    if ragged is not None:
        if pool == "mean":
            return torch.cat([part.float().mean(1) for part in ragged.split(hidden)]).to(hidden.dtype)
        return hidden[ragged.places(pool)[: ragged.rows].to(hidden.device)]
    if attention_mask is None:
        attention_mask = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
    real = attention_mask.bool()
    if pool == "mean":
        weights = real.float() / real.sum(1, keepdim=True).clamp(min=1)
        return torch.bmm(weights[:, None], hidden.float())[:, 0].to(hidden.dtype)
    places = torch.arange(hidden.shape[1], device=hidden.device).where(real, torch.tensor(-1, device=hidden.device))
    # the first real token is not at 0 where a batch is padded on the left
    at = places.amax(1) if pool == "last" else real.float().argmax(1)
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), at]
