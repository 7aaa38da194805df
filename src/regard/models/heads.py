"""Output layers: from a stack's hidden states to what a task predicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from regard.layers.checks import one_of, positive
from regard.layers.dropout import Dropout
from regard.layers.embeddings import Borrowed, Embedding
from regard.layers.feedforward import ACTIVATIONS
from regard.layers.linear import Linear, PackedLinear, QuantizedLinear
from regard.layers.output import Best, best
from regard.layers.ragged import Ragged

Pool = Literal["first", "mean", "last"]

TOGETHER = 128
"""Tokens whose scores over a vocabulary lie in memory at the same time, when only the best are asked for."""


class TiedLinear(nn.Module):
    """An output layer whose matrix is a token table (Press and Wolf 2017), with a bias of its own."""

    def __init__(self, table: Embedding | Borrowed, *, bias: bool) -> None:
        super().__init__()
        self.table = Borrowed(table)
        self.bias = nn.Parameter(torch.zeros(table.weight.shape[0])) if bias else None

    @property
    def weight(self) -> Tensor:
        """(vocab_size, width): the table."""
        return self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        """x (…, width) -> (…, vocab_size), computed in x's dtype."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return nn.functional.linear(x, self.table.weight.to(x.dtype), bias)


class Head(nn.Module):
    """One prediction a sequence (`pool` says which hidden state stands for it) or, with pool None, one a token.

    d_dense: width of a layer with `activation` and `norm` before the output; None = no such layer. norm: makes a norm of a
    width, or None. n_outputs 0: no output layer, the state itself is the result. tied: the token table that is the output's
    matrix. scale: factor on the hidden states. distilled: the answer is the mean of two output layers, over the first and
    the second token. Names as in :class:`~regard.models.config.HeadConfig`.
    """

    def __init__(
        self,
        d_model: int,
        n_outputs: int,
        *,
        pool: Pool | None = "first",
        d_dense: int | None = None,
        dense_bias: bool = True,
        activation: str = "tanh",
        norm: Callable[[int], nn.Module | None] = lambda _: None,
        bias: bool = True,
        scale: float | None = None,
        distilled: bool = False,
        dropout: float = 0.0,
        tied: Embedding | Borrowed | None = None,
    ) -> None:
        super().__init__()
        positive(d_model=d_model)
        one_of((*ACTIVATIONS, "none"), activation=activation)
        if pool is not None:
            one_of(("first", "mean", "last"), pool=pool)
        if n_outputs < 0:
            raise ValueError(f"n_outputs={n_outputs} must be at least 0")
        if distilled and (pool != "first" or d_dense is not None or not n_outputs):
            raise ValueError("a distilled head has two output layers over the first two tokens, and nothing between")
        self.pool: Pool | None = pool
        self.scale = scale
        width = d_model if d_dense is None else d_dense
        self.dense = None if d_dense is None else Linear(d_model, d_dense, bias=dense_bias)
        self.activation = ACTIVATIONS.get(activation)
        self.norm = norm(width)
        self.dropout = Dropout(dropout)
        self.out: Linear | TiedLinear | PackedLinear | QuantizedLinear | None = None
        if tied is not None:
            self.out = TiedLinear(tied, bias=bias)
        elif n_outputs:
            self.out = Linear(width, n_outputs, bias=bias)
        self.distilled = Linear(width, n_outputs, bias=bias) if distilled else None

    def forward(self, hidden: Tensor, *, attention_mask: Tensor | None = None, ragged: Ragged | None = None) -> Tensor:
        """hidden (batch, tokens, d_model), or (tokens, d_model) with `ragged` -> (rows, n_outputs), or one for each token,
        (batch, tokens, n_outputs) or (tokens, n_outputs); float32."""
        x = hidden if self.pool is None else pooled(hidden, self.pool, attention_mask=attention_mask, ragged=ragged)
        x = self.states(x)
        if self.out is not None:
            x = self.out(x)
        if self.distilled is not None:
            x = (x + self.distilled(self.dropout(hidden[:, 1]))) / 2
        return x.float()

    def states(self, x: Tensor) -> Tensor:
        """Pooled states, or those of tokens, (…, d_model) -> what the output layer reads."""
        if self.scale is not None:
            x = x * self.scale
        if self.dense is not None:
            x = self.dense(x)
            x = x if self.activation is None else self.activation(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.out is None else self.dropout(x)

    def best(self, hidden: Tensor, count: int, *, never: Tensor | None = None) -> Best:
        """Of a head over the vocabulary, the likeliest words of each token, hidden (tokens, d_model); see
        :func:`regard.layers.output.best`."""
        if self.out is None:
            raise ValueError("this head has no output layer, whose best outputs could be asked for")
        parts = [best(self.out(part), count, never=never) for part in self.states(hidden).split(TOGETHER)]
        return Best(*(torch.cat(each) for each in zip(*parts, strict=True)))


class PairHead(nn.Module):
    """Text and image as unit vectors of one space, whose product says how well they fit (Radford et al. 2021, §2.3)."""

    def __init__(self, d_text: int, d_image: int, width: int) -> None:
        super().__init__()
        positive(d_text=d_text, d_image=d_image, width=width)
        self.text = Linear(d_text, width, bias=False)
        self.image = Linear(d_image, width, bias=False)
        self.scale = nn.Parameter(torch.tensor(2.6592))
        """Log of the factor on the cosine; CLIP starts at 1/0.07."""

    def forward(self, text: Tensor, image: Tensor) -> Tensor:
        """Pooled states (texts, d_text) and (images, d_image) -> (images, texts) scores, float32."""
        texts, images = self.text(text).float(), self.image(image).float()
        return self.scale.float().exp() * (nn.functional.normalize(images) @ nn.functional.normalize(texts).T)


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
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), places(real, pool)]


def places(real: Tensor, pool: str) -> Tensor:
    """Where the `first` or `last` real token of each row stands, (rows,), in a batch with this mask (rows, tokens)."""
    if pool == "first":
        return real.float().argmax(1)  # not 0 where a batch is padded on the left
    return torch.arange(real.shape[1], device=real.device).where(real.bool(), -1).amax(1)
