"""Means of weights: over the last evaluations, over all steps, both; lent to the model and taken back; saved and found."""

import pytest
import torch
from torch import Tensor, nn

from regard.training.average import Average
from regard.training.optimizers import AdamW


def made(value: float = 0.0) -> tuple[nn.Parameter, AdamW]:
    parameter = nn.Parameter(torch.full((3,), value))
    return parameter, AdamW({"w": parameter}, narrow=frozenset({"w"}), dtype=torch.bfloat16)


def seen(parameter: Tensor) -> float:
    return parameter.detach().float()[0].item()


def test_the_last_evaluations_are_averaged_and_the_model_gets_its_own_weights_back() -> None:
    parameter, optimizer = made()
    average = Average(optimizer, last=3)
    lent = []
    for value in (1.0, 2.0, 6.0, 8.0):
        optimizer.put({"w": torch.full((3,), value)})
        with average.lent():
            lent.append(seen(parameter))
        assert seen(parameter) == value
    assert lent == [1.0, 1.5, 3.0, pytest.approx(16 / 3, rel=0.01)]  # of the model, which computes in bfloat16


def test_a_running_mean_forgets_slowly_and_the_first_weights_soon() -> None:
    _, optimizer = made()
    average = Average(optimizer, ema=0.5)
    expected = 0.0
    for step, value in enumerate((1.0, 3.0, 2.0), start=1):
        optimizer.put({"w": torch.full((3,), value)})
        average.step(step)
        stays = min(0.5, step / (step + 10))
        expected = stays * expected + (1 - stays) * value
        with average.lent():
            assert dict(optimizer.masters())["w"][0].item() == pytest.approx(expected)


def test_with_neither_nothing_is_copied() -> None:
    parameter, optimizer = made(2.0)
    average = Average(optimizer)
    assert average.plain
    with average.lent():
        parameter.data.fill_(7.0)
    assert seen(parameter) == 7.0
    assert average.state() == {}


def test_what_a_checkpoint_keeps_brings_it_back() -> None:
    _, optimizer = made()
    average = Average(optimizer, last=2, ema=0.9)
    for step, value in enumerate((1.0, 2.0, 4.0), start=1):
        optimizer.put({"w": torch.full((3,), value)})
        average.step(step)
        with average.lent():
            pass
    state = {name: tensor.clone() for name, tensor in average.state().items()}
    other = Average(optimizer, last=2, ema=0.9)
    other.load(state)
    assert other.state().keys() == state.keys() == {"0.w", "1.w", "mean.w"}
    for each in (average, other):
        each.step(4)
    for name, tensor in average.state().items():
        assert torch.equal(other.state()[name], tensor)
