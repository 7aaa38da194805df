"""A trained model answers the same alone, in any batch, at any place in it, at any padding, from a file (law 2).

The arithmetic of every kind of stack is test_ragged's; here it is real weights, texts and files, as a user meets them.
"""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import regard
from regard import Predictor, predictor
from regard.cli.app import run
from regard.data.batch import Listed
from regard.layers import kernels
from regard.tasks.fill_mask import FillMask
from regard.tasks.infer import infer
from regard.tasks.task import OnePass, Prediction

TEXTS = (
    "",
    " ",
    "\n\t",
    ".",
    "好",
    "a fine film",
    "A FINE FILM",
    "what a cold and stupid story, and a dull film",
    "这部电影太无聊了，看了一半我就走了。",
    "混合 of both 语言, １２３ ½",
    "👩‍🚀 e\u0301 \u200b\ufffd",
    "film " * (kernels.SHORT_PREDICTION - 2),
    "film " * (kernels.SHORT_PREDICTION - 1),
    "好看" * 100,
    "what a warm and clever story " * 80,
    "看了一半我就走了" * 2000,
)
PICKS = st.lists(st.sampled_from(range(len(TEXTS))), min_size=1, max_size=14)
few = settings(deadline=None, max_examples=15)


def close(a: np.ndarray | Tensor, b: np.ndarray | Tensor) -> None:
    assert a.shape == b.shape
    assert abs(a - b).max() <= 1e-5


def same(answer: Prediction, other: Prediction) -> None:
    """Equal labels, and scores as near as the logits are."""
    assert answer["label"] == other["label"]
    assert answer["scores"] == pytest.approx(other["scores"], abs=1e-5)


@pytest.fixture(scope="module", params=["ours", "pairs", "theirs"])
def model(request: pytest.FixtureRequest) -> Predictor:
    """A model trained here, one that reads pairs, and a checkpoint of somebody else; all in float32."""
    if request.param == "theirs":
        return regard.load(request.getfixturevalue("shared") / "checkpoints" / "bert-tiny-question", precision="float32")
    if request.param == "ours":
        return regard.load(request.getfixturevalue("trained"), precision="float32")
    out = request.getfixturevalue("tmp_path_factory").mktemp("law-2") / "model"
    nested = {**request.getfixturevalue("small"), "options": {"pair": True}}
    regard.train(str(request.getfixturevalue("pairs")), model="tiny", out=out, settings=nested)
    return regard.load(out, precision="float32")


def asked(model: Predictor, picks: Sequence[int]) -> tuple[list[str], list[str] | None]:
    """The texts, and for a model that reads pairs the second texts: those next to them. Of somebody else's checkpoint, which
    may read either, every other one has none."""
    reads_pairs = len(model.task.inputs) == 2
    seconds = [TEXTS[pick - 1] * (pick % 2 or not model.task.inputs[1].optional) for pick in picks] if reads_pairs else None
    return [TEXTS[pick] for pick in picks], seconds


def examples(model: Predictor, picks: Sequence[int]) -> Listed:
    texts, seconds = asked(model, picks)
    rows = model.rows(texts, seconds or ())
    return Listed(model.task.encode(rows, model.tokenizer, max_length=model.model.config.max_positions))


@pytest.fixture(scope="module")
def alone(model: Predictor) -> list[Prediction]:
    """Each text's answer when nothing else is asked."""
    return [model.predict(*asked(model, [pick]))[0] for pick in range(len(TEXTS))]


@pytest.fixture(scope="module")
def logits(model: Predictor) -> np.ndarray:
    """(texts, labels): each text's outputs from a batch of its own."""
    return np.concatenate([infer(model.model, examples(model, [pick]), dtype=torch.float32) for pick in range(len(TEXTS))])


def test_the_texts_are_of_very_different_lengths(model: Predictor) -> None:
    lengths = set(examples(model, range(len(TEXTS))).lengths.tolist())
    assert len(lengths) >= 8
    assert min(lengths) < 5
    assert max(lengths) == model.model.config.max_positions


@few
@given(picks=PICKS)
def test_company_changes_no_answer(model: Predictor, alone: list[Prediction], picks: list[int]) -> None:
    for pick, answer in zip(picks, model.predict(*asked(model, picks)), strict=True):
        same(answer, alone[pick])


@few
@given(picks=PICKS, tokens=st.integers(1, 6000))
def test_the_size_of_a_batch_changes_no_logit(model: Predictor, logits: np.ndarray, picks: list[int], tokens: int) -> None:
    close(infer(model.model, examples(model, picks), dtype=torch.float32, tokens=tokens), logits[picks])


@pytest.mark.parametrize("left", [False, True])
@few
@given(picks=PICKS, extra=st.integers(0, 7))
@torch.inference_mode()
def test_padding_changes_no_logit(model: Predictor, logits: np.ndarray, left: bool, picks: list[int], extra: int) -> None:
    held = list(examples(model, picks))
    width = min(max(len(row["input_ids"]) for row in held) + extra, model.model.config.max_positions)
    ids, types, real = (torch.zeros(len(held), width, dtype=torch.int64) for _ in range(3))
    for i, row in enumerate(held):
        length = len(row["input_ids"])
        here = slice(width - length, None) if left else slice(length)
        ids[i, here], real[i, here] = torch.tensor(row["input_ids"]), 1
        types[i, here] = torch.tensor(row.get("type_ids", [0] * length))
    assert model.model.encoder is not None
    assert model.model.head is not None
    places = (real.cumsum(1) - 1).clamp(min=0)
    hidden = model.model.encoder(ids, attention_mask=real, position_ids=places, type_ids=types)
    close(model.model.head(hidden, attention_mask=real), torch.from_numpy(logits[picks]))
    if not left:
        close(model.model(ids, attention_mask=real, type_ids=types), torch.from_numpy(logits[picks]))


@torch.inference_mode()
def test_bfloat16_stays_near(trained: Path) -> None:
    """Not a law: how far the fast arithmetic may stray from itself, whatever the batch."""
    model = regard.load(trained, precision="bfloat16")
    together = infer(model.model, examples(model, range(len(TEXTS))), dtype=torch.bfloat16)
    for pick, row in enumerate(together):
        lone = infer(model.model, examples(model, [pick]), dtype=torch.bfloat16)[0]
        assert abs(row - lone).max() <= 0.05 * max(1.0, abs(lone).max())


# The other tasks: heads over tokens and over the vocabulary, rows of several examples, windows over long texts

SOME = (*(text[:200] for text in TEXTS), "William Shakespeare wrote the play in London. 他去图书馆拿书。 " * 8)
"""The last is several windows of the models below."""

ROWS: dict[str, list[dict[str, Any]]] = {
    "regression": [{"text": text, "pair": text[3:9]} for text in SOME],
    "token-classification": [{"text": text} for text in SOME],
    "question-answering": [{"question": text[5:25], "context": text} for text in SOME],
    "fill-mask": [{"text": f"{text}[MASK]{text[::-1]}[MASK]"} for text in SOME],
    "multiple-choice": [{"context": text, "choices": list(SOME[i : 2 * i + 2])} for i, text in enumerate(SOME[:-1])],
}


@pytest.fixture(scope="module", params=ROWS)
def other(request: pytest.FixtureRequest) -> Predictor:
    return regard.load(request.getfixturevalue("untrained") / request.param, precision="float32")


@pytest.fixture(scope="module")
def lone(other: Predictor) -> list[Prediction]:
    """Each row's answer when nothing else is asked."""
    return [next(iter(other.answered([row]))) for row in ROWS[other.task.name]]


def alike(answer: Any, expected: Any) -> bool:
    """Equal, with numbers as near as the logits are; a score is a mean or a product of several."""
    if isinstance(expected, dict):
        return answer.keys() == expected.keys() and all(alike(answer[name], value) for name, value in expected.items())
    if isinstance(expected, list):
        return len(answer) == len(expected) and all(map(alike, answer, expected))
    return bool(answer == (pytest.approx(expected, abs=1e-5) if isinstance(expected, float) else expected))


def test_some_rows_are_several_examples(other: Predictor) -> None:
    assert isinstance(other.task, OnePass | FillMask)
    assert other.tokenizer is not None
    rows = ROWS[other.task.name]
    held = other.task.encode(rows, other.tokenizer, max_length=64)
    counts = Counter(example["row"] for example in held) if "row" in held[0] else Counter()
    assert max(counts.values(), default=0) >= 2 or other.task.name == "regression"


@few
@given(data=st.data())
def test_company_changes_no_answer_of_any_task(other: Predictor, lone: list[Prediction], data: st.DataObject) -> None:
    rows = ROWS[other.task.name]
    picks = data.draw(st.lists(st.sampled_from(range(len(rows))), min_size=1, max_size=10))
    for pick, answer in zip(picks, other.answered([rows[pick] for pick in picks]), strict=True):
        assert alike(answer, lone[pick])


@few
@given(data=st.data(), tokens=st.integers(1, 2000))
def test_neither_batches_nor_padding_change_an_output(other: Predictor, data: st.DataObject, tokens: int) -> None:
    """Of a head over tokens every one, at its own place."""
    assert isinstance(other.task, OnePass | FillMask)
    assert other.tokenizer is not None
    rows = ROWS[other.task.name]
    picks = data.draw(st.lists(st.sampled_from(range(len(rows))), min_size=1, max_size=5))
    held = other.task.encode([rows[pick] for pick in (*picks, -1)], other.tokenizer, max_length=64)
    whole = [{name: example[name] for name in example if name != "places"} for example in held]
    found = infer(other.model, Listed(whole), dtype=torch.float32, tokens=tokens)
    width = max(len(example["input_ids"]) for example in held)
    ids, types, real = (torch.zeros(len(held), width, dtype=torch.int64) for _ in range(3))
    for i, example in enumerate(held):
        length = len(example["input_ids"])
        ids[i, :length], real[i, :length] = torch.tensor(example["input_ids"]), 1
        types[i, :length] = torch.tensor(example.get("type_ids", [0] * length))
    with torch.inference_mode():
        padded = other.model(ids, attention_mask=real, type_ids=types).numpy()
    asked_about = infer(other.model, Listed(held), dtype=torch.float32, tokens=tokens)
    for i, example in enumerate(held):
        close(found[i], padded[i] if padded.ndim == 2 else padded[i, : len(example["input_ids"])])
        close(asked_about[i], found[i][example["places"]] if "places" in example else found[i])


def read(path: Path) -> list[dict[str, str]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, dialect="excel" if path.suffix == ".csv" else "excel-tab"))


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".tsv"])
@pytest.mark.parametrize("chunk", [3, 8192])
def test_a_file_is_answered_as_its_texts_are(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, chunk: int
) -> None:
    monkeypatch.setattr(predictor, "CHUNK", chunk)
    texts = [text for text in [*TEXTS, *TEXTS[::-1], TEXTS[5]] if text.strip()]
    source, output = tmp_path / "texts.jsonl", tmp_path / f"answers{ending}"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    command = ["predict", trained, "--input", source, "--output", output, "--precision", "float32"]
    assert run([str(word) for word in command]) == 0
    model = regard.load(trained, precision="float32")
    answers = read(output)
    assert [answer["text"] for answer in answers] == texts
    for answer, text in zip(answers, texts, strict=True):
        (lone,) = model.predict([text])
        assert answer["label"] == lone["label"]
        assert float(answer["score"]) == pytest.approx(lone["score"], abs=1e-5)
        assert answer.get("scores", lone["scores"]) == pytest.approx(lone["scores"], abs=1e-5)
