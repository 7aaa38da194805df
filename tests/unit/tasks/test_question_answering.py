"""question-answering: the best span of all windows, or none."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.tasks import question_answering
from regard.tasks.question_answering import KEPT, LONGEST, QuestionAnswering, best_spans
from regard.text import Tokenizer, train_tokenizer

TASK = QuestionAnswering()
TEXT = "George Washington lived at Mount Vernon in Virginia."


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([TEXT, "Who lived? 谁住在弗农山庄？"] * 3, kind="wordpiece", vocab_size=60)


def outputs(examples: list[Any], peaks: dict[tuple[int, int, int], float]) -> list[np.ndarray]:
    """Logits that are 0 but for (window, first, last) of a span, in the example's places."""
    found = [np.zeros((len(example["places"]), 2), np.float32) for example in examples]
    for (window, first, last), height in peaks.items():
        found[window][first, 0] = found[window][last, 1] = height
    return found


def test_an_answer_is_of_whole_words(tokenizer: Tokenizer) -> None:
    """A span from one token within a word to another: the words that they are in."""
    row = {"question": "Who lived?", "context": TEXT}
    examples = TASK.encode([row], tokenizer, max_length=None)
    (example,) = examples
    spelt = tokenizer.tokens([example["input_ids"][place] for place in example["places"]])
    assert spelt[0] == "[CLS]"
    pieces = [place for place, token in enumerate(spelt) if token.startswith("##")]
    assert pieces
    (answer,) = TASK.decode(outputs(examples, {(0, pieces[0], pieces[0]): 50.0}), examples, [row])
    assert answer["answer"] in TEXT.replace(".", "").split()
    assert answer["score"] == pytest.approx(1.0)
    assert answer == {**answer["spans"][0], "spans": answer["spans"]}
    assert len(answer["spans"]) == KEPT
    assert TASK.told({**row, **answer}) == [answer["answer"], "1.0000", "Who lived?"]


def test_the_first_token_says_that_there_is_no_answer(tokenizer: Tokenizer) -> None:
    row = {"question": "Who?", "context": TEXT}
    examples = TASK.encode([row], tokenizer, max_length=None)
    (answer,) = TASK.decode(outputs(examples, {(0, 0, 0): 50.0}), examples, [row])
    assert (answer["answer"], answer["start"], answer["end"]) == ("", 0, 0)
    assert answer["score"] == pytest.approx(1.0)
    assert all(span["answer"] for span in answer["spans"][1:])


@pytest.mark.parametrize("context", ["", " \n"])
def test_a_context_without_words_has_no_answer(tokenizer: Tokenizer, context: str) -> None:
    row = {"question": "Who?", "context": context}
    examples = TASK.encode([row], tokenizer, max_length=None)
    (answer,) = TASK.decode(outputs(examples, {}), examples, [row])
    assert (answer["answer"], answer["score"], len(answer["spans"])) == ("", 1.0, 1)


def test_no_answer_is_only_as_likely_as_every_window_says(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that has the answer outweighs those that have none."""
    monkeypatch.setattr(question_answering, "WINDOW", 30)
    row = {"question": "Who?", "context": f"{TEXT} 弗农山庄 {TEXT} {TEXT}"}
    examples = TASK.encode([row], tokenizer, max_length=None)
    assert len(examples) > 3
    peaks = {(window, 0, 0): 50.0 for window in range(len(examples)) if window != 1}
    (answer,) = TASK.decode(outputs(examples, {**peaks, (1, 5, 5): 50.0}), examples, [row])
    assert answer["answer"] == row["context"][examples[1]["starts"][4] : examples[1]["ends"][4]] != ""


def test_questions_and_contexts_are_in_every_window(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question_answering, "WINDOW", 30)
    rows = [{"question": "Who lived?", "context": TEXT * 4}, {"question": "谁？", "context": "弗农山庄"}]
    examples = TASK.encode(rows, tokenizer, max_length=None)
    seen: list[set[int]] = [set(), set()]
    for example in examples:
        ids, row = example["input_ids"], rows[example["row"]]
        asked = tokenizer.encode([row["question"]])[0].ids
        assert ids[: len(asked)] == asked
        assert len(ids) <= 30
        assert len(example["places"]) == 1 + len(example["starts"]) == 1 + len(example["ends"])
        assert min(example["places"][1:]) >= len(asked)
        seen[example["row"]].update(place for span in zip(example["starts"], example["ends"], strict=True) for place in span)
    for row, places in zip(rows, seen, strict=True):
        assert (min(places), max(places)) == (0, len(row["context"].rstrip()))


def test_a_question_that_fills_the_window_is_refused(tokenizer: Tokenizer) -> None:
    rows = [{"question": "Who?", "context": TEXT}, {"question": "谁" * 130, "context": TEXT}]
    (fault,) = TASK.faults(rows, tokenizer, max_length=512)
    assert (fault.row, fault.column) == (1, "question")
    assert (fault.problem.what, fault.problem.allowed) == ("a question of 130 tokens", "at most 124")
    longest = [{"question": "谁" * 124, "context": TEXT * 40}]
    assert not list(TASK.faults(longest, tokenizer, max_length=512))
    assert all(len(example["input_ids"]) <= 384 for example in TASK.encode(longest, tokenizer, max_length=512))


@settings(deadline=None, max_examples=60)
@given(data=st.data(), sizes=st.lists(st.integers(0, 50), min_size=1, max_size=3))
def test_the_best_of_all_spans(data: st.DataObject, sizes: list[int]) -> None:
    """Against every span of every window, one by one; tokens are words of one letter, windows lie side by side."""
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    windows, begin = [], 0
    expected = []
    nothing = 1.0
    for size in sizes:
        logits = random.normal(scale=3, size=(1 + size, 2)).astype(np.float32)
        starts = [begin + i for i in range(size)]
        windows.append((logits, {"starts": starts, "ends": [place + 1 for place in starts]}))
        chances = np.exp(logits.astype(np.float64))
        start, end = (chances / chances.sum(0)).T
        nothing = min(nothing, start[0] * end[0])
        expected += [
            (start[1 + i] * end[1 + j], begin + i, begin + j + 1)
            for i in range(size)
            for j in range(i, min(size, i + LONGEST))
        ]
        begin += size
    expected = sorted([*expected, (nothing, 0, 0)], reverse=True)[:KEPT]
    found = best_spans(windows)
    assert [(span.start, span.end) for span in found] == [(start, end) for _, start, end in expected]
    assert [span.score for span in found] == pytest.approx([score for score, _, _ in expected])
