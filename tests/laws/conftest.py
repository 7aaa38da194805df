"""A small trained model of two languages, and the rows that it learned from."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import regard

KINDS = ("good", "bad", "so-so")
SAID = {
    "good": ("a fine film", "what a warm and clever story", "这部电影很好看", "我还想再看一遍"),
    "bad": ("a dull film", "what a cold and stupid story", "这部电影太无聊了", "看了一半我就走了"),
    "so-so": ("a film", "what a story", "这部电影还可以", "一般"),
}
ROWS = [(f"{text} {i}", kind) for i in range(5) for kind in KINDS for text in SAID[kind]]
ROWS += [(f"{text} {i}", other) for i in range(2) for kind, other in pairwise(KINDS) for text in SAID[kind]]
"""The last ones contradict others: a model that is never wrong would have probabilities of 0 and 1 alone."""

SMALL: dict[str, Any] = {
    "batch": {"rows": 8},
    "training": {"steps": 16, "threads": 1},
    "tokenizer": {"vocab_size": 300},
    "data": {"eval_share": 0.3},
}


@pytest.fixture(scope="session")
def small() -> dict[str, Any]:
    """Settings of a run that takes a second."""
    return SMALL


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of `text` and `label`."""
    path = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    path.write_text("text,label\n" + "".join(f"{text},{kind}\n" for text, kind in ROWS), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of `text`, `pair` and `label`."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    lines = (f"{text},{text if kind == 'good' else 'rain'},{kind}\n" for text, kind in ROWS)
    path.write_text("text,pair,label\n" + "".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of ours; not to be changed."""
    out = tmp_path_factory.mktemp("trained") / "model"
    regard.train(str(reviews), model="tiny", out=out, settings=SMALL)
    return out
