"""Chat templates: a conversation as the text that a model was trained to go on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regard.errors import CheckpointError, DataError, Problems, did_you_mean, listed
from regard.text.files import read_bytes
from regard.text.settings import Settings

FILE = "chat_template.jinja"
FOLDER = "additional_chat_templates"
REASONING = ("reasoning_content", "thinking", "reasoning")
"""What a message's thoughts may be called; templates read the first two."""


def template_files(folder: Path) -> dict[str, bytes]:
    """The templates of a folder that are files of their own, by their path in it."""
    paths = [folder / FILE, *sorted((folder / FOLDER).glob("*.jinja"))]
    return {str(path.relative_to(folder)): read_bytes(path) for path in paths if path.is_file()}


class ChatTemplate:
    """The jinja2 templates of a model, by name; most have one, `default`. They run in :mod:`regard.text.sandbox`."""

    def __init__(self, sources: Mapping[str, str], tokens: Mapping[str, str], where: str) -> None:
        """sources: name -> template. tokens: `bos_token` … -> token, which templates may use. where: for messages."""
        self._sources = dict(sources)
        self._tokens = dict(tokens)
        self._where = where

    @classmethod
    def of(cls, settings: Settings, files: Mapping[str, bytes], tokens: Mapping[str, str]) -> ChatTemplate | None:
        """The templates in the settings' `chat_template`, or in `files`, which win; None where there are none."""
        if files:
            sources = {"default" if name == FILE else Path(name).stem: _text(name, data) for name, data in files.items()}
            return cls(sources, tokens, FILE)
        sources = _named(settings)
        return cls(sources, tokens, f"{settings.where}, chat_template") if sources else None

    @property
    def where(self) -> str:
        """Where the templates stand, for messages."""
        return self._where

    @property
    def marks_answers(self) -> bool:
        """Whether a template says itself, by `{% generation %}` blocks, what the assistant's part is."""
        return any("endgeneration" in source for source in self._sources.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The templates there are."""
        return tuple(self._sources)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        name: str | None = None,
        marks: tuple[str, str] = ("", ""),
        **variables: Any,
    ) -> str:
        """The text of a conversation.

        messages: objects such as `{"role": "user", "content": "Hi!"}`; keys whose value is None count as absent.
        generation_prompt: whether the text ends with the beginning of an answer, for the model to go on from.
        tools: JSON schemas of functions that the model may ask for. name: which template; else `tool_use` if there are
            tools and such a template, else `default`. marks: what is written before and behind each `{% generation %}`
            block. variables: what else a template knows (`enable_thinking=False`).

        Raises :class:`~regard.errors.DataError` for messages that are no JSON or that the template refuses, and
        :class:`~regard.errors.CheckpointError` for a template that fails, or does what a stranger's template must not.
        """
        source = self._source(name, tools)
        known = {
            **self._tokens,
            **_plain(variables, "variables"),
            "messages": _messages(messages),
            "tools": _plain(tools, "tools"),
            "documents": _plain(variables.get("documents"), "documents"),
            "add_generation_prompt": generation_prompt,
        }
        from regard.text import sandbox  # takes as long to import as all of this package

        try:
            return sandbox.render(source, known, marks=marks)
        except sandbox.RefusedError as error:
            what = f"the chat template refuses these messages: {error}"
            raise DataError(what, fix="give messages as it wants them") from None
        except (sandbox.SecurityError, sandbox.UnwantedError) as error:
            what, fix = f"the chat template does what it must not: {error}", "do not use this template"
        except sandbox.TooMuchError as error:
            what, fix = f"the chat template {error}", "use another template"
        except Exception as error:  # a broken template can provoke anything
            what = f"the chat template fails: {type(error).__name__}: {error}"
            fix = "compare the messages' keys with those that it reads, or get it anew"
        raise CheckpointError(what, where=self._where, fix=fix)

    def _source(self, name: str | None, tools: object) -> str:
        chosen = name or ("tool_use" if tools is not None and "tool_use" in self._sources else "default")
        if chosen not in self._sources:
            raise CheckpointError(
                f"no chat template {chosen!r}",
                where=self._where,
                allowed=listed(self._sources),
                fix=did_you_mean(chosen, self._sources) or "name one of them",
            )
        return self._sources[chosen]


def _named(settings: Settings) -> dict[str, str]:
    """`chat_template` of the settings: one template, a list of {"name", "template"}, or an object of them by name."""
    value = settings.values.get("chat_template") or {}
    if isinstance(value, str):
        return {"default": value}
    entries = [{"name": name, "template": source} for name, source in value.items()] if isinstance(value, dict) else value
    named: dict[str, str] = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        match entry:
            case {"name": str(name), "template": str(source)} if name not in named:
                named[name] = source
            case _:
                raise settings.wrong("chat_template", value, 'a template, or a list of {"name": …, "template": …}')
    return named


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        what = f"not UTF-8: {error.reason} at byte {error.start}"
        raise CheckpointError(what, where=name, fix="get the file anew") from None


def _messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Plain copies of the messages; what one says of its thoughts under one name is there under the others too."""
    if isinstance(messages, str | Mapping) or not messages:
        raise DataError("no list of messages", allowed='[{"role": "user", "content": "…"}, …]', fix="give at least one")
    problems = Problems()
    kept = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, Mapping):
            problems.add(f"{type(message).__name__} instead of a message", where=where, allowed='{"role": …, "content": …}')
            continue
        with problems.collected():
            plain = {key: value for key, value in _plain(message, where).items() if value is not None}
            thoughts = next((plain[key] for key in REASONING if key in plain), None)
            kept.append(plain if thoughts is None else {"thinking": thoughts, **plain, "reasoning_content": thoughts})
    problems.raise_if_any()
    return kept


def _plain(value: Any, where: str) -> Any:
    """A copy in JSON's types alone, so that a template gets hold of nothing else."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise DataError(f"{type(value).__name__} in a conversation", where=where, allowed="what JSON can say", fix="convert it")
