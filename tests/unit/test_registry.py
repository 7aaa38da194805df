"""Names to things: registered here, or by an installed plug-in."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from regard import registry
from regard.errors import ConfigError
from regard.registry import Registry


@pytest.fixture
def searches() -> Registry[Callable[[], str]]:
    found: Registry[Callable[[], str]] = Registry("search")

    @found.register("greedy")
    def greedy() -> str:
        return "the best"

    @found.register("beam")
    def beam() -> str:
        return "the best of several"

    return found


def test_it_is_a_mapping_in_the_order_of_names(searches: Registry[Callable[[], str]]) -> None:
    assert list(searches) == ["beam", "greedy"]
    assert len(searches) == 2
    assert "beam" in searches
    assert "bean" not in searches
    assert 3 not in searches
    assert searches["greedy"]() == "the best"
    assert dict(searches).keys() == {"beam", "greedy"}
    assert [name for name, _ in searches.items()] == ["beam", "greedy"]


def test_registering_gives_back_what_was_registered(searches: Registry[Callable[[], str]]) -> None:
    def sample() -> str:
        return "any"

    assert searches.register("sample")(sample) is sample
    assert searches["sample"] is sample


def test_a_name_can_be_taken_once(searches: Registry[Callable[[], str]]) -> None:
    with pytest.raises(ValueError, match="search 'beam' is registered already"):
        searches.register("beam")(lambda: "another")
    assert searches["beam"]() == "the best of several"


def test_a_missing_name_is_the_users_mistake(searches: Registry[Callable[[], str]]) -> None:
    with pytest.raises(ConfigError) as caught:
        searches["bean"]
    (problem,) = caught.value.problems
    assert (problem.what, problem.allowed, problem.fix) == ("unknown search 'bean'", "beam, greedy", "did you mean 'beam'?")
    with pytest.raises(ConfigError) as caught:
        searches["zzz"]
    assert caught.value.problems[0].fix == ""


def plug(monkeypatch: pytest.MonkeyPatch, **things: Any) -> list[str]:
    """Lets packages be installed that offer these; returns the groups that will have been asked for."""
    asked: list[str] = []

    def entry_points(*, group: str) -> list[SimpleNamespace]:
        asked.append(group)
        return [SimpleNamespace(name=name, load=lambda thing=thing: thing) for name, thing in things.items()]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    return asked


@pytest.mark.parametrize("look", [list, len, lambda found: "plugged" in found, lambda found: found["plugged"]])
def test_plug_ins_are_found_however_one_looks(
    searches: Registry[Callable[[], str]], monkeypatch: pytest.MonkeyPatch, look: Callable[[Any], Any]
) -> None:
    asked = plug(monkeypatch, plugged=str, beam=int)
    assert look(searches)
    assert searches["plugged"] is str
    assert searches["beam"]() == "the best of several"  # ours stays
    assert list(searches) == ["beam", "greedy", "plugged"]
    assert asked == ["regard.searchs"]


def test_nothing_is_asked_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = plug(monkeypatch)
    Registry[str]("task").register("a")("x")
    assert asked == []
