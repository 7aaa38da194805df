"""`regard convert` from end to end: what it prints, and that a wrong or a hostile file costs exit status 2, no more."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from regard.checkpoints import read_safetensors


class Trap:
    """Makes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch sprung",)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: weights beside the state of a training, and a file that is a trap."""
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": torch.ones(2, 3), "b": torch.zeros(4).half()}, "epoch": 3}, "last.pt")
    torch.save({"a": torch.ones(1), "b": Trap()}, "trap.bin")
    return tmp_path


def test_weights_are_converted_and_what_is_left_out_is_said(command: Callable[..., Any], here: Path) -> None:
    done = command("convert", "last.pt", "--json")
    assert done.status == 0, done.err
    assert json.loads(done.out) == {"files": ["model.safetensors"], "tensors": 2, "bytes": 32, "left_out": ["'epoch'"]}
    assert {name: tuple(tensor.shape) for name, tensor in read_safetensors(here / "model.safetensors").items()} == {
        "a": (2, 3),
        "b": (4,),
    }

    done = command("convert", "last.pt", "--out", "deep/weights.safetensors")
    assert (done.status, done.out) == (0, "deep/weights.safetensors\n")
    assert "2 tensors, 32 bytes" in done.err
    assert "warning: left out, for they are no tensors: 'epoch'" in done.err
    assert (here / "deep" / "weights.safetensors").read_bytes() == (here / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("trap.bin",), ("trap.bin: calls for 'posix.system'", "fix: in the program that wrote it")),
        (("last.pt", "--limit-gb", "1e-9"), ("last.pt: ", "allowed: 1e-09 GB", "fix: raise --limit-gb")),
        (("none.bin",), ("none.bin: no such file", "fix: ")),
        ((".",), (".: no pytorch_model.bin", "allowed: last.pt, trap.bin", "fix: give the file that holds the weights")),
        (("last.pt", "--out", "full"), ("full: has model.safetensors already", "another --out")),
        (("last.pt", "--limit-gb", "many"), ("--limit-gb: unable to convert", "regard VERB --help")),
    ],
    ids=["trap", "limit", "missing", "folder", "taken", "no number"],
)
def test_what_is_wrong_is_refused_with_its_remedy(
    command: Callable[..., Any], here: Path, words: tuple[str, ...], says: tuple[str, ...]
) -> None:
    (here / "full").mkdir()
    (here / "full" / "model.safetensors").write_bytes(b"mine")
    before = tree(here)
    done = command("convert", *words, "--json")
    assert (done.status, done.out) == (2, ""), done.err
    assert [each for each in says if each not in done.err] == [], done.err
    assert "Traceback" not in done.err
    assert tree(here) == before


def test_a_folder_that_cannot_be_made_is_work_that_failed(command: Callable[..., Any], here: Path) -> None:
    done = command("convert", "last.pt", "--out", "trap.bin/model", "--json")
    assert (done.status, done.out) == (1, "")
    assert "trap.bin/model" in done.err
    assert "fix: " in done.err


def test_it_explains_itself(command: Callable[..., Any]) -> None:
    done = command("convert", "--help")
    assert (done.status, done.err) == (0, "")
    assert "Usage: regard convert" in done.out
    assert [word for word in ("--out", "--limit-gb", "--json") if word not in done.out] == []
