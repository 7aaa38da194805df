"""The three doors of position: values from the papers, and what each must not depend on."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.layers.positions import Alibi, LearnedPositions, RelativePositions, Rotary, SinusoidalPositions, alibi_slopes


def test_sinusoidal_by_the_papers_formula() -> None:
    table = SinusoidalPositions(20, 6)(torch.arange(20))
    for position in range(20):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            assert table[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)
    assert SinusoidalPositions(4, 5)(torch.arange(4)).shape == (4, 5)


def test_sinusoidal_positions_have_nothing_to_save_or_learn() -> None:
    assert not SinusoidalPositions(4, 6).state_dict()
    assert not list(SinusoidalPositions(4, 6).parameters())


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
