"""A small trained model, and the command line called in this process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import regard
from regard.cli.app import run

GOOD = ("a fine film", "a lovely song", "what a warm and clever story", "I would see it again")
BAD = ("a dull film", "an ugly song", "what a cold and stupid story", "I left before the end")
ROWS = [(f"{text} {i}", label) for i in range(5) for texts, label in ((GOOD, "good"), (BAD, "bad")) for text in texts]
SMALL = {"batch": {"rows": 8}, "training": {"steps": 2, "threads": 1}, "tokenizer": {"vocab_size": 200}}


def csv_of(rows: list[tuple[str, ...]], header: str = "text,label") -> str:
    return "".join(f"{','.join(row)}\n" for row in [tuple(header.split(",")), *rows])


@dataclass(frozen=True)
class Done:
    """What a command gave back."""

    status: int
    out: str
    err: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """`command("predict", model, …)` runs the command line here."""

    def called(*arguments: str | Path) -> Done:
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        return Done(status, *capsys.readouterr())

    return called


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of ours that knows `good` and `bad`; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "rows.csv").write_text(csv_of(ROWS), encoding="utf-8")
    regard.train(str(folder / "rows.csv"), model="tiny", out=folder / "model", settings=SMALL)
    return folder / "model"


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for a model that reads pairs."""
    folder = tmp_path_factory.mktemp("pairs")
    rows = [(text, f"{text} indeed" if label == "good" else "rain", label) for text, label in ROWS]
    (folder / "rows.csv").write_text(csv_of(rows, "text,pair,label"), encoding="utf-8")
    settings = {**SMALL, "options": {"pair": True}}
    regard.train(str(folder / "rows.csv"), model="tiny", out=folder / "model", settings=settings)
    return folder / "model"
