"""Every public name of Regard is documented (types are mypy's business)."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

SOURCE = Path(__file__).parents[2] / "src"
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def modules() -> dict[str, Path]:
    """Every public module, `regard.layers.attention`, and its file."""
    found = {}
    for path in sorted(SOURCE.rglob("regard/**/*.py")):
        *folders, stem = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(folders if stem == "__init__" else [*folders, stem])
        if "._" not in name:
            found[name] = path
    return found


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """The public classes and functions among these statements, and the methods of those classes: `Cache.append`."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


def speaks_for_itself(node: Definition) -> bool:
    """A property that only returns an expression, and one overload of a function that is documented once."""
    decorators = [ast.unparse(decorator).rpartition(".")[2] for decorator in getattr(node, "decorator_list", [])]
    trivial = len(node.body) == 1 and isinstance(node.body[0], ast.Return)
    return "overload" in decorators or (trivial and bool({"property", "cached_property"} & set(decorators)))


def inherits(module: str, name: str) -> bool:
    """Whether a method overrides one that is documented: `forward`, an abstract method's implementation."""
    owner, _, method = name.rpartition(".")
    if not owner:
        return False
    found = importlib.import_module(module)
    for part in owner.split("."):
        found = getattr(found, part)
    return any(inspect.getdoc(vars(base).get(method)) for base in found.__mro__[1:] if method in vars(base))


def undocumented(source: str, module: str) -> list[str]:
    tree = ast.parse(source)
    missing = [] if ast.get_docstring(tree) else [module]
    for name, node in public(tree.body):
        if not (ast.get_docstring(node) or speaks_for_itself(node) or inherits(module, name)):
            missing.append(f"{module}:{node.lineno} {name}")
    return missing


@pytest.mark.parametrize(("module", "path"), modules().items(), ids=modules())
def test_every_public_name_has_a_docstring(module, path):
    assert undocumented(path.read_text(encoding="utf-8"), module) == []


def is_settings(kind: object) -> bool:
    return inspect.isclass(kind) and issubclass(kind, BaseModel)


@pytest.mark.parametrize("module", ["regard.config", "regard.models.config"])
def test_every_setting_says_what_it_is(module):
    """The docstring of a field is its help text; a field that is a section is told by the section's class."""
    kinds = [kind for kind in vars(importlib.import_module(module)).values() if is_settings(kind)]
    silent = [
        f"{kind.__name__}.{name}"
        for kind in kinds
        for name, field in kind.model_fields.items()
        if not field.description and not is_settings(field.annotation)
    ]
    assert kinds
    assert silent == []


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("def f(): ...", ["regard.errors", "regard.errors:1 f"]),
        ("'What.'\nclass C:\n    'Why.'\n    def method(self): return 1", ["regard.errors:4 C.method"]),
        (
            "'What.'\nclass C:\n    'Why.'\n    @property\n    def p(self):\n        x = 1\n        return x",
            ["regard.errors:5 C.p"],
        ),
        ("'What.'\nclass C:\n    'Why.'\n    @property\n    def p(self):\n        return self._p", []),
        ("'What.'\ndef _private(): ...\nclass _C:\n    def method(self): ...", []),
    ],
)
def test_a_missing_docstring_is_seen(source, missing, monkeypatch):
    monkeypatch.setattr("regard.errors.C", type("C", (), {}), raising=False)
    assert undocumented(source, "regard.errors") == missing
