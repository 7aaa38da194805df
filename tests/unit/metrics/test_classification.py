"""Classification metrics: equal to scikit-learn's, and lawful where it is silent."""

import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from regard.errors import DataError
from regard.metrics import expected_calibration_error, multi_label, single_label


def names(count):
    return [f"class {number}" for number in range(count)]


@st.composite
def single_case(draw):
    """Labels and probabilities of few rows and classes: rare and missing classes are common."""
    n_rows, n_classes = draw(st.integers(1, 30)), draw(st.integers(2, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return random.integers(n_classes, size=n_rows), random.dirichlet(np.full(n_classes, 0.3), size=n_rows)


@st.composite
def multi_case(draw):
    n_rows, n_classes = draw(st.integers(1, 30)), draw(st.integers(2, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return random.integers(2, size=(n_rows, n_classes)), random.random((n_rows, n_classes))


def values(report):
    return {name: metric.value for name, metric in report.metrics.items()}


def assert_same_classes(report, truth, guess, n_classes):
    expected = reference.precision_recall_fscore_support(truth, guess, labels=range(n_classes), zero_division=0)
    ours = [(row.precision.value, row.recall.value, row.f1.value, row.support) for row in report.per_class]
    assert np.allclose(np.array(ours).T, expected, rtol=1e-12, atol=0)


@given(single_case())
def test_single_label_equals_scikit_learn(case):
    labels, probabilities = case
    n_classes = probabilities.shape[1]
    guess = probabilities.argmax(axis=1)
    report = single_label(labels, probabilities, names(n_classes))
    assert values(report) == pytest.approx(
        {
            "accuracy": reference.accuracy_score(labels, guess),
            "macro-f1": reference.f1_score(labels, guess, average="macro", zero_division=0),
            "log-loss": reference.log_loss(labels, probabilities, labels=range(n_classes)),
            "calibration-error": expected_calibration_error(probabilities.max(axis=1), guess == labels),
        },
        rel=1e-9,
    )
    assert report.confusion == reference.confusion_matrix(labels, guess, labels=range(n_classes)).tolist()
    assert_same_classes(report, labels, guess, n_classes)


@given(multi_case(), st.floats(0.1, 0.9))
def test_multi_label_equals_scikit_learn(case, threshold):
    labels, probabilities = case
    n_classes = labels.shape[1]
    guess = (probabilities >= threshold).astype(int)
    report = multi_label(labels, probabilities, names(n_classes), threshold=threshold)
    # Ours averages the classes that occur, as scikit-learn does for one label a row; for many it takes all of them.
    seen = np.flatnonzero((labels | guess).any(axis=0))
    macro = reference.f1_score(labels, guess, labels=seen, average="macro", zero_division=0) if len(seen) else 0.0
    assert report.metrics["accuracy"].value == pytest.approx(reference.accuracy_score(labels, guess))
    assert report.metrics["micro-f1"].value == pytest.approx(
        reference.f1_score(labels, guess, average="micro", zero_division=0)
    )
    assert report.metrics["macro-f1"].value == pytest.approx(macro)
    assert report.confusion == reference.multilabel_confusion_matrix(labels, guess).reshape(n_classes, 4).tolist()
    assert_same_classes(report, labels, guess, n_classes)


@given(single_case())
def test_every_interval_holds_its_value_within_the_range_of_the_metric(case):
    labels, probabilities = case
    report = single_label(labels, probabilities, names(probabilities.shape[1]))
    metrics = [*report.metrics.values(), *(part for row in report.per_class for part in (row.precision, row.recall, row.f1))]
    assert all(0 <= metric.low <= metric.value <= metric.high for metric in metrics)
    assert all(metric.high <= 1 + 1e-12 for name, metric in report.metrics.items() if name != "log-loss")


@given(single_case(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_no_value(case, random):
    labels, probabilities = case
    order = np.array(random.sample(range(len(labels)), len(labels)))
    n_classes = probabilities.shape[1]
    one = single_label(labels, probabilities, names(n_classes))
    other = single_label(labels[order], probabilities[order], names(n_classes))
    assert values(one) == pytest.approx(values(other), rel=1e-9)
    assert one.confusion == other.confusion


@given(single_case())
def test_perfect_predictions_are_certain(case):
    labels, probabilities = case
    n_classes = probabilities.shape[1]
    report = single_label(labels, np.eye(n_classes)[labels], names(n_classes))
    for name in ("accuracy", "macro-f1"):
        assert report.metrics[name].as_dict() == {"value": 1, "low": 1, "high": 1}
    assert values(report)["calibration-error"] == values(report)["log-loss"] == 0


def test_perfect_multi_label_predictions_are_certain():
    labels = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 1]])
    report = multi_label(labels, labels, names(3))
    for name in ("accuracy", "macro-f1", "micro-f1"):
        assert report.metrics[name].value == report.metrics[name].low == 1
    assert report.metrics["calibration-error"].value == 0


def test_a_multi_label_decision_is_as_sure_as_the_side_it_took():
    report = multi_label([[1, 0]], [[0.9, 0.3]], names(2))
    # Two right decisions, made with confidence 0.9 and 0.7: gaps 0.1 and 0.3.
    assert report.metrics["calibration-error"].value == pytest.approx(0.2)


def test_a_probability_that_underflowed_costs_what_it_costs_in_scikit_learn():
    assert single_label([1], [[1.0, 0.0]], names(2)).metrics["log-loss"].value == pytest.approx(
        reference.log_loss([1], [[1.0, 0.0]], labels=[0, 1])
    )


def test_more_rows_give_a_narrower_interval():
    random = np.random.default_rng(0)
    labels, probabilities = random.integers(3, size=2000), random.dirichlet(np.ones(3), size=2000)
    few, many = (single_label(labels[:n], probabilities[:n], names(3)).metrics["accuracy"] for n in (50, 2000))
    assert many.high - many.low < (few.high - few.low) / 3


def test_the_report_is_ready_for_json():
    report = single_label([0, 1, 1], [[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]], ["bad", "good"]).as_dict()
    assert json.loads(json.dumps(report)) == report
    assert set(report["metrics"]["accuracy"]) == {"value", "low", "high"}
    assert [row["label"] for row in report["per_class"]] == ["bad", "good"]
    assert report["per_class"][1]["support"] == 2


def test_a_thousand_resamples_of_ten_thousand_rows_take_a_moment():
    random = np.random.default_rng(0)
    labels, probabilities = random.integers(15, size=10_000), random.dirichlet(np.ones(15), size=10_000)
    single_label(labels[:10], probabilities[:10], names(15))  # imports scipy
    start = time.process_time()
    single_label(labels, probabilities, names(15))
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: single_label([], np.empty((0, 2)), names(2)), "probabilities hold no rows"),
        (lambda: single_label([0, 1], [[0.5, 0.5], [0.5, 0.3]], names(2)), "row 2: probabilities sum to 0.8"),
        (lambda: single_label([0], [[1.5, -0.5]], names(2)), "row 1: probabilities lie outside 0 to 1"),
        (lambda: single_label([0, 2], [[1, 0], [0, 1]], names(2)), "row 2: label 2 is no class"),
        (lambda: single_label([-1], [[1, 0]], names(2)), "row 1: label -1 is no class"),
        (lambda: single_label([0.5], [[1, 0]], names(2)), "row 1: label 0.5 is no class"),
        (lambda: single_label([0, 1], [[0.5, 0.5], [np.nan, 1]], names(2)), "row 2: probabilities hold NaN or infinity"),
        (lambda: single_label([0], [[1, 0], [1, 0]], names(2)), "labels and probabilities differ in rows: 1 and 2"),
        (lambda: single_label([0], [[1, 0]], names(3)), "3 label names for 2 columns of probabilities"),
        (lambda: single_label([0], [1.0], names(1)), "probabilities have shape (1,)"),
        (lambda: multi_label([[0, 2]], [[0.1, 0.2]], names(2)), "row 1, class 2: label 2"),
        (lambda: multi_label([[0, 1]], [[0.1, 1.2]], names(2)), "row 1: probabilities lie outside 0 to 1"),
        (lambda: multi_label([[0, 1]], [[0.1]], names(1)), "labels have shape (1, 2), probabilities (1, 1)"),
        (lambda: multi_label(np.empty((0, 2)), np.empty((0, 2)), names(2)), "probabilities hold no rows"),
    ],
)
def test_errors(call, message):
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value).startswith(message)
    assert caught.value.problems[0].allowed
