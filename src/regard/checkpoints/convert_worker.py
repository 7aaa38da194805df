"""The process that reads a pickled file for `regard convert`: the only code of Regard that unpickles. Nobody imports it.

:mod:`regard.checkpoints.converter` starts it as `python -m` with an :class:`Order`. Before it opens the file it gives up,
for good, what a stranger's file could misuse:

- torch's weights-only unpickler knows tensors and plain containers, and refuses every other class and function by name;
- the kernel bounds memory, processor time, the size of written files and the number of open ones (setrlimit(2)), and lets
  nobody but root start a process; macOS does not bound memory;
- on Linux the network is an empty namespace (unshare(2)), unless the kernel refuses that, as it does in many containers;
- an audit hook refuses whatever Python code could do besides reading files and importing modules: sockets, processes,
  opening a file to write, removing one. The output is written by the safetensors library, whose native code asks no hook.

What is not promised: an error in torch's native code by which a file takes over the process would pass the unpickler and the
hook. The kernel's bounds and the namespace would hold even then; the user's own files would lie open.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import resource
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regard.checkpoints.tensors import DTYPES, LARGEST_HEADER, fill_safetensors
from regard.errors import CheckpointError, Problems, listed

NESTED = ("state_dict", "model", "model_state_dict", "module")
"""Where training programs put the weights beside the rest of their state."""
WEIGHTS_ALONE = "in the program that wrote it, save the weights alone: torch.save(model.state_dict(), FILE)"

HARMLESS = (
    "builtins.id",
    "compile",
    "cpython.",
    "exec",
    "import",
    "marshal.loads",
    "object.",
    "sys.",
    "os.listdir",
    "os.scandir",
)
"""How the audit events begin that reading files and importing modules cause; all others are refused."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000
"""CLONE_NEWUSER and CLONE_NEWNET of sched.h."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the parent asks for: the weights of each source, written to its target. Bounds count from when reading begins."""

    files: Sequence[tuple[str, str]]
    """(source, target) of each."""
    seconds: int
    """Of processor time, for all files."""
    memory: int
    """Bytes of address space."""
    written: int
    """Bytes of tensors in any file."""


def close_network() -> bool:
    """Move this process to a network namespace that has no way out; whether the kernel allowed it.

    Who may not make one alone may make one inside a user namespace, if the process has a single thread.
    """
    if not sys.platform.startswith("linux"):
        return False
    unshare = ctypes.CDLL(None).unshare
    return bool(unshare(NEW_NETWORK) == 0 or unshare(NEW_USER | NEW_NETWORK) == 0)


def limit(order: Order) -> None:
    """Set the kernel's bounds."""
    seconds = int(time.process_time()) + 1 + order.seconds
    bounds = {
        resource.RLIMIT_CPU: (seconds, seconds + 1),  # at the first comes a signal that tells why the process ended
        resource.RLIMIT_FSIZE: (order.written + LARGEST_HEADER,) * 2,
        resource.RLIMIT_NOFILE: (32, 32),
        resource.RLIMIT_NPROC: (0, 0),
        resource.RLIMIT_CORE: (0, 0),
    }
    if sys.platform.startswith("linux"):
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        bounds[resource.RLIMIT_AS] = (taken + order.memory,) * 2
    for kind, bound in bounds.items():
        resource.setrlimit(kind, bound)


def guard(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook (PEP 578): PermissionError for all but reading."""
    reads = event == "open" and not arguments[2] & WRITING
    if not reads and not event.startswith(HARMLESS):
        raise PermissionError(errno.EPERM, f"it does more than hold weights: {event}")


def read(path: str) -> object:
    """What a file of torch.save holds: tensors and plain containers."""
    return torch.load(path, map_location="cpu", weights_only=True, mmap=_lies_open(path))


def _lies_open(path: str) -> bool:
    """Whether tensors can be mapped where they lie: in a zip archive, not the older format, that nobody has compressed."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


def pick(held: object, *, where: str) -> tuple[dict[str, Tensor], list[str]]:
    """The weights in what was unpickled, and the names of the values beside them, which are no tensors.

    The weights are the tensors of the outermost mapping, or those of the only mapping in it, under a name of :data:`NESTED`.
    Raises :class:`~regard.errors.CheckpointError` when there are none, or more than one place to look for them.
    """
    if not isinstance(held, dict):
        raise CheckpointError(f"holds {type(held).__name__}", where=where, allowed="tensors by name", fix=WEIGHTS_ALONE)
    inner = [name for name, value in held.items() if _holds_tensors(value)]
    if inner and (inner[1:] or inner[0] not in NESTED or _holds_tensors(held)):
        what = f"tensors lie in several places, or under an unusual name: {listed(map(repr, inner))}"
        raise CheckpointError(what, where=where, allowed=f"one of {listed(NESTED)}", fix=WEIGHTS_ALONE)
    weights = held[inner[0]] if inner else held
    tensors = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f"no tensors in {listed(map(repr, held))}", where=where, fix=WEIGHTS_ALONE)
    beside = [name for name in held if name != inner[0]] if inner else []
    return tensors, [*map(repr, beside), *(repr(name) for name in weights if name not in tensors)]


def _holds_tensors(value: object) -> bool:
    return isinstance(value, dict) and any(isinstance(each, Tensor) for each in value.values())


def check(tensors: Mapping[str, Tensor], *, most: int, where: str) -> None:
    """Refuse what no safetensors file of ours can hold, and tensors that take more than `most` bytes when written."""
    problems = Problems(CheckpointError)
    for name, tensor in tensors.items():
        place = f"{where}, tensor {name!r}"
        plain = type(tensor) in (Tensor, torch.nn.Parameter) and not (tensor.is_nested or tensor.is_neg())
        if not isinstance(name, str) or not name.isprintable() or name == "__metadata__":
            problems.add("its name cannot be written", where=place, allowed="a text that can be printed")
        elif not plain or tensor.layout != torch.strided or tensor.device.type != "cpu":
            what = f"a {type(tensor).__name__}, {tensor.layout}, {tensor.device}"
            problems.add(what, where=place, allowed="a dense tensor on the CPU")
        elif tensor.dtype not in DTYPES.values():
            problems.add(f"dtype {tensor.dtype}", where=place, allowed=listed(DTYPES.values()))
    problems.raise_if_any()
    size = sum(tensor.numel() * tensor.itemsize for tensor in tensors.values())
    if size > most:
        raise CheckpointError(f"its tensors take {size} bytes", where=where, allowed=f"{most}, for a file of its size")


def explained(error: Exception, *, where: str) -> CheckpointError:
    """Why a file could not be read, without the way round it that torch's messages offer."""
    text = str(error)
    if foreign := re.search(r"GLOBAL (\S+)", text):
        what, allowed = f"calls for {foreign[1]!r}", "tensors and plain containers: weights call for nothing else"
        return CheckpointError(what, where=where, allowed=allowed, fix=WEIGHTS_ALONE)
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return CheckpointError("asks for more memory than a file of its size needs", where=where, fix="do not trust it")
    inner = re.search(r"WeightsUnpickler error: (.+)", text)
    line = (inner[1] if inner else text).strip().partition("\n")[0][:200]
    return CheckpointError(f"cannot be read: {line or type(error).__name__}", where=where, fix="get the file anew")


def carry_out(order: Order) -> dict[str, Any]:
    """Read and write each file. The answer: `left_out`, `problems` with their `count`, or the `errno` of a failed write."""
    problems = Problems(CheckpointError)
    left_out: list[str] = []
    for source, target in order.files:
        try:
            tensors, beside = pick(read(source), where=source)
            check(tensors, most=order.written, where=source)
        except Exception as error:
            refusal = error if isinstance(error, CheckpointError) else explained(error, where=source)
            for problem in refusal.problems:
                problems.append(problem)
            continue
        try:
            fill_safetensors(Path(target), tensors)
        except OSError as error:
            return {"errno": error.errno}
        left_out += beside
    if problems:
        return {"problems": [asdict(problem) for problem in problems], "count": problems.count}
    return {"left_out": left_out}


def main() -> None:
    """Give up all rights but reading, carry out the order in the first argument, answer in JSON on standard output."""
    order = Order(**json.loads(sys.argv[1]))
    close_network()
    limit(order)
    sys.addaudithook(guard)
    json.dump(carry_out(order), sys.stdout)


if __name__ == "__main__":
    main()
