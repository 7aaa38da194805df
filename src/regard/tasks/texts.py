"""What tasks share that judge a text, two texts, or several to choose from, as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from regard.errors import Problem
from regard.tasks.inputs import Input
from regard.tasks.task import Example, Fault, Row
from regard.text.tokenizer import Tokenizer

TEXT, PAIR = Input("text"), Input("pair")
CHOICES = Input("choices", separator="|")
"""Texts that are parted by `|` where a cell holds them all."""
MAYBE_PAIR = Input("pair", optional=True)
"""The second text of a checkpoint of other people's, which does not say whether it reads one."""


def encode_texts(
    rows: Sequence[Row], tokenizer: Tokenizer, *, inputs: Sequence[Input], max_length: int | None
) -> list[Example]:
    """`input_ids`, `truncated` (0 or 1) and, where a row has a second text, `type_ids`; one example a row.

    inputs: with :data:`PAIR` every row has two texts, with :data:`MAYBE_PAIR` those whose second one is not empty.
    """
    paired = [PAIR in inputs or (MAYBE_PAIR in inputs and bool(row.get("pair"))) for row in rows]
    examples: list[Example] = [{} for _ in rows]
    for two in {*paired}:
        group = [i for i, pair in enumerate(paired) if pair is two]
        seconds = [rows[i]["pair"] for i in group] if two else None
        ids, types, cut = tokenizer.ids([rows[i]["text"] for i in group], seconds, max_length=max_length)
        for place, i in enumerate(group):
            examples[i] = {"input_ids": ids[place], "truncated": int(cut[place])}
            if any(paired):
                examples[i]["type_ids"] = [0] * len(ids[place]) if types is None else types[place]
    return examples


def too_few(rows: Sequence[Row], *, fix: str) -> Iterator[Fault]:
    """Rows with nothing to choose from."""
    for number, row in enumerate(rows):
        if len(row["choices"]) < 2:
            yield Fault(number, "choices", Problem(f"{len(row['choices'])} choices", allowed="two or more", fix=fix))


def given_texts(result: Mapping[str, Any], inputs: Sequence[Input]) -> list[str]:
    """The texts of a result, for a line on the terminal; an empty second one is left out."""
    return [str(result[each.name]) for each in inputs if not each.optional or result.get(each.name)]
