"""A prediction is the same alone, in any batch, at any place in it, at any padding, and without any (law 2)."""

from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regard.layers import kernels, ragged
from regard.layers.ragged import Ragged, Unpadded
from regard.layers.trace import Trace
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.models.model import Model
from regard.models.stack import Stack

VOCABULARY = 31
STYLES: dict[str, dict[str, Any]] = {
    "bert": {"norm_place": "post", "embedding_norm": True, "n_types": 2},
    "vaswani": {"norm_place": "post", "positions": "sinusoidal", "embedding_scale": True, "activation": "relu"},
    "llama": {"kind": "decoder", "positions": "rotary", "norm": "rms", "gated": True, "n_kv_heads": 2, "bias": False},
    "qwen": {"kind": "decoder", "positions": "rotary", "qk_norm": True, "window": 2, "local_layers": (1,)},
    "neox": {"kind": "decoder", "positions": "rotary", "d_rotary": 2, "parallel": True},
    "dynamic": {
        "kind": "decoder",
        "positions": "rotary",
        "stretch": {"kind": "dynamic", "factor": 2.0, "original": 3},
    },
    "bloom": {"kind": "decoder", "positions": "alibi"},
    "t5": {"positions": "relative", "norm": "rms", "relative_buckets": 8, "relative_distance": 16},
    "local": {"positions": "rotary", "window": 2},
    "orderless": {"positions": "none"},
    "albert": {"norm_place": "post", "embedding_norm": True, "n_unique_layers": 1, "d_embedding": 6},
    "deberta": {
        "norm_place": "post",
        "embedding_norm": True,
        "positions": "none",
        "disentangled": {"distance": 40, "buckets": 8},
        "convolution": {"kernel": 3},
    },
    "deberta, by itself": {"disentangled": {"distance": 5, "terms": ("p2c",), "shared": False, "norm": False}},
    "modernbert": {
        "positions": "rotary",
        "window": 2,
        "local_layers": (1,),
        "local_rotary_base": 100.0,
        "first_norm": False,
    },
}
BOTH: dict[str, dict[str, Any]] = {
    "bart": {"kind": "encoder-decoder", "norm_place": "post", "embedding_norm": True, "start_id": 2, "n_decoder_heads": 2},
    "mbart": {"kind": "encoder-decoder", "positions": "relative", "relative_buckets": 8, "relative_distance": 16},
}
"""Whose decoder reads what the encoder reads, as it does in BART's classifiers."""
POOLS = ("first", "mean", "last")
Rows = list[Tensor]
lengths_of_rows = st.lists(st.integers(1, 9), min_size=1, max_size=6)
few = settings(deadline=None, max_examples=12)


def made(style: str, pool: str = "first") -> Model:
    config = ModelConfig(
        vocab_size=VOCABULARY,
        d_model=16,
        n_layers=2,
        n_heads=4,
        d_ff=24,
        max_positions=kernels.SHORT_TRAINING + 20,
        **(STYLES | BOTH)[style],
    )
    torch.manual_seed(0)
    model = build(config, HeadConfig(pool=pool, n_outputs=3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model.eval()


def stack_of(model: Model) -> Stack:
    stack = model.encoder or model.decoder
    assert stack is not None
    return stack


def drawn(lengths: list[int]) -> Rows:
    generator = torch.Generator().manual_seed(sum(lengths))
    return [torch.randint(1, VOCABULARY, (length,), generator=generator) for length in lengths]


def padded(rows: Rows, *, left: bool = False, extra: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """ids (batch, longest + extra), what is real, and each token's place in its row. Padding holds id 0."""
    width = max(map(len, rows)) + extra
    ids, real = torch.zeros(len(rows), width, dtype=torch.int64), torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        here = slice(width - len(row), None) if left else slice(len(row))
        ids[i, here], real[i, here] = row, True
    return ids, real, (real.long().cumsum(1) - 1).clamp(min=0)


def same(a: Tensor, b: Tensor) -> None:
    assert a.shape == b.shape
    assert (a - b).abs().max() <= 1e-5 * max(1.0, b.abs().max().item())


def alone(model: Model, rows: Rows, style: str) -> tuple[list[Tensor], Tensor]:
    """Each row's hidden states and the head's outputs, from a batch of that row only; odd ids are BERT's second type."""
    asked = [(row[None], row[None] % 2 if style == "bert" else None) for row in rows]
    return (
        [model.hidden(row, type_ids=kind)[0] for row, kind in asked],
        torch.cat([model(row, type_ids=kind) for row, kind in asked]),
    )


@pytest.mark.parametrize("style", [*STYLES, *BOTH])
@pytest.mark.parametrize("pool", POOLS)
@few
@given(lengths=lengths_of_rows, multiple=st.sampled_from([1, 8]))
def test_ragged_is_alone(style: str, pool: str, lengths: list[int], multiple: int) -> None:
    model, rows = made(style, pool), drawn(lengths)
    layout = Ragged.of(lengths, multiple=multiple)
    ids = torch.cat([*rows, torch.zeros(layout.spare, dtype=torch.int64)])
    flat = {"ragged": layout, "type_ids": ids % 2 if style == "bert" else None}
    with torch.no_grad():
        hidden, outputs = alone(model, rows, style)
        assert len(ids) % multiple == 0
        same(model.hidden(ids, **flat)[: layout.tokens], torch.cat(hidden))
        same(model(ids, **flat), outputs)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("left", [False, True])
@few
@given(lengths=lengths_of_rows, extra=st.integers(0, 3))
def test_padded_is_alone(style: str, left: bool, lengths: list[int], extra: int) -> None:
    model, rows = made(style), drawn(lengths)
    ids, real, places = padded(rows, left=left, extra=extra)
    kinds = ids % 2 if style == "bert" else None
    with torch.no_grad():
        hidden, _ = alone(model, rows, style)
        together = stack_of(model)(ids, attention_mask=real, position_ids=places, type_ids=kinds)
        assert torch.isfinite(together).all()
        same(together[real], torch.cat(hidden))
        assert model.head is not None
        for pool in POOLS:
            model.head.pool = pool
            same(model.head(together, attention_mask=real), torch.cat([model.head(row[None]) for row in hidden]))


@pytest.mark.parametrize("style", [*STYLES, *BOTH])
@pytest.mark.parametrize("pool", POOLS)
@few
@given(lengths=lengths_of_rows, data=st.data())
def test_permuting_the_batch_permutes_the_output(style: str, pool: str, lengths: list[int], data: st.DataObject) -> None:
    model, rows = made(style, pool), drawn(lengths)
    order = data.draw(st.permutations(range(len(rows))))
    ids, real, _ = padded(rows)
    with torch.no_grad():
        straight = model(ids, attention_mask=real)
        same(model(ids[order], attention_mask=real[order]), straight[order])
        mixed = [rows[i] for i in order]
        same(model(torch.cat(mixed), ragged=Ragged.of([len(row) for row in mixed])), straight[order])


@pytest.mark.parametrize("style", BOTH)
@pytest.mark.parametrize("left", [False, True])
@few
@given(lengths=lengths_of_rows, extra=st.integers(0, 3))
def test_padded_is_alone_to_a_decoder_that_reads_the_same(style: str, left: bool, lengths: list[int], extra: int) -> None:
    model, rows = made(style, "last"), drawn(lengths)
    ids, real, _ = padded(rows, left=left, extra=extra)
    with torch.no_grad():
        hidden, outputs = alone(model, rows, style)
        same(model.hidden(ids, attention_mask=real)[real], torch.cat(hidden))
        same(model(ids, attention_mask=real), outputs)


@pytest.mark.parametrize("style", [*STYLES, *BOTH])
def test_long_and_short_rows_meet_in_one_batch(style: str) -> None:
    lengths = [3, 3, kernels.SHORT_PREDICTION, kernels.SHORT_PREDICTION + 1, kernels.SHORT_TRAINING + 20]
    rows = drawn(lengths)
    model = made(style, "mean")
    ids, real, _ = padded(rows)
    with torch.no_grad():
        _, outputs = alone(model, rows, "plain")
        same(model(torch.cat(rows), ragged=Ragged.of([len(row) for row in rows])), outputs)
        same(model(ids, attention_mask=real), outputs)


@pytest.mark.parametrize("style", [*STYLES, *BOTH])
@few
@given(masks=st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=2, max_size=5), data=st.data())
def test_leaving_padding_out_changes_nothing(style: str, masks: list[list[bool]], data: st.DataObject) -> None:
    model, real = made(style), torch.tensor(masks)
    real[0, 4] = True
    ids = torch.stack(drawn(len(masks) * [9]))
    given = {"attention_mask": real, "type_ids": ids % 2 if style == "bert" else None}
    there = real
    if style in BOTH:
        there = torch.arange(12) < torch.tensor([data.draw(st.integers(1, 12)) for _ in masks])[:, None]
        given |= {"decoder_ids": torch.stack(drawn(len(masks) * [12])), "decoder_mask": there}
    with torch.no_grad(), patch.object(ragged, "ROUND", 4):
        without = model.hidden(ids, **given)
        kept = model.hidden(ids, **given, trace=Trace())  # whoever looks inside sees the batch as it came
        same(without[there], kept[there])
        if Unpadded.where(there).pays:
            assert (without[~there] == 0).all()


@pytest.mark.parametrize("style", [*STYLES, *BOTH])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("multiple", [1, 64])
def test_padding_takes_no_part_in_learning(style: str, left: bool, multiple: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ragged, "ROUND", multiple)  # 1: the padding is left out, 64: that would not pay
    model, rows = made(style), drawn([2, 7, 4])
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def gradients(hidden: Tensor) -> list[Tensor]:
        loss = (hidden * torch.arange(hidden.numel()).view(hidden.shape).cos()).sum()
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        return [torch.zeros(()) if grad is None else grad for grad in grads]

    ids, real, _ = padded(rows, left=left, extra=2)
    together = gradients(model.hidden(ids, attention_mask=real)[real])
    flat = gradients(model.hidden(torch.cat(rows), ragged=Ragged.of([2, 7, 4])))
    for a, b in zip(together, flat, strict=True):
        same(a, b)


def test_a_ragged_batch_has_nothing_to_do_with_padding() -> None:
    model = made("bloom")
    ids, layout = torch.tensor([1, 2, 3]), Ragged.of([1, 2])
    for beside in (
        {"attention_mask": torch.ones(2, 2)},
        {"position_ids": torch.zeros(3)},
        {"prefix_lengths": torch.ones(2)},
    ):
        with pytest.raises(ValueError, match="a ragged batch has no padding mask"):
            stack_of(model)(ids, ragged=layout, **beside)
