"""The three doors of position: values from the papers, and what each must not depend on."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, logging
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from regard.layers.positions import (
    Alibi,
    LearnedPositions,
    RelativePositions,
    Rotary,
    SinusoidalPositions,
    Stretch,
    alibi_slopes,
)


def test_sinusoidal_by_the_papers_formula() -> None:
    table = SinusoidalPositions(6)(torch.arange(20))
    for position in range(20):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            assert table[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)
    assert SinusoidalPositions(5)(torch.arange(4)).shape == (4, 5)


@pytest.mark.parametrize("layout", ["interleaved", "halves"])
def test_sinusoidal_positions_far_out_are_exact(layout: str) -> None:
    """Also one alone, as a decoder asks for them."""
    positions = SinusoidalPositions(6, layout=layout)
    angles = [100_003 / 10000 ** (2 * i / 6) for i in range(3)]
    sines, cosines = (torch.tensor([of(angle) for angle in angles]) for of in (math.sin, math.cos))
    expected = torch.cat([sines, cosines]) if layout == "halves" else torch.stack([sines, cosines], 1).flatten()
    torch.testing.assert_close(positions(torch.tensor([[100_003]]))[0, 0], expected, atol=1e-6, rtol=0)
    assert torch.equal(positions(torch.arange(90))[[70, 89]], positions(torch.tensor([70, 89])))


def test_sinusoidal_positions_have_nothing_to_save_or_learn() -> None:
    assert not SinusoidalPositions(6).state_dict()
    assert not list(SinusoidalPositions(6).parameters())


def test_learned_positions_start_after_the_offset() -> None:
    learned = LearnedPositions(4, 3, offset=2)
    assert learned.weight.shape == (6, 3)
    assert torch.equal(learned(torch.tensor([0, 3])), learned.weight[[2, 5]])


@settings(deadline=None, max_examples=30)
@given(a=st.integers(0, 400), b=st.integers(0, 400), shift=st.integers(0, 400), half=st.integers(1, 8))
def test_rotary_scores_depend_on_distance_alone(a: int, b: int, shift: int, half: int) -> None:
    rotary = Rotary(2 * half)
    q, k = torch.randn(2, 1, 1, 1, 2 * half, generator=torch.Generator().manual_seed(a))

    def score(at: int, other: int) -> torch.Tensor:
        turned = (Rotary.turned(x, rotary.turn(torch.tensor([[place]]))) for x, place in ((q, at), (k, other)))
        first, second = turned
        return (first * second).sum()

    torch.testing.assert_close(score(a, b), score(a + shift, b + shift), atol=1e-3, rtol=0)


def test_rotary_turns_pairs_by_hand() -> None:
    turn = Rotary(4, base=100.0).turn(torch.tensor([[3]]))  # angles 3 and 3 / 10
    x = torch.tensor([1.0, 0, 0, 1]).view(1, 1, 1, 4)  # pairs (0, 2) and (1, 3)
    expected = [math.cos(3), -math.sin(0.3), math.sin(3), math.cos(0.3)]
    torch.testing.assert_close(Rotary.turned(x, turn).flatten(), torch.tensor(expected))


# ---- stretched rotary positions ------------------------------------------------------------------------------------------

bases = st.sampled_from([50.0, 10000.0, 500000.0])
factors = st.floats(1, 40)
originals = st.integers(2, 9000)
turns = st.tuples(st.floats(0.1, 8), st.floats(0.1, 40)).map(lambda two: (two[0], two[0] + two[1]))
half_widths = st.integers(2, 64)
shares = st.sampled_from([1, 2, 4])


def theirs(width: int, share: int, base: float, original: int, ends: int, **said: Any) -> tuple[torch.Tensor, float]:
    """Frequencies and amplitude in transformers, for heads of which the first 1/share are turned."""
    logging.set_verbosity_error()  # it warns of unusual factors
    config = LlamaConfig(
        hidden_size=width * share,
        num_attention_heads=1,
        max_position_embeddings=original,
        rope_parameters={"rope_theta": base, "partial_rotary_factor": 1 / share, **said},
    )
    return ROPE_INIT_FUNCTIONS[said["rope_type"]](config, torch.device("cpu"), seq_len=ends)


def same_as_theirs(stretch: Stretch, width: int, share: int, base: float, ends: int, **said: Any) -> None:
    frequencies, amplitude = theirs(width, share, base, stretch.original, ends, rope_type=stretch.kind, **said)
    ours = stretch.frequencies(base, width, torch.tensor([ends]))
    torch.testing.assert_close(ours.flatten(), frequencies, rtol=1e-6, atol=0)
    assert stretch.amplitude == pytest.approx(amplitude, rel=1e-12)


many = settings(deadline=None, max_examples=60)


@many
@given(half_widths, shares, bases, factors)
def test_linear_is_theirs(half: int, share: int, base: float, factor: float) -> None:
    same_as_theirs(Stretch(kind="linear", factor=factor), 2 * half, share, base, 9, factor=factor)


@many
@given(half_widths, shares, bases, factors, originals, st.integers(1, 40000))
def test_dynamic_is_theirs(half: int, share: int, base: float, factor: float, original: int, ends: int) -> None:
    stretch = Stretch(kind="dynamic", factor=factor, original=original)
    same_as_theirs(stretch, 2 * half, share, base, ends, factor=factor)
    if ends <= original:
        plain = Stretch(kind="linear", factor=1.0).frequencies(base, 2 * half, torch.tensor([1]))
        assert torch.equal(stretch.frequencies(base, 2 * half, torch.tensor([ends]))[0], plain)


@many
@given(half_widths, shares, bases, factors, originals, turns)
def test_llama3_is_theirs(
    half: int, share: int, base: float, factor: float, original: int, low_high: tuple[float, float]
) -> None:
    low, high = low_high
    stretch = Stretch(kind="llama3", factor=factor, original=original, low=low, high=high)
    said = {"low_freq_factor": low, "high_freq_factor": high, "original_max_position_embeddings": original}
    same_as_theirs(stretch, 2 * half, share, base, 9, factor=factor, **said)


@many
@given(half_widths, shares, bases, factors, originals, turns, st.booleans(), st.none() | st.floats(0.1, 2))
def test_yarn_is_theirs(
    half: int,
    share: int,
    base: float,
    factor: float,
    original: int,
    low_high: tuple[float, float],
    whole: bool,
    temperature: float | None,
) -> None:
    low, high = low_high
    said = {"beta_slow": low, "beta_fast": high, "truncate": whole, "attention_factor": temperature}
    stretch = Stretch(
        kind="yarn", factor=factor, original=original, low=low, high=high, temperature=temperature, whole=whole
    )
    same_as_theirs(stretch, 2 * half, share, base, 9, factor=factor, original_max_position_embeddings=original, **said)


def test_a_stretch_divides_slow_pairs_and_leaves_fast_ones() -> None:
    """Of a base of 10^4 and 8 features, pairs turn 1, 1/10, 1/100 and 1/1000 of a radian a position."""
    plain = torch.tensor([1.0, 0.1, 0.01, 0.001])
    # over 628 positions they turn 100, 10, 1 and 1/10 times
    llama3 = Stretch(kind="llama3", factor=4.0, original=628, low=2.0, high=5.0)
    torch.testing.assert_close(llama3.frequencies(1e4, 8, torch.tensor(1)), plain / torch.tensor([1, 1, 4, 4]))
    # yarn's ramp: 10 turns are at pair 1, 1/10 turn is at pair 3
    yarn = Stretch(kind="yarn", factor=4.0, original=628, low=0.1, high=10.0, whole=False)
    middle = 0.5 + 0.5 / 4
    expected = plain * torch.tensor([1, 1, middle, 1 / 4])
    torch.testing.assert_close(yarn.frequencies(1e4, 8, torch.tensor(1)), expected, rtol=1e-3, atol=0)
    assert yarn.amplitude == 0.1 * math.log(4) + 1


def test_a_temperature_is_squared_on_scores() -> None:
    x = torch.randn(1, 1, 1, 8, generator=torch.Generator().manual_seed(0))
    places = torch.tensor([[5]])
    for temperature in (1.0, 1.5):
        stretch = Stretch(kind="yarn", factor=4.0, temperature=temperature)
        turned = Rotary.turned(x, Rotary(8, stretch=stretch).turn(places))
        torch.testing.assert_close((turned * turned).sum(), temperature**2 * (x * x).sum())


def test_each_row_has_a_dynamic_stretch_of_its_own() -> None:
    rotary = Rotary(8, stretch=Stretch(kind="dynamic", factor=2.0, original=4))
    places = torch.arange(9)[None].expand(2, -1)
    together = rotary.turn(places, torch.tensor([[9], [6]]))
    for row, length in enumerate((9, 6)):
        alone = rotary.turn(torch.arange(length)[None])
        for both, one in zip(together, alone, strict=True):
            assert torch.equal(both[row, :length], one[0])
    assert not torch.equal(together[0][0, :6], together[0][1, :6])


def test_stretches_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="kind='longrope' is unknown: use one of linear, dynamic, llama3, yarn"):
        Stretch(kind="longrope", factor=2.0)
    with pytest.raises(ValueError, match="width=2 leaves a dynamic stretch no slower pair"):
        Rotary(2, stretch=Stretch(kind="dynamic", factor=2.0))


def test_casting_a_model_does_not_round_its_angles_and_slopes() -> None:
    places = torch.tensor([[301, 302]])
    for whole, cast in zip(Rotary(16).turn(places), Rotary(16).bfloat16().turn(places), strict=True):
        assert torch.equal(whole, cast)
    assert torch.equal(Alibi(3)(places, places - 299), Alibi(3).bfloat16()(places, places - 299))


def test_alibi_by_the_papers_numbers() -> None:
    assert alibi_slopes(8) == [2.0**-i for i in range(1, 9)]
    assert alibi_slopes(1) == [2.0**-8]
    bias = Alibi(8)(torch.tensor([[2]]), torch.arange(5)[None])
    assert bias.shape == (1, 8, 1, 5)
    assert bias[0, 0, 0].tolist() == [-1.0, -0.5, 0.0, -0.5, -1.0]


def test_relative_positions_share_buckets_by_distance() -> None:
    relative = RelativePositions(2, buckets=8, distance=16)
    # half of the buckets look ahead; of each half, 2 are exact, the others logarithmic up to distance 16
    assert relative.bucket(torch.tensor([0, -1, -2, -15, -16, -900])).tolist() == [0, 1, 2, 3, 3, 3]
    assert relative.bucket(torch.tensor([1, 2, 15, 16, 900])).tolist() == [5, 6, 7, 7, 7]
    back = RelativePositions(2, buckets=8, distance=16, bidirectional=False)
    assert back.bucket(torch.tensor([3, 1, 0, -1, -3, -4, -900])).tolist() == [0, 0, 0, 1, 3, 4, 7]
    bias = relative(torch.tensor([[5, 6]]), torch.tensor([[5, 6, 7]]))
    assert bias.shape == (1, 2, 2, 3)
    assert torch.equal(bias[0, :, 0, 1], relative.table.weight[5])
    assert torch.equal(bias[0, :, 1, 0], relative.table.weight[1])
