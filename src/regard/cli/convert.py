"""`regard convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from regard.cli.console import Json, print_json, print_line, say


def convert(
    file: Path,
    /,
    *,
    out: Path | None = None,
    limit_gb: Annotated[float, Parameter(name="--limit-gb")] = 16.0,
    json: Json = False,
) -> None:
    """Turn pickled PyTorch weights (.bin, .pt, .pth) into safetensors, which nothing can hide in.

    The file is read for its weights alone, by a process of its own without network and with little memory and time.

    Parameters
    ----------
    file
        What torch.save wrote, or a folder with pytorch_model.bin or with its shards and their index.
    out
        A folder, or a .safetensors file. Without it, model.safetensors beside the source.
    limit_gb
        Gigabytes of pickled files that are read at most.
    json
        Print one JSON object on standard output and nothing else there.
    """
    from regard.checkpoints import convert as converted  # torch takes a second: --help need not wait for it

    result = converted(file, out=out, limit_gb=limit_gb)
    if json:
        print_json(result.as_dict())
        return
    for path in result.files:
        print_line(path)
    say(f"{result.tensors} tensors, {result.bytes} bytes")
    if result.left_out:
        say(f"warning: left out, for they are no tensors: {', '.join(result.left_out)}")
