"""Chat templates: what they write equals transformers, what they must not do ends in an error, and soon."""

import json
import pickle
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from regard.errors import CheckpointError, DataError
from regard.text import Tokenizer
from regard.text.chat import ChatTemplate

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

HEADERS = """{{ bos_token }}
{%- for message in messages %}
    {%- set parts = message['content'] %}
    {%- set words = parts if parts is string else parts | map(attribute='text') | join('\n\n') %}
    {{- '<|begin|>' ~ message.role ~ '<|middle|>\n\n' ~ (words | trim) ~ '<|done|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|begin|>assistant<|middle|>\n\n' }}{% endif %}"""

TOOLS = """{% if tools %}
<|open|>system
Functions: {{ tools | length }}
{% for tool in tools %}
{{ tool | tojson(indent=2) }}
{% endfor %}<|close|>
{% endif %}
{% set ns = namespace(turn=0) %}
{% for message in messages if message.role != 'system' %}
<|open|>{{ message.role }}
{% if message.tool_calls is defined %}
{% for call in message.tool_calls %}
{{ loop.index }}/{{ loop.length }} {{ call.function.name }}({{ call.function.arguments | tojson(sort_keys=true) }})
{% endfor %}
{% elif message.reasoning_content %}
<think>{{ message.reasoning_content }}</think>{{ message.content }}
{% else %}
{{ message.content }}
{% endif %}
<|close|>
{% set ns.turn = ns.turn + 1 %}
{% if loop.last %}{{ ns.turn }} turns{% endif %}
{% endfor %}
{% if add_generation_prompt and enable_thinking | default(true) %}<think>{% endif %}"""

ALTERNATING = """{{ bos_token }}{% for message in messages %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('user and assistant must take turns') }}
{%- endif %}
{%- if message['role'] == 'user' %}{{ '[ASK] ' + message['content'] + ' [/ASK]' }}
{%- else %}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}{% endif %}
{%- if loop.index > 40 %}{% break %}{% endif %}
{%- endfor %}"""

ODDS = """{%- macro quoted(text, mark='"') -%}{{ mark }}{{ text | replace('a', 'e') | upper }}{{ mark }}{%- endmacro -%}
{{ quoted(messages[0].content) }} {{ quoted('x', mark="'") }}
{% for role, group in {'user': 1, 'assistant': [2, 3]}.items() %}{{ role }}={{ group }};{% endfor %}
{% for i in range(3) %}{{ i * 2 ** i }},{% else %}none{% endfor %}
{{ messages[-1].content.split(' ')[0] }} {{ messages[::-1] | map(attribute='role') | list }}
{{ '%s-%03d' % ('n', 7) }} {{ '{} {:>5}'.format(1, 'b') }} {{ [1, 2] + [3] }}
{{ (1, 'é') | tojson }} {{ none }} {{ nothing }}
{{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ dict(a=1) | tojson }} {{ 'a\nb' | indent(2) }}|
{{ messages | rejectattr('role', 'in', ['user', 'tool']) | map(attribute='content') | join(', ') }} {{ 3.14159 | round(2) }}
{% set text %}a block{% endset %}{{ text | title }} {{ ['b', 'a'] | sort | first }}
{{ 'yes' if 1 in [1, 2] and not false else 'no' }}
{{ cycler('x', 'y').next() }} {{ '<b>' | e }} {{ messages[0].get('name', 'nobody') }}
{{ messages[0].items() | list | length }}"""

TALK = [{"role": "user", "content": "Wie geht's, <Ada>? 你好 👋"}, {"role": "assistant", "content": " Gut. \n"}]
LONG = [
    *TALK,
    {"role": "user", "content": "what is 2+2?", "name": "Ada"},
    {"role": "assistant", "content": "4", "thinking": "easy"},
]
PARTS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "a"}, {"text": "b"}]},
]
CALLS = [
    *PARTS[:1],
    *TALK[:1],
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"function": {"name": "f", "arguments": {"b": [1, 2.5], "a": "é"}}}],
    },
    {"role": "tool", "content": '{"x": null}'},
]
FUNCTIONS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}}]

SAME: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "headers": (HEADERS, TALK, {}),
    "headers of parts": (HEADERS, PARTS, {}),
    "tools": (TOOLS, CALLS, {"tools": FUNCTIONS}),
    "no tools": (TOOLS, LONG, {}),
    "a variable": (TOOLS, TALK, {"enable_thinking": False}),
    "turns": (ALTERNATING, LONG, {}),
    "odds": (ODDS, LONG, {}),
    "documents": ("{{ documents | tojson }}{{ title }}", TALK, {"documents": [{"title": "t", "text": "x"}], "title": "y"}),
}


def template(source: str) -> ChatTemplate:
    return ChatTemplate({"default": source}, TOKENS, "chat_template.jinja")


@pytest.fixture(scope="module")
def reference(wordpiece: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    folder = tmp_path_factory.mktemp("reference")
    wordpiece.save(folder)
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **TOKENS)


@pytest.mark.parametrize("prompt", [False, True])
@pytest.mark.parametrize("case", SAME)
def test_writes_what_transformers_writes(reference: PreTrainedTokenizerFast, case: str, prompt: bool) -> None:
    source, messages, more = SAME[case]
    theirs = reference.apply_chat_template(
        messages, chat_template=source, tokenize=False, add_generation_prompt=prompt, **more
    )
    assert template(source).render(messages, generation_prompt=prompt, **more) == theirs


@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "minimind2-small-zh"])
@pytest.mark.real
def test_real_ones_equal_transformers(checkpoint: Callable[[str], Path], name: str, tmp_path: Path) -> None:
    ours, theirs = Tokenizer.load(checkpoint(name)), AutoTokenizer.from_pretrained(checkpoint(name))
    ours.save(tmp_path)
    for tokenizer in (ours, Tokenizer.load(tmp_path), pickle.loads(pickle.dumps(ours))):  # noqa: S301 - our own bytes
        for messages in (TALK, LONG, PARTS[:1] + LONG[:3]):
            for prompt in (False, True):
                text = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
                assert tokenizer.chat(messages, generation_prompt=prompt) == text
                ids = theirs.apply_chat_template(messages, add_generation_prompt=prompt, return_dict=False)
                assert tokenizer.encode([text], special=False)[0].ids == ids
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.apply_chat_template(TALK, tokenize=False) == ours.chat(TALK, generation_prompt=False)


def test_templates_are_found_and_travel(wordpiece: Tokenizer, tmp_path: Path) -> None:
    wordpiece.save(tmp_path)
    assert Tokenizer.load(tmp_path).chat_template is None
    with pytest.raises(CheckpointError, match=r"no chat template\n  allowed: chat_template\.jinja, or chat_template in"):
        Tokenizer.load(tmp_path).chat(TALK)
    path = tmp_path / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    named = [{"name": "default", "template": "d{{ sep_token }}"}, {"name": "tool_use", "template": "t{{ tools | length }}"}]
    path.write_text(json.dumps({**settings, "chat_template": named}))
    ours = Tokenizer.load(tmp_path)
    assert ours.chat(TALK) == "d[SEP]"
    assert ours.chat(TALK, tools=FUNCTIONS) == "t1"
    assert ours.chat(TALK, name="tool_use", tools=[]) == "t0"
    with pytest.raises(CheckpointError, match=r"no chat template 'tool'\n  allowed: default, tool_use\n  fix: did you mean"):
        ours.chat(TALK, name="tool")
    path.write_text(json.dumps({**settings, "chat_template": {"default": "d", "tool_use": "t"}}))
    assert Tokenizer.load(tmp_path).chat(TALK, name="tool_use") == "t"
    ours.save(tmp_path / "settings")
    assert Tokenizer.load(tmp_path / "settings").chat(TALK) == "d[SEP]"

    (tmp_path / "chat_template.jinja").write_text("file")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates/short.jinja").write_text("short")
    ours = Tokenizer.load(tmp_path)
    assert ours.chat_template is not None
    assert ours.chat_template.names == ("default", "short")
    ours.save(tmp_path / "files")
    for tokenizer in (ours, Tokenizer.load(tmp_path / "files"), ours.target):
        assert (tokenizer.chat(TALK), tokenizer.chat(TALK, name="short")) == ("file", "short")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "files")
    assert theirs.apply_chat_template(TALK, tokenize=False, chat_template="short") == "short"
    assert ours.digest != wordpiece.digest


def test_the_time_is_that_of_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    class Noon(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2024, 2, 29, 12)

    monkeypatch.setattr("regard.text.sandbox.datetime", Noon)
    assert template("{{ strftime_now('%d %B %Y') }}").render(TALK) == "29 February 2024"


GROWING = "{{% set ns = namespace(x={}) %}}{{% for i in range(60) %}}{{% set ns.x {} %}}{{% endfor %}}{{{{ ns.x }}}}"

INSIDE = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ self.__init__ }}",
    "{{ (messages | first) | attr('__class__') }}",
    "{{ messages | map(attribute='__class__') | list }}",
    "{{ messages | map('attr', '__class__') | list }}",
    "{{ '{0.__class__}'.format('') }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update({'role': 'root'}) }}",
    "{% set ns = namespace() %}{% set ns.__class__ = 'x' %}",
    "{{ namespace(__init__=1) }}",
    "{{ 'a'.translate({97: 'b' * 10**6}) }}",
    "{{ (1).to_bytes(10**10, 'big') }}",
]
TOO_MUCH = [
    "{% for i in range(10**9) %}{% endfor %}",
    "{% for i in range(10**40) %}{% endfor %}",
    "{{ range(-10**9, 0) | list }}",
    "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% for i in [1] recursive %}{% if loop.depth < 60 %}{{ loop([1, 1]) }}{% endif %}{% endfor %}",
    "{% for i in range(99999) %}" + "x" * 999 + "{% endfor %}",
    "{% set x %}{% for i in range(99999) %}{{ messages[0].content }}" + "x" * 999 + "{% endfor %}{% endset %}",
    "{{ 'a' * 10**10 }}",
    "{{ 10**10 * 'a' }}",
    "{{ [0] * 10**10 }}",
    "{{ (10**4000)**4000 }}",
    "{{ 10**4000 * 10**4000 }}",
    GROWING.format("'ab'", "= ns.x + ns.x"),
    GROWING.format("'ab'", "= ns.x ~ ns.x"),
    GROWING.format("'ab'", "= [ns.x, ns.x] | join"),
    GROWING.format("'ab'", "%}{{ ns.x }}{{ ns.x }}{% endset"),
    GROWING.format("[]", "= [ns.x, ns.x]"),
    GROWING.format("1", "= (ns.x, ns.x)"),
    GROWING.format("{}", "= {'a': ns.x, 'b': ns.x}"),
    GROWING.format("{}", "= dict(a=ns.x, b=ns.x)"),
    GROWING.format("[1]", "= ns.x + ns.x"),
    "{{ 'a'.ljust(10**10) }}",
    "{{ 'a'.zfill(10**10) }}",
    "{{ ('a' * 10**6).replace('a', 'b' * 10**6) }}",
    "{{ ('a' * 10**6) | replace('a', 'b' * 10**6) }}",
    "{{ ('a' * 10**6).join('b' * 10**6) }}",
    "{{ ('b' * 10**6) | join('a' * 10**6) }}",
    "{{ ('a\n' * 10**6) | indent('b' * 10**6) }}",
    "{{ 'a\n' | indent(10**10, true) }}",
    "{{ messages | tojson(indent=10**9) }}",
    "{{ messages | tojson(separators=('x' * 10**6, 'y' * 10**6)) }}",
    "{{ '%10000000000d' % 1 }}",
    "{{ '%*d' % (10**10, 1) }}",
    "{{ ('%s' * 10**5) % ('a' * 10**6) }}",
    "{{ '{:>10000000000}'.format(1) }}",
    "{{ '{:{}}'.format(1, 10**10) }}",
    "{{ ('{0}' * 10**5).format('a' * 10**6) }}",
    "{{ 42 | round(10**9, 'ceil') }}",
    "{{ strftime_now('%c' * 10**6) }}",
    "{# " + "x" * 2**18 + " #}",
]
BROKEN = [
    ("{% if", r"TemplateSyntaxError: unexpected 'end of template'"),
    ("{{ messages[0].content.nothing.more }}", r"UndefinedError: 'str object' has no attribute 'nothing'"),
    ("{{ 1 / 0 }}", r"ZeroDivisionError"),
    ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", r"RecursionError"),
    ("{{ " + "(" * 5000 + ")" * 5000 + " }}", r"RecursionError"),
    ("{% include 'secret' %}", r"TypeError: no loader"),
    ("{{ lipsum(10**9) }}", r"UndefinedError: 'lipsum' is undefined"),
    ("{{ 'a' | center(10**10) }}", r"TemplateAssertionError: No filter named 'center'"),
    ("{{ [1] | sum }}", r"TemplateAssertionError: No filter named 'sum'"),
    ("{{ messages | tojson(default=1) }}", r"TypeError"),
]


@pytest.mark.parametrize("source", INSIDE)
def test_python_stays_out_of_reach(source: str) -> None:
    with pytest.raises(
        CheckpointError, match=r"chat_template\.jinja: the chat template does what it must not: .* for templates\n"
    ):
        template(source).render(TALK)


@pytest.mark.parametrize("source", TOO_MUCH)
def test_nothing_grows_without_bound(source: str) -> None:
    with pytest.raises(
        CheckpointError, match=r"the chat template (takes|makes|writes|has|formats|rounds) .*\n  fix: use another"
    ):
        template(source).render(TALK)


@pytest.mark.parametrize(("source", "message"), BROKEN)
def test_what_is_broken_is_named(source: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=rf"chat_template\.jinja: the chat template fails: {message}"):
        template(source).render(TALK)


def test_a_template_that_fails_leaves_the_next_one_its_bounds() -> None:
    for _ in range(3):
        with pytest.raises(CheckpointError, match="more than 16777216 characters"):
            template("{{ 'a' * 10**7 }}{{ 'a' * 10**7 }}").render(TALK)
        assert template("{{ 'a' * 10**7 }}").render(TALK) == "a" * 10**7


def test_slow_machines_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regard.text.bounds.SECONDS", -1)
    with pytest.raises(CheckpointError, match="the chat template takes longer than -1 seconds"):
        template("{{ 1 + 1 }}").render(TALK)


def test_messages_that_the_template_refuses() -> None:
    with pytest.raises(
        DataError, match=r"the chat template refuses these messages: user and assistant must take turns\n  fix"
    ):
        template(ALTERNATING).render(TALK[::-1])


def test_messages_that_are_none() -> None:
    for wrong in ([], "hi", {"role": "user"}):
        with pytest.raises(DataError, match=r"no list of messages\n  allowed: \[\{\"role\": \"user\""):
            template(HEADERS).render(wrong)  # type: ignore[arg-type]
    with pytest.raises(
        DataError,
        match=r"2 problems:\nmessages\[1\]: str instead of a message(.|\n)*messages\[2\]\.content\[0\]: \w*Path in",
    ):
        template(HEADERS).render([TALK[0], "hi", {"content": [Path("x")]}])  # type: ignore[list-item]
    with pytest.raises(DataError, match=r"variables\.today: datetime in a conversation\n  allowed: what JSON can say"):
        template(HEADERS).render(TALK, today=datetime(2024, 1, 1))


@pytest.mark.parametrize(
    "value", [3, [], [{}], [{"name": "a"}], [{"name": "a", "template": "x"}, {"name": "a", "template": "y"}]]
)
def test_settings_that_are_no_template(wordpiece: Tokenizer, value: Any, tmp_path: Path) -> None:
    wordpiece.save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": value}))
    ours = Tokenizer.load(tmp_path)
    if value == []:
        assert ours.chat_template is None
    else:
        with pytest.raises(CheckpointError, match=r"key 'chat_template' is .*\n  allowed: a template, or a list of"):
            ours.chat(TALK)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match=r"chat_template\.jinja: not UTF-8"):
        Tokenizer.load(tmp_path).chat(TALK)
