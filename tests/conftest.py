"""What every test may ask for."""

import os
from pathlib import Path

import pytest


def found(folder: Path, name: str) -> Path:
    """A folder of real data or weights; without it the test is skipped, in CI it fails."""
    if folder.is_dir():
        return folder
    message = f"no folder {folder}: {name} is not here"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and weights: `REGARD_SHARED`, or `shared` beside the repository."""
    return found(Path(os.environ.get("REGARD_SHARED") or Path(__file__).parents[2] / "shared"), "REGARD_SHARED")


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model for each task that reads text; none has learned anything. See examples/untrained.py."""
    from examples.untrained import main

    folder = tmp_path_factory.mktemp("untrained")
    main(folder)
    return folder
