"""What is trained, what is saved, what loads again and what is exported are one model (law 4).

That every tensor matches one rule in both directions is tested beside the families (tests/parity, tests/unit/checkpoints).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import regard
from regard.checkpoints import export_hf, load, save_model
from regard.checkpoints.tensors import read_safetensors
from regard.config import merged
from regard.errors import ConfigError
from regard.models.build import build

TEXTS = ["a fine film", "what a cold and stupid story", "这部电影太无聊了", "", "一般 " * 40]


def assert_same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    assert all(left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left)


def files(folder: Path) -> dict[str, bytes]:
    """What a model is made of, byte by byte."""
    names = ("config.json", "model.safetensors", "task.json", "tokenizer.json", "tokenizer_config.json")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_best_weights_are_saved_bit_for_bit(
    reviews: Path, small: dict[str, Any], tmp_path: Path, precision: str
) -> None:
    """Also where steps are made with rounded copies: the model is the float32 weights behind them."""
    out, best = tmp_path / "model", {}

    def keep(event: dict[str, Any]) -> None:
        if event["event"] == "evaluation" and event["best"]:
            weights = read_safetensors(out / "checkpoints" / f"best-{event['step']}" / "weights.safetensors")
            best[event["step"]] = {name: tensor.clone() for name, tensor in weights.items()}

    nested = merged(small, {"training": {"steps": 9, "eval_every": 3, "precision": precision}})
    result = regard.train(str(reviews), model="tiny", out=out, settings=nested, listeners=[keep])
    saved = load(out, dtype=None).tensors
    assert_same({name: saved[name] for name in best[result.best_step]}, best[result.best_step])
    assert saved.keys() == build(load(out).config, load(out).head).state_dict().keys()
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_saved_again_it_is_the_same_and_answers_the_same(trained: Path, tmp_path: Path, precision: str) -> None:
    loaded = load(trained)
    model = build(loaded.config, loaded.head)
    model.load_state_dict(loaded.tensors)
    assert loaded.tokenizer is not None
    assert loaded.task is not None
    save_model(tmp_path / "again", model, tokenizer=loaded.tokenizer, task=loaded.task, origin=loaded.origin)
    assert files(tmp_path / "again") == files(trained)
    first, again = (regard.load(folder, precision=precision) for folder in (trained, tmp_path / "again"))
    assert again.task == first.task
    assert again.predict(TEXTS) == first.predict(TEXTS)
    assert again.predict(TEXTS) == again.predict(TEXTS)


def test_the_metrics_of_a_run_are_those_of_its_folder(reviews: Path, small: dict[str, Any], tmp_path: Path) -> None:
    nested = merged(small, {"training": {"precision": "float32", "steps": 4}})
    rows = reviews.read_text(encoding="utf-8").splitlines()
    held_out = tmp_path / "held-out.csv"
    held_out.write_text(
        "\n".join([rows[0], *(f"{row.partition(',')[0]} again,{row.partition(',')[2]}" for row in rows[1:])])
    )
    result = regard.train(str(reviews), eval=str(held_out), model="tiny", out=tmp_path / "model", settings=nested)
    found = regard.load(result.out, precision="float32").evaluate(str(held_out)).metrics
    assert found.keys() == result.metrics.keys()
    # A predictor packs its float32 weights in another order than the one they train in, so the last bits differ.
    for name, metric in found.items():
        assert metric == pytest.approx(result.metrics[name], rel=1e-5, abs=1e-7)


@pytest.fixture(scope="module", params=[False, True], ids=["one label", "several labels"])
def tuned(
    request: pytest.FixtureRequest,
    shared: Path,
    reviews: Path,
    small: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A checkpoint of two labels, fine-tuned for three."""
    out = tmp_path_factory.mktemp("tuned") / "model"
    nested = merged(small, {"training": {"steps": 4}, "options": {"multi_label": request.param}})
    regard.train(str(reviews), model=str(shared / "checkpoints" / "bert-tiny-question"), out=out, settings=nested)
    return out


def test_a_trained_head_is_exported_and_comes_back(tuned: Path, tmp_path: Path) -> None:
    ours = load(tuned)
    export_hf(ours, tmp_path / "exported")
    back = load(tmp_path / "exported")
    assert (back.config, back.head) == (ours.config, ours.head)
    assert_same(back.tensors, ours.tensors)
    assert back.task is not None
    assert ours.task is not None
    assert back.task["labels"] == ours.task["labels"] == ["bad", "good", "so-so"]
    assert back.tokenizer is not None
    assert ours.tokenizer is not None
    assert back.tokenizer.ids(TEXTS) == ours.tokenizer.ids(TEXTS)
    answers, again = (regard.load(folder, precision="float32").predict(TEXTS) for folder in (tuned, tmp_path / "exported"))
    assert back.task["multi_label"] == ours.task["options"]["multi_label"]
    key = "labels" if back.task["multi_label"] else "label"
    assert [answer[key] for answer in again] == [answer[key] for answer in answers]
    export_hf(back, tmp_path / "exported again")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "exported again" / name).read_bytes() == (tmp_path / "exported" / name).read_bytes()


def test_a_trained_head_computes_the_same_there(tuned: Path, tmp_path: Path) -> None:
    loaded = load(tuned)
    export_hf(loaded, tmp_path)
    transformers.logging.disable_progress_bar()
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    batch = transformers.AutoTokenizer.from_pretrained(tmp_path)(TEXTS, padding=True, return_tensors="pt")
    ours = build(loaded.config, loaded.head).eval()
    ours.load_state_dict(loaded.tensors)
    with torch.no_grad():
        outputs = ours(batch["input_ids"], attention_mask=batch["attention_mask"])
        torch.testing.assert_close(outputs, theirs(**batch).logits, atol=1e-5, rtol=0)
    several = theirs.config.problem_type == "multi_label_classification"
    scores = outputs.sigmoid() if several else outputs.softmax(-1)
    for answer, row in zip(regard.load(tmp_path, precision="float32").predict(TEXTS), scores, strict=True):
        assert list(answer["scores"].values()) == pytest.approx(row.tolist(), abs=1e-5)


def test_a_model_from_scratch_that_no_format_can_hold_is_refused_whole(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        export_hf(load(trained), tmp_path / "exported", family="bert")
    assert "pool" in str(caught.value)
    assert not (tmp_path / "exported").exists()
