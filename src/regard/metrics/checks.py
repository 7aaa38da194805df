"""What every metric asks of its input: rows, finite numbers, matching shapes, labels that exist, texts."""

from __future__ import annotations

from collections.abc import Sequence, Sized

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regard.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TOLERANCE = 1e-3
"""How far a probability may lie outside 0 to 1, and a row's sum from 1: more than float32 needs, less than a mistake."""


def floats(values: ArrayLike, name: str, *, ndim: int) -> Floats:
    """`values` as float64 with `ndim` dimensions, at least one row and no NaN or infinity; else a DataError."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != ndim:
        raise DataError(f"{name} have shape {array.shape}", allowed=f"{ndim} dimension{'s' * (ndim > 1)}, rows first")
    if array.size == 0:
        raise _no_rows(name)
    broken = _any_column(~np.isfinite(array))
    if broken.any():
        raise DataError(
            f"{name} hold NaN or infinity ({broken.sum()} of {len(array)} rows)",
            where=_row(broken),
            allowed="finite numbers",
            fix="the model has diverged or overflowed: lower the learning rate, or compute in float32",
        )
    return array


def same_length(first: Sized, second: Sized, names: str) -> None:
    """A DataError unless both have equally many rows; `names` says which two they are."""
    if len(first) != len(second):
        raise DataError(f"{names} differ in rows: {len(first)} and {len(second)}", allowed="one of each for every row")


def class_labels(labels: ArrayLike, n_classes: int) -> Ints:
    """`labels` (n,) as class numbers from 0 to `n_classes` - 1; else a DataError naming the first row that is not."""
    array = floats(labels, "labels", ndim=1)
    wrong = (array < 0) | (array >= n_classes) | (array != np.floor(array))
    if wrong.any():
        raise DataError(
            f"label {array[wrong.argmax()]:g} is no class",
            where=_row(wrong),
            allowed=f"whole numbers from 0 to {n_classes - 1}",
        )
    return array.astype(np.int64)


def distributions(probabilities: ArrayLike) -> Floats:
    """`probabilities` (n, classes) whose rows sum to one within :data:`TOLERANCE`; else a DataError naming the row."""
    array = unit_interval(probabilities, "probabilities")
    wrong = np.abs(array.sum(axis=1) - 1) > TOLERANCE
    if wrong.any():
        raise DataError(
            f"probabilities sum to {array[wrong.argmax()].sum():.4g}",
            where=_row(wrong),
            allowed="rows that sum to 1",
            fix="apply softmax to logits first; for independent labels use multi_label",
        )
    return array


def unit_interval(values: ArrayLike, name: str, *, ndim: int = 2) -> Floats:
    """`values` as finite floats between 0 and 1 (rounding past them is cut); else a DataError naming the row."""
    array = floats(values, name, ndim=ndim)
    wrong = _any_column((array < -TOLERANCE) | (array > 1 + TOLERANCE))
    if wrong.any():
        raise DataError(f"{name} lie outside 0 to 1", where=_row(wrong), allowed="numbers from 0 to 1")
    return np.clip(array, 0, 1)


def texts(values: Sequence[str], name: str) -> list[str]:
    """`values` as a list of at least one text; else a DataError naming the first row that is none."""
    if isinstance(values, str):
        raise DataError(f"{name} are a single text", allowed="a list of texts, one a row", fix="put it into a list")
    rows = list(values)
    if not rows:
        raise _no_rows(name)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, str):
            raise DataError(f"{name} hold {_kind(row)}", where=f"row {number}", allowed="texts")
    return rows


def texts_and_references(
    hypotheses: Sequence[str], references: Sequence[str | Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """Texts that a model wrote, (n,), and the texts it should have written: one or several a row, lists in the answer.

    Raises DataError for no rows, unequal numbers of rows, rows without a reference and whatever is no text.
    """
    written = texts(hypotheses, "hypotheses")
    if isinstance(references, str):
        raise DataError("references are a single text", allowed="a text, or a list of texts, for every row")
    same_length(written, references, "hypotheses and references")
    wanted = [[row] if isinstance(row, str) else row for row in references]
    for number, row in enumerate(wanted, 1):
        if not isinstance(row, Sequence) or not all(isinstance(each, str) for each in row):
            raise DataError(f"references hold {_kind(row)}", where=f"row {number}", allowed="a text, or a list of texts")
        if not row:
            raise DataError("no reference", where=f"row {number}", allowed="one or more", fix="leave the row out")
    return written, [list(row) for row in wanted]


def _no_rows(name: str) -> DataError:
    fix = "check that the evaluation data is not empty"
    return DataError(f"{name} hold no rows", allowed="at least one row", fix=fix)


def _kind(value: object) -> str:
    if isinstance(value, list | tuple):
        return next((f"a list with {_kind(each)}" for each in value if not isinstance(each, str)), "a list")
    return "nothing" if value is None else f"{value!r}, which is no text"


def _any_column(wrong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(wrong.reshape(len(wrong), -1).any(axis=1))


def _row(wrong: NDArray[np.bool_]) -> str:
    return f"row {wrong.argmax() + 1}"
