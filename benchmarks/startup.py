"""How long it takes until Regard is there, and how much room it needs.

    python benchmarks/startup.py [--rounds 11] [--json]

Seconds of whole processes on a warm disk, the interpreter's own start included. Room: the files of Regard's base
requirements, as they lie installed in this environment; those of extras do not count.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from time import perf_counter
from typing import Any

from packaging.requirements import Requirement

import harness
from harness import Spread

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import regard'": ["-c", "import regard"],
    "regard --help": ["-m", "regard", "--help"],
    "regard doctor": ["-m", "regard", "doctor"],
}


def seconds(arguments: list[str]) -> float:
    """Of one process."""
    start = perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return perf_counter() - start


def base_packages(name: str, found: dict[str, int]) -> dict[str, int]:
    """Package -> bytes, of `name` and all that it requires without extras."""
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return found
    found[name] = sum(Path(str(file.locate())).stat().st_size for file in package.files or () if file.locate().is_file())
    for line in package.requires or ():
        requirement = Requirement(line)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and requirement.name not in found:
            base_packages(requirement.name, found)
    return found


def main() -> None:
    parser = harness.options(__doc__, rounds=11)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, arguments in COMMANDS.items():
        seconds(arguments)
        rows.append({"command": name, "seconds": Spread.of(seconds(arguments) for _ in range(options.rounds))})
    sizes = sorted(base_packages("regard", {}).items(), key=lambda entry: -entry[1])
    largest = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in sizes[:5])
    report = {
        "Start-up": rows,
        "base installation": f"{sum(size for _, size in sizes) / 1e9:.2f} GB in {len(sizes)} packages; MB: {largest}",
    }
    harness.show({**report, "machine": harness.machine()}, as_json=options.json)


if __name__ == "__main__":
    main()
