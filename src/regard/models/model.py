"""A whole model: an encoder, a decoder or both, a second encoder for images, and a head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.layers.cache import Cache
from regard.layers.ragged import Ragged, Unpadded
from regard.layers.trace import Scope, Trace
from regard.models.config import HeadConfig, ModelConfig
from regard.models.heads import Head, PairHead, places, pooled
from regard.models.stack import FrontEnd, Pick, Stack


class Model(nn.Module):
    """What a model folder holds. `config` and `head_config` say what it is made of; `build` makes it from them."""

    def __init__(
        self,
        config: ModelConfig,
        *,
        encoder: Stack | None = None,
        decoder: Stack | None = None,
        vision: Stack | None = None,
        head: Head | PairHead | None = None,
        head_config: HeadConfig | None = None,
    ) -> None:
        super().__init__()
        if encoder is None and decoder is None:
            raise ValueError("a model needs an encoder or a decoder")
        self.config, self.head_config = config, head_config
        self.encoder, self.decoder, self.vision, self.head = encoder, decoder, vision, head

    @property
    def device(self) -> torch.device:
        """Where the weights lie, and what the model reads must lie too."""
        return next(self.parameters()).device

    def hidden(
        self,
        inputs: Tensor,
        *,
        attention_mask: Tensor | None = None,
        type_ids: Tensor | None = None,
        decoder_ids: Tensor | None = None,
        decoder_mask: Tensor | None = None,
        cache: Cache | None = None,
        ragged: Ragged | None = None,
        decoder_ragged: Ragged | None = None,
        pick: Pick | None = None,
        dtype: torch.dtype | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """The last stack's hidden states: (batch, tokens, d_model), or (tokens, d_model) for a ragged batch.

        inputs and type_ids: ids (batch, tokens), or (tokens,) with `ragged`; sound or images for a model that reads these.
        An encoder-decoder reads inputs with its encoder and decoder_ids (batch, decoder tokens) with its decoder; without
        these its decoder reads the inputs too, :func:`shifted`. With `ragged` they are (decoder tokens,), laid out as
        `decoder_ragged` says, in as many groups of as many rows as the inputs. pick: see :meth:`Stack.forward`. dtype: of
        the activations, None = that of the weights.
        """
        scope = Scope(trace)
        if self.encoder is None or self.decoder is None:
            name, stack = ("encoder", self.encoder) if self.encoder is not None else ("decoder", self.decoder)
            assert stack is not None
            hidden: Tensor = stack(
                inputs,
                attention_mask=attention_mask,
                type_ids=type_ids,
                cache=cache,
                ragged=ragged,
                pick=pick,
                dtype=dtype,
                scope=scope.inside(name),
            )
            return hidden
        if decoder_ids is None:
            if cache is not None or isinstance(self.encoder.embeddings, FrontEnd):
                raise ValueError("an encoder-decoder needs decoder_ids when it reads sound, or goes on with a cache")
            start = self.config.start_id
            decoder_ids, decoder_mask = shifted(inputs, start, attention_mask=attention_mask, ragged=ragged), attention_mask
        elif (ragged is None) != (decoder_ragged is None):
            raise ValueError("decoder_ids are laid out in a ragged batch as decoder_ragged says, and only there")
        if trace is None and cache is None and ragged is None and not isinstance(self.encoder.embeddings, FrontEnd):
            source, target = _layout(inputs, attention_mask), _layout(decoder_ids, decoder_mask)
            if source.pays or target.pays:
                types = None if type_ids is None else source.take(type_ids)
                memory = self.encoder(source.take(inputs), type_ids=types, ragged=source, dtype=dtype)
                there = {"memory": memory, "memory_ragged": source}
                return target.split(self.decoder(target.take(decoder_ids), ragged=target, dtype=dtype, **there))[0]
        memory = self.encoder(
            inputs,
            attention_mask=attention_mask,
            type_ids=type_ids,
            ragged=ragged,
            dtype=dtype,
            scope=scope.inside("encoder"),
        )
        states: Tensor = self.decoder(
            decoder_ids,
            attention_mask=decoder_mask,
            memory=memory,
            memory_mask=self.memory_mask(attention_mask),
            cache=cache,
            ragged=ragged if decoder_ragged is None else decoder_ragged,
            memory_ragged=ragged,
            pick=pick,
            dtype=dtype,
            scope=scope.inside("decoder"),
        )
        return states

    def memory_mask(self, attention_mask: Tensor | None) -> Tensor | None:
        """Which of the encoder's hidden states are real, (batch, tokens), from the mask of its inputs."""
        front = None if self.encoder is None else self.encoder.embeddings
        return front.mask(attention_mask) if isinstance(front, FrontEnd) and attention_mask is not None else attention_mask

    def forward(
        self,
        inputs: Tensor,
        *,
        attention_mask: Tensor | None = None,
        type_ids: Tensor | None = None,
        decoder_ids: Tensor | None = None,
        decoder_mask: Tensor | None = None,
        cache: Cache | None = None,
        ragged: Ragged | None = None,
        dtype: torch.dtype | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """The head's output, float32: (rows, n_outputs), or an output a token, see :class:`Head`. Arguments as in
        :meth:`hidden`."""
        if not isinstance(self.head, Head):
            raise ValueError("this model has no such head: build it with a HeadConfig, or ask for hidden() or pairs()")
        pool = self.head.pool
        pick = None if ragged is None or pool is None or pool == "mean" else pool
        hidden = self.hidden(
            inputs,
            attention_mask=attention_mask,
            type_ids=type_ids,
            decoder_ids=decoder_ids,
            decoder_mask=decoder_mask,
            cache=cache,
            ragged=ragged,
            pick=pick,
            dtype=dtype,
            trace=trace,
        )
        if ragged is not None and pick is not None:
            ragged = ragged.singles
        mask = self.memory_mask(attention_mask) if decoder_ids is None else decoder_mask
        output: Tensor = self.head(hidden, attention_mask=mask, ragged=ragged)
        return output

    def pairs(
        self,
        texts: Tensor,
        images: Tensor,
        *,
        attention_mask: Tensor | None = None,
        dtype: torch.dtype | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """How well each image fits each text: ids (texts, tokens) with their mask, images (images, channels, height, width)
        -> (images, texts) float32."""
        if not isinstance(self.head, PairHead) or self.vision is None or self.head_config is None:
            raise ValueError("this model does not compare texts with images")
        hidden = self.hidden(texts, attention_mask=attention_mask, dtype=dtype, trace=trace)
        seen: Tensor = self.vision(images, dtype=dtype, scope=Scope(trace).inside("vision"))
        text = pooled(hidden, self.head_config.pool, attention_mask=attention_mask)
        scores: Tensor = self.head(text, pooled(seen, "first"))
        return scores


def _layout(ids: Tensor, mask: Tensor | None) -> Unpadded:
    """How a padded batch lies without its padding, (rows, tokens) of which mask None = all are real."""
    return Unpadded.where(torch.ones_like(ids) if mask is None else mask)


def shifted(
    ids: Tensor, start_id: int | None, *, attention_mask: Tensor | None = None, ragged: Ragged | None = None
) -> Tensor:
    """Each row's ids one place on, behind `start_id` or, if that is None, behind the row's own last id.

    ids: (rows, tokens), or (tokens,) with `ragged`; the result has their shape. A decoder that reads these knows, at each
    token, what came before (Lewis et al. 2020, §3.1).
    """
    if ragged is not None:
        first, last = (ragged.places(pick)[: ragged.rows].to(ids.device) for pick in ("first", "last"))
    else:
        rows, tokens = ids.shape
        real = torch.ones_like(ids) if attention_mask is None else attention_mask
        begin = torch.arange(0, rows * tokens, tokens, device=ids.device)
        first, last = (begin + places(real, pick) for pick in ("first", "last"))
    flat = ids.flatten()
    moved = flat.roll(1)
    moved[first] = flat[last] if start_id is None else torch.full_like(first, start_id)
    return moved.view_as(ids)
