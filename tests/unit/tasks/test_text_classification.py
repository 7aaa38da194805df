"""text-classification: rows to examples, the loss, answers, metrics, and its settings on their way to a folder and back."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.data.batch import Listed, take
from regard.data.check import Report, check
from regard.data.read import read
from regard.errors import ConfigError, DataError
from regard.models.config import HeadConfig, ModelConfig
from regard.tasks.inputs import Input
from regard.tasks.task import TASKS
from regard.tasks.text_classification import Options, TextClassification
from regard.text import Tokenizer, train_tokenizer

MODEL = ModelConfig(vocab_size=9, d_model=4, n_layers=1, n_heads=1, d_ff=4)
LABELS, COUNTS = ("bad", "good", "so-so"), (10, 3, 1)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["a dull film", "a fine film", "一部好电影"] * 4, kind="wordpiece", vocab_size=60)


def task(**options: Any) -> TextClassification:
    return TextClassification(LABELS, COUNTS, Options(**options))


def report(folder: Path, content: str, options: Mapping[str, Any] | None = None) -> Report:
    path = folder / "rows.jsonl"
    path.write_text(content, encoding="utf-8")
    return check(read(path), TextClassification.columns(options or {}))


def test_it_is_registered() -> None:
    assert TASKS["text-classification"] is TextClassification


# From the data


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["10", "9", "1"], ["1", "9", "10"]),
        (["2", "-1", "0.5", "b", "a"], ["-1", "0.5", "2", "a", "b"]),
        (["好", "坏", "A", "a"], ["A", "a", "坏", "好"]),
        (["nan", "inf", "b", "a", "1"], ["1", "a", "b", "inf", "nan"]),
        (["1", "1.0", "01"], ["01", "1", "1.0"]),
    ],
)
def test_labels_are_in_natural_order_whatever_the_order_of_the_rows(
    labels: list[str], expected: list[str], tmp_path: Path
) -> None:
    for given_labels in (labels, labels[::-1], sorted(labels)):
        rows = "".join(
            json.dumps({"text": f"{i}", "label": label}) + "\n" for i, label in enumerate([*given_labels, labels[0]])
        )
        found = TextClassification.from_data({}, report(tmp_path, rows))
        assert list(found.labels) == expected
        assert found.counts == tuple(2 if label == labels[0] else 1 for label in expected)
        assert found.temperature == 1


def test_which_columns_are_read() -> None:
    plain = TextClassification.columns({})
    assert (plain.inputs, plain.target, plain.target_kind) == (("text",), "label", "label")
    several = TextClassification.columns({"pair": True, "multi_label": True, "separator": ";"})
    assert (several.inputs, several.target_kind, several.separator) == (("text", "pair"), "labels", ";")
    assert task().inputs == (Input("text"),)
    assert task(pair=True).inputs == (Input("text"), Input("pair"))


def test_metrics_that_can_choose_the_best() -> None:
    assert TextClassification.metrics({}) == ("accuracy", "macro-f1")
    assert TextClassification.metrics({"multi_label": True})[0] == "micro-f1"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pairs": True}, "unknown key 'pairs'"),
        ({"threshold": 0}, "key 'threshold' is 0"),
        ({"threshold": 1.0}, "key 'threshold' is 1.0"),
        ({"threshold": math.nan}, "key 'threshold' is nan"),
        ({"class_weights": "even"}, "'none' or 'balanced'"),
        ({"pool": "max"}, "'first', 'mean' or 'last'"),
        ({"separator": ""}, "key 'separator' is ''"),
        ({"pair": "perhaps"}, "key 'pair' is 'perhaps'"),
    ],
)
def test_wrong_options_are_refused_wherever_they_are_read(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    good = report(tmp_path, '{"text": "x", "label": "a"}\n{"text": "y", "label": "b"}\n')
    for reader in (
        TextClassification.columns,
        TextClassification.metrics,
        lambda given_options: TextClassification.from_data(given_options, good),
    ):
        with pytest.raises(ConfigError) as caught:
            reader(options)
        assert f"options: {says}" in str(caught.value) or says in str(caught.value)
        assert caught.value.problems[0].where == "options"


def test_all_wrong_options_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        TextClassification.columns({"pairs": True, "threshold": 2, "pool": "max"})
    assert len(caught.value.problems) == 3


# Settings


options = st.builds(
    Options,
    pair=st.booleans(),
    multi_label=st.booleans(),
    separator=st.text(min_size=1, max_size=3),
    pool=st.sampled_from(["first", "mean", "last", None]),
    class_weights=st.sampled_from(["none", "balanced"]),
    threshold=st.floats(0.01, 0.99),
)
labels = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=6, unique=True).map(tuple)


@settings(deadline=None)
@given(labels=labels, chosen=options, temperature=st.floats(0.01, 100), data=st.data())
def test_settings_come_back_from_json(
    labels: tuple[str, ...], chosen: Options, temperature: float, data: st.DataObject
) -> None:
    counts = tuple(data.draw(st.lists(st.integers(0, 99), min_size=len(labels), max_size=len(labels))))
    made = TextClassification(labels, counts, chosen, temperature)
    saved = json.loads(json.dumps(made.settings()))
    assert TextClassification.from_settings({"task": "text-classification", "columns": {}, **saved}) == made
    assert saved["multi_label"] == chosen.multi_label


def test_an_imported_checkpoint_tells_its_labels_alone() -> None:
    found = TextClassification.from_settings({"task": "text-classification", "labels": ["a", "b"], "multi_label": True})
    assert found == TextClassification(("a", "b"), (0, 0), Options(multi_label=True), imported=True)
    assert TextClassification.from_settings(json.loads(json.dumps(found.settings()))) == found


def test_an_imported_checkpoint_answers_texts_and_pairs(tokenizer: Tokenizer) -> None:
    """What it was trained with is not said: each row is encoded for what it holds."""
    found = TextClassification.from_settings({"labels": ["a", "b"]})
    assert found.inputs == (Input("text"), Input("pair", optional=True))
    texts, pairs = ["a fine film", "a film", "a"], ["", "a fine film", "film"]
    rows = [{"text": text, "pair": pair} for text, pair in zip(texts, pairs, strict=True)]
    examples = found.encode(rows, tokenizer, max_length=None)
    both, types, _ = tokenizer.ids(texts[1:], pairs[1:])
    assert types is not None
    (alone,) = tokenizer.ids(texts[:1])[0]
    assert [example["input_ids"] for example in examples] == [alone, *both]
    assert [example["type_ids"] for example in examples] == [[0] * len(alone), *types]
    assert not any("type_ids" in example for example in found.encode([{"text": "a"}], tokenizer, max_length=None))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": None}, "key 'labels'"),
        ({"labels": "abc"}, "key 'labels'"),
        ({"temperature": 0}, "key 'temperature' is 0"),
        ({"temperature": math.inf}, "key 'temperature' is inf"),
        ({"options": {"pear": 1}}, "unknown key 'options.pear'"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TextClassification.from_settings({**task().settings(), **change})
    assert says in str(caught.value)
    assert caught.value.problems[0].where == "task.json"


def test_the_head_keeps_what_the_checkpoint_has() -> None:
    assert task().head(None, MODEL) == HeadConfig(n_outputs=3, pool="mean", dense=False)
    assert task(pool="first").head(None, MODEL) == HeadConfig(n_outputs=3, pool="first", dense=False)
    found = HeadConfig(n_outputs=7, pool="first", dense=True)
    assert task().head(found, MODEL) == found.model_copy(update={"n_outputs": 3})
    assert task(pool="last").head(found, MODEL).pool == "last"
    for over in ("tokens", "vocabulary", "pair"):
        assert task().head(HeadConfig(over=over, n_outputs=7), MODEL) == task().head(None, MODEL)


# Rows to examples


def test_encode(tokenizer: Tokenizer) -> None:
    rows = [{"text": "a fine film", "label": "good"}, {"text": "", "label": "bad"}]
    examples = task().encode(rows, tokenizer, max_length=None)
    assert [example["label"] for example in examples] == [1, 0]
    assert [example["input_ids"] for example in examples] == tokenizer.ids([row["text"] for row in rows])[0]
    assert [example.keys() for example in examples] == [{"input_ids", "truncated", "label"}] * 2
    assert [example["truncated"] for example in examples] == [0, 0]


def test_encode_cuts_and_counts(tokenizer: Tokenizer) -> None:
    examples = task().encode([{"text": "a fine film " * 9}, {"text": "a"}], tokenizer, max_length=6)
    assert [len(example["input_ids"]) for example in examples] == [6, 3]
    assert [example["truncated"] for example in examples] == [1, 0]
    assert not any("label" in example for example in examples)


def test_encode_pairs(tokenizer: Tokenizer) -> None:
    rows = [{"text": "a fine film", "pair": "a film", "label": "good"}]
    (example,) = task(pair=True).encode(rows, tokenizer, max_length=None)
    ids, types, _ = tokenizer.ids(["a fine film"], ["a film"])
    assert types is not None
    assert (example["input_ids"], example["type_ids"]) == (ids[0], types[0])
    assert set(example["type_ids"]) == {0, 1}


@pytest.mark.parametrize(
    ("given_label", "places"),
    [("good|bad", [1, 0]), ("good | so-so", [1, 2]), ("", []), (["good"], [1]), ([], [])],
)
def test_encode_several_labels(tokenizer: Tokenizer, given_label: str | list[str], places: list[int]) -> None:
    (example,) = task(multi_label=True).encode([{"text": "a", "label": given_label}], tokenizer, max_length=None)
    assert example["labels"] == places


def test_labels_that_are_numbers_are_their_text(tokenizer: Tokenizer) -> None:
    numbers = TextClassification(("0", "1"), (1, 1), Options())
    examples = numbers.encode([{"text": "a", "label": 1}, {"text": "a", "label": "0"}], tokenizer, max_length=None)
    assert [example["label"] for example in examples] == [1, 0]


@pytest.mark.parametrize("several", [False, True])
def test_an_unknown_label_is_refused(tokenizer: Tokenizer, several: bool) -> None:
    with pytest.raises(DataError, match="unknown label 'meh'") as caught:
        task(multi_label=several).encode([{"text": "a", "label": "meh"}], tokenizer, max_length=None)
    assert caught.value.problems[0].allowed == "bad, good, so-so"


# The loss


LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0], [0.5, 0.5, 3.0]])


def loss(made: TextClassification, targets: list[Any], *, smoothing: float = 0.0) -> float:
    """The sum for LOGITS; the batch sorts its rows by length, so all are of one."""
    name = "labels" if made.options.multi_label else "label"
    held = Listed([{"input_ids": [1, 2], name: target} for target in targets])
    total, count = made.cost(LOGITS, take(held, np.arange(3)), smoothing=smoothing)
    assert count == 3
    return float(total)


def test_the_loss_is_the_sum_of_surprises() -> None:
    p = LOGITS.softmax(-1)
    expected = -math.log(p[0, 0]) - math.log(p[1, 2]) - math.log(p[2, 1])
    assert loss(task(), [0, 2, 1]) == pytest.approx(expected)


def test_balanced_classes_weigh_the_same_in_all() -> None:
    """Weights n / (k · count): 14 / (3 · 10), 14 / (3 · 3), 14 / (3 · 1); over the training rows they are 1 on average."""
    weights = [14 / (3 * count) for count in COUNTS]
    assert sum(weight * count for weight, count in zip(weights, COUNTS, strict=True)) == pytest.approx(14)
    surprise = -LOGITS.log_softmax(-1)
    expected = weights[0] * surprise[0, 0] + weights[2] * surprise[1, 2] + weights[1] * surprise[2, 1]
    assert loss(task(class_weights="balanced"), [0, 2, 1]) == pytest.approx(float(expected))


def test_smoothing_moves_some_of_the_target_to_all_classes() -> None:
    surprise = -LOGITS.log_softmax(-1)
    right = surprise[0, 0] + surprise[1, 2] + surprise[2, 1]
    assert loss(task(), [0, 2, 1], smoothing=0.3) == pytest.approx(float(0.7 * right + 0.3 * surprise.mean(-1).sum()))


def test_several_labels_are_so_many_questions() -> None:
    """The mean over the labels, the sum over the rows; also for a row without labels."""
    truth = torch.tensor([[1.0, 1, 0], [0, 0, 0], [0, 0, 1]])
    p = LOGITS.sigmoid()
    surprise = -(truth * p.log() + (1 - truth) * (1 - p).log())
    assert loss(task(multi_label=True), [[0, 1], [], [2]]) == pytest.approx(float(surprise.mean(-1).sum()))
    # balanced: what a label lacks in rows, its positives weigh more: (14 - count) / count
    weights = torch.tensor([(14 - count) / count for count in COUNTS])
    surprise = -(weights * truth * p.log() + (1 - truth) * (1 - p).log())
    found = loss(task(multi_label=True, class_weights="balanced"), [[0, 1], [], [2]])
    assert found == pytest.approx(float(surprise.mean(-1).sum()))


def test_the_loss_has_a_gradient_and_asks_for_nothing_writable() -> None:
    outputs = LOGITS.clone().requires_grad_()
    places = np.array([0, 1])
    places.flags.writeable = False  # as a store on disk gives it
    held = Listed([{"input_ids": [1, 2], "labels": places}] * 3)
    task(multi_label=True).cost(outputs, take(held, np.arange(3)), smoothing=0.1)[0].backward()
    assert outputs.grad is not None
    assert (outputs.grad != 0).all()


# Answers

UNUSED: tuple[list[Any], list[Any]] = ([], [])
"""Examples and rows: a label is read from the outputs alone."""


def test_decode() -> None:
    answers = task().decode(LOGITS.numpy(), *UNUSED)
    assert [answer["label"] for answer in answers] == ["bad", "good", "so-so"]
    for answer, row in zip(answers, LOGITS.double().softmax(-1), strict=True):
        assert list(answer) == ["label", "score", "scores"]
        assert list(answer["scores"]) == list(LABELS)
        assert list(answer["scores"].values()) == pytest.approx(row.tolist())
        assert answer["score"] == answer["scores"][answer["label"]]
    json.dumps(answers)


def test_of_equal_scores_the_first_label_wins() -> None:
    assert task().decode(np.zeros((1, 3), np.float32), *UNUSED)[0]["label"] == "bad"


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, ["bad", "good"]), (0.6, ["bad"]), (0.9, [])])
def test_decode_several_labels(threshold: float, expected: list[str]) -> None:
    """From the threshold on a label is chosen: sigmoid(0) is 0.5."""
    (answer,) = task(multi_label=True, threshold=threshold).decode(np.array([[2.0, 0.0, -1.0]], np.float32), *UNUSED)
    assert (list(answer), answer["labels"]) == (["labels", "scores"], expected)
    assert list(answer["scores"].values()) == pytest.approx((1 / (1 + np.exp([-2.0, 0.0, 1.0]))).tolist())


def test_calibration_changes_scores_and_no_answer() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(300, 3)).astype(np.float32)
    chances = torch.from_numpy(logits).softmax(-1).numpy()
    examples = [{"label": int(random.choice(3, p=row / row.sum()))} for row in chances]
    sure = task().calibrated(logits * 4, examples)
    assert sure.temperature == pytest.approx(4, rel=0.35)
    assert sure.settings()["temperature"] == sure.temperature
    before, after = task().decode(logits * 4, *UNUSED), sure.decode(logits * 4, *UNUSED)
    assert [answer["label"] for answer in before] == [answer["label"] for answer in after]
    assert np.mean([answer["score"] for answer in after]) < np.mean([answer["score"] for answer in before])
    old, new = (made.evaluate(logits * 4, examples).metrics for made in (task(), sure))
    assert new["log-loss"]["value"] < old["log-loss"]["value"]
    assert new["accuracy"] == old["accuracy"]


def test_several_labels_are_not_calibrated() -> None:
    made = task(multi_label=True)
    assert made.calibrated(LOGITS.numpy(), [{"labels": [0]}] * 3) is made


# Metrics


def test_evaluate() -> None:
    found = task().evaluate(LOGITS.numpy(), [{"label": 0}, {"label": 1}, {"label": 1}])
    assert found.metrics.keys() == {"accuracy", "macro-f1", "calibration-error", "log-loss"}
    assert found.metrics["accuracy"]["value"] == pytest.approx(2 / 3)
    assert all(metric["low"] <= metric["value"] <= metric["high"] for metric in found.metrics.values())
    assert found.tables["confusion"] == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert [row["label"] for row in found.tables["per_class"]] == list(LABELS)
    assert [row["support"] for row in found.tables["per_class"]] == [1, 2, 0]
    json.dumps(found.as_dict())


def test_evaluate_several_labels() -> None:
    found = task(multi_label=True).evaluate(LOGITS.numpy(), [{"labels": [0, 1]}, {"labels": []}, {"labels": [0, 1, 2]}])
    assert found.metrics.keys() == {"micro-f1", "macro-f1", "accuracy", "calibration-error"}
    assert found.metrics["accuracy"]["value"] == pytest.approx(2 / 3)
    # [true negatives, false positives, false negatives, true positives] of each label; sigmoid(0) = 0.5 counts as yes
    assert found.tables["confusion"] == [[0, 1, 0, 2], [0, 1, 0, 2], [1, 1, 0, 1]]
    json.dumps(found.as_dict())
