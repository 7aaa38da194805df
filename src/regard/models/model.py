"""A whole model: an encoder, a decoder or both, and a head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.layers.cache import Cache
from regard.layers.ragged import Ragged
from regard.layers.trace import Scope, Trace
from regard.models.config import HeadConfig, ModelConfig
from regard.models.heads import SequenceHead
from regard.models.stack import Pick, Stack


class Model(nn.Module):
    """What a model folder holds. `config` and `head_config` say what it is made of; `build` makes it from them."""

    def __init__(
        self,
        config: ModelConfig,
        *,
        encoder: Stack | None = None,
        decoder: Stack | None = None,
        head: SequenceHead | None = None,
        head_config: HeadConfig | None = None,
    ) -> None:
        super().__init__()
        self.config, self.head_config = config, head_config
        self.encoder, self.decoder, self.head = encoder, decoder, head

    def hidden(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        type_ids: Tensor | None = None,
        decoder_ids: Tensor | None = None,
        decoder_mask: Tensor | None = None,
        cache: Cache | None = None,
        ragged: Ragged | None = None,
        pick: Pick | None = None,
        dtype: torch.dtype | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """The last stack's hidden states: (batch, tokens, d_model), or (tokens, d_model) for a ragged batch.

        input_ids, type_ids: (batch, tokens), or (tokens,) with `ragged`. An encoder-decoder reads input_ids with its encoder
        and decoder_ids (batch, decoder tokens) with its decoder. pick: see :meth:`Stack.forward`. dtype: of the activations,
        None = that of the weights.
        """
        scope = Scope(trace)
        memory: Tensor | None = None
        if self.encoder is not None:
            memory = self.encoder(
                input_ids,
                attention_mask=attention_mask,
                type_ids=type_ids,
                ragged=ragged,
                pick=pick,
                dtype=dtype,
                scope=scope.inside("encoder"),
            )
            if self.decoder is None:
                return memory
        if self.decoder is None:
            raise ValueError("a model needs an encoder or a decoder")
        if memory is not None and (decoder_ids is None or ragged is not None):
            raise ValueError("an encoder-decoder needs decoder_ids, and a padded batch, not a ragged one")
        hidden: Tensor = self.decoder(
            input_ids if decoder_ids is None else decoder_ids,
            attention_mask=attention_mask if memory is None else decoder_mask,
            type_ids=type_ids if memory is None else None,
            memory=memory,
            memory_mask=None if memory is None else attention_mask,
            cache=cache,
            ragged=ragged,
            pick=pick,
            dtype=dtype,
            scope=scope.inside("decoder"),
        )
        return hidden

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        type_ids: Tensor | None = None,
        decoder_ids: Tensor | None = None,
        decoder_mask: Tensor | None = None,
        ragged: Ragged | None = None,
        dtype: torch.dtype | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """The head's output, (rows, n_outputs) float32. Arguments as in :meth:`hidden`."""
        if self.head is None:
            raise ValueError("this model has no head: build it with a HeadConfig, or ask for hidden()")
        pick = None if ragged is None or self.head.pool == "mean" else self.head.pool
        hidden = self.hidden(
            input_ids,
            attention_mask=attention_mask,
            type_ids=type_ids,
            decoder_ids=decoder_ids,
            decoder_mask=decoder_mask,
            ragged=ragged,
            pick=pick,
            dtype=dtype,
            trace=trace,
        )
        if ragged is not None and pick is not None:
            ragged = ragged.singles
        mask = attention_mask if decoder_ids is None else decoder_mask
        output: Tensor = self.head(hidden, attention_mask=mask, ragged=ragged)
        return output
