"""`regard export`."""

from __future__ import annotations

from pathlib import Path

import regard
from regard.cli.console import Json, print_json, say


def export(
    model: str,
    out: Path,
    /,
    *,
    to: str = "hf",
    family: str | None = None,
    dtype: str = "stored",
    json: Json = False,
) -> None:
    """Write a model in the layout of another tool.

    Parameters
    ----------
    model
        A model folder, or a hub name.
    out
        The folder to write; files of the same names in it are replaced.
    to
        hf: the layout that transformers and everything that reads its folders loads.
    family
        What a model trained from scratch shall become, such as bert; a fine-tuned one stays what it was.
    dtype
        How numbers are written: stored (as they are), float32, bfloat16 or float16.
    json
        Print one JSON object on standard output and nothing else there.
    """
    folder = regard.export(model, out, to=to, family=family, dtype=dtype)
    if json:
        print_json({"out": str(folder), "format": to})
    else:
        say(f"written to {folder}")
