"""What every checkpoint family promises, as one check that its author runs: the tables run both ways, and the numbers agree.

The reference library is not imported here; a :class:`Reference` brings a model of it. `tests/parity/reference.py` makes one
from any model of transformers, and docs/en/families.md shows how to use both for a new family.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regard.checkpoints.export import export_hf
from regard.checkpoints.folder import load
from regard.checkpoints.loaded import CONFIG, Loaded
from regard.checkpoints.tensors import read_weights
from regard.layers.cache import Cache
from regard.layers.ragged import Ragged
from regard.layers.trace import Trace
from regard.models.build import filled
from regard.models.heads import Head
from regard.models.model import Model, shifted
from regard.models.stack import FrontEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model computes of a batch. sites: hidden states by the names of :mod:`regard.layers.trace`, (batch, tokens,
    d_model) each; output: what the head gives, None without a head that Regard uses."""

    sites: Mapping[str, Tensor]
    output: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A model of another library.

    save: writes its folder. answer: what it computes of a batch, given as the arguments of :meth:`Model.forward`. reload:
    the same for a model that the library loads from a folder; it raises if anything is missing there or left over. batch:
    those arguments: `inputs` (the only one that need be there), `attention_mask`, `type_ids`, `decoder_ids`, `decoder_mask`;
    `images` for a model over pairs. Rows of a mask are padded on the right. tolerance and relative: how near the numbers
    must be.
    """

    save: Callable[[Path], None]
    answer: Callable[[Mapping[str, Tensor]], Answer]
    reload: Callable[[Path], Callable[[Mapping[str, Tensor]], Answer]]
    batch: Mapping[str, Tensor]
    tolerance: float = 1e-5
    relative: float = 0.0
    stored: Mapping[str, Any] = field(default_factory=dict)
    """Keys of config.json that the export may add or change, and their values."""


def check_family(reference: Reference, folder: Path) -> Loaded:
    """Run a family's tables over one model. folder: an empty one to write to; returns what was loaded, for further checks.

    Raises AssertionError that says what differs: a tensor, a key, a site. Checked are, in this order: every tensor comes in
    and goes out again bit by bit, also in bfloat16; config.json comes back as it was; hidden states of every layer and the
    head's output agree; the export loads in the reference and computes the same; rows under padding agree with rows alone;
    ragged batches and cached decoding agree with padded and uncached ones.
    """
    theirs, ours = folder / "theirs", folder / "ours"
    reference.save(theirs)
    loaded = load(theirs, dtype=None)
    export_hf(loaded, ours)
    check_round_trip(theirs, ours, stored=reference.stored)
    half = replace(loaded, tensors=_halved(loaded.tensors), extra=_halved(loaded.extra))
    export_hf(half, folder / "half")
    again = load(folder / "half", dtype=None)
    _same(again.tensors, half.tensors, "in bfloat16, tensor")

    model = filled(loaded.config, loaded.head, {name: tensor.float() for name, tensor in loaded.tensors.items()})
    expected = reference.answer(reference.batch)
    with torch.inference_mode():
        check_answer(model, reference.batch, expected, tolerance=reference.tolerance, relative=reference.relative)
        there = reference.reload(ours)(reference.batch)
        for site, value in expected.sites.items():
            what = f"the export in the reference, {site}"
            _close(there.sites[site], value, what, reference.tolerance, reference.relative)
        check_laws(model, reference.batch, tolerance=max(reference.tolerance, 1e-5))
    return loaded


def check_round_trip(theirs: Path, ours: Path, *, stored: Mapping[str, Any] | None = None) -> None:
    """The tensors and config.json of two folders are the same. stored: keys that may differ, and their values in `ours`."""
    _same(read_weights(ours), read_weights(theirs), "exported tensor")
    before, after = (json.loads((folder / CONFIG).read_bytes()) for folder in (theirs, ours))
    for key in before.keys() | after.keys():
        wanted = (stored or {}).get(key, before.get(key))
        assert after.get(key) == wanted, f"config.json, key {key!r}: {after.get(key)!r} instead of {wanted!r}"


def check_answer(
    model: Model, batch: Mapping[str, Tensor], expected: Answer, *, tolerance: float = 1e-5, relative: float = 0.0
) -> None:
    """The model's hidden states at every expected site, where tokens are real, and its output agree."""
    trace = Trace(list(expected.sites))
    output = _run(model, batch, trace)
    for site, value in expected.sites.items():
        assert site in trace.values, f"the model has no {site}"
        real = _real(model, batch, site, value)
        _close(trace.values[site][real], value[real], site, tolerance, relative)
    if expected.output is not None:
        assert output is not None, "the reference has an output, the model has no head"
        real = _real(model, batch, "head", expected.output)
        _close(output[real], expected.output[real], "the output", tolerance, relative)


def check_laws(model: Model, batch: Mapping[str, Tensor], *, tolerance: float = 1e-5) -> None:
    """Padding, ragged batches and caches change nothing (laws 1 and 2)."""
    stack = model.encoder if model.decoder is None else model.decoder
    if stack is None:
        return
    if "decoder_ids" in batch:
        _check_both(model, batch, tolerance)
    elif isinstance(stack.embeddings, FrontEnd):
        _check_front_end(model, batch, tolerance)
    else:
        ids, mask = batch["inputs"], batch.get("attention_mask")
        types = batch.get("type_ids")
        lengths = [ids.shape[1]] * len(ids) if mask is None else [int(row.sum()) for row in mask]
        whole = model.hidden(ids, attention_mask=mask, type_ids=types)
        rows = [model.hidden(ids[i : i + 1, :n], type_ids=_row(types, i, n))[0] for i, n in enumerate(lengths)]
        for i, (row, n) in enumerate(zip(rows, lengths, strict=True)):
            _close(whole[i, :n], row, "padding", tolerance, tolerance)
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        layout = Ragged.of([lengths[i] for i in order], multiple=8)
        flat_ids, flat_types = (_flat(part, order, lengths, layout.spare) for part in (ids, types))
        assert flat_ids is not None
        ragged = model.hidden(flat_ids, type_ids=flat_types, ragged=layout)
        _close(ragged[: layout.tokens], torch.cat([rows[i] for i in order]), "ragged", tolerance, tolerance)
    if model.decoder is not None and model.decoder.causal:
        _check_cache(model, batch, tolerance)


def _check_both(model: Model, batch: Mapping[str, Tensor], tolerance: float) -> None:
    """Rows of an encoder and a decoder, which end where their masks end."""
    inputs, ids = batch["inputs"], batch["decoder_ids"]
    masks = batch.get("attention_mask"), batch.get("decoder_mask")
    whole = model.hidden(inputs, attention_mask=masks[0], decoder_ids=ids, decoder_mask=masks[1])
    for i in range(len(ids)):
        read, written = (None if mask is None else int(mask[i].sum()) for mask in masks)
        alone = model.hidden(inputs[i : i + 1, ..., :read], decoder_ids=ids[i : i + 1, :written])[0]
        _close(whole[i, :written], alone, "padding", tolerance, tolerance)


def _check_front_end(model: Model, batch: Mapping[str, Tensor], tolerance: float) -> None:
    """Rows of sound or images; those of sound end where their mask ends."""
    inputs, mask = batch["inputs"], batch.get("attention_mask")
    whole = model.hidden(inputs, attention_mask=mask)
    real = None if mask is None else model.memory_mask(mask)
    for i, row in enumerate(inputs):
        length, tokens = (None, None) if mask is None or real is None else (int(mask[i].sum()), int(real[i].sum()))
        alone = model.hidden(row[None, ..., :length])[0]
        _close(whole[i, :tokens], alone, "padding", tolerance, tolerance)


def _check_cache(model: Model, batch: Mapping[str, Tensor], tolerance: float) -> None:
    assert model.decoder is not None
    inputs, ids = batch["inputs"][:1], batch.get("decoder_ids")
    cache = Cache(model.decoder.n_layers)
    if model.encoder is None:
        whole = model.hidden(inputs)
        steps = [model.hidden(token, cache=cache) for token in inputs.split(1, dim=1)]
    else:
        ids = shifted(inputs, model.config.start_id) if ids is None else ids[:1]
        whole = model.hidden(inputs, decoder_ids=ids)
        steps = [model.hidden(inputs, decoder_ids=token, cache=cache) for token in ids.split(1, dim=1)]
    _close(torch.cat(steps, 1), whole, "cache", tolerance, tolerance)


def _run(model: Model, batch: Mapping[str, Tensor], trace: Trace) -> Tensor | None:
    if "images" in batch:
        return model.pairs(batch["inputs"], batch["images"], attention_mask=batch.get("attention_mask"), trace=trace)
    run: Callable[..., Tensor] = model if isinstance(model.head, Head) else model.hidden
    output = run(**batch, trace=trace)
    return output if isinstance(model.head, Head) else None


def _real(model: Model, batch: Mapping[str, Tensor], site: str, value: Tensor) -> Tensor:
    """Which rows of the first dimensions of a value are of real tokens."""
    of_decoder = site.startswith("decoder") if site != "head" else model.encoder is not None and model.decoder is not None
    mask = batch.get("decoder_mask" if of_decoder and "decoder_ids" in batch else "attention_mask")
    if mask is not None and not of_decoder:
        mask = model.memory_mask(mask)
    if mask is None or site.startswith("vision") or value.shape[:2] != mask.shape or value.ndim < 3:
        return torch.ones(value.shape[:1], dtype=torch.bool)
    return mask.bool()


def _row(values: Tensor | None, i: int, length: int) -> Tensor | None:
    return None if values is None else values[i : i + 1, :length]


def _flat(values: Tensor | None, order: list[int], lengths: list[int], spare: int) -> Tensor | None:
    if values is None:
        return None
    return torch.cat([*(values[i, : lengths[i]] for i in order), values.new_zeros(spare)])


def _halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str) -> None:
    assert found.keys() == wanted.keys(), f"{what}s differ: {sorted(found.keys() ^ wanted.keys())}"
    for name, tensor in wanted.items():
        same = found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
        assert same, f"{what} {name!r} is not the same bits"


def _close(found: Tensor, wanted: Tensor, what: str, absolute: float, relative: float) -> None:
    torch.testing.assert_close(found, wanted, atol=absolute, rtol=relative, msg=lambda text: f"{what}: {text}")
