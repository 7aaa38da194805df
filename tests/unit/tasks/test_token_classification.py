"""token-classification: labels of first tokens become entities, or tags of words."""

from typing import Any

import numpy as np
import pytest

from regard.errors import ConfigError
from regard.tasks.token_classification import TokenClassification
from regard.text import Tokenizer, train_tokenizer

PLACES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
TAGS = ("n", "v", "w")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["George Washington lived at Mount Vernon.", "他去拿书"] * 3, kind="wordpiece", vocab_size=60)


def answer(
    task: TokenClassification, row: dict[str, Any], tokenizer: Tokenizer, labels: str, *, max_length: int | None = None
) -> Any:
    """What the task makes of a row when the head gives each word in turn one of these labels, with 9 to 1."""
    examples = task.encode([row], tokenizer, max_length=max_length)
    places = iter(labels.split())
    outputs = []
    for example in examples:
        scores = np.full((len(example["places"]), len(task.labels)), -np.inf, np.float32)
        for i in range(len(scores)):
            scores[i, task.labels.index(next(places))] = np.log(9)
            scores[i, -1 if scores[i, -1] < 0 else 0] = 0
        outputs.append(scores)
    assert next(places, None) is None
    (found,) = task.decode(outputs, examples, [row])
    return found


def test_entities(tokenizer: Tokenizer) -> None:
    text = "George Washington lived at Mount Vernon."
    found = answer(TokenClassification(PLACES), {"text": text}, tokenizer, "B-PER I-PER O O B-LOC I-LOC O")
    assert [(part["label"], part["start"], part["end"], part["text"]) for part in found["entities"]] == [
        ("PER", 0, 17, "George Washington"),
        ("LOC", 27, 39, "Mount Vernon"),
    ]
    assert [part["score"] for part in found["entities"]] == [pytest.approx(0.9)] * 2
    result = {"text": text, **found}
    assert TokenClassification(PLACES).told(result) == ["George Washington/PER, Mount Vernon/LOC", text]


def test_tags(tokenizer: Tokenizer) -> None:
    task = TokenClassification(TAGS)
    found = answer(task, {"text": "他去 拿书"}, tokenizer, "n v v n")
    assert list(found) == ["tokens"]
    assert list(found["tokens"][0]) == ["label", "score", "start", "end", "text"]
    assert [(part["text"], part["label"], part["start"]) for part in found["tokens"]] == [
        ("他", "n", 0),
        ("去", "v", 1),
        ("拿", "v", 3),
        ("书", "n", 4),
    ]
    assert task.told({"text": "他去 拿书", **found}) == ["他/n 去/v 拿/v 书/n", "他去 拿书"]


def test_given_words_keep_their_number(tokenizer: Tokenizer) -> None:
    """One tag a word, whatever the tokenizer makes of it; places are those in the words with a blank between them."""
    task = TokenClassification(TAGS)
    row = {"tokens": ["他", "Mount Vernon", "\u200b", "拿书", "well-known", ""]}
    found = answer(task, row, tokenizer, "n v w n")
    assert [part["text"] for part in found["tokens"]] == row["tokens"]
    assert [part["label"] for part in found["tokens"]] == ["n", "v", None, "w", "n", None]
    assert [part["start"] for part in found["tokens"]] == [0, 2, 15, 17, 20, 31]
    assert task.told({**row, **found}) == ["他/n Mount Vernon/v \u200b 拿书/w well-known/n "]


def test_entities_of_given_words(tokenizer: Tokenizer) -> None:
    row = {"tokens": ["Mount", "Vernon", "\u200b", "Vernon"]}
    found = answer(TokenClassification(PLACES), row, tokenizer, "B-LOC I-LOC I-LOC")
    assert [(part["text"], part["start"], part["end"]) for part in found["entities"]] == [
        ("Mount Vernon \u200b Vernon", 0, 21)
    ]
    assert TokenClassification(PLACES).told({**row, **found}) == ["Mount Vernon \u200b Vernon/LOC"]


@pytest.mark.parametrize("max_length", [None, 512, 20, 9, 5])
def test_long_texts_are_never_cut(tokenizer: Tokenizer, max_length: int | None) -> None:
    """Every word of every window is answered, once and in order, and a word that two windows share is not split."""
    text = "George Washington lived at Mount Vernon. 他去拿书 " * 9
    words = "B-PER I-PER O O B-LOC I-LOC O O O O O " * 9
    found = answer(TokenClassification(PLACES), {"text": text}, tokenizer, words, max_length=max_length)
    assert [part["text"] for part in found["entities"]] == ["George Washington", "Mount Vernon"] * 9
    examples = TokenClassification(PLACES).encode([{"text": text}], tokenizer, max_length=max_length)
    assert all(len(example["input_ids"]) <= (max_length or 999) for example in examples)


def test_texts_without_words_are_answered_too(tokenizer: Tokenizer) -> None:
    task = TokenClassification(TAGS)
    rows = [{"text": ""}, {"text": "他"}, {"text": " \n"}, {"tokens": []}]
    examples = task.encode(rows, tokenizer, max_length=10)
    assert [example["row"] for example in examples] == [1]
    found = task.decode([np.zeros((1, 3), np.float32)], examples, rows)
    assert [len(each["tokens"]) for each in found] == [0, 1, 0, 0]


@pytest.mark.parametrize("settings", [{}, {"labels": "abc"}, {"labels": [1]}])
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"task.json: .*'labels"):
        TokenClassification.from_settings(settings)
