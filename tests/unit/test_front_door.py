"""What `import regard` offers, and that it stays what it is however it is reached."""

import subprocess
import sys

import pytest

import regard


def test_every_public_name_is_the_same_thing_each_time() -> None:
    program = """
import regard
for name in regard.__all__:
    assert getattr(regard, name) is getattr(regard, name), name
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_public_names_are_listed() -> None:
    assert dir(regard) == sorted(regard.__all__)
    assert {"train", "load", "check", "doctor"} <= set(regard.__all__)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'regard' has no attribute 'trian'"):
        _ = regard.trian


def test_names_can_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regard, "load", str)
    assert regard.load("x") == "x"
