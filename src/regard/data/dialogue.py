"""Conversations in one form, whichever of the usual ones a file has.

- `messages`: a list of `{"role": "user", "content": "…"}`, as files for OpenAI's models have it;
- `conversations`: a list of `{"from": "human", "value": "…"}`, as ShareGPT's have it;
- `instruction` and `output`, and `input` with what the instruction is about where there is something: one question and one
  answer, as Alpaca's have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Literal, TypedDict

from regard.data.rows import HALF_PAIR, is_missing, is_whole, kind_of, shown
from regard.errors import Problems, listed

Role = Literal["system", "user", "assistant"]

FORMS: tuple[tuple[str, ...], ...] = (("messages",), ("conversations",), ("instruction", "output"))
"""The columns of each form; of those that a row has, the first form counts."""

COLUMNS: tuple[str, ...] = ("messages", "conversations", "instruction", "input", "output")
"""All columns that conversations are read from."""

_ROLES: dict[Any, Role] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "human": "user",
    "gpt": "assistant",
}
"""What a file may call a role, and what we do."""

_MESSAGE = '{"role": "user", "content": "…"} or {"from": "human", "value": "…"}'


class Message(TypedDict):
    """One turn of a conversation."""

    role: Role
    content: str


def dialogue(
    values: Mapping[str, Any], *, answered: bool = True, where: Callable[[str], str] = "column {}".format
) -> list[Message]:
    """The conversation that a row holds: a system message or none, then user and assistant in turn.

    values: of a row, by column. answered: whether it ends with the assistant's answer, as a row to learn from does; if not,
    it ends with the user, as one to be answered does, and no `output` is read. where: a column's place, for messages.

    Raises one DataError with all that is wrong, each with its column and the number of the message, from 1.
    """
    problems = Problems()
    name = next((form[0] for form in FORMS if form[0] in values), "messages")
    if name == "instruction":
        said = _instruction(values, where, problems, answered=answered)
    else:
        said = _turns(values.get(name), where(name), problems)
        if not problems:  # where somebody is missing, it means nothing who follows whom
            _check_order([message["role"] for message in said], where(name), problems, answered=answered)
    problems.raise_if_any()
    return said


def _instruction(
    values: Mapping[str, Any], where: Callable[[str], str], problems: Problems, *, answered: bool
) -> list[Message]:
    task = _text(values.get("instruction"), "instruction", where("instruction"), problems)
    about = values.get("input")
    if not is_missing(about):
        task = f"{task}\n\n{_text(about, 'input', where('input'), problems)}"
    said = [Message(role="user", content=task)]
    if answered:
        said.append(Message(role="assistant", content=_text(values.get("output"), "output", where("output"), problems)))
    return said


def _turns(turns: Any, where: str, problems: Problems) -> list[Message]:
    if not isinstance(turns, list) or not turns:
        what = (
            "the conversation is missing" if is_missing(turns) or turns == [] else f"{kind_of(turns)} where a list is meant"
        )
        problems.add(what, where=where, allowed=f"a list of messages: {_MESSAGE}", fix="fill it in or remove the row")
        return []
    said = []
    for number, turn in enumerate(turns, start=1):
        here = f"{where}, message {number}"
        if not isinstance(turn, dict):
            problems.add(f"{kind_of(turn)} where a message is meant", where=here, allowed=_MESSAGE)
            continue
        named, content = _either(turn, "role", "from"), _either(turn, "content", "value")
        role = _ROLES.get(named) if isinstance(named, str) else None
        if role is None:
            what = "the role is missing" if named is None else f"unknown role {shown(named)}"
            problems.add(what, where=here, allowed=listed(_ROLES))
        text = _text(content, "content", here, problems)
        said.append(Message(role=role or "user", content=text))
    return said


def _either(turn: dict[str, Any], ours: str, theirs: str) -> Any:
    return turn.get(theirs) if turn.get(ours) is None else turn[ours]


def _text(value: Any, name: str, where: str, problems: Problems) -> str:
    """A text that must be there; what is wrong with it is reported."""
    if is_missing(value):
        problems.add(f"the {name} is empty", where=where, fix="fill it in or remove the row")
    elif not isinstance(value, str):
        problems.add(f"the {name} is {kind_of(value)} where text is meant", where=where, fix="write it as text")
    elif not is_whole(value):
        problems.add(HALF_PAIR, where=where, fix="write the file again as UTF-8")
    else:
        return value
    return ""


def _check_order(roles: list[Role], where: str, problems: Problems, *, answered: bool) -> None:
    allowed = "a system message or none, then user and assistant in turn"
    # a conversation begins as after a system message
    for number, (before, role) in enumerate(pairwise(["system", *roles]), start=1):
        here = f"{where}, message {number}"
        if role == "system" and number > 1:
            problems.add("a system message inside the conversation", where=here, allowed=allowed, fix="move it to the start")
        elif role == "assistant" and before == "system":
            problems.add("the assistant speaks first", where=here, allowed=allowed, fix="remove it, or add what was asked")
        elif role == before != "system":
            problems.add(f"a second message of the {role} in a row", where=here, allowed=allowed, fix="join the two")
    last = "assistant" if answered else "user"
    if roles[-1] != last:
        fix = "remove what follows the last answer" if answered else "remove the last answer"
        problems.add(f"the conversation ends with the {roles[-1]}", where=where, allowed=f"with the {last}", fix=fix)
