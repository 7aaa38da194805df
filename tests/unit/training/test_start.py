"""What a run starts from: which of a checkpoint's weights it takes over."""

from pathlib import Path

import pytest
import torch

import regard
from regard.checkpoints import load

LABELS = {"same": ("bad", "good"), "other": ("no", "yes")}
STILL = {"training": {"steps": 1, "lr": 1e-30, "weight_decay": 0.0, "threads": 1, "dropout": 0.0}, "batch": {"rows": 8}}
"""One step that changes nothing."""


def rows(folder: Path, labels: tuple[str, str]) -> str:
    path = folder / "rows.csv"
    lines = (f"the bread was warm {i},{labels[i % 2]}\n" for i in range(20))
    path.write_text("text,label\n" + "".join(lines), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("task", ["text-classification", "fill-mask", "token-classification", "question-answering"])
def test_the_body_is_taken_over_whatever_the_head(untrained: Path, tmp_path: Path, task: str) -> None:
    out = tmp_path / "run"
    regard.train(rows(tmp_path, LABELS["same"]), model=str(untrained / task), out=out, settings=STILL)
    before, after = load(untrained / task), load(out)
    body = [name for name in before.tensors if not name.startswith("head.")]
    assert body
    assert all(torch.equal(before.tensors[name], after.tensors[name]) for name in body)
    assert after.head is not None
    assert (after.head.over, after.head.n_outputs) == ("sequence", 2)
    assert regard.load(out).predict(["the bread was warm"])[0].keys() == {"label", "score", "scores"}


@pytest.mark.parametrize("labels", LABELS)
def test_outputs_are_kept_for_the_same_labels_alone(untrained: Path, tmp_path: Path, labels: str) -> None:
    folder = untrained / "text-classification"
    regard.train(rows(tmp_path, LABELS[labels]), model=str(folder), out=tmp_path / "run", settings=STILL)
    before, after = (load(path).tensors["head.out.weight"] for path in (folder, tmp_path / "run"))
    assert torch.equal(before, after) == (labels == "same")
