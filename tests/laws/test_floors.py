"""Who may import whom, and what nobody may: read from the source itself, so that no import can hide in a function."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "regard"

FLOORS = (
    "errors registry config",
    "layers text metrics",
    "models",
    "checkpoints data decoding peft",
    "tasks",
    "training",
    "predictor machine regimes explain audit compress tune knowledge",
    "serve",
    "cli",
)
FLOOR = {package: floor for floor, packages in enumerate(FLOORS) for package in packages.split()}
ABOVE_ALL = ("__init__", "__main__")
"""The front door and `python -m regard`: they may import anything."""

NEVER = (
    # Regard reads and writes their file formats; their code is only what the tests compare with.
    "transformers",
    "peft",
    "accelerate",
    # What reads or writes pickles: a file from a stranger must never run code.
    "pickle",
    "_pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "torch.load",
    "torch.save",
    "torch.hub",
    "torch.jit.load",
    "torch.package",
    "torch.distributed.checkpoint",
    "numpy.lib.format.read_array",
    "pandas.read_pickle",
)
EXCEPT = {"regard.checkpoints.convert_worker": ("torch.load",)}
"""The one module that may unpickle: a process of its own, which only `regard convert` starts."""
WITHOUT = {
    **dict.fromkeys(("errors", "registry", "config", "text", "metrics", "cli"), ("torch",)),
    "layers": ("regard.config", "tokenizers", "sentencepiece", "pathlib", "safetensors"),
}
"""What single packages may not name: `cli` never touches torch, `layers` never sees a config, a tokenizer or a file."""

LIGHT = (
    "regard",
    "regard.errors",
    "regard.registry",
    "regard.config",
    "regard.text",
    "regard.metrics",
    "regard.data",
    "regard.cli",
)
HEAVY = ("torch", "sklearn", "scipy", "pandas", "transformers")


class Name(NamedTuple):
    """A dotted name that a file imports or uses, with the aliases of that file undone."""

    line: int
    dotted: str

    def is_under(self, roots: tuple[str, ...]) -> bool:
        return any(f"{self.dotted}.".startswith(f"{root}.") for root in roots)


def imported(tree: ast.AST, module: str) -> Iterator[tuple[str, Name]]:
    """What the file calls it, and what it is; `from a import b` is `a.b`."""
    package = module.rpartition(".")[0]
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                for alias in names:
                    local = alias.asname or alias.name.partition(".")[0]
                    yield local, Name(node.lineno, alias.name)
            case ast.ImportFrom(source, names, level):
                origin = importlib.util.resolve_name("." * level + (source or ""), package)
                for alias in names:
                    yield alias.asname or alias.name, Name(node.lineno, f"{origin}.{alias.name}")
            case ast.Call(
                ast.Name("import_module" | "__import__") | ast.Attribute(_, "import_module"), [ast.Constant(str(name)), *_]
            ):
                yield "", Name(node.lineno, name)


def used(tree: ast.AST, module: str) -> Iterator[Name]:
    """Every name the file imports, and every attribute it takes of one: `import torch as t; t.load` uses `torch.load`."""
    aliases = {}
    for local, name in imported(tree, module):
        yield name
        aliases[local] = local if name.dotted.startswith(f"{local}.") else name.dotted  # `import a.b` binds a
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root, _, rest = ast.unparse(node).partition(".")
            if root in aliases:
                yield Name(node.lineno, f"{aliases[root]}.{rest}")


def may_import(here: str, there: str) -> bool:
    if there in (here, "errors"):  # errors are everybody's, also on the lowest floor
        return True
    if there not in FLOOR:  # the front door: a verb calls the Python API as its users do, and the door is lazy
        return here == "cli"
    return FLOOR[there] < FLOOR.get(here, len(FLOORS))


def upward(source: str, module: str) -> list[str]:
    """The imports of a file of ours that do not go down."""
    here = module.split(".")[1]
    faults = []
    for _, name in imported(ast.parse(source), module):
        top, _, rest = name.dotted.partition(".")
        if top == "regard" and not may_import(here, rest.partition(".")[0]):
            faults.append(f"{module}:{name.line} imports {name.dotted}")
    return faults


def forbidden(source: str, module: str) -> list[str]:
    """The names that a file of ours may not use."""
    tree = ast.parse(source)
    banned = NEVER + WITHOUT.get(module.split(".")[1], ())
    banned = tuple(name for name in banned if name not in EXCEPT.get(module, ()))
    faults = [f"{module}:{name.line} uses {name.dotted}" for name in used(tree, module) if name.is_under(banned)]
    keywords = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "allow_pickle"]
    return faults + [f"{module}:{word.lineno} allows pickles" for word in keywords if ast.unparse(word.value) != "False"]


def modules() -> dict[str, str]:
    """Every module below the front door, `regard.layers.attention`, and its source."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts[0] not in ABOVE_ALL:
            found[".".join(("regard", *parts))] = path.read_text(encoding="utf-8")
    return found


def test_every_package_stands_on_a_floor():
    assert {name.split(".")[1] for name in modules()} <= FLOOR.keys()


def test_imports_only_go_down():
    assert not [fault for name, source in modules().items() for fault in upward(source, name)]


def test_the_front_door_does_not_lead_to_the_command_line():
    assert "regard.cli" not in (SOURCE / "__init__.py").read_text(encoding="utf-8")


def test_nobody_uses_what_is_forbidden():
    assert not [fault for name, source in modules().items() for fault in forbidden(source, name)]


def test_what_unpickles_reads_weights_alone():
    (call,) = (
        node
        for node in ast.walk(ast.parse(modules()["regard.checkpoints.convert_worker"]))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    )
    assert {word.arg: ast.unparse(word.value) for word in call.keywords}["weights_only"] == "True"


def test_nobody_but_the_command_reaches_what_unpickles():
    """The worker is named in one file, as text: even `python -m` needs its name."""
    assert [name for name, source in modules().items() if "convert_worker" in source] == ["regard.checkpoints.converter"]
    door = ("regard.checkpoints.converter", "regard.checkpoints.convert")
    users = {
        name for name, source in modules().items() if any(each.is_under(door) for each in used(ast.parse(source), name))
    }
    assert users == {"regard.checkpoints.__init__", "regard.cli.convert"}


def test_light_modules_import_nothing_heavy():
    names = [name for name in LIGHT if importlib.util.find_spec(name)]
    program = f"import sys, {', '.join(names)}\nprint([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_front_door_opens_quickly():
    program = "import time; start = time.process_time(); import regard; print(time.process_time() - start)"
    seconds = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert float(seconds) < 0.3


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("regard.layers.norms", "from regard.models.build import build"),
        ("regard.layers.norms", "import regard.text"),
        ("regard.layers.norms", "from regard import text"),
        ("regard.layers.norms", "from ..text import tokenizer"),
        ("regard.layers.norms", "def f():\n    from regard.cli import main"),
        ("regard.layers.norms", "import importlib\nimportlib.import_module('regard.tasks')"),
        ("regard.data.read", "from regard.decoding import beam"),
        ("regard.registry", "from regard.config import Settings"),
        ("regard.serve.app", "from regard.cli import main"),
        ("regard.serve.app", "import regard"),
        ("regard.serve.app", "from regard import load"),
    ],
)
def test_an_import_that_does_not_go_down_is_seen(module, source):
    assert upward(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("regard.registry", "from regard.errors import ConfigError"),
        ("regard.layers.block", "from regard.layers.norms import make_norm\nfrom . import masks\nimport torch"),
        ("regard.cli.train", "from regard.training import fit"),
        ("regard.cli.train", "import regard"),
    ],
)
def test_an_import_that_goes_down_is_not(module, source):
    assert not upward(source, module)
    assert not forbidden(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("regard.models.build", "import transformers.models.bert"),
        ("regard.models.build", "def f():\n    from peft import LoraConfig"),
        ("regard.models.build", "import torch\ntorch.load('x')"),
        ("regard.models.build", "import torch as t\nread = t.load"),
        ("regard.models.build", "import torch.nn.functional\ntorch.load('x')"),
        ("regard.models.build", "from torch import load"),
        ("regard.models.build", "import numpy\nnumpy.load('x', allow_pickle=flag)"),
        ("regard.models.build", "import pickle"),
        ("regard.cli.train", "from torch import Tensor"),
        ("regard.layers.norms", "from regard.config import RunConfig"),
        ("regard.layers.norms", "from pathlib import Path"),
        ("regard.checkpoints.converter", "import torch\ntorch.load('x')"),
        ("regard.checkpoints.convert_worker", "import pickle"),
    ],
)
def test_a_forbidden_name_is_seen(module, source):
    assert forbidden(source, module)


def test_our_own_peft_is_not_theirs():
    assert not forbidden("from regard.peft import lora\nlora.load", "regard.tasks.x")
