"""The labels of an output layer: `id2label`, `label2id`, `problem_type` in their config.json, `labels` in our task.json."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

from regard.errors import ConfigError, Problems, listed

MOST_OUTPUTS = 2**20
"""Rows of an output layer that are given a label each: a bound for hostile files."""

CLASSIFICATION, REGRESSION = "text-classification", "regression"

LABELLED = (CLASSIFICATION, "token-classification", "image-classification", "audio-classification")
"""Tasks whose outputs have labels."""

PROBLEM_TYPES: dict[str, tuple[str, bool]] = {
    "single_label_classification": (CLASSIFICATION, False),
    "multi_label_classification": (CLASSIFICATION, True),
    "regression": (REGRESSION, False),
}
"""Their `problem_type` to our task and whether a row has several labels."""


def read_labels(theirs: Mapping[str, Any], n_outputs: int, task: str, problems: Problems, where: str) -> dict[str, Any]:
    """What task.json would say: `task`, `labels` in the order of the outputs and, of texts as a whole, `multi_label`.

    Absent labels are called LABEL_0, LABEL_1 …, an absent problem type is regression for one output, as transformers has
    it. What is missing or contradicts another key or the output layer's `n_outputs` rows goes to `problems`.
    """
    if n_outputs > MOST_OUTPUTS:
        problems.add(f"the output layer has {n_outputs} rows", where=where, allowed=f"at most {MOST_OUTPUTS}")
        return {}
    named = theirs.get("id2label")
    labels = default_labels(n_outputs) if named is None else _in_order(named, n_outputs, problems, where)
    inverse = theirs.get("label2id")
    if labels and inverse is not None and inverse != {label: i for i, label in enumerate(labels)}:
        fix = "make label2id the inverse of id2label, or remove it"
        problems.add(f"label2id is {reprlib.repr(inverse)}, id2label says otherwise", where=where, fix=fix)
    count = theirs.get("num_labels")
    if count is not None and count != n_outputs:
        problems.add(
            f"key 'num_labels' is {reprlib.repr(count)}", where=where, allowed=f"{n_outputs}, the outputs there are"
        )
    if task != CLASSIFICATION:
        return {"task": task, "labels": labels}
    kind = theirs.get("problem_type")
    if kind is None:
        kind = "regression" if n_outputs == 1 else "single_label_classification"
    if not isinstance(kind, str) or kind not in PROBLEM_TYPES:
        problems.add(f"key 'problem_type' is {reprlib.repr(kind)}", where=where, allowed=listed(PROBLEM_TYPES))
        kind = "single_label_classification"
    task, multi_label = PROBLEM_TYPES[kind]
    return {"task": task, "labels": labels, "multi_label": multi_label}


def write_labels(theirs: dict[str, Any], task: Mapping[str, Any], n_outputs: int, kind: str, where: str) -> None:
    """Set the three keys in `theirs` to what `task` says; they stay as they are where they say it already.

    Raises :class:`~regard.errors.ConfigError` when there are not as many labels as outputs.
    """
    doubts = Problems(ConfigError)
    said = read_labels(theirs, n_outputs, kind, doubts, where)
    labels = [str(label) for label in task.get("labels") or default_labels(n_outputs)]
    wanted = {"task": task.get("task", said.get("task")), "labels": labels}
    if kind == CLASSIFICATION:
        wanted["multi_label"] = bool(task.get("multi_label"))
    if len(labels) != n_outputs:
        raise ConfigError(f"{len(labels)} labels for {n_outputs} outputs", where=where, allowed="one label an output")
    if doubts or said != wanted:
        theirs["id2label"] = {str(i): label for i, label in enumerate(labels)}
        theirs["label2id"] = {label: i for i, label in enumerate(labels)}
        if kind == CLASSIFICATION:
            meanings = {meaning: name for name, meaning in PROBLEM_TYPES.items()}
            theirs["problem_type"] = meanings.get((wanted["task"], wanted["multi_label"]))
        theirs.pop("num_labels", None)


def default_labels(n_outputs: int) -> list[str]:
    """What outputs without a name are called."""
    return [f"LABEL_{i}" for i in range(n_outputs)]


def _in_order(named: Any, n_outputs: int, problems: Problems, where: str) -> list[str]:
    """Labels by id; an empty list after a problem."""
    ids = [str(i) for i in range(n_outputs)]
    if not isinstance(named, dict) or named.keys() != set(ids):
        allowed = f'{{"0": …}} with the ids 0 to {n_outputs - 1}, one for each row of the output layer'
        problems.add(f"id2label is {reprlib.repr(named)}", where=where, allowed=allowed)
        return []
    labels = [named[i] for i in ids]
    if not all(isinstance(label, str) for label in labels) or len(set(labels)) < n_outputs:
        problems.add(f"id2label is {reprlib.repr(named)}", where=where, allowed="texts that differ from each other")
        return []
    return labels
