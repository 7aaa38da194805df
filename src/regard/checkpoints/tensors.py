"""Tensors on disk: safetensors only, checked before a byte of them is believed, mapped and not copied into memory.

The format is 8 bytes with the header's length, a JSON header {name: {dtype, shape, data_offsets}}, and the tensors' bytes
without gaps (https://github.com/huggingface/safetensors, *Format*).
"""

from __future__ import annotations

import json
import math
import mmap
import re
import reprlib
import shlex
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from regard.checkpoints.files import read_json, replacing, with_usual_rights
from regard.errors import CheckpointError, Problems, listed

LARGEST_HEADER = 2**25
"""Bytes of header that are read, a third of the format's own limit: as JSON they take many times as much memory."""
LARGEST_TENSOR = 2**48
"""Elements that a shape may promise."""
MOST_DIMENSIONS = 16
LONGEST_NAME = 1000
"""Characters in the name of a tensor; every message about one repeats it."""

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor as a header promises it: bytes `start` to `stop`, counted from the end of the header."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    stop: int


class Stored(dict[str, Tensor]):
    """Tensors by name in their stored dtype, views of mapped files: no memory until they are used.

    Writing to one changes memory, never the file.
    """

    def __init__(self, tensors: Iterable[tuple[str, Tensor]], maps: Iterable[mmap.mmap]) -> None:
        super().__init__(tensors)
        self.maps = tuple(maps)

    def forget(self) -> None:
        """Give back the memory that reading took; what is read again comes from the file again. What was written is lost."""
        if sys.platform != "win32":
            for each in self.maps:
                each.madvise(mmap.MADV_DONTNEED)


def read_safetensors(path: Path) -> Stored:
    """The tensors of a file, in the order of its bytes.

    Raises :class:`~regard.errors.CheckpointError`, also for a file that would have to be unpickled.
    """
    refuse_pickle(path)
    entries = read_header(path)
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        start = len(mapped) - entries[-1].stop if entries else 0
        return Stored([(entry.name, _view(mapped, start + entry.start, entry)) for entry in entries], [mapped])
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"cannot be read: {error}", where=str(path), fix="get the file anew") from None


def _view(mapped: mmap.mmap, start: int, entry: Entry) -> Tensor:
    """The tensor whose bytes begin at `start`; where no number of its dtype can begin there, a copy."""
    size = entry.stop - entry.start
    if not size:
        return torch.empty(entry.shape, dtype=entry.dtype)
    if start % entry.dtype.itemsize:
        whole = torch.frombuffer(bytearray(mapped[start : start + size]), dtype=entry.dtype)
    else:
        whole = torch.frombuffer(mapped, dtype=entry.dtype, count=size // entry.dtype.itemsize, offset=start)
    return whole.view(entry.shape)


PIECE = 2**19
"""Elements that are cast at once."""
FORGET = 2**21
"""Bytes of a file that a thread reads before it gives their memory back."""
Piece: TypeAlias = tuple[Tensor, Tensor]
"""A part of a new tensor, and what it is to hold."""


def cast(tensors: dict[str, Tensor], dtype: torch.dtype | None, stored: Stored) -> None:
    """Give each floating-point tensor another dtype (None: its own) and rows that lie one behind the other, in place.

    tensors: views of `stored`, or copies. What needs no change stays the view that it is; of the rest no more than some
    megabytes are ever in memory twice. Threads take piece after piece by themselves: torch's own would wait for each other
    at the end of every tensor, and most of the time is the system's, which finds the memory.
    """
    stored.forget()
    pieces, lock = _pieces(tensors, dtype), threading.Lock()

    def work() -> None:
        read = 0
        while True:
            with lock:
                piece = next(pieces, None)
            if piece is None:
                return
            target, source = piece
            target.copy_(source)
            read += source.nbytes
            if read > FORGET:
                stored.forget()
                read = 0

    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()
    stored.forget()


def _pieces(tensors: dict[str, Tensor], dtype: torch.dtype | None) -> Iterator[Piece]:
    """Puts a new tensor in the place of each that has to change, and tells what to fill it with."""
    for name in list(tensors):
        old = tensors[name]
        wanted = dtype if dtype is not None and old.is_floating_point() else old.dtype
        if old.dtype == wanted and old.is_contiguous():
            continue
        new = tensors[name] = torch.empty(old.shape, dtype=wanted)
        if old.numel() <= PIECE:
            yield new, old
        else:
            dim = max(range(old.ndim), key=old.stride)  # along which a file is read from its beginning to its end
            rows = max(1, PIECE * old.shape[dim] // old.numel())
            yield from zip(new.split(rows, dim), old.split(rows, dim), strict=True)


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors in place of `path`. Raises :class:`~regard.errors.WorkError`; then the old file is whole."""
    with replacing(path) as beside, with_usual_rights(beside):
        fill_safetensors(beside, tensors, metadata=metadata)


def fill_safetensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors to `path` itself: for a file that nobody looks at before it is whole. Raises OSError."""
    try:
        save_file(_unshared(tensors), path, metadata={"format": "pt"} | dict(metadata or {}))
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        raise OSError(int(code[1]) if code else None, str(error)) from error


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that each own their memory, which is what the library writes: views and ties are copied."""
    result: dict[str, Tensor] = {}
    owned: set[int] = set()
    for name, tensor in tensors.items():
        whole = tensor.detach().contiguous()
        storage = whole.untyped_storage()
        if storage.nbytes() != whole.nbytes or storage.data_ptr() in owned:
            whole = whole.clone()
        owned.add(whole.untyped_storage().data_ptr())
        result[name] = whole
    return result


def refuse_pickle(path: Path, *, source: Path | None = None) -> None:
    """Raises :class:`~regard.errors.CheckpointError` for a file that can run code when it is loaded (law 7).

    source: what `regard convert` should be given, if not the file: the folder of a file that may be one of several shards.
    """
    if path.suffix.lower() in PICKLED:
        raise CheckpointError(
            "a pickled file, which can run any code when it is loaded, is never read",
            where=str(path),
            allowed="safetensors",
            fix=f"convert its weights once: regard convert {shlex.quote(str(source or path))}",
        )


def read_weights(folder: Path) -> Stored:
    """The tensors of a folder: `model.safetensors`, or the shards that `model.safetensors.index.json` names."""
    if (folder / WEIGHTS).is_file():
        return read_safetensors(folder / WEIGHTS)
    if (folder / INDEX).is_file():
        return _read_shards(folder)
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PICKLED)
    if pickled:
        refuse_pickle(folder / pickled[0], source=folder)
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    raise CheckpointError(
        f"no {WEIGHTS} and no {INDEX}" + (f", only {listed(others)}" if others else ""),
        where=str(folder),
        fix="check that the folder was copied or downloaded whole",
    )


def _read_shards(folder: Path) -> Stored:
    places = read_index(folder / INDEX, suffix=".safetensors")
    shards = {name: read_safetensors(folder / name) for name in sorted(set(places.values()))}
    problems = Problems(CheckpointError)
    tensors: dict[str, Tensor] = {}
    for shard, held in shards.items():
        for name, tensor in held.items():
            if places.get(name) == shard:
                tensors[name] = tensor
            else:
                problems.add(f"tensor {name!r} is not what the index puts there", where=str(folder / shard))
    for name in places.keys() - tensors.keys():
        problems.add(f"tensor {name!r} is missing", where=str(folder / places[name]), fix="get the file anew")
    problems.raise_if_any()
    return Stored(tensors.items(), (mapped for shard in shards.values() for mapped in shard.maps))


def read_index(path: Path, *, suffix: str) -> dict[str, str]:
    """The `weight_map` of an index of shards: tensor -> a file of the index's own folder, which it must not leave.

    Raises :class:`~regard.errors.CheckpointError` for anything else; suffix: what the files' names end in.
    """
    places = read_json(path).get("weight_map")
    if not isinstance(places, dict) or not all(_is_entry(*entry, suffix) for entry in places.items()):
        raise CheckpointError("'weight_map' is not right", where=str(path), allowed=f'{{"TENSOR": "FILE{suffix}", …}}')
    return places


def _is_entry(name: str, place: object, suffix: str) -> bool:
    is_plain = isinstance(place, str) and place.endswith(suffix) and Path(place).name == place
    return is_plain and max(len(name), len(str(place))) <= LONGEST_NAME


def read_header(path: Path) -> list[Entry]:
    """What a safetensors file holds, in the order of its bytes.

    Raises :class:`~regard.errors.CheckpointError` that names file, tensor and byte for a header that is too long, is not
    JSON or names a tensor twice, for an unknown dtype, and for bytes that overlap, leave a gap, end elsewhere than the
    file, or do not fit dtype and shape.
    """
    problems = Problems(CheckpointError)
    try:
        if not path.is_file():
            fix = "check that the folder was copied or downloaded whole"
            raise CheckpointError("no such file", where=str(path), fix=fix)
        with path.open("rb") as file:
            size = path.stat().st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= min(size - 8, LARGEST_HEADER):
                what = f"bytes 0 to 8 promise a header of {length} bytes" if size >= 8 else "no header"
                allowed = f"2 to {LARGEST_HEADER} bytes, within the file's {size}"
                raise CheckpointError(what, where=str(path), allowed=allowed, fix="the file is cut or broken: get it anew")
            header = _parse_header(file.read(length))
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", where=str(path), fix="check its rights") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"the header is not right: {error}", where=str(path), fix="get the file anew") from None
    entries = [entry for name in header if (entry := _parse_entry(name, header[name], where=str(path), problems=problems))]
    problems.raise_if_any()
    entries.sort(key=lambda entry: (entry.start, entry.stop))
    _check_cover(entries, data=size - 8 - length, offset=8 + length, problems=problems, where=str(path))
    problems.raise_if_any()
    return entries


def _parse_header(text: bytes) -> dict[str, Any]:
    header = json.loads(text, object_pairs_hook=_once)
    if not isinstance(header, dict):
        raise ValueError("not a JSON object")
    metadata = header.pop("__metadata__", {})
    if any(len(name) > LONGEST_NAME for name in header):
        raise ValueError(f"the name of a tensor has more than {LONGEST_NAME} characters")
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("__metadata__ is not text to text")
    return header


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name stands twice")
    return values


def _parse_entry(name: str, value: Any, *, where: str, problems: Problems) -> Entry | None:
    place = f"{where}, tensor {name!r}"
    parts = value if isinstance(value, dict) else {}
    dtype, shape, offsets = parts.get("dtype"), parts.get("shape"), parts.get("data_offsets")
    if not (isinstance(dtype, str) and _are_sizes(shape) and _are_sizes(offsets) and len(offsets) == 2):
        problems.add("its description is not right", where=place, allowed="dtype, shape and two data_offsets")
    elif dtype not in DTYPES:
        problems.add(f"dtype {reprlib.repr(dtype)}", where=place, allowed=listed(DTYPES), fix=problems.hint(dtype, DTYPES))
    elif len(shape) > MOST_DIMENSIONS or math.prod(max(size, 1) for size in shape) > LARGEST_TENSOR:
        problems.add("its shape is too large", where=place, allowed=f"{LARGEST_TENSOR} elements")
    else:
        start, stop = offsets
        need = math.prod(shape) * DTYPES[dtype].itemsize
        if stop - start == need:
            return Entry(name, DTYPES[dtype], tuple(shape), start, stop)
        problems.add(f"bytes {start} to {stop}, but {dtype} {shape} takes {need}", where=place, fix="get the file anew")
    return None


def _are_sizes(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


def _check_cover(entries: list[Entry], *, data: int, offset: int, problems: Problems, where: str) -> None:
    """The tensors' bytes must follow each other from the header's end to the file's end."""
    ends = [0, *(entry.stop for entry in entries)]
    for entry, end in zip(entries, ends, strict=False):
        if entry.start != end:
            kind = "overlap" if entry.start < end else "a gap"
            problems.add(f"{kind} before byte {offset + entry.start}", where=f"{where}, tensor {entry.name!r}")
    if ends[-1] != data:
        problems.add(
            f"the tensors end at byte {offset + ends[-1]}, the file at {offset + data}",
            where=where,
            fix="the file is cut or broken: get it anew",
        )
