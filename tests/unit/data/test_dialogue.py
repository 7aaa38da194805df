"""Conversations: three ways to write them give one form, and what is wrong with one is told by row and message."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.check import Columns, Report, check
from regard.data.dialogue import dialogue
from regard.data.read import read
from regard.errors import DataError

CHAT = Columns(("messages",), None, input_kind="messages")
SYSTEM, ASKED, ANSWER = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi!"},
    {"role": "assistant", "content": "Hello."},
)


def report(path: Path, *rows: dict[str, Any], **options: Any) -> Report:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return check(read(path, **options), CHAT)


@pytest.mark.parametrize(
    "values",
    [
        {"messages": [ASKED, ANSWER]},
        {"messages": [ASKED | {"name": "Ann"}, ANSWER | {"tool_calls": None}], "id": 7},
        {"conversations": [{"from": "human", "value": "Hi!"}, {"from": "gpt", "value": "Hello."}]},
        {"conversations": [{"from": "user", "value": "Hi!"}, {"from": "assistant", "value": "Hello."}]},
        {"messages": [{"from": "human", "value": "Hi!"}, {"role": "assistant", "content": "Hello."}]},
        {"instruction": "Hi!", "input": "", "output": "Hello."},
        {"instruction": "Hi!", "input": None, "output": "Hello."},
        {"instruction": "Hi!", "output": "Hello."},
    ],
)
def test_one_form(values: dict[str, Any]) -> None:
    assert dialogue(values) == [ASKED, ANSWER]


def test_a_system_message_comes_first() -> None:
    turns = [{"from": who, "value": text} for who, text in (("system", "Be brief."), ("human", "Hi!"), ("gpt", "Hello."))]
    assert dialogue({"conversations": turns}) == [SYSTEM, ASKED, ANSWER]


def test_what_an_instruction_is_about_follows_it() -> None:
    (asked, _) = dialogue({"instruction": "Translate.", "input": "un chat", "output": "a cat"})
    assert asked == {"role": "user", "content": "Translate.\n\nun chat"}


def test_one_to_be_answered_ends_with_the_user() -> None:
    assert dialogue({"messages": [SYSTEM, ASKED, ANSWER, ASKED]}, answered=False) == [SYSTEM, ASKED, ANSWER, ASKED]
    assert dialogue({"instruction": "Hi!", "output": "Hello."}, answered=False) == [ASKED]
    with pytest.raises(DataError, match="the conversation ends with the assistant\n  allowed: with the user"):
        dialogue({"messages": [ASKED, ANSWER]}, answered=False)


def test_places_without_a_file() -> None:
    with pytest.raises(DataError, match="column messages, message 2: the content is empty"):
        dialogue({"messages": [ASKED, ANSWER | {"content": " "}]})


TURNS = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": st.sampled_from("ab ")}
    )
)


@given(turns=TURNS, answered=st.booleans())
def test_what_is_read_is_a_conversation(turns: list[dict[str, str]], answered: bool) -> None:
    said = turns[1:] if turns and turns[0]["role"] == "system" else turns
    roles = [turn["role"] for turn in said]
    right = (
        bool(roles)
        and roles == [("user", "assistant")[i % 2] for i in range(len(roles))]
        and roles[-1] == ("assistant" if answered else "user")
        and all(turn["content"].strip() for turn in turns)
    )
    try:
        assert dialogue({"messages": turns}, answered=answered) == turns
    except DataError:
        assert not right
    else:
        assert right


class TestCheck:
    def test_rows(self, tmp_path: Path) -> None:
        found = report(tmp_path / "x.jsonl", {"messages": [ASKED, ANSWER]}, {"messages": [SYSTEM, ASKED, ANSWER]})
        assert (found.rows, found.problems.count, found.warnings) == (2, 0, [])
        assert (found.lengths["min"], found.lengths["max"]) == (len("Hi!\nHello."), len("Be brief.\nHi!\nHello."))

    def test_the_same_question_answered_differently(self, tmp_path: Path) -> None:
        rows = [{"messages": [ASKED, ANSWER]}, {"messages": [ASKED, ANSWER | {"content": "Go away."}]}]
        train = report(tmp_path / "train.jsonl", *rows)
        assert [warning.what for warning in train.warnings] == [
            "repeated texts: 1 row (such as rows 1 and 2)",
            "texts with different targets: 1 (such as rows 1 and 2)",
        ]
        (tmp_path / "test.csv").write_text("instruction,output\nHi!,Good day.\nBye!,Bye.\n")
        (leak,) = check(read(tmp_path / "test.csv"), CHAT, against=train).warnings
        assert leak.what.startswith("1 of 2 rows are in ")

    def test_mapped_columns(self, tmp_path: Path) -> None:
        found = report(tmp_path / "x.jsonl", {"chat": [ASKED]}, columns={"messages": "chat"})
        assert [problem.where for problem in found.problems] == [f"{tmp_path}/x.jsonl, row 1 (line 1), column chat"]
        found = report(tmp_path / "y.jsonl", {"q": "Hi!", "a": ""}, columns={"instruction": "q", "output": "a"})
        assert [problem.where for problem in found.problems] == [f"{tmp_path}/y.jsonl, row 1 (line 1), column a"]

    @pytest.mark.parametrize("columns", [{}, {"instruction": "Hi!"}])
    def test_no_conversations(self, columns: dict[str, str], tmp_path: Path) -> None:
        (problem,) = report(tmp_path / "x.jsonl", {"text": "x", **columns}).problems
        assert problem.what == "no column 'messages'"
        assert problem.allowed.startswith("'text'")
        assert problem.fix == (
            "map a column: --columns messages=NAME; conversations may also be in conversations or instruction and output"
        )

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"messages": None}, [": the conversation is missing", "fix: fill it in or remove the row"]),
            ({"messages": []}, [": the conversation is missing", 'allowed: a list of messages: {"role": "user"']),
            ({"id": 1}, [": the conversation is missing"]),
            ({"messages": "Hi!"}, [": text where a list is meant"]),
            ({"messages": [ASKED, "Hello."]}, [", message 2: text where a message is meant", 'allowed: {"role": "user"']),
            (
                {"messages": [ASKED, {"content": "x"}]},
                [", message 2: the role is missing", "allowed: system, user, assistant"],
            ),
            ({"messages": [ASKED, ANSWER | {"role": "bot"}]}, [", message 2: unknown role 'bot'", "human, gpt"]),
            ({"messages": [ASKED, ANSWER | {"role": ["x"]}]}, [", message 2: unknown role ['x']"]),
            ({"messages": [ASKED, ANSWER | {"content": None}]}, [", message 2: the content is empty"]),
            ({"messages": [ASKED, ANSWER | {"content": [1]}]}, [", message 2: the content is a list where text is meant"]),
            ({"messages": [ASKED, ANSWER | {"content": "\ud800"}]}, [", message 2: half a surrogate pair"]),
            ({"messages": [ANSWER]}, [", message 1: the assistant speaks first", "allowed: a system message or none"]),
            ({"messages": [SYSTEM, ANSWER]}, [", message 2: the assistant speaks first"]),
            ({"messages": [ASKED, ASKED, ANSWER]}, [", message 2: a second message of the user in a row", "fix: join"]),
            ({"messages": [ASKED, ANSWER, ANSWER]}, [", message 3: a second message of the assistant in a row"]),
            ({"messages": [ASKED, SYSTEM, ASKED, ANSWER]}, [", message 2: a system message inside", "fix: move it"]),
            ({"messages": [ASKED]}, [": the conversation ends with the user", "allowed: with the assistant", "fix: remove"]),
            ({"messages": [SYSTEM]}, [": the conversation ends with the system"]),
        ],
    )
    def test_what_is_said(self, values: dict[str, Any], says: list[str], tmp_path: Path) -> None:
        good = {"messages": [ASKED, ANSWER]}
        found = [str(problem) for problem in report(tmp_path / "x.jsonl", good, values).problems]
        assert len(found) == 1, found
        assert found[0].startswith(f"{tmp_path}/x.jsonl, row 2 (line 2), column messages{says[0]}")
        assert not [part for part in says if part not in found[0]], found

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"instruction": "", "output": "x"}, ["column instruction: the instruction is empty"]),
            ({"instruction": "x", "output": 3}, ["column output: the output is a number where text is meant"]),
            (
                {"instruction": None, "input": ["x"], "output": None},
                ["column instruction: the", "column input: the input is a list", "column output: the output is empty"],
            ),
        ],
    )
    def test_what_is_said_of_instructions(self, values: dict[str, Any], says: list[str], tmp_path: Path) -> None:
        found = [str(problem) for problem in report(tmp_path / "x.jsonl", values).problems]
        assert len(found) == len(says), found
        for message, part in zip(found, says, strict=True):
            assert message.startswith(f"{tmp_path}/x.jsonl, row 1 (line 1), {part}")


@pytest.mark.real
@pytest.mark.parametrize(("name", "count"), [("en", 999), ("zh", 1000)])
def test_alpaca(name: str, count: int, shared: Path) -> None:
    table = read(shared / "data" / "alpaca_demo" / f"alpaca_{name}_demo.json.gz")
    found = check(table, CHAT)
    assert (found.rows, found.problems.count) == (count, 0)
    assert all([message["role"] for message in dialogue(row.values)] == ["user", "assistant"] for row in table)
