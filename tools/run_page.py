"""Do what a page tells its reader to do: `python tools/run_page.py PAGE.md` runs its code blocks, in order, right here.

`sh` blocks run in bash, each in a shell of its own that stops at the first failing command; `python` blocks share one
namespace. The exit status is 1 at the first block that fails, with the page and line it starts on.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

SKIPPED = ("git clone ", "cd regard", "make ", "pip install ", "python3.11 -m venv ", "source .venv/bin/activate")
"""How lines of `sh` blocks begin that bring a reader to where the runner already is: in an installed environment."""


def commands(code: str) -> str:
    """The lines of an `sh` block that are run; a line that ends with a backslash goes on in the next."""
    lines = code.replace("\\\n", " ").splitlines()
    return "\n".join(line for line in lines if not line.startswith(SKIPPED))


def run_page(path: Path) -> None:
    """Raises CalledProcessError, or what a Python block raises, at the first block that fails."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for fence in MarkdownIt().parse(path.read_text(encoding="utf-8")):
        if fence.type != "fence" or fence.map is None or fence.info not in ("sh", "python"):
            continue
        line = fence.map[0] + 1
        print(f"{path}:{line}: {fence.info}", flush=True)
        if fence.info == "sh":
            subprocess.run(["bash", "-xeuo", "pipefail", "-c", commands(fence.content)], check=True)
        else:
            # Empty lines first, so that a traceback counts the lines of the page.
            exec(compile("\n" * line + fence.content, path, "exec"), namespace)


if __name__ == "__main__":
    try:
        run_page(Path(sys.argv[1]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"the block ended with status {error.returncode}")
