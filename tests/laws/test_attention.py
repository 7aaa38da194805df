"""Attention is one thing, however it is computed: fused = explicit, cached = uncached, and masks mean what they say."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from regard.layers import kernels, masks
from regard.layers.attention import Attention, attend
from regard.layers.cache import Cache
from regard.layers.trace import Scope, Trace
from regard.models.build import build
from regard.models.config import ModelConfig
from regard.models.model import Model
from regard.models.stack import Stack

EXACT = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
POSITIONS = ("rotary", "alibi", "relative", "learned", "sinusoidal", "none")
STYLES: dict[str, dict[str, Any]] = {
    **{positions: {"positions": positions} for positions in POSITIONS},
    "one key head": {"n_kv_heads": 1},
    "a key head each": {"n_kv_heads": 6},
    "normed queries and keys": {"qk_norm": True, "norm": "rms"},
    "a window in one layer": {"window": 3, "local_layers": (1,)},
    "a part turned": {"d_rotary": 2},
    "side by side": {"parallel": True, "d_rotary": 2},
    "stretched": {"stretch": {"kind": "yarn", "factor": 4.0, "original": 8, "low": 0.5, "high": 2.0}},
    "all at once": {"n_kv_heads": 2, "qk_norm": True, "window": 2, "local_layers": (0,), "parallel": True, "d_rotary": 2},
}
"""Decoders that differ in what their attention does; rotary positions where nothing else is said."""
quick = settings(deadline=None, max_examples=40)


@contextmanager
def short_up_to(length: int) -> Iterator[None]:
    """Regard's own kernel for keys up to this length, torch's for longer ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "SHORT_TRAINING", length)
        patch.setattr(kernels, "SHORT_PREDICTION", length)
        yield


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> None:
    assert a.shape == b.shape
    assert torch.isfinite(a).all()
    assert torch.isfinite(b).all()
    assert (a.float() - b.float()).abs().max() <= tolerance * max(1.0, b.float().abs().max().item())


def lively(model: nn.Module, seed: int = 0) -> Any:
    """Every parameter moved far enough from its start that a mistake in any of them shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return model.eval()


def values_and_gradients(inputs: list[Tensor | None], **options: Any) -> list[Tensor]:
    """attend's output, and what an uneven loss on it sends back to q, k, v and bias."""
    leaves = [None if x is None else x.clone().requires_grad_() for x in inputs]
    q, k, v, bias = leaves
    assert q is not None and k is not None and v is not None
    out, _ = attend(q, k, v, bias=bias, **options)
    loss = (out.float() * torch.arange(out.numel()).view(out.shape).cos()).sum()
    return [out, *torch.autograd.grad(loss, [leaf for leaf in leaves if leaf is not None])]


def drawn_mask(kind: str, batch: int, n_query: int, n_key: int) -> Tensor | None:
    if kind == "none":
        return None
    if kind == "causal":
        return masks.causal(n_query, n_key)
    if kind == "padding":
        return masks.padding(torch.arange(n_key) < torch.randint(1, n_key + 1, (batch, 1)))
    mask = torch.rand(batch, 1, n_query, n_key) < 0.6
    mask[0, :, 0] = False  # one query at least may look nowhere
    return mask


# ---- fused = explicit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("length", [7, kernels.SHORT_TRAINING, kernels.SHORT_TRAINING + 1])
@pytest.mark.parametrize("kind", ["none", "causal", "padding", "dead"])
@pytest.mark.parametrize("with_bias", [False, True])
def test_fused_is_explicit_on_both_sides_of_short(dtype: torch.dtype, length: int, kind: str, with_bias: bool) -> None:
    torch.manual_seed(length)
    q = torch.randn(2, 4, length, 8, dtype=dtype)
    k, v = (torch.randn(2, 2, length, 8, dtype=dtype) for _ in range(2))
    bias = torch.randn(1, 4, length, length) if with_bias else None
    mask = drawn_mask(kind, 2, length, length)
    quickly = values_and_gradients([q, k, v, bias], mask=mask)
    openly = values_and_gradients([q, k, v, bias], mask=mask, need_weights=True)
    for a, b in zip(quickly, openly, strict=True):
        close(a, b, EXACT[dtype])


@quick
@given(
    sizes=st.tuples(*(st.integers(1, n) for n in (3, 2, 3, 6, 7, 8))),
    kind=st.sampled_from(["none", "causal", "padding", "dead"]),
    bias_kind=st.sampled_from(["none", "head", "row", "key"]),
    scale=st.sampled_from([None, 1.0]),
    short=st.booleans(),
)
def test_fused_is_explicit_for_any_shape(
    sizes: tuple[int, ...], kind: str, bias_kind: str, scale: float | None, short: bool
) -> None:
    batch, kv_heads, groups, n_query, n_key, width = sizes
    torch.manual_seed(sum(sizes))
    heads = kv_heads * groups
    q = torch.randn(batch, heads, n_query, width)
    k, v = (torch.randn(batch, kv_heads, n_key, width) for _ in range(2))
    shapes = {"head": (1, heads, n_query, n_key), "row": (batch, 1, n_query, n_key), "key": (batch, 1, 1, n_key)}
    bias = torch.randn(shapes[bias_kind]) if bias_kind in shapes else None
    mask = drawn_mask(kind, batch, n_query, n_key)
    with short_up_to(1000 if short else 0):
        quickly = values_and_gradients([q, k, v, bias], mask=mask, scale=scale)
        openly = values_and_gradients([q, k, v, bias], mask=mask, scale=scale, need_weights=True)
    for a, b in zip(quickly, openly, strict=True):
        close(a, b)


@pytest.mark.parametrize("path", ["short", "torch", "explicit"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("door", ["mask", "bias"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_query_that_may_look_nowhere_gets_zero_and_finite_gradients(
    path: str, dtype: torch.dtype, door: str, dropout: float
) -> None:
    torch.manual_seed(0)
    inputs: list[Tensor | None] = [torch.randn(2, 2, 5, 4, dtype=dtype) for _ in range(3)]
    mask = torch.ones(2, 1, 5, 5, dtype=torch.bool)
    mask[1, :, 2] = False
    blocked = torch.zeros(2, 1, 5, 5).masked_fill(~mask, float("-inf"))
    with short_up_to(1000 if path == "short" else 0):
        out, grad_q, *others = values_and_gradients(
            [*inputs, blocked if door == "bias" else None],
            mask=mask if door == "mask" else None,
            dropout=dropout,
            need_weights=path == "explicit",
        )
    assert (out[1, :, 2] == 0).all()
    assert (grad_q[1, :, 2] == 0).all()
    assert all(torch.isfinite(x).all() for x in (out, grad_q, *others))
    assert out[0].abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_strikes_the_same_weights_on_both_paths(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    inputs: list[Tensor | None] = [torch.randn(2, 3, 9, 4, dtype=dtype) for _ in range(3)] + [None]
    torch.manual_seed(5)
    quickly = values_and_gradients(inputs, dropout=0.3)
    torch.manual_seed(5)
    openly = values_and_gradients(inputs, dropout=0.3, need_weights=True)
    for a, b in zip(quickly, openly, strict=True):
        close(a, b, EXACT[dtype])


@pytest.mark.parametrize("short", [True, False])
def test_dropout_of_weights_keeps_the_mean(short: bool) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 1, 4, 4) for _ in range(3))
    many = [x.expand(4000, 1, 4, 4) for x in (q, k, v)]
    with short_up_to(1000 if short else 0):
        dropped, _ = attend(*many, dropout=0.25)
        whole, _ = attend(q, k, v)
    error = dropped.std(0) / math.sqrt(4000)
    assert dropped.std(0).min() > 0
    assert ((dropped.mean(0) - whole[0]).abs() < 5 * error).all()


def test_second_derivatives_are_refused_and_not_wrong() -> None:
    q, k, v = (torch.randn(1, 1, 3, 2, requires_grad=True) for _ in range(3))
    (grad,) = torch.autograd.grad(attend(q, k, v)[0].pow(2).sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


KINDS: dict[str, dict[str, Any]] = {
    "learned": {"positions": "learned"},
    "shared layers": {"n_layers": 4, "n_unique_layers": 2, "norm_place": "post"},
    "disentangled": {"positions": "none", "disentangled": {"distance": 30, "buckets": 8}},
    "disentangled, c2p": {"disentangled": {"distance": 4, "terms": ("c2p",), "shared": False}},
    "disentangled, p2c": {"disentangled": {"distance": 4, "terms": ("p2c",)}, "convolution": {"kernel": 5}},
    "relative": {"positions": "relative", "attention_scale": 1.0},
    "local": {"positions": "rotary", "window": 2, "local_layers": (1,), "local_rotary_base": 100.0},
    "grouped": {"kind": "decoder", "positions": "rotary", "n_kv_heads": 1, "qk_norm": True},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 9, 70])
@pytest.mark.parametrize("short", [True, False])
def test_a_model_that_is_watched_computes_and_learns_the_same(kind: str, length: int, short: bool) -> None:
    sizes: dict[str, Any] = {"vocab_size": 23, "d_model": 12, "n_layers": 2, "n_heads": 2, "d_ff": 16, "max_positions": 80}
    model: Model = lively(build(ModelConfig(**{**sizes, **KINDS[kind]})))
    ids = torch.randint(23, (3, length), generator=torch.Generator().manual_seed(length))
    real = torch.arange(length) < torch.tensor([[length], [1], [length // 2 + 1]])

    def result(trace: Trace | None) -> list[Tensor]:
        hidden = model.hidden(ids, attention_mask=real, trace=trace)[real]
        loss = (hidden * torch.arange(hidden.numel()).view(hidden.shape).cos()).sum()
        return [hidden, *torch.autograd.grad(loss, list(model.parameters()))]

    trace = Trace(["*.layers.*.attention.weights"])
    with short_up_to(1000 if short else 0):
        quickly, openly = result(None), result(trace)
    assert len(trace.values) == model.config.n_layers
    close(quickly[0], openly[0])
    for a, b in zip(quickly[1:], openly[1:], strict=True):  # sums over all tokens and layers
        close(a, b, 1e-4)


# ---- the numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["short", "torch", "explicit"])
def test_the_formula_by_hand(path: str) -> None:
    # d_head = 4 halves the scores: they are 0, ln 2 and ln 5, so the weights are 1/8, 2/8 and 5/8
    q = torch.tensor([2.0, 0, 0, 0]).view(1, 1, 1, 4)
    k = torch.tensor([0.0, math.log(2), math.log(5)]).view(1, 1, 3, 1) * torch.tensor([1.0, 9, 9, 9])
    v = torch.tensor([8.0, 16, 24]).view(1, 1, 3, 1) * torch.arange(4.0)
    with short_up_to(1000 if path == "short" else 0):
        out, weights = attend(q, k, v, need_weights=path == "explicit")
        open_to_two, _ = attend(q, k, v, mask=torch.tensor([True, True, False]).view(1, 1, 1, 3))
    torch.testing.assert_close(out.flatten(), torch.tensor([0.0, 20, 40, 60]))
    torch.testing.assert_close(open_to_two.flatten(), torch.tensor([0.0, 40 / 3, 80 / 3, 40]))
    if weights is not None:
        torch.testing.assert_close(weights.flatten(), torch.tensor([1 / 8, 2 / 8, 5 / 8]))


def test_the_module_by_hand() -> None:
    attention = Attention(2, 1)
    with torch.no_grad():
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj):
            projection.weight.copy_(torch.arange(4.0).view(2, 2))
            projection.bias.zero_()
        attention.o_proj.bias.copy_(torch.tensor([100.0, 200.0]))
        x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
        # values are (2, 8) and (4, 18); scores differ by so much that the second takes all: o_proj of (4, 18) is (18, 62)
        assert attention(x).tolist() == [[[118.0, 262.0], [118.0, 262.0]]]
        attention.k_proj.weight.zero_()  # equal scores: the mean of the values, (3, 13), of which o_proj makes (13, 45)
        assert attention(x).tolist() == [[[113.0, 245.0], [113.0, 245.0]]]
        # a memory of one token has weight 1: values (4, 18)
        assert attention(x, torch.tensor([[[3.0, 4.0]]])).tolist() == [[[118.0, 262.0], [118.0, 262.0]]]


def test_grouped_heads_share_keys_in_order() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 4, 3, 2), torch.randn(1, 2, 3, 2), torch.randn(1, 2, 3, 2)
    out, _ = attend(q, k, v)
    for head in range(4):
        one, _ = attend(*(x[:, i : i + 1] for x, i in ((q, head), (k, head // 2), (v, head // 2))))
        close(out[:, head : head + 1], one)
    with pytest.raises(ValueError, match="3 key-value heads do not divide 4 query heads"):
        attend(q, torch.randn(1, 3, 3, 2), torch.randn(1, 3, 3, 2))


# ---- cached = uncached ---------------------------------------------------------------------------------------------------


def decoder(style: str, **options: Any) -> Stack:
    plain = {
        "kind": "decoder",
        "vocab_size": 23,
        "d_model": 12,
        "n_layers": 2,
        "n_heads": 6,
        "n_kv_heads": 3,
        "d_head": 4,
        "d_ff": 16,
        "max_positions": 32,
        "positions": "rotary",
        "relative_buckets": 8,
        "relative_distance": 16,
    }
    stack = lively(build(ModelConfig(**plain | STYLES[style] | options))).decoder
    assert isinstance(stack, Stack)
    return stack


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("short", [True, False])
def test_a_stack_that_is_watched_computes_the_same(style: str, short: bool) -> None:
    """Whoever asks for the weights gets the explicit softmax, whoever does not a fused kernel."""
    stack = decoder(style)
    ids = torch.randint(23, (3, 11), generator=torch.Generator().manual_seed(0))
    real = torch.arange(11) < torch.tensor([11, 4, 7])[:, None]
    trace = Trace(["layers.*.attention.weights"])
    with torch.no_grad(), short_up_to(1000 if short else 0):
        quickly = stack(ids, attention_mask=real)
        openly = stack(ids, attention_mask=real, scope=Scope(trace))
    assert len(trace.values) == 2
    close(quickly[real], openly[real])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("options", [{}, {"window": 3, "local_layers": None}], ids=["", "window"])
@settings(deadline=None, max_examples=6)
@given(cuts=st.sets(st.integers(1, 10)))
def test_reading_in_chunks_changes_nothing(style: str, options: dict[str, Any], cuts: set[int]) -> None:
    stack = decoder(style, **options)
    ids = torch.randint(23, (3, 11), generator=torch.Generator().manual_seed(len(cuts)))
    cache = Cache(2)
    with torch.no_grad():
        parts = [stack(chunk, cache=cache) for chunk in ids.tensor_split(sorted(cuts), dim=1)]
        assert cache.length == 11
        close(torch.cat(parts, 1), stack(ids))


@pytest.mark.parametrize("style", STYLES)
def test_a_cache_can_be_reordered_and_truncated(style: str) -> None:
    stack = decoder(style)
    ids = torch.randint(23, (3, 11), generator=torch.Generator().manual_seed(1))
    rows = torch.tensor([2, 0, 0, 1])
    cache = Cache(2)
    with torch.no_grad():
        stack(ids[:, :4], cache=cache)
        stack(ids.flip(1)[:, :5], cache=cache)  # a guess that is taken back
        cache.truncate(4)
        cache.take(rows)
        parts = [stack(ids[rows, i : i + 1], cache=cache) for i in range(4, 11)]
        close(torch.cat(parts, 1), stack(ids[rows])[:, 4:])


@pytest.mark.parametrize("style", STYLES)
def test_a_left_padded_batch_continues_like_each_row_alone(style: str) -> None:
    stack = decoder(style)
    ids = torch.randint(23, (3, 9), generator=torch.Generator().manual_seed(2))
    pads = torch.tensor([0, 2, 5])
    real = torch.arange(9) >= pads[:, None]
    places = (torch.arange(9) - pads[:, None]).clamp(min=0)
    cache = Cache(2)
    with torch.no_grad():
        parts = [stack(ids[:, :6], attention_mask=real[:, :6], position_ids=places[:, :6], cache=cache)]
        order = torch.tensor([1, 2, 0])
        cache.take(order)
        ids, real, places, pads = ids[order], real[order], places[order], pads[order]
        parts = [parts[0][order]]
        for i in range(6, 9):
            parts.append(
                stack(ids[:, i : i + 1], attention_mask=real[:, : i + 1], position_ids=places[:, i : i + 1], cache=cache)
            )
        together = torch.cat(parts, 1)
        for row, pad in enumerate(pads.tolist()):
            close(together[row : row + 1, pad:], stack(ids[row : row + 1, pad:]))


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_cached_decoder_reads_its_memory_once(positions: str) -> None:
    model: Model = lively(
        build(
            ModelConfig(
                kind="encoder-decoder",
                vocab_size=23,
                d_model=12,
                n_layers=2,
                n_heads=2,
                d_head=6,
                d_ff=16,
                positions=positions,
            )
        )
    )
    assert model.encoder is not None and model.decoder is not None
    torch.manual_seed(0)
    ids, target = torch.randint(23, (3, 7)), torch.randint(23, (3, 6))
    real = torch.arange(7) < torch.tensor([7, 3, 5])[:, None]
    cache, rows = Cache(2), torch.tensor([1, 1, 2])
    with torch.no_grad():
        whole = model.hidden(ids, attention_mask=real, decoder_ids=target)
        memory = model.encoder(ids, attention_mask=real)
        first = model.decoder(target[:, :2], memory=memory, memory_mask=real, cache=cache)
        blank = torch.full_like(memory, torch.nan)  # its keys and values are known: nobody may look at it again
        second = model.decoder(target[:, 2:4], memory=blank, memory_mask=real, cache=cache)
        cache.take(rows)
        third = model.decoder(target[rows, 4:], memory=blank, memory_mask=real[rows], cache=cache)
    close(torch.cat([first, second], 1), whole[:, :4])
    close(third, whole[rows, 4:])


def test_a_cache_serves_one_batch_and_one_stack() -> None:
    stack = decoder("rotary")
    cache = Cache(2)
    with torch.no_grad():
        stack(torch.tensor([[1, 2], [3, 4]]), cache=cache)
        with pytest.raises(ValueError, match=r"the cache holds \(rows, heads\) \(2, 3\), not \(1, 3\)"):
            stack(torch.tensor([[1]]), cache=cache)
        with pytest.raises(ValueError, match="the cache is for 3 layers, the stack has 2"):
            stack(torch.tensor([[1]]), cache=Cache(3))


# ---- masks ---------------------------------------------------------------------------------------------------------------


def seen(stack: Stack, ids: Tensor, **options: Any) -> Tensor:
    """(batch, query, key): whose weight is not 0 in the first layer."""
    trace = Trace(["layers.0.attention.weights"])
    with torch.no_grad():
        stack(ids, scope=Scope(trace), **options)
    return trace.values["layers.0.attention.weights"].ne(0).any(1)


@quick
@given(
    past=st.integers(0, 5),
    tokens=st.integers(1, 6),
    window=st.none() | st.integers(1, 4),
    prefix=st.none() | st.integers(0, 7),
)
def test_a_token_sees_what_the_masks_allow(past: int, tokens: int, window: int | None, prefix: int | None) -> None:
    stack, cache = decoder("none", window=window), Cache(2)
    ids = torch.zeros(2, past + tokens, dtype=torch.int64)
    if past:
        stack(ids[:, :past], cache=cache)
    prefixes = None if prefix is None else torch.tensor([prefix, 0])
    now = seen(stack, ids[:, past:], cache=cache, prefix_lengths=prefixes)
    for row, length in enumerate((prefix or 0, 0)):
        for i in range(tokens):
            for key in range(past + tokens):
                here = past + i
                near = window is None or abs(here - key) <= window
                assert now[row, i, key].item() == (near and (key <= here or key < length))


def test_an_encoders_window_reaches_to_both_sides() -> None:
    model = lively(build(ModelConfig(vocab_size=5, d_model=4, n_layers=1, n_heads=1, d_ff=4, window=1)))
    assert seen(model.encoder, torch.zeros(1, 4, dtype=torch.int64))[0].int().tolist() == [
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [0, 1, 1, 1],
        [0, 0, 1, 1],
    ]
    with pytest.raises(ValueError, match="prefix_lengths are for a causal stack"):
        model.encoder(torch.zeros(1, 4, dtype=torch.int64), prefix_lengths=torch.tensor([2]))
