"""Real checkpoints, and a reference that prints nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import transformers

SHARED = ("bert-tiny-question", "m3e-small", "albert-tiny-zh", "ltp-tiny-electra-pos")
"""Those that always come along; the others are built on demand."""


@pytest.fixture(scope="session")
def real(shared: Path) -> Callable[[str], Path]:
    """Folders of real checkpoints by name: in `shared`, or built from its recipes in `REGARD_CHECKPOINTS`.

    Without one that is built on demand the test is skipped, without one of :data:`SHARED` it fails in CI.
    """
    built = Path(os.environ.get("REGARD_CHECKPOINTS") or Path.home() / ".cache/regard-checkpoints")

    def find(name: str) -> Path:
        for folder in (shared / "checkpoints" / name, built / name):
            if folder.is_dir():
                return folder
        if name in SHARED and os.environ.get("CI") == "true":
            pytest.fail(f"no checkpoint {name}")
        pytest.skip(f"no checkpoint {name}: build it with {shared / 'checkpoints' / 'get.py'} {name}")

    return find


@pytest.fixture(autouse=True)
def quiet() -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
