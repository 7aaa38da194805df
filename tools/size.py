"""Lines of each package, what changed since a commit, and what has grown long: `python tools/size.py [BASE]`.

A report, not a gate: a long file or function is a reason to look, and nobody shortens lines to please it.
"""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "tests", "tools", "benchmarks")
LONG_FILE, LONG_FUNCTION = 300, 40


def lines_now() -> Counter[str]:
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return Counter({str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files})


def lines_at(base: str) -> Counter[str]:
    names = [f"{folder}/*.py" for folder in FOLDERS]
    found = subprocess.run(["git", "grep", "-c", "", base, "--", *names], cwd=ROOT, capture_output=True, text=True)
    if found.stderr:
        sys.exit(found.stderr)
    rows = (line.removeprefix(f"{base}:").rsplit(":", 1) for line in found.stdout.splitlines())
    return Counter({path: int(count) for path, count in rows})


def by_package(lines: Counter[str]) -> Counter[str]:
    """Sums for `src`, `src/regard/layers`, `tests/unit` …; a module that is no package stands alone."""
    sums: Counter[str] = Counter()
    for path, count in lines.items():
        parts = path.split("/")
        sums.update({parts[0]: count, "/".join(parts[: 3 if parts[0] == "src" else 2]): count})
    return sums


def long_functions(path: str) -> list[str]:
    nodes = ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
    sizes = [
        (node, node.end_lineno - node.lineno + 1) for node in nodes if isinstance(node, ast.FunctionDef) and node.end_lineno
    ]
    return [f"{size:7}  {path}:{node.lineno} {node.name}" for node, size in sizes if size > LONG_FUNCTION]


def main(base: str = "HEAD") -> None:
    files, now, then = lines_now(), by_package(lines_now()), by_package(lines_at(base))
    print(f"  lines   since {base}")
    print(*(f"{now[name]:7} {now[name] - then[name]:+7}  {name}" for name in sorted({*now, *then})), sep="\n")
    print(f"  files over {LONG_FILE} lines, functions over {LONG_FUNCTION}")
    print(*(f"{count:7}  {path}" for path, count in sorted(files.items()) if count > LONG_FILE), sep="\n")
    print(*(entry for path in sorted(files) if path.startswith("src/") for entry in long_functions(path)), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:2])
