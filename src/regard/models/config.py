"""What a model is made of, as data: the one description that builders read and that `config.json` stores.

Names are those of Vaswani et al. 2017 and of the `q_proj … down_proj` layout (see docs/en/architecture.md, *Words*).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from regard.config import Settings

Kind = Literal["encoder", "decoder", "encoder-decoder"]
Positions = Literal["learned", "sinusoidal", "rotary", "alibi", "relative", "none"]
Activation = Literal["relu", "gelu", "gelu-tanh", "silu", "tanh"]


class ModelConfig(Settings):
    """A Transformer: one stack (`encoder` or `decoder`) or two (`encoder-decoder`), whole and consistent or not at all."""

    kind: Kind = "encoder"
    """`encoder` looks both ways, `decoder` looks back only, `encoder-decoder` has one of each with cross-attention."""
    vocab_size: int = Field(ge=1)
    """Rows of the token embedding table."""
    d_model: int = Field(ge=1)
    """Width of a hidden state."""
    n_layers: int = Field(ge=1)
    """Layers of the only stack, or of the encoder."""
    n_decoder_layers: int | None = Field(None, ge=1)
    """Layers of the decoder of an encoder-decoder; None means as many as the encoder has."""
    n_heads: int = Field(ge=1)
    """Attention heads."""
    n_kv_heads: int | None = Field(None, ge=1)
    """Key and value heads (Ainslie et al. 2023); None means `n_heads`."""
    d_head: int | None = Field(None, ge=1)
    """Width of one head; None means d_model / n_heads."""
    d_ff: int = Field(ge=1)
    """Width of the feed-forward layer."""
    max_positions: int = Field(512, ge=1)
    """Longest sequence in tokens."""

    positions: Positions = "learned"
    """How order enters: `learned` or `sinusoidal` are added to embeddings, `rotary` turns queries and keys, `alibi` and
    `relative` (T5) add to scores."""
    position_offset: int = Field(0, ge=0)
    """Rows of a learned position table that come before position 0 (2 in RoBERTa and BART)."""
    rotary_base: float = Field(10000.0, gt=0)
    """Base of the rotary frequencies (Su et al. 2021, §3.2.2)."""
    relative_buckets: int = Field(32, ge=2)
    """Buckets of T5's relative positions (Raffel et al. 2020, §2.1)."""
    relative_distance: int = Field(128, ge=2)
    """Distance beyond which all relative positions share T5's last bucket."""
    n_types: int = Field(0, ge=0)
    """Segment embeddings (BERT's token types); 0 means none."""
    embedding_scale: bool = False
    """Multiply token embeddings by sqrt(d_model), as Vaswani et al. 2017, §3.4."""

    norm: Literal["layer", "rms"] = "layer"
    """LayerNorm (Ba et al. 2016) or RMSNorm (Zhang and Sennrich 2019)."""
    norm_eps: float = Field(1e-5, gt=0)
    """Added to the variance."""
    norm_place: Literal["pre", "post"] = "pre"
    """Normalise before each sublayer (Xiong et al. 2020) or after each residual sum (Vaswani et al. 2017)."""
    embedding_norm: bool = False
    """Normalise the sum of the embeddings, as BERT does."""
    activation: Activation = "gelu"
    """Non-linearity of the feed-forward layer."""
    gated: bool = False
    """Gated feed-forward (Shazeer 2020): activation(gate) * up."""
    bias: bool = True
    """Biases in the projections of attention and feed-forward."""
    window: int | None = Field(None, ge=1)
    """Look at most this many tokens back (and, in an encoder, ahead); None means everywhere."""

    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of embeddings and of each sublayer's output."""
    attention_dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of attention weights."""
    tie_head: bool = True
    """A language-modelling head shares the token embedding's weights."""
    pad_id: int = Field(0, ge=0)
    """Id of the padding token."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.d_head is None and self.d_model % self.n_heads:
            fits = [n for n in range(1, min(self.d_model, 64) + 1) if self.d_model % n == 0]
            raise ValueError(
                f"n_heads={self.n_heads} does not divide d_model={self.d_model}: set d_head, or use one of {fits} heads"
            )
        if self.n_heads % self.kv_heads:
            raise ValueError(f"n_kv_heads={self.kv_heads} does not divide n_heads={self.n_heads}")
        if self.positions == "rotary" and self.head_width % 2:
            raise ValueError(f"rotary positions turn pairs: the head width {self.head_width} must be even")
        if self.positions == "relative" and not 2 <= self.relative_buckets // 2 < self.relative_distance:
            raise ValueError(
                f"relative_buckets={self.relative_buckets} must be at least 4, and half of them "
                f"below relative_distance={self.relative_distance}"
            )
        if self.n_decoder_layers is not None and self.kind != "encoder-decoder":
            raise ValueError(f"n_decoder_layers belongs to an encoder-decoder, and this is kind={self.kind!r}")
        if self.pad_id >= self.vocab_size:
            raise ValueError(f"pad_id={self.pad_id} is not below vocab_size={self.vocab_size}")
        return self

    @property
    def head_width(self) -> int:
        """Width of one head, resolved."""
        return self.d_head or self.d_model // self.n_heads

    @property
    def kv_heads(self) -> int:
        """Key and value heads, resolved."""
        return self.n_kv_heads or self.n_heads

    @property
    def decoder_layers(self) -> int:
        """Layers of the decoder, resolved."""
        return self.n_decoder_layers or self.n_layers


class HeadConfig(Settings):
    """The output layer over a stack's hidden states: one prediction a sequence (classification or regression)."""

    pool: Literal["first", "mean", "last"] = "first"
    """Which hidden state stands for the sequence: the first token's, the mean of the real tokens', the last real token's."""
    dense: bool = True
    """A square layer with `activation` before the output (BERT's pooler, RoBERTa's and DistilBERT's pre-classifier)."""
    activation: Activation = "tanh"
    """Non-linearity after the dense layer."""
    n_outputs: int = Field(ge=0)
    """Outputs: classes, or 1 for regression; 0 keeps a checkpoint's pooler without an output."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout before the output; None means the model's."""
