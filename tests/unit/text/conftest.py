"""Real sentences and a small corpus of two languages."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from regard.text import Tokenizer, train_tokenizer


@pytest.fixture(scope="session")
def english(shared: Path) -> list[str]:
    lines = (shared / "data/sst2/dev.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return [line.split("\t")[0] for line in lines[:300]]


@pytest.fixture(scope="session")
def chinese(shared: Path) -> list[str]:
    with gzip.open(shared / "data/tnews/test.json.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line)["sentence"] for line, _ in zip(lines, range(300), strict=False)]


@pytest.fixture(scope="session")
def corpus() -> list[str]:
    """Small, in both languages, and not from any file: for what must run everywhere."""
    return [
        "The café opened at dawn; nobody came before noon.",
        "Nobody opened the door before noon, and the café was cold.",
        "我们今天去北京大学，明天再去上海。",
        "今天的北京很冷，大学的学生都在图书馆。",
        "Prices rose 3.5% in 2024 — the highest since 1998!",
    ] * 4


@pytest.fixture(scope="session")
def wordpiece(corpus: list[str]) -> Tokenizer:
    return train_tokenizer(corpus, kind="wordpiece", vocab_size=300, lower_case=True)


@pytest.fixture(scope="session")
def checkpoint(shared: Path) -> Callable[[str], Path]:
    """Folders of real checkpoints by name; without one the test is skipped."""
    built = Path(os.environ.get("REGARD_CHECKPOINTS") or Path.home() / ".cache/regard-checkpoints")

    def find(name: str) -> Path:
        folder = next((root / name for root in (shared / "checkpoints", built) if (root / name).is_dir()), None)
        return folder or pytest.skip(f"{name} is not built")

    return find
