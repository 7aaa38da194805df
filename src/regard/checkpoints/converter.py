"""Pickled weights become safetensors: `regard convert`, a door of its own beside the paths that load something.

This process unpickles nothing. It looks at a file's size and first bytes, lets :mod:`regard.checkpoints.convert_worker` read
it in a process that has no network and bounds in proportion to that size, and checks what comes out as any stranger's file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from regard.checkpoints.files import LARGEST_JSON, refilling, with_usual_rights, write_json
from regard.checkpoints.tensors import INDEX, PICKLED, WEIGHTS, Entry, read_header, read_index
from regard.errors import CheckpointError, ConfigError, Problem, Problems, WorkError, listed

WORKER = "regard.checkpoints.convert_worker"
WHOLE = "pytorch_model.bin"
SHARDED = "pytorch_model.bin.index.json"

BEGINNINGS = (b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
"""Of files that torch.save writes: a zip archive since torch 1.6, a pickled magic number before."""

LIMIT_GB = 16.0
"""Gigabytes (10⁹ bytes) of pickled files that are converted, unless the user raises the bound."""
WRITTEN = 4
"""Bytes of output for a byte of input: tensors that share memory (tied weights) are written one by one."""
MEMORY = 2**29
"""Bytes that the reader may take besides input and output."""
SECONDS, SECONDS_PER_GB = 30, 30
"""Processor time of the reader."""
PATIENCE = 10
"""Seconds on the clock for one of processor time: how slow a disk may be."""

KEPT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH")
"""What the reader keeps of the environment: where Python and torch find their parts. Tokens and passwords stay here."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What a conversion made."""

    files: tuple[str, ...]
    """Written: model.safetensors, or one file a shard and their index."""
    tensors: int
    bytes: int
    """Of tensors."""
    left_out: tuple[str, ...]
    """Names of values that are no tensors, such as the number of steps of a training."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """files: name in `folder` -> the pickled file it is made of. index: what a pickled index says; None without shards."""

    folder: Path
    files: Mapping[str, Path]
    index: Mapping[str, str] | None = None


def convert(source: str | Path, *, out: str | Path | None = None, limit_gb: float = LIMIT_GB) -> Converted:
    """Write the weights of pickled PyTorch files as safetensors; the pickled files stay as they are.

    source: a file that torch.save wrote, or a folder with `pytorch_model.bin`, with `pytorch_model.bin.index.json` and its
    shards, or with one pickled file. out: a folder, or a `.safetensors` file; None is beside the source. limit_gb: gigabytes
    that the pickled files may have.

    Every name of a state dict becomes a tensor with bytes of its own, names that share memory (tied weights) too: whoever
    finds his tensors by name finds all of them, without knowing what the model ties.

    Raises :class:`~regard.errors.CheckpointError` for a file that holds more than weights, or that wants more memory or time
    than its size explains, :class:`~regard.errors.ConfigError` for an `out` that has weights already, and
    :class:`~regard.errors.WorkError` when it cannot be written. Then nothing has changed.
    """
    plan = _plan(Path(source).expanduser(), None if out is None else Path(out).expanduser())
    _check_sources(list(plan.files.values()), limit_gb)
    _check_free(plan)
    with refilling(plan.folder, seal=INDEX if plan.index else next(iter(plan.files))) as staging:
        left_out = _read({staging / name: file for name, file in plan.files.items()})
        held = {name: read_header(staging / name) for name in plan.files}
        if plan.index is not None:
            write_json(staging / INDEX, _index(held, plan))
    entries = [entry for part in held.values() for entry in part]
    return Converted(
        files=tuple(str(plan.folder / name) for name in (*plan.files, *([INDEX] if plan.index else []))),
        tensors=len(entries),
        bytes=sum(entry.stop - entry.start for entry in entries),
        left_out=tuple(left_out),
    )


def _plan(source: Path, out: Path | None) -> Plan:
    if not source.is_dir():
        file, folder = source, source.parent
    elif (source / SHARDED).is_file() and not (source / WHOLE).is_file():
        return _plan_of_shards(source, out)
    else:
        file, folder = _only_pickle(source), source
    if out is not None and out.suffix == ".safetensors":
        return Plan(folder=out.parent, files={out.name: file})
    return Plan(folder=out or folder, files={WEIGHTS: file})


def _plan_of_shards(folder: Path, out: Path | None) -> Plan:
    index = read_index(folder / SHARDED, suffix=".bin")
    if not index:
        raise CheckpointError("names no shards", where=str(folder / SHARDED), fix="get the file anew")
    if out is not None and out.suffix == ".safetensors":
        raise ConfigError("one file for several shards", where=str(out), allowed="a folder", fix="give a folder")
    return Plan(
        folder=out or folder, files={_renamed(name): folder / name for name in sorted(set(index.values()))}, index=index
    )


def _renamed(shard: str) -> str:
    """`pytorch_model-00001-of-00002.bin` -> `model-00001-of-00002.safetensors`."""
    return f"{Path(shard).stem.removeprefix('pytorch_')}.safetensors"


def _only_pickle(folder: Path) -> Path:
    """The pickled weights of a folder; beside them often lie other pickles, such as a training's state."""
    if (folder / WHOLE).is_file():
        return folder / WHOLE
    pickled = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICKLED)
    if len(pickled) == 1:
        return pickled[0]
    raise CheckpointError(
        f"no {WHOLE} and no {SHARDED}",
        where=str(folder),
        allowed=listed(path.name for path in pickled),
        fix="give the file that holds the weights" if pickled else "nothing here is pickled: load the folder as it is",
    )


def _check_sources(files: Sequence[Path], limit_gb: float) -> None:
    """Refuse what no reader needs to be started for."""
    problems = Problems(CheckpointError)
    for path in files:
        if not path.is_file():
            problems.add("no such file", where=str(path), fix="check the path")
            continue
        try:
            with path.open("rb") as file:
                start = file.read(16)
        except OSError as error:
            problems.add(f"cannot be read: {error.strerror}", where=str(path), fix="check its rights")
            continue
        if not start.startswith(BEGINNINGS):
            what = f"not a file that torch.save wrote: it begins with {start!r}"
            problems.add(what, where=str(path), fix="get it anew; a Git LFS pointer is a short text in its place")
    problems.raise_if_any()
    size = sum(path.stat().st_size for path in files) / 1e9
    if not size <= limit_gb:
        fix = "raise --limit-gb if this machine has room for it"
        raise CheckpointError(f"{size:.3g} GB", where=str(files[0]), allowed=f"{limit_gb:g} GB", fix=fix)


def _check_free(plan: Plan) -> None:
    """Refuse to replace weights, or to lay weights beside others that a reader of the folder would find first."""
    names = {*plan.files, WEIGHTS, INDEX} if WEIGHTS in plan.files or plan.index else set(plan.files)
    taken = sorted(name for name in names if (plan.folder / name).exists())
    if taken:
        fix = "load it as it is, remove it, or choose another --out"
        raise ConfigError(f"has {listed(taken)} already", where=str(plan.folder), fix=fix)


def _read(files: Mapping[Path, Path]) -> list[str]:
    """Have a process of its own write the weights of each source to its target; the names of what it left out."""
    size = sum(source.stat().st_size for source in files.values())
    with ExitStack() as rights:
        for target in files:
            rights.enter_context(with_usual_rights(target))
        said = _said(
            files=[(str(source), str(target)) for target, source in files.items()],
            seconds=SECONDS + int(SECONDS_PER_GB * size / 1e9),
            memory=MEMORY + (1 + WRITTEN) * size,
            written=WRITTEN * size,
        )
    if "problems" in said:
        raise CheckpointError([Problem(**problem) for problem in said["problems"]], count=said["count"])
    if "errno" in said:
        raise OSError(said["errno"], os.strerror(said["errno"]))
    return list(said["left_out"])


def _said(*, files: Sequence[tuple[str, str]], seconds: int, memory: int, written: int) -> dict[str, Any]:
    """The reader's answer to an order. If it dies without one, that is the files' fault, unless it says why."""
    order = {"files": files, "seconds": seconds, "memory": memory, "written": written}
    where = listed(source for source, _ in files)
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | ONE_THREAD
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as complaint:  # bounded as files are, unlike pipes
        try:
            status = subprocess.run(
                [sys.executable, "-P", "-B", "-m", WORKER, json.dumps(order)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=complaint,
                timeout=PATIENCE * seconds,
            ).returncode
        except subprocess.TimeoutExpired:
            what = f"was not read in {PATIENCE * seconds} seconds"
            raise CheckpointError(what, where=where, fix="copy it to a faster disk, or do not trust it") from None
        text, complaints = _start_of(answer), _start_of(complaint).decode(errors="replace").splitlines()
    if status == -signal.SIGXCPU:
        what = f"took more than {seconds} seconds of processor time to read, which is ample for its size"
        raise CheckpointError(what, where=where, fix="do not trust it")
    if status < 0:
        what, fix = f"ended its reader with {signal.Signals(-status).name}", "do not trust it, unless memory is short here"
        raise CheckpointError(what, where=where, fix=fix)
    if status:
        raise WorkError(f"its reader failed: {' '.join(complaints[-1:])}", where=where, fix="report this")
    return dict(json.loads(text))


def _start_of(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(LARGEST_JSON)


def _index(held: Mapping[str, Sequence[Entry]], plan: Plan) -> dict[str, Any]:
    """The index of the new shards, made from what they hold. Raises when that is not what the pickled index promised."""
    problems = Problems(CheckpointError)
    places: dict[str, str] = {}
    for file, entries in held.items():
        for entry in entries:
            if entry.name in places:
                problems.add(f"tensor {entry.name!r} is in two shards", where=str(plan.files[file]))
            places[entry.name] = file
    for name, shard in (plan.index or {}).items():
        if places.get(name) != _renamed(shard):
            problems.add(f"tensor {name!r} is missing", where=str(plan.files[_renamed(shard)]), fix="get the file anew")
    problems.raise_if_any()
    size = sum(entry.stop - entry.start for entries in held.values() for entry in entries)
    return {"metadata": {"total_size": size}, "weight_map": places}
