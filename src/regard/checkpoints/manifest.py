"""Folders that are whole or not there, with digests that prove it: the checkpoints of a training run."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOTDIR
from pathlib import Path

from regard.checkpoints.files import read_json, sync, sync_tree, write_json, writing
from regard.errors import CheckpointError, Problems

MANIFEST = "manifest.json"
STEP = re.compile(r"step-(0|[1-9][0-9]{0,17})")


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path` to write to; when the block ends well, it gets a manifest and takes the place of `path`.

    Otherwise it goes away and what was at `path` stays. A killed process leaves `.NAME.partial` behind, which the next
    call for the same path removes. Raises :class:`~regard.errors.WorkError`.
    """
    staging, old = (path.with_name(f".{path.name}.{part}") for part in ("partial", "old"))
    with writing(path):
        try:
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            yield staging
            write_json(staging / MANIFEST, {"format": "regard-manifest/1", "files": _digests(staging)})
            sync_tree(staging)
            _move(staging, path, old)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _move(staging: Path, path: Path, old: Path) -> None:
    """A folder cannot be renamed onto a full one: the old one steps aside, and back if the new one cannot come."""
    if not path.exists():
        staging.rename(path)
    elif not path.is_dir():
        raise NotADirectoryError(ENOTDIR, "a file has this name")
    else:
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
        try:
            staging.rename(path)
        except OSError:
            old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    sync(path.parent)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a folder, those in folders below it left out."""
    return {path.name: _sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}


def _digests(folder: Path) -> dict[str, dict[str, int | str]]:
    return {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(folder: Path) -> None:
    """Compare a folder that :func:`atomic_folder` wrote with its manifest.

    Raises :class:`~regard.errors.CheckpointError` that lists every file that is missing, changed or surplus.
    """
    promised = read_json(folder / MANIFEST).get("files")
    if not isinstance(promised, dict):
        raise CheckpointError("key 'files' is missing", where=str(folder / MANIFEST), allowed='{"files": {NAME: …}}')
    try:
        found = _digests(folder)
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", where=str(folder), fix="check its rights") from None
    problems = Problems(CheckpointError)
    for name in sorted(promised.keys() | found.keys()):
        if promised.get(name) != found.get(name):
            state = "missing" if name not in found else "not in the manifest" if name not in promised else "changed or cut"
            problems.add(f"{state} since it was written", where=str(folder / name), fix="use another checkpoint")
    problems.raise_if_any()


def latest(folder: Path) -> Path | None:
    """The `step-N` in a folder with the largest N that :func:`verify` finds good; None when there is none."""
    steps = [path for path in folder.iterdir() if STEP.fullmatch(path.name)] if folder.is_dir() else []
    for path in sorted(steps, key=lambda path: int(path.name.removeprefix("step-")), reverse=True):
        try:
            verify(path)
        except CheckpointError:
            continue
        return path
    return None
