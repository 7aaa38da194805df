"""Do a description and its tensors belong together? Asked before a model is built, answered for all tensors at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from regard.errors import CheckpointError, Problems
from regard.models.build import assemble
from regard.models.config import HeadConfig, ModelConfig

LAYER = re.compile(r"(encoder|decoder|vision)\.layers\.([0-9]+)\.")

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

    def place(tensor: str) -> str:
        return f"{where}, tensor {name(tensor)!r}"

    for missing in sorted(expected_shapes.keys() - tensors.keys()):
        problems.add("missing", where=place(missing), fix="get the checkpoint anew")
    for found_name, tensor_found in tensors.items():
        shape = expected_shapes.get(found_name)
        if shape is None:
            hint = problems.hint(found_name, expected_shapes)
            problems.add("the model has no such tensor", where=place(found_name), fix=hint)
        elif tensor_found.shape != shape:
            problems.add(f"shape {tuple(tensor_found.shape)}", where=place(found_name), allowed=str(tuple(shape)))
        elif not tensor_found.is_floating_point():
            problems.add(f"dtype {tensor_found.dtype}", where=place(found_name), allowed="a floating-point dtype")
    problems.raise_if_any()


def _sizes(config: ModelConfig, tensors: Mapping[str, Tensor]) -> list[tuple[str, int, str, int | None]]:
    """(field, its value, tensor, that tensor's size): the few numbers from which all other shapes follow.

    They are compared first because building a model of the sizes that a hostile config.json asks for could take for ever.
    """
    if config.kind == "decoder":
        return list(_of_stack("decoder", config, tensors))
    sizes = list(_of_stack("encoder", config, tensors))
    if config.kind == "encoder-decoder":
        found = _layers("decoder", tensors)
        sizes.append(("n_decoder_layers", config.decoder_layers, "the decoder", found))
    if config.vision is not None:
        of_vision = _of_stack("vision", config.vision, tensors)
        sizes += [(f"vision.{field}", value, tensor, found) for field, value, tensor, found in of_vision]
    return sizes


def _of_stack(stack: str, config: ModelConfig, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, int, str, int | None]]:
    layer = f"{stack}.layers.0"
    places = [
        ("d_ff", config.d_ff, f"{layer}.feedforward.up_proj.weight", 0),
        ("d_model", config.d_model, f"{layer}.feedforward.up_proj.weight", 1),
        ("n_heads", config.n_heads * config.head_width, f"{layer}.attention.q_proj.weight", 0),
        ("n_kv_heads", config.kv_heads * config.head_width, f"{layer}.attention.k_proj.weight", 0),
    ]
    if config.input is None:
        tokens = f"{stack}.embeddings.tokens.weight"
        places.append(("vocab_size", config.vocab_size, tokens, 0))
        width = "d_model" if config.d_embedding is None else "d_embedding"
        places.append((width, config.d_embedding or config.d_model, tokens, 1))
        places.append(("n_types", config.n_types, f"{stack}.embeddings.types.weight", 0))
        if config.positions == "learned":
            rows = config.max_positions + config.position_offset
            places.append(("max_positions", rows, f"{stack}.embeddings.positions.weight", 0))
    for field, value, name, dim in places:
        yield field, value, name, tensors[name].shape[dim] if name in tensors and tensors[name].ndim > dim else None
    layers = "n_unique_layers" if config.n_unique_layers else "n_layers"
    yield layers, config.unique_layers, f"the {stack}", _layers(stack, tensors)


def _layers(stack: str, tensors: Mapping[str, Tensor]) -> int:
    """1 + the largest layer that a tensor is of."""
    return max((int(match[2]) + 1 for match in map(LAYER.match, tensors) if match and match[1] == stack), default=0)


def _shapes(config: ModelConfig, head: HeadConfig | None, where: str) -> dict[str, torch.Size]:
    """The shapes of the model's tensors, from a model without memory."""
    try:
        with torch.device("meta"):
            return {name: tensor.shape for name, tensor in assemble(config, head).state_dict().items()}
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise CheckpointError(f"no model has these sizes: {error}", where=where, fix="check config.json") from None
