import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import ConfigError
from regard.training.schedules import SCHEDULES, learning_rate, warmup_steps

names = st.sampled_from(sorted(SCHEDULES))


@pytest.mark.parametrize(
    ("schedule", "step", "factor"),
    [
        ("linear", 5, 0.5),
        ("linear", 10, 1.0),
        ("linear", 55, 0.5),
        ("linear", 100, 0.0),
        ("cosine", 55, 0.5),
        ("cosine", 40, 0.5 * (1 + math.cos(math.pi / 3))),
        ("cosine", 100, 0.0),
        ("constant", 99, 1.0),
        ("inverse-sqrt", 40, 0.5),
        ("inverse-sqrt", 90, 1 / 3),
    ],
)
def test_closed_forms(schedule, step, factor):
    assert learning_rate(schedule, step, peak=2e-4, warmup=10, total=100) == pytest.approx(2e-4 * factor, abs=1e-18)


@given(names, st.integers(1, 1000), st.integers(1, 1000))
def test_warm_up_climbs_to_the_peak_and_nothing_is_higher(schedule, warmup, more):
    total = warmup + more
    rates = [learning_rate(schedule, step, peak=1.0, warmup=warmup, total=total) for step in range(1, total + 1)]
    assert rates[warmup - 1] == 1.0
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert all(0 <= rate <= 1 for rate in rates)


@given(names, st.integers(1, 50))
def test_without_warm_up_every_step_has_a_rate(schedule, total):
    assert all(0 <= learning_rate(schedule, step, peak=1.0, warmup=0, total=total) <= 1 for step in range(1, total + 1))


@pytest.mark.parametrize(("warmup", "steps"), [(0, 0), (0.06, 6), (0.5, 50), (1, 1), (30, 30)])
def test_warm_up_is_a_share_or_a_number(warmup, steps):
    assert warmup_steps(warmup, 100) == steps


def test_an_unknown_schedule_names_the_closest():
    with pytest.raises(ConfigError, match="did you mean 'linear'"):
        learning_rate("lineal", 5, peak=1.0, warmup=0, total=10)
