"""A model of transformers as a reference for :func:`regard.checkpoints.contract.check_family`.

The model is given; the library itself is not imported here, or anywhere in Regard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regard.checkpoints.contract import Answer, Reference
from regard.checkpoints.families import FAMILIES

NAMES = {
    "attention_mask": "attention_mask",
    "type_ids": "token_type_ids",
    "decoder_ids": "decoder_input_ids",
    "decoder_mask": "decoder_attention_mask",
    "images": "pixel_values",
}
"""Our argument -> theirs; `inputs` is the model's main input."""

OUTPUTS = ("logits", "prediction_logits", "logits_per_image", "text_embeds", "image_embeds", "pooler_output")
"""Where theirs may put what the head gives."""


def hidden_sites(stack: str, states: tuple[Tensor, ...], *, last: str = "norm") -> dict[str, Tensor]:
    """Their `hidden_states` by our sites: embeddings, each layer, and the stack's output.

    last: what the last of theirs is, the state after the final `norm`, or the last `layer`'s.
    """
    sites = {f"{stack}.embeddings": states[0]}
    sites |= {f"{stack}.layers.{i}": state for i, state in enumerate(states[1:-1])}
    sites[stack if last == "norm" else f"{stack}.layers.{len(states) - 2}"] = states[-1]
    return sites


def answer_of(
    model: Any, *, sites: Callable[[Any], dict[str, Tensor]] | None = None, head: bool = True
) -> Callable[..., Answer]:
    """What `model` computes of a batch, as an :class:`Answer`.

    sites: from its output, where that of :func:`usual` is not right. head: whether Regard uses the model's head.
    """

    def answer(batch: Mapping[str, Tensor]) -> Answer:
        named = {NAMES.get(name, model.main_input_name): value for name, value in batch.items()}
        if "images" in batch:
            named["input_ids"] = batch["inputs"]
        if type(model).__name__.endswith("MultipleChoice"):  # rows of one choice each
            named = {name: value[:, None] for name, value in named.items()}
        with torch.inference_mode():
            found = model(**named, output_hidden_states=True)
        output = output_of(found) if head else None
        if output is not None and type(model).__name__ == "ElectraForPreTraining":  # a number a token, without an axis
            output = output[..., None]
        return Answer(sites=(sites or usual(model))(found), output=output)

    return answer


def output_of(found: Any) -> Tensor | None:
    """The head's output."""
    if found.get("start_logits") is not None:
        return torch.stack([found.start_logits, found.end_logits], dim=-1)
    return next((found[name] for name in OUTPUTS if found.get(name) is not None), None)


def usual(model: Any) -> Callable[[Any], dict[str, Tensor]]:
    """Sites of an encoder, of a decoder, or of both: what the family of the model's `model_type` is."""

    def sites(found: Any) -> dict[str, Tensor]:
        if found.get("encoder_hidden_states") is not None:
            return hidden_sites("encoder", found.encoder_hidden_states) | hidden_sites(
                "decoder", found.decoder_hidden_states
            )
        kind = FAMILIES[model.config.model_type].fixed.get("kind", "encoder")
        return hidden_sites("decoder" if kind == "decoder" else "encoder", found.hidden_states)

    return sites


def reference(
    model: Any,
    batch: Mapping[str, Tensor],
    *,
    sites: Callable[[Any], dict[str, Tensor]] | None = None,
    head: bool = True,
    **settings: Any,
) -> Reference:
    """`model` as a reference; sites and head: see :func:`answer_of`; settings: fields of :class:`Reference`."""

    def reload(folder: Path) -> Callable[[Mapping[str, Tensor]], Answer]:
        again, report = type(model).from_pretrained(folder, output_loading_info=True)
        wrong = {name: found for name, found in report.items() if found}
        assert not wrong, f"the export does not load whole: {wrong}"
        same = {
            name: tensor for name, tensor in again.state_dict().items() if not torch.equal(tensor, model.state_dict()[name])
        }
        assert not same, f"the export holds other values: {sorted(same)}"
        return answer_of(again.eval(), sites=sites, head=head)

    return Reference(
        save=model.save_pretrained, answer=answer_of(model, sites=sites, head=head), reload=reload, batch=batch, **settings
    )
