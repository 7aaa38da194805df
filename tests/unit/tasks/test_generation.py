"""How texts are written: what the checkpoint says, what the user says instead, and what cannot be."""

from typing import Any

import pytest

import regard
from regard.checkpoints.theirs import GENERATION_KEYS
from regard.decoding import Beam, Greedy, Sample
from regard.errors import ConfigError
from regard.tasks.decoding import Generation


def test_the_checkpoint_says_how_and_null_says_nothing():
    assert isinstance(Generation().strategy([0], [[1]]), Greedy)
    told = {"num_beams": 4, "early_stopping": "never", "length_penalty": None, "do_sample": True, "unknown": 1}
    assert isinstance(Generation(**told).strategy([0], [[1]]), Beam)
    assert Generation(**told).length_penalty == 1.0
    assert isinstance(Generation(do_sample=True, top_k=50).strategy([0], [[1]]), Sample)


def test_all_that_a_checkpoint_may_say_reaches_the_task():
    assert set(Generation.model_fields) - {"seed"} <= set(GENERATION_KEYS)


@pytest.mark.parametrize(
    ("checkpoint", "decoding", "kind", "width"),
    [
        ({"num_beams": 4}, {"beams": 2}, Beam, 2),
        ({"num_beams": 4}, {"beams": 1}, Greedy, 1),
        ({"num_beams": 4}, {"sample": True, "n_best": 3}, Sample, 3),
        ({"do_sample": True}, {"beams": 1}, Greedy, 1),
        ({"do_sample": True}, {"beams": 6, "groups": 3, "diversity": 0.5}, Beam, 6),
        ({"do_sample": True}, {"temperature": 0.5, "seed": 4}, Sample, 1),
    ],
)
def test_the_user_says_otherwise(checkpoint: dict[str, Any], decoding: dict[str, Any], kind: type, width: int):
    strategy = Generation(**checkpoint).decoded(decoding).strategy([0], [[1]])
    assert type(strategy) is kind
    assert strategy.width == width


def test_names_are_translated():
    told = Generation().decoded({"early": "full", "typical": 0.5, "max_new_tokens": 3, "length_penalty": 2.0, "top_k": 0})
    assert (told.early_stopping, told.typical_p, told.max_new_tokens, told.length_penalty, told.top_k) == (
        True,
        0.5,
        3,
        2.0,
        0,
    )
    assert Generation().decoded({"early": "likely"}).early_stopping is False


@pytest.mark.parametrize(
    ("decoding", "message"),
    [
        ({"beam": 4}, "decoding: unknown key 'beam'\n  allowed: .*\n  fix: did you mean 'beams'"),
        ({"beams": 0}, "decoding: key 'beams' is 0"),
        ({"beams": 2, "sample": True}, "decoding: tokens are drawn, and there are beams\n  fix: set sample or beams"),
        ({"n_best": 3}, "decoding: n_best=3\n  allowed: at most 1\n  fix: set beams=3, or sample=true"),
        ({"beams": 4, "groups": 3}, "decoding: 4 beams in 3 groups\n  allowed: groups of equal size"),
    ],
)
def test_what_cannot_be_is_refused(decoding: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        Generation().decoded(decoding)


def test_only_what_writes_can_be_told_how(untrained: Any):
    with pytest.raises(ConfigError, match="text-classification writes no text\n  fix: leave out these settings"):
        regard.load(untrained / "text-classification", decoding={"beams": 2})
