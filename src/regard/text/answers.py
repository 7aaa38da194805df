"""Where in the text of a conversation the assistant speaks, whatever template wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from regard.errors import CheckpointError
from regard.text.backend import Span
from regard.text.chat import ChatTemplate

MARKS = [chr(code) for code in range(0xFDD0, 0xFDF0)]
"""Code points that are no characters (Unicode 16, §23.7): a text does not hold them, unless somebody tests us."""


class Answered(NamedTuple):
    """A conversation as text, and each answer's (start, stop) in characters, with the token that ends it."""

    text: str
    answers: list[Span]


def answered(template: ChatTemplate, messages: Sequence[Mapping[str, Any]]) -> Answered:
    """The text of a conversation and where in it the answers stand.

    messages: in turn, as :func:`regard.data.dialogue.dialogue` gives them. A template that marks its `{% generation %}`
    blocks says itself what the assistant's part is. Else the conversation is written message by message: an answer is what
    it adds behind the text that asked for it. Raises :class:`~regard.errors.CheckpointError` for a template that writes the
    beginning of a conversation anew when it goes on, so that its answers cannot be found, and what
    :meth:`~regard.text.chat.ChatTemplate.render` raises.
    """
    text = template.render(messages, generation_prompt=False)
    find = _marked if template.marks_answers else _added
    return Answered(text, find(template, messages, text))


def _marked(template: ChatTemplate, messages: Sequence[Mapping[str, Any]], text: str) -> list[Span]:
    """What the template itself marks."""
    begin, end = [mark for mark in MARKS if mark not in text][:2]
    pieces = template.render(messages, generation_prompt=False, marks=(begin, end)).split(begin)
    spans, place = [], len(pieces[0])
    for piece in pieces[1:]:
        said, _, rest = piece.partition(end)
        spans.append((place, place + len(said)))
        place += len(said) + len(rest)
    return spans


def _added(template: ChatTemplate, messages: Sequence[Mapping[str, Any]], text: str) -> list[Span]:
    """What each answer adds to the text that asked for it."""
    spans = []
    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            asked = template.render(messages[:number])
            told = template.render(messages[: number + 1], generation_prompt=False)
            if not (told.startswith(asked) and text.startswith(told)):
                raise _unfollowed(template, number + 1)
            spans.append((len(asked), len(told)))
    return spans


def _unfollowed(template: ChatTemplate, number: int) -> CheckpointError:
    what = f"the chat template does not go on from the text that asks for message {number}: its answers cannot be found"
    fix = "mark what the assistant says in the template: {% generation %} … {% endgeneration %}"
    return CheckpointError(what, where=template.where, fix=fix)
