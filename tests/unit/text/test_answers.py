"""Where the assistant speaks, in the templates of real models and in others."""

from collections.abc import Callable
from pathlib import Path

import pytest

from regard.data.dialogue import Message
from regard.errors import CheckpointError
from regard.tasks.dialogue import PLAIN
from regard.text import Tokenizer
from regard.text.answers import answered
from regard.text.chat import ChatTemplate

TALK = [
    Message(role="system", content="Be brief."),
    Message(role="user", content="Hi"),
    Message(role="assistant", content="Hello, 你好!"),
    Message(role="user", content="And?"),
    Message(role="assistant", content="  No more. \n"),
]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a "
    "helpful AI assistant<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ASKING = (  # the answer follows the question, and nothing announces it
    "{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}[ASK] {{ m.content }} [/ASK]{% else %}"
    " {{ m.content }}</s>{% endif %}{% endfor %}"
)
MARKED = (  # rewrites what was said before, and says itself where the answers are
    "{{ messages | length }}: {% for m in messages %}{% if m.role == 'assistant' %}A: {% generation %}{{ m.content | trim }}"
    "</s>{% endgeneration %}{% else %}{{ m.role }}: {{ m.content }} {% endif %}{% endfor %}"
)
TOKENS = {"eos_token": "</s>"}


def said(source: str, talk: list[Message]) -> list[str]:
    text, answers = answered(ChatTemplate({"default": source}, TOKENS, "x.jinja"), talk)
    return [text[start:stop] for start, stop in answers]


@pytest.mark.parametrize(
    ("source", "first", "second"),
    [
        (CHATML, "Hello, 你好!<|im_end|>\n", "  No more. \n<|im_end|>\n"),
        (SMOLLM2, "Hello, 你好!<|im_end|>\n", "  No more. \n<|im_end|>\n"),
        (ASKING, " Hello, 你好!</s>", "   No more. \n</s>"),
        (PLAIN, "Hello, 你好!</s>\n", "  No more. \n</s>\n"),
        (MARKED, "Hello, 你好!</s>", "No more.</s>"),
    ],
    ids=["ChatML", "SmolLM2", "asking", "ours", "marked"],
)
@pytest.mark.parametrize("begin", [0, 1], ids=["with a system message", "without"])
def test_the_answers_of_a_template(source: str, first: str, second: str, begin: int) -> None:
    assert said(source, TALK[begin:]) == [first, second]


@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "minimind2-small-zh"])
def test_the_answers_of_real_models(name: str, checkpoint: Callable[[str], Path]) -> None:
    template = Tokenizer.load(checkpoint(name)).chat_template
    assert template is not None
    text, answers = answered(template, TALK)
    assert [text[a:b] for a, b in answers] == ["Hello, 你好!<|im_end|>\n", "  No more. \n<|im_end|>\n"]


def test_marks_do_not_change_the_text() -> None:
    template = ChatTemplate({"default": MARKED}, TOKENS, "x.jinja")
    talk = [*TALK[:3], Message(role="user", content="\ufdd0\ufdd1"), TALK[4]]  # the first marks that would be taken
    text, answers = answered(template, talk)
    assert text == template.render(talk, generation_prompt=False)
    assert [text[a:b] for a, b in answers] == ["Hello, 你好!</s>", "No more.</s>"]


@pytest.mark.parametrize(
    "source",
    ["{{ messages | length }}: {% for m in messages %}{{ m.content }}{% endfor %}", CHATML.replace("assistant\n", "bot\n")],
    ids=["begins anew", "announces another"],
)
def test_a_template_that_cannot_be_followed(source: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        said(source, TALK)
    message = str(caught.value)
    assert message.startswith("x.jinja: the chat template does not go on from the text that asks for message 3")
    assert "fix: mark what the assistant says in the template: {% generation %}" in message
