"""multiple-choice and regression: what is made of one output, or of several."""

from typing import Any

import numpy as np
import pytest

from regard.errors import ConfigError
from regard.tasks.multiple_choice import MultipleChoice
from regard.tasks.regression import Regression
from regard.text import Tokenizer, train_tokenizer

ROWS = [{"context": "a fine film", "choices": ["a", "b", "a"]}, {"context": "b", "choices": ["b", "c"]}]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["a fine film", "b c"] * 4, kind="wordpiece", vocab_size=40)


def test_each_choice_is_read_behind_its_context(tokenizer: Tokenizer) -> None:
    examples = MultipleChoice().encode(ROWS, tokenizer, max_length=None)
    ids, types, _ = tokenizer.ids(["a fine film"] * 3 + ["b"] * 2, ["a", "b", "a", "b", "c"])
    assert types is not None
    assert [(each["input_ids"], each["type_ids"]) for each in examples] == list(zip(ids, types, strict=True))
    assert [example["row"] for example in examples] == [0, 0, 0, 1, 1]
    assert max(len(each["input_ids"]) for each in MultipleChoice().encode(ROWS, tokenizer, max_length=6)) == 6


def test_the_best_choice(tokenizer: Tokenizer) -> None:
    task = MultipleChoice()
    examples = task.encode(ROWS, tokenizer, max_length=None)
    chances = np.log([[0.2], [0.7], [0.1], [0.5], [0.5]]).astype(np.float32)
    answers = task.decode(chances, examples, ROWS)
    assert [(answer["choice"], answer["index"]) for answer in answers] == [("b", 1), ("b", 0)]
    assert [answer["scores"] for answer in answers] == [pytest.approx([0.2, 0.7, 0.1]), [0.5, 0.5]]
    assert [answer["score"] for answer in answers] == [pytest.approx(0.7), 0.5]
    result: dict[str, Any] = {**ROWS[0], **answers[0]}
    assert task.told(result) == ["b", "0.7000", "a fine film"]
    assert list(task.cells(result)) == ["context", "choices", "choice", "index", "score"]
    assert task.cells(result)["choices"] == "a|b|a"


@pytest.mark.parametrize("choices", [[], ["a"]])
def test_one_choice_is_none(tokenizer: Tokenizer, choices: list[str]) -> None:
    (fault,) = MultipleChoice().faults([*ROWS, {"context": "c", "choices": choices}], tokenizer, max_length=None)
    assert (fault.row, fault.column) == (2, "choices")
    assert (fault.problem.what, fault.problem.allowed) == (f"{len(choices)} choices", "two or more")


def test_a_number_is_what_the_head_gives() -> None:
    task = Regression(("stars",))
    (answer,) = task.decode(np.array([[-1.5]], np.float32), [], [])
    assert answer == {"score": -1.5}
    assert task.told({"text": "a", **answer}) == ["-1.5000", "a"]
    assert task.told({"text": "a", "pair": "b", **answer}) == ["-1.5000", "a", "b"]
    assert task.cells({"text": "a", "pair": "", **answer}) == {"text": "a", "pair": "", "score": "-1.5"}


def test_several_numbers_have_names() -> None:
    task = Regression(("food", "room"))
    (answer,) = task.decode(np.array([[0.5, 2.0]], np.float32), [], [])
    assert answer == {"scores": {"food": 0.5, "room": 2.0}}
    assert task.told({"text": "a", **answer}) == ["food 0.5000, room 2.0000", "a"]
    assert task.cells({"text": "a", **answer}) == {"text": "a", "food": "0.5", "room": "2.0"}
    with pytest.raises(ConfigError, match=r"task.json: missing key 'labels'"):
        Regression.from_settings({})
