"""Front ends for sound equal the parts of `transformers` that they stand for, and no row depends on its batch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from regard.layers.convolution import Convolution, convolve
from regard.layers.norms import LayerNorm
from regard.models.audio import MelEmbeddings, PositionalConvolution, TimeNorm, WaveEmbeddings

WIDTH, WIDTHS, KERNELS, STRIDES = 32, (12, 20, 16), (10, 3, 2), (5, 2, 2)
WINDOW = 10 + 2 * 5 + 1 * 10
"""Samples that one frame sees."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def shaken(model: Any) -> Any:
    """Their random model with no bias at 0 and no norm at 1, for prediction."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model.eval()


def adopt(ours: nn.Module, theirs: nn.Module, names: dict[str, str]) -> None:
    """Fill all our parameters from theirs; names: ours -> theirs, of modules or parameters."""
    parameters = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        best = max((prefix for prefix in names if f"{name}.".startswith(f"{prefix}.")), key=len)
        parameter.data.copy_(parameters.pop(names[best] + name.removeprefix(best)))


def wave(
    kind: str = "wav2vec2", *, norm: str = "group", bias: bool = False, post: bool = True, **options: Any
) -> tuple[WaveEmbeddings, Callable[..., Tensor]]:
    """A random front end of ours, and the function that is the same of theirs: a model without layers and last norm."""
    common = {
        "hidden_size": WIDTH,
        "num_hidden_layers": 0,
        "num_attention_heads": 2,
        "conv_dim": WIDTHS,
        "conv_kernel": KERNELS,
        "conv_stride": STRIDES,
        "conv_bias": bias,
        "feat_extract_norm": norm,
        "do_stable_layer_norm": not post,
        "num_conv_pos_embeddings": options.get("position_kernel", 8),
        "num_conv_pos_embedding_groups": 4,
        "feat_extract_activation": options.get("activation", "gelu"),
    }
    if kind == "hubert":
        config: Any = hf.HubertConfig(**common, feat_proj_layer_norm=options.get("projection_norm", True))
        theirs: Any = shaken(hf.HubertModel(config))
    else:
        theirs = shaken(hf.Wav2Vec2Model(hf.Wav2Vec2Config(**common)))
    ours = WaveEmbeddings(
        WIDTH,
        widths=WIDTHS,
        kernels=KERNELS,
        strides=STRIDES,
        convolution_bias=bias,
        convolution_norm="layer" if norm == "layer" else "group",
        activation=options.get("activation", "gelu"),
        projection_norm=LayerNorm(WIDTHS[-1]) if options.get("projection_norm", True) else None,
        position_kernel=options.get("position_kernel", 8),
        position_groups=4,
        norm=LayerNorm(WIDTH) if post else None,
    ).eval()
    parametrized = "encoder.pos_conv_embed.conv.parametrizations.weight"
    names = {
        "projection_norm": "feature_projection.layer_norm",
        "projection": "feature_projection.projection",
        "positions.scale": f"{parametrized}.original0",
        "positions.direction": f"{parametrized}.original1",
        "positions.bias": "encoder.pos_conv_embed.conv.bias",
        "norm": "encoder.layer_norm",
    }
    for i in range(len(WIDTHS)):
        names[f"convolutions.{i}.convolution"] = f"feature_extractor.conv_layers.{i}.conv"
        names[f"convolutions.{i}.norm"] = f"feature_extractor.conv_layers.{i}.layer_norm"
    adopt(ours, theirs, names)
    if not post:
        theirs.encoder.layer_norm = nn.Identity()  # theirs comes after the layers, which there are none of
    return ours, lambda samples, mask=None: theirs(samples, attention_mask=mask).last_hidden_state


def close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


# ---- log-mel spectrograms ------------------------------------------------------------------------------------------------


def test_whispers_front_end() -> None:
    config = hf.WhisperConfig(
        vocab_size=50,
        d_model=24,
        encoder_layers=0,
        decoder_layers=1,
        num_mel_bins=10,
        max_source_positions=15,
        pad_token_id=0,
    )
    theirs: Any = shaken(hf.WhisperModel(config)).encoder
    theirs.layer_norm = nn.Identity()
    ours = MelEmbeddings(10, 24, 15)
    adopt(ours, theirs, {"first": "conv1", "second": "conv2", "positions": "embed_positions"})
    features = torch.randn(2, 10, 30)
    close(ours(features), theirs(features).last_hidden_state)


@given(frames=st.integers(1, 30))
@settings(deadline=None, max_examples=15)
def test_a_shorter_spectrogram_needs_no_padding_to_the_longest(frames: int) -> None:
    ours = MelEmbeddings(4, 6, 15)
    features = torch.randn(1, 4, frames)
    assert ours(features).shape == (1, (frames + 1) // 2, 6)
    assert ours.mask(torch.ones(1, frames)).shape == (1, (frames + 1) // 2)


def test_a_longer_one_is_refused() -> None:
    with pytest.raises(ValueError, match="31 frames are more than the 30 that the model has positions for"):
        MelEmbeddings(4, 6, 15)(torch.zeros(1, 4, 31))


# ---- waveforms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert"])
@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize(("bias", "post"), [(False, True), (True, False)])
def test_wav2vec2s_and_huberts_front_end(kind: str, norm: str, bias: bool, post: bool) -> None:
    ours, theirs = wave(kind, norm=norm, bias=bias, post=post)
    samples = torch.randn(2, 401)
    close(ours(samples), theirs(samples))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("hubert", {"projection_norm": False}),
        ("wav2vec2", {"position_kernel": 7}),
        ("wav2vec2", {"position_kernel": 128}),
        ("wav2vec2", {"activation": "relu"}),
    ],
)
def test_its_variants(kind: str, options: dict[str, Any]) -> None:
    ours, theirs = wave(kind, **options)
    samples = torch.randn(2, 333)
    close(ours(samples), theirs(samples))


@pytest.mark.parametrize("post", [True, False])
def test_a_padded_batch_is_theirs_where_their_norm_is_over_channels(post: bool) -> None:
    ours, theirs = wave(norm="layer", post=post)
    samples, mask = torch.randn(3, 400), (torch.arange(400) < torch.tensor([400, 211, WINDOW])[:, None]).long()
    real = ours.mask(mask)
    assert real.sum(1).tolist() == [19, 10, 1]
    close(ours(samples, mask)[real], theirs(samples, mask)[real])


@pytest.mark.parametrize("norm", ["group", "layer"])
@given(data=st.data())
@settings(deadline=None, max_examples=20)
def test_a_row_does_not_depend_on_its_batch(norm: str, data: st.DataObject) -> None:
    ours, theirs = wave(norm=norm)
    lengths = data.draw(st.lists(st.integers(WINDOW, 300), min_size=1, max_size=4))
    longest = max(lengths) + data.draw(st.integers(0, 50))
    rows = [torch.randn(length) for length in lengths]
    # what stands in the padding must not matter either
    batch = torch.stack([torch.cat([row, torch.randn(longest - len(row))]) for row in rows])
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    out, real = ours(batch, mask), ours.mask(mask)
    for i, row in enumerate(rows):
        alone = ours(row[None])[0]
        assert alone.shape[0] == ours.frames(len(row)) == int(real[i].sum())
        torch.testing.assert_close(out[i, : len(alone)], alone, atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(alone, theirs(row[None])[0], atol=2e-5, rtol=1e-5)


@given(
    shape=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 4)), min_size=1, max_size=4),
    lengths=st.lists(st.integers(0, 120), min_size=1, max_size=4),
    spare=st.integers(0, 20),
)
@settings(deadline=None, max_examples=60)
def test_frames_are_counted_as_the_convolutions_make_them(
    shape: list[tuple[int, int]], lengths: list[int], spare: int
) -> None:
    kernels, strides = zip(*shape, strict=True)
    ours = WaveEmbeddings(4, widths=[2] * len(shape), kernels=kernels, strides=strides, position_groups=2)
    mask = torch.arange(max(lengths) + spare) < torch.tensor(lengths)[:, None]

    def made(samples: int) -> int:
        for kernel, stride in shape:
            samples = (samples - kernel) // stride + 1 if samples >= kernel else 0
        return samples

    assert [ours.frames(length) for length in lengths] == [made(length) for length in lengths]
    assert ours.mask(mask).sum(1).tolist() == [made(length) for length in lengths]
    if mask.shape[1] >= ours.window:
        assert ours(torch.randn(mask.shape), mask).shape[1] == ours.mask(mask).shape[1] == made(mask.shape[1])


def test_one_frame_takes_a_window_of_samples() -> None:
    ours, _ = wave()
    assert (ours.window, ours.stride) == (WINDOW, 20)
    assert ours(torch.randn(1, WINDOW)).shape == (1, 1, WIDTH)
    with pytest.raises(ValueError, match=f"{WINDOW - 1} samples are too few: one frame takes {WINDOW}"):
        ours(torch.randn(1, WINDOW - 1))


def test_a_row_too_short_for_a_frame_is_all_padding() -> None:
    ours, _ = wave()
    mask = torch.arange(100) < torch.tensor([100, 7])[:, None]
    assert ours.mask(mask).sum(1).tolist() == [ours.frames(100), 0]
    assert ours(torch.randn(2, 100), mask).isfinite().all()


# ---- the parts -----------------------------------------------------------------------------------------------------------


@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(6, 20), st.integers(1, 3), st.integers(1, 3)),
    kernel=st.integers(1, 6),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    groups=st.integers(1, 3),
)
@settings(deadline=None)
def test_a_convolution_is_torchs(
    sizes: tuple[int, int, int, int], kernel: int, stride: int, padding: int, groups: int
) -> None:
    batch, tokens, before, after = sizes
    x = torch.randn(batch, tokens, before * groups, requires_grad=True)
    weight, bias = torch.randn(after * groups, before, kernel, requires_grad=True), torch.randn(after * groups)
    ours = convolve(x, weight, bias, stride=stride, padding=padding, groups=groups)
    given_grads = torch.autograd.grad(ours.square().sum(), (x, weight))
    theirs = nn.functional.conv1d(x.transpose(1, 2), weight, bias, stride=stride, padding=padding, groups=groups)
    torch.testing.assert_close(ours, theirs.transpose(1, 2), atol=1e-4, rtol=1e-4)
    for mine, other in zip(given_grads, torch.autograd.grad(theirs.square().sum(), (x, weight)), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("masked", [True, False])
def test_everything_computes_in_the_dtype_of_its_input(masked: bool) -> None:
    ours, _ = wave()
    samples = torch.randn(2, 200)
    mask = torch.arange(200) < torch.tensor([200, 120])[:, None] if masked else None
    half = ours(samples.bfloat16(), mask)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), ours(samples, mask), atol=0.1, rtol=0.1)
    assert Convolution(3, 4, 2)(torch.randn(1, 5, 3).bfloat16()).dtype == torch.bfloat16
    assert MelEmbeddings(3, 4, 9)(torch.randn(1, 3, 6).bfloat16()).dtype == torch.bfloat16


def test_all_parameters_get_a_gradient() -> None:
    for convolution_norm in ("group", "layer"):
        ours = wave(norm=convolution_norm)[0].train()
        ours(torch.randn(2, 200), torch.arange(200) < torch.tensor([200, 120])[:, None]).square().sum().backward()
        assert [name for name, parameter in ours.named_parameters() if parameter.grad is None] == []


def test_a_norm_over_time_by_hand() -> None:
    x = torch.tensor([[[1.0], [3.0], [100.0]], [[5.0], [5.0], [5.0]]])
    real = torch.tensor([[True, True, False], [True, True, True]])
    norm = TimeNorm(1, eps=0.0)
    norm.bias.data.fill_(10.0)
    assert norm(x, real)[0, :2, 0].tolist() == [9.0, 11.0]
    assert norm(x[:1, :2])[0, :, 0].tolist() == [9.0, 11.0]
    with_eps = TimeNorm(1)
    assert with_eps(x, real)[1, :, 0].tolist() == [0.0, 0.0, 0.0]


def test_a_fresh_positional_convolution_weighs_as_it_is_drawn() -> None:
    fresh = PositionalConvolution(32, kernel=8, groups=4)
    x = torch.randn(1, 20, 32)
    plain = convolve(x, fresh.direction, fresh.bias, padding=4, groups=4)[:, :20]
    torch.testing.assert_close(fresh(x), nn.functional.gelu(plain))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Convolution(0, 4, 3), "in_channels=0 must be at least 1"),
        (lambda: Convolution(4, 4, 3, stride=0), "stride=0 must be at least 1"),
        (lambda: MelEmbeddings(4, 6, 0), "max_positions=0 must be at least 1"),
        (lambda: PositionalConvolution(10, groups=4), "groups=4 does not divide d_model=10"),
        (lambda: PositionalConvolution(8, kernel=0, groups=4), "kernel=0 must be at least 1"),
        (lambda: PositionalConvolution(8, groups=4, activation="mish"), "activation='mish' is unknown"),
        (lambda: WaveEmbeddings(16, widths=[4], kernels=[], strides=[1]), "1 widths, 0 kernels and 1 strides"),
        (lambda: WaveEmbeddings(16, widths=[], kernels=[], strides=[]), "one layer at least"),
        (
            lambda: WaveEmbeddings(16, widths=[4], kernels=[2], strides=[1], convolution_norm="batch"),  # type: ignore[arg-type]
            "convolution_norm='batch' is unknown: use one of group, layer",
        ),
        (
            lambda: WaveEmbeddings(16, widths=[4], kernels=[2], strides=[1], activation="mish"),
            "activation='mish' is unknown",
        ),
    ],
)
def test_wrong_sizes_and_names_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
