"""Do a description and its tensors belong together? Asked before a model is built, answered for all tensors at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from regard.errors import CheckpointError, Problems, did_you_mean
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig

LAYER = re.compile(r"(encoder|decoder)\.layers\.([0-9]+)\.")

Rename = Callable[[str], str]


def check_tensors(
    config: ModelConfig,
    head: HeadConfig | None,
    tensors: Mapping[str, Tensor],
    *,
    where: str,
    key: Rename = str,
    name: Rename = str,
) -> None:
    """Compare tensors (our names) with the model that `config` and `head` describe.

    key and name: what a field of ours and a tensor of ours are called in the user's files.

    Raises :class:`~regard.errors.CheckpointError` that lists every size that config and tensors disagree about; if they
    agree, every tensor that is missing, surplus or of another shape.
    """
    problems = Problems(CheckpointError)
    for field, expected, tensor, found in _sizes(config, tensors):
        if found is None and expected:
            problems.add("missing", where=f"{where}, tensor {name(tensor)!r}", fix="get the checkpoint anew")
        elif expected != (found or 0):
            what = f"config.json says {expected} for {key(field)}, {name(tensor)} has {found}"
            problems.add(what, where=where, fix="the two files are not of one model: get both anew")
    problems.raise_if_any()
    expected_shapes = _shapes(config, head, where)
    for missing in sorted(expected_shapes.keys() - tensors.keys()):
        problems.add("missing", where=f"{where}, tensor {name(missing)!r}", fix="get the checkpoint anew")
    for found_name, tensor_found in tensors.items():
        shape = expected_shapes.get(found_name)
        place = f"{where}, tensor {name(found_name)!r}"
        if shape is None:
            problems.add("the model has no such tensor", where=place, fix=did_you_mean(found_name, expected_shapes))
        elif tensor_found.shape != shape:
            problems.add(f"shape {tuple(tensor_found.shape)}", where=place, allowed=str(tuple(shape)))
        elif not tensor_found.is_floating_point():
            problems.add(f"dtype {tensor_found.dtype}", where=place, allowed="a floating-point dtype")
    problems.raise_if_any()


def _sizes(config: ModelConfig, tensors: Mapping[str, Tensor]) -> list[tuple[str, int, str, int | None]]:
    """(field, its value, tensor, that tensor's size): the few numbers from which all other shapes follow.

    They are compared first because building a model of the sizes that a hostile config.json asks for could take for ever.
    """
    stack = "decoder" if config.kind == "decoder" else "encoder"
    layer = f"{stack}.layers.0"
    offset = config.position_offset
    places = [
        ("vocab_size", config.vocab_size, f"{stack}.embeddings.tokens.weight", 0),
        ("d_model", config.d_model, f"{stack}.embeddings.tokens.weight", 1),
        ("n_types", config.n_types, f"{stack}.embeddings.types.weight", 0),
        ("d_ff", config.d_ff, f"{layer}.feedforward.up_proj.weight", 0),
        ("n_heads", config.n_heads * config.head_width, f"{layer}.attention.q_proj.weight", 0),
        ("n_kv_heads", config.kv_heads * config.head_width, f"{layer}.attention.k_proj.weight", 0),
    ]
    if config.positions == "learned":
        places.append(("max_positions", config.max_positions + offset, f"{stack}.embeddings.positions.weight", 0))
    sizes: list[tuple[str, int, str, int | None]] = [
        (field, value, name, tensors[name].shape[dim] if name in tensors and tensors[name].ndim > dim else None)
        for field, value, name, dim in places
    ]
    layers: dict[str, int] = {"encoder": 0, "decoder": 0}
    for match in filter(None, map(LAYER.match, tensors)):
        layers[match[1]] = max(layers[match[1]], int(match[2]) + 1)
    sizes.append(("n_layers", config.n_layers, f"the {stack}", layers[stack]))
    if config.kind == "encoder-decoder":
        sizes.append(("n_decoder_layers", config.decoder_layers, "the decoder", layers["decoder"]))
    return sizes


def _shapes(config: ModelConfig, head: HeadConfig | None, where: str) -> dict[str, torch.Size]:
    """The shapes of the model's tensors, from a model without memory."""
    try:
        with torch.device("meta"):
            return {name: tensor.shape for name, tensor in build(config, head).state_dict().items()}
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise CheckpointError(f"no model has these sizes: {error}", where=where, fix="check config.json") from None
