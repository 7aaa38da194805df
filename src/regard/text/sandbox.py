"""A place in which a stranger's jinja2 template can do nothing but write text, and not too much of it.

jinja2's own sandbox keeps a template from Python's insides and from changing what it was given. What is added here sends
everything that a template does through :mod:`regard.text.bounds`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any

from jinja2 import Template, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, pass_context
from jinja2.visitor import NodeTransformer

from regard.text import bounds
from regard.text.bounds import TooMuchError, UnwantedError

__all__ = ["RefusedError", "SecurityError", "TooMuchError", "UnwantedError", "render"]

DROPPED = (
    *("batch", "center", "filesizeformat", "format", "groupby", "pprint", "random", "slice", "striptags", "sum"),
    *("truncate", "urlize", "wordwrap", "xmlattr"),
)
"""Filters for web pages, which chat templates have no use for and which can blow up what they get."""

CHECKS: Mapping[str, Callable[..., None]] = {
    "replace": bounds.check_replace,
    "join": bounds.check_join,
    "indent": bounds.check_indent,
    "round": bounds.check_round,
}
"""Filters that can make much out of little, and what refuses that."""


class RefusedError(TemplateError):
    """A template said by `raise_exception` that it cannot serve these messages."""


BEGINS, ENDS = "generation_begins", "generation_ends"
"""Variables that are written before and behind what a template marks as the assistant's; empty where nobody asks."""


def render(source: str, variables: Mapping[str, Any], *, marks: tuple[str, str] = ("", "")) -> str:
    """The text that a template makes of plain values (texts, numbers, lists, objects).

    marks: what is written before and behind what the assistant said, where the template has `{% generation %}` blocks.

    Raises :class:`~regard.text.bounds.TooMuchError`, :class:`~regard.text.bounds.UnwantedError`, :class:`RefusedError`,
    jinja2's own errors, and whatever else a broken template provokes.
    """
    with bounds.bounded():
        return _compiled(source).render({**variables, BEGINS: marks[0], ENDS: marks[1]})


@lru_cache(maxsize=64)
def _compiled(source: str) -> Template:
    if len(source) > bounds.SOURCE:
        raise TooMuchError(f"has more than {bounds.SOURCE} characters of source")
    environment = _Sandbox()
    tree = _Bounds().visit(environment.parse(source))
    tree.set_environment(environment)
    return Template.from_code(environment, environment.compile(tree), environment.make_globals(None))


class _Generation(Extension):
    """`{% generation %} … {% endgeneration %}` marks what the assistant said; in the text itself it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - as the base class has it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        begins, ends = (nodes.Output([nodes.Name(name, "load")], lineno=line) for name in (BEGINS, ENDS))
        return nodes.Scope([begins, *body, ends], lineno=line)


class _Bounds(NodeTransformer):
    """Sends through the bounds what jinja2 lets no environment intercept: loops, literals, `~`, and the text itself."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 - jinja2's names
        self.generic_visit(node)
        node.iter = _through("<rounds>", node.iter)
        return node

    def visit_Concat(self, node: nodes.Expr) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _through("<sized>", node)

    visit_List = visit_Dict = visit_Concat  # noqa: N815

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _through("<sized>", node) if node.ctx == "load" else node

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Expr:  # noqa: N802
        return nodes.Const(node.data, lineno=node.lineno)  # `finalize`, which counts, sees values only


def _through(name: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


@pass_context
def _written(context: Context, value: Any) -> str:
    return bounds.write(str(value))


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # constants would be computed outside the bounds
            finalize=_written,
            extensions=[_Generation, LoopControlExtension],
        )
        kept = {name: function for name, function in self.filters.items() if name not in DROPPED} | {"tojson": _tojson}
        self.filters = {name: _guarded(name, function) for name, function in kept.items()}
        self.filters |= {"<rounds>": bounds.rounds, "<sized>": bounds.sized}
        self.globals |= {
            "range": _range,
            "dict": _dict,
            "namespace": _Namespace,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }
        del self.globals["lipsum"]

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        raise SecurityError(f"attribute {attribute!r} of {type(obj).__name__!r} is not for templates")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        bounds.spend()
        bounds.check_operands(operator, left, right)
        return bounds.sized(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - as in jinja2
        bounds.spend()
        if isinstance(__obj, LoopContext):  # a recursive loop goes on with other items
            args = (bounds.rounds(args[0]), *args[1:])
        bounds.check_method(__obj, args, kwargs)
        return bounds.sized(super().call(__context, __obj, *args, **kwargs))


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter within the bounds."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0
    check = CHECKS.get(name)

    @wraps(function)
    def guarded(*args: Any, **named: Any) -> Any:
        bounds.spend()
        if check is not None:
            check(*args[first:], **named)
        result = function(*args, **named)
        return bounds.sized(list(result) if isinstance(result, Iterator) else result)

    return guarded


class _Namespace(Namespace):
    """jinja2's `namespace`, without names that begin with `_`, and printed without what it holds."""

    def __init__(*args: Any, **attributes: Any) -> None:
        for name in dict(*args[1:], **attributes):
            _check_name(name)
        Namespace.__init__(*args, **attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<namespace>"


def _check_name(name: Any) -> None:
    if str(name).startswith("_"):
        raise SecurityError(f"attribute {name!r} of a namespace is not for templates")


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """JSON as chat templates expect it: characters as they are, no escapes for web pages."""
    bounds.check_size(bounds.weight(value) * (1 + (indent or 0) + sum(map(len, separators or ()))))
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _range(*ends: int) -> range:
    numbers = range(*ends)
    bounds.check_span(numbers)
    return numbers


def _dict(*pairs: Any, **values: Any) -> dict[Any, Any]:
    return dict(*pairs, **values)


def _raise_exception(message: str) -> None:
    raise RefusedError(message)


def _strftime_now(format: str) -> str:
    bounds.check_size(len(format) * 2**10)
    return datetime.now().strftime(format)
