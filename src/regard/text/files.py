"""Reading the files of a model folder, and what must hold of the ids in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from regard.errors import CheckpointError, listed

LARGEST = 2**28
"""Bytes of a file that are read: a bound for hostile folders, far above any vocabulary."""


def read_bytes(path: Path) -> bytes:
    """The content of a file of a model folder."""
    try:
        size = path.stat().st_size
        if size > LARGEST or path.is_fifo():
            what = f"{size} bytes" if size else "a pipe, not a file"
            raise CheckpointError(what, where=str(path), allowed=f"a file of at most {LARGEST} bytes", fix="get it anew")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", where=str(path), fix="check path and rights") from None


def read_text(path: Path) -> str:
    """The content of a text file of a model folder."""
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"not UTF-8: {error.reason} at byte {error.start}", where=str(path), fix="get it anew"
        ) from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    data = read_bytes(path)
    try:
        value = json.loads(data.decode("utf-8-sig"))
        if b"\\ud" in data.lower():  # an escape may be half of a pair, which is no text and can be written nowhere
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"not JSON: {error}", where=str(path), fix="get the file anew") from None
    if not isinstance(value, dict):
        raise CheckpointError("not a JSON object", where=str(path), allowed="{…}", fix="get the file anew")
    return value


def read_vocabulary(path: Path) -> dict[str, int]:
    """The `vocab.json` of a folder, token -> id."""
    return numbered(read_object(path), str(path))


def numbered(table: Mapping[str, Any], where: str) -> dict[str, int]:
    """A vocabulary from outside, token -> id, in which every id from 0 on has one token."""
    wrong = [token for token, index in table.items() if type(index) is not int or index < 0]
    if wrong or not table:
        what = f"no ids for {listed(map(repr, wrong))}" if wrong else "no tokens"
        raise CheckpointError(what, where=where, allowed='{"token": id, …}', fix="get the file anew")
    check_shared(table, where)
    used = set(table.values())
    if max(used) >= len(used):
        holes = list(islice((index for index in range(len(used)) if index not in used), 12))
        raise CheckpointError(
            f"{len(used)} tokens with ids up to {max(used)}, but none for the ids {listed(holes)}",
            where=where,
            allowed=f"the ids 0 to {len(used) - 1}, each once",
            fix="get the file anew",
        )
    return dict(table)


def check_shared(table: Mapping[str, int], where: str = "") -> None:
    """Refuses a vocabulary in which tokens share an id."""
    if len(set(table.values())) == len(table):
        return
    tokens: dict[int, list[str]] = {}
    for token, index in table.items():
        tokens.setdefault(index, []).append(token)
    shared = [f"{index} is {' and '.join(map(repr, names))}" for index, names in tokens.items() if len(names) > 1]
    raise CheckpointError(f"tokens share ids: {listed(shared)}", where=where, allowed="an id each", fix="get it anew")
