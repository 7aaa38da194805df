"""How problems are collected, counted, placed and told (law 9)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import (
    LONGEST,
    SHOWN,
    CheckpointError,
    ConfigError,
    DataError,
    InputError,
    Problem,
    Problems,
    RegardError,
    WorkError,
    did_you_mean,
    listed,
)


def test_a_problem_says_where_what_and_what_to_do() -> None:
    assert str(Problem("it is wrong")) == "it is wrong"
    whole = Problem("unknown label 'meh'", "x.csv, row 3", "bad, good", "did you mean 'bad'?")
    assert str(whole) == "x.csv, row 3: unknown label 'meh'\n  allowed: bad, good\n  fix: did you mean 'bad'?"


def test_what_is_as_long_as_a_file_is_cut() -> None:
    assert str(Problem("x" * LONGEST, fix="mend it")) == "x" * LONGEST + "\n  fix: mend it"
    long = str(Problem("x" * 10**6, "y" * 10**6, "z" * 10**6, "mend it"))
    assert len(long) < 4 * LONGEST
    assert "x… (1000000 characters)\n  allowed: z" in long
    assert long.endswith("\n  fix: mend it")


@pytest.mark.parametrize("kind", [ConfigError, DataError, CheckpointError])
def test_the_users_input_ends_with_2(kind: type[InputError]) -> None:
    error = kind("wrong", where="here", allowed="right", fix="mend it")
    assert isinstance(error, RegardError)
    assert error.exit_status == 2
    assert error.problems == [Problem("wrong", "here", "right", "mend it")]
    assert str(error) == "here: wrong\n  allowed: right\n  fix: mend it"


def test_work_that_failed_ends_with_1() -> None:
    assert WorkError("the disk is full").exit_status == 1
    assert not isinstance(WorkError("the disk is full"), InputError)


def test_a_close_miss_is_looked_for_while_problems_are_kept() -> None:
    problems = Problems()
    for i in range(2 * SHOWN):
        assert bool(problems.hint("cosin", ["cosine"])) == (i < SHOWN)
        problems.add("unknown schedule 'cosin'", fix=problems.hint("cosin", ["cosine"]))
    assert {problem.fix for problem in problems} == {"did you mean 'cosine'?"}


@given(count=st.integers(0, 3 * SHOWN))
def test_the_first_are_shown_and_all_are_counted(count: int) -> None:
    problems = Problems(ConfigError)
    for i in range(count):
        problems.add(f"wrong {i}", where="here", fix="mend it")
    assert len(problems) == problems.count == count
    assert [problem.what for problem in problems] == [f"wrong {i}" for i in range(min(count, SHOWN))]
    if not count:
        problems.raise_if_any()
        return
    with pytest.raises(ConfigError) as caught:
        problems.raise_if_any()
    error = caught.value
    assert (error.count, len(error.problems)) == (count, min(count, SHOWN))
    told = str(error)
    assert told.count("here: wrong") == min(count, SHOWN)
    assert told.startswith(f"{count} problems:\n") == (count > 1)
    assert told.endswith(f"… and {count - SHOWN} more") == (count > SHOWN)


def test_no_problems_are_false() -> None:
    """As with any collection: `if problems`."""
    assert not Problems()
    problems = Problems()
    problems.add("wrong")
    assert problems


def test_a_place_is_given_to_those_that_have_none() -> None:
    error = DataError([Problem("a"), Problem("b", "there")], count=7).at("here")
    assert isinstance(error, DataError)
    assert [problem.where for problem in error.problems] == ["here", "there"]
    assert error.count == 7


def test_what_a_block_raises_is_collected_and_work_goes_on() -> None:
    problems = Problems(ConfigError)
    for i in range(3):
        with problems.collected("here"):
            raise DataError([Problem(f"a{i}"), Problem(f"b{i}", "there")])
    with problems.collected():
        pass
    assert [(problem.what, problem.where) for problem in problems][:2] == [("a0", "here"), ("b0", "there")]
    with pytest.raises(ConfigError, match="6 problems"):
        problems.raise_if_any()


@pytest.mark.parametrize("error", [WorkError("the disk is full"), KeyError("a bug"), KeyboardInterrupt()])
def test_only_wrong_input_is_collected(error: BaseException) -> None:
    problems = Problems()
    with pytest.raises(type(error)), problems.collected("here"):
        raise error
    assert not problems


@pytest.mark.parametrize(
    ("word", "hint"),
    [("cosin", "did you mean 'cosine'?"), ("linaer", "did you mean 'linear'?"), ("cosine", "did you mean 'cosine'?")],
)
def test_a_close_word_is_guessed(word: str, hint: str) -> None:
    assert did_you_mean(word, ["linear", "cosine"]) == hint


@pytest.mark.parametrize("word", ["", "zzz", "x" * 10_000])
def test_a_far_word_is_not(word: str) -> None:
    assert did_you_mean(word, ["linear", "cosine"]) == ""
    assert did_you_mean(word, []) == ""


def test_long_lists_are_cut() -> None:
    assert listed([]) == ""
    assert listed(["a", 2, None]) == "a, 2, None"
    assert listed(range(12)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"
    assert listed(range(13)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 … (13 in all)"
    assert listed((i for i in range(5)), limit=2) == "0, 1 … (5 in all)"
