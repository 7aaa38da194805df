"""Files that are whole or not there: read with a bound, written beside, fsynced and renamed."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from regard.errors import CheckpointError, WorkError

LARGEST_JSON = 32 * 2**20
"""Bytes of JSON that are read: a bound for hostile files, far above any config or index of tensors."""

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises :class:`~regard.errors.CheckpointError` for anything else."""
    where = str(path)
    if not path.is_file():
        raise CheckpointError("no such file", where=where, fix="check that the folder was copied or downloaded whole")
    if path.stat().st_size > LARGEST_JSON:
        raise CheckpointError(f"{path.stat().st_size} bytes of JSON", where=where, allowed=f"at most {LARGEST_JSON} bytes")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"not JSON: {error}", where=where, fix="get the file anew from where it came") from None
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", where=where, fix="check its rights") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"holds {type(value).__name__}", where=where, allowed="a JSON object: {…}")
    return value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object in place of `path`. Raises :class:`~regard.errors.WorkError`; then the old file is whole."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system refuses while writing `path` becomes a :class:`~regard.errors.WorkError` that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in FULL:
            what, fix = f"no room to write: {reason}", "free some space, or choose another folder"
        elif error.errno in CLOSED:
            what, fix = f"may not be written: {reason}", "choose another folder, or change the rights of this one"
        else:
            what, fix = f"could not be written: {reason}", "choose another folder"
        raise WorkError(what, where=str(path), fix=f"{fix}; what was there before is unchanged") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; when the block ends well, that file is on disk and takes the place of `path`.

    Otherwise it goes away, and the old file is untouched. Raises :class:`~regard.errors.WorkError`.
    """
    beside = path.with_name(f".{path.name}.partial")
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield beside
            sync(beside)
            beside.replace(path)
            sync(path.parent)
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)


@contextmanager
def with_usual_rights(path: Path) -> Iterator[None]:
    """The file that the block writes gets the rights of any new file; the safetensors library lets its owner alone read."""
    path.touch()
    mode = path.stat().st_mode
    yield
    path.chmod(mode)


@contextmanager
def refilling(folder: Path, *, seal: str) -> Iterator[Path]:
    """A new folder to write files to; when the block ends well, they replace those of `folder`, whose other files stay.

    The file named `seal` goes first and comes last: a folder that has it never holds half of the old and half of the
    new, whenever the process dies. Raises :class:`~regard.errors.WorkError`; until all is written `folder` is unchanged.
    """
    staging, made = folder / ".partial", not folder.exists()
    with writing(folder):
        try:
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            yield staging
            sync_tree(staging)
            (folder / seal).unlink(missing_ok=True)
            sync(folder)
            for path in sorted(staging.iterdir(), key=lambda path: (path.name == seal, path.name)):
                path.replace(folder / path.name)
            sync(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            if made:
                with suppress(OSError):  # a folder that holds something stays
                    folder.rmdir()


def sync(path: Path) -> None:
    """Wait until a file or the names in a folder are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until everything under a folder is on disk."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)
