"""`regard convert`: what comes out of a pickled file, what is refused, and that a hostile one changes nothing.

Each conversion starts a process. Here alone the module of that process is imported, to test its parts without one.
"""

import builtins
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from regard.checkpoints import Converted, convert, convert_worker, converter, load, read_safetensors
from regard.checkpoints.tensors import LARGEST_HEADER, write_safetensors
from regard.errors import CheckpointError, ConfigError, WorkError

pytestmark = pytest.mark.timeout(120)


def state() -> dict[str, Tensor]:
    """Tensors of many kinds: tied, turned, a view, half precision, whole numbers, a parameter, a scalar, an empty one."""
    torch.manual_seed(0)
    whole = torch.randn(6, 4)
    return OrderedDict(
        {
            "embeddings.weight": whole,
            "head.weight": whole,
            "turned": torch.randn(3, 2).t(),
            "view": whole[1:3],
            "half": torch.randn(3).half(),
            "bfloat": torch.randn(3).bfloat16(),
            "ids": torch.arange(5),
            "flags": torch.tensor([True, False]),
            "parameter": torch.nn.Parameter(torch.randn(2)),
            "scalar": torch.tensor(3.0),
            "empty": torch.zeros(0, 4),
            "名": torch.ones(1),
        }
    )


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_holds(path: Path, tensors: dict[str, Tensor]) -> None:
    held = read_safetensors(path)
    assert held.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert held[name].dtype == tensor.dtype
        assert torch.equal(held[name], tensor), name


def squeezed(path: Path) -> None:
    """Compress a zip archive of torch.save, whose tensors then no longer lie in the file as they are."""
    with zipfile.ZipFile(path) as archive:
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("format", ["zip", "compressed zip", "legacy"])
def test_every_tensor_comes_back_bit_for_bit(tmp_path: Path, format: str):
    path = tmp_path / "名 pytorch_model.bin"
    torch.save(state(), path, _use_new_zipfile_serialization=format != "legacy")
    if format == "compressed zip":
        squeezed(path)
    before = path.read_bytes()
    done = convert(path)
    assert done == Converted(
        files=(str(tmp_path / "model.safetensors"),),
        tensors=len(state()),
        bytes=sum(tensor.nbytes for tensor in state().values()),
        left_out=(),
    )
    assert_holds(tmp_path / "model.safetensors", state())
    assert content(tmp_path).keys() == {path.name, "model.safetensors"}
    assert path.read_bytes() == before


def test_the_file_has_the_rights_of_any_new_file(tmp_path: Path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pt")
    convert(tmp_path / "a.pt", out=tmp_path / "a.safetensors")
    (tmp_path / "new").touch()
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_a_checkpoint_of_somebody_else_loads_after_it(write_bert: Callable[..., Path]):
    folder = write_bert()
    whole = load(folder)
    torch.save(OrderedDict(read_safetensors(folder / "model.safetensors")), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    assert caught.value.problems[0].fix == f"convert its weights once: regard convert {folder}"
    torch.save({"lr": 0.1}, folder / "training_args.bin")
    convert(folder)
    back = load(folder)
    assert back.config == whole.config
    assert all(torch.equal(back.tensors[name], tensor) for name, tensor in whole.tensors.items())


def test_shards_become_shards_with_an_index(write_bert: Callable[..., Path], tmp_path: Path):
    folder = write_bert()
    held = read_safetensors(folder / "model.safetensors")
    whole = load(folder)
    (folder / "model.safetensors").unlink()
    names = sorted(held)
    shards = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for shard, part in shards.items():
        torch.save({name: held[name] for name in part}, folder / shard)
    places = {name: shard for shard, part in shards.items() for name in part}
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))

    out = tmp_path / "out"
    done = convert(folder, out=out)
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    assert done.files == tuple(str(out / name) for name in files)
    assert sorted(content(out)) == files
    (out / "config.json").write_bytes((folder / "config.json").read_bytes())
    back = load(out)
    assert all(torch.equal(back.tensors[name], tensor) for name, tensor in whole.tensors.items())

    index.write_text(json.dumps({"weight_map": {**places, "more": "pytorch_model-00001-of-00002.bin"}}))
    with pytest.raises(CheckpointError, match=r"pytorch_model-00001-of-00002\.bin: tensor 'more' is missing"):
        convert(folder, out=tmp_path / "other")
    assert not (tmp_path / "other").exists()
    with pytest.raises(ConfigError, match="one file for several shards"):
        convert(folder, out=tmp_path / "one.safetensors")


@pytest.mark.parametrize(
    ("held", "names", "left_out"),
    [
        ({"a": torch.ones(1), "epoch": 3}, ["a"], ["'epoch'"]),
        ({"state_dict": {"a": torch.ones(1)}, "epoch": 3, "args": {"lr": 0.1}}, ["a"], ["'epoch'", "'args'"]),
        (
            {"model": {"a": torch.ones(1), "n": 1}, "optimizer": {"state": {0: {"m": torch.ones(1)}}}},
            ["a"],
            ["'optimizer'", "'n'"],
        ),
    ],
)
def test_the_weights_are_found_and_what_is_left_out_is_named(held: Any, names: list[str], left_out: list[str]):
    tensors, beside = convert_worker.pick(held, where="x")
    assert (list(tensors), beside) == (names, left_out)


@pytest.mark.parametrize(
    ("held", "says"),
    [
        (torch.ones(1), "x: holds Tensor"),
        ([torch.ones(1)], "x: holds list"),
        ({}, "no tensors in "),
        ({"epoch": 3, "lr": 0.1}, "no tensors in 'epoch', 'lr'"),
        ({"state_dict": {"a": torch.ones(1)}, "model": {"a": torch.ones(1)}}, "several places.*'state_dict', 'model'"),
        ({"state_dict": {"a": torch.ones(1)}, "a": torch.ones(1)}, "several places"),
        ({"generator": {"a": torch.ones(1)}}, "under an unusual name: 'generator'"),
    ],
)
def test_weights_that_are_not_in_one_place_are_refused(held: Any, says: str):
    with pytest.raises(CheckpointError, match=says) as caught:
        convert_worker.pick(held, where="x")
    assert "torch.save(model.state_dict(), FILE)" in caught.value.problems[0].fix


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"a": torch.ones(2).to_sparse()}, "tensor 'a': a Tensor, torch.sparse_coo, cpu"),
        ({"a": torch.ones(2, device="meta")}, "tensor 'a': a Tensor, torch.strided, meta"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "tensor 'a': dtype torch.complex64"),
        ({"a": torch.ones(2).to(torch.float8_e4m3fn)}, "tensor 'a': dtype torch.float8_e4m3fn"),
        ({"a": torch.ones(2).as_subclass(type("Odd", (Tensor,), {}))}, "tensor 'a': a Odd"),
        ({3: torch.ones(1)}, "tensor 3: its name cannot be written"),
        ({"a\ud800": torch.ones(1)}, "its name cannot be written"),
        ({"\x1b[2J": torch.ones(1)}, "its name cannot be written"),
        ({"__metadata__": torch.ones(1)}, "its name cannot be written"),
        ({"a": torch.ones(1).expand(2**40)}, f"its tensors take {2**42} bytes"),
        ({3: torch.ones(1), "a": torch.ones(2).to_sparse()}, "2 problems"),
    ],
)
def test_what_no_safetensors_file_holds_is_named(tensors: Any, says: str):
    with pytest.raises(CheckpointError) as caught:
        convert_worker.check(tensors, most=1000, where="x")
    assert says in str(caught.value)


# What is refused before a process is started


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "run", start)


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a file that torch.save wrote: it begins with b''"),
        (b"version https://git-lfs.github.com/spec/v1\n", "begins with b'version https://'"),
        (pickle.dumps({"a": 1}), "not a file that torch.save wrote"),
        (pickle.dumps({"a": 1}, protocol=2), "not a file that torch.save wrote"),
        (b"pytorch_model.bin\0" + bytes(600), "not a file that torch.save wrote"),
    ],
)
def test_other_files_are_refused_by_their_beginning(tmp_path: Path, data: bytes, says: str):
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        convert(path)
    assert says in str(caught.value)
    assert content(tmp_path) == {path.name: data}


@pytest.mark.usefixtures("no_process")
def test_a_file_above_the_limit_is_refused_by_its_size(tmp_path: Path):
    path = tmp_path / "pytorch_model.bin"
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(17 * 10**9)
    for limits in ({}, {"limit_gb": 16.9}, {"limit_gb": float("nan")}, {"limit_gb": -1.0}):
        with pytest.raises(CheckpointError, match="17 GB") as caught:
            convert(path, **limits)
        assert "--limit-gb" in caught.value.problems[0].fix


@pytest.mark.usefixtures("no_process")
def test_what_is_there_is_never_replaced(tmp_path: Path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    write_safetensors(tmp_path / "model.safetensors", {"a": torch.ones(1)})
    before = content(tmp_path)
    for out in (None, tmp_path, tmp_path / "model.safetensors"):
        with pytest.raises(ConfigError, match=r"has model\.safetensors already"):
            convert(tmp_path / "pytorch_model.bin", out=out)
    assert content(tmp_path) == before


@pytest.mark.usefixtures("no_process")
def test_a_folder_must_say_which_file_it_means(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"no pytorch_model\.bin and no pytorch_model\.bin\.index\.json"):
        convert(tmp_path)
    for name in ("a.pt", "b.pth"):
        torch.save({}, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"allowed: a\.pt, b\.pth"):
        convert(tmp_path)
    os.mkfifo(tmp_path / "pipe.bin")
    for missing in ("c.pt", "pipe.bin"):
        with pytest.raises(CheckpointError, match="no such file"):
            convert(tmp_path / missing)
    (tmp_path / "pytorch_model.bin.index.json").write_text('{"weight_map": {}}')
    with pytest.raises(CheckpointError, match="names no shards"):
        convert(tmp_path)
    for place in ("../a.pt", "../a.bin", "/etc/passwd", 3):
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": place}}))
        with pytest.raises(CheckpointError, match="'weight_map' is not right"):
            convert(tmp_path)


@pytest.mark.usefixtures("no_process")
def test_rights_that_are_missing_are_named(open_path: Path, read_only: Any):
    torch.save({"a": torch.zeros(1)}, open_path / "a.bin")
    with read_only(open_path), pytest.raises(WorkError, match="may not be written"):
        convert(open_path / "a.bin")
    (open_path / "a.bin").chmod(0)
    with read_only(open_path), pytest.raises(CheckpointError, match=r"a\.bin: cannot be read: Permission denied"):
        convert(open_path / "a.bin")


def test_a_disk_that_fills_up_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.save({"a": torch.zeros(100)}, tmp_path / "a.bin")
    monkeypatch.setattr(converter, "_said", lambda *_, **__: {"errno": 28})
    with pytest.raises(WorkError, match="no room to write"):
        convert(tmp_path / "a.bin", out=tmp_path / "out")
    assert content(tmp_path).keys() == {"a.bin"}


# Hostile files


class Call:
    """Is unpickled as the call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.what = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.what


def saved(path: Path, opcodes: bytes) -> Path:
    """A file of torch.save whose pickle is `opcodes`."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {"data.pkl": opcodes, "version": b"3\n", "byteorder": b"little"}.items():
            archive.writestr(f"archive/{name}", data)
    return path


@pytest.fixture
def listening() -> Iterator[tuple[int, list[object]]]:
    """A port of this machine, and who connected to it."""
    guests: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def wait() -> None:
            while True:
                try:
                    guests.append(server.accept()[1])
                except OSError:
                    return

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        yield server.getsockname()[1], guests
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def assert_refused(path: Path, says: str) -> None:
    """The conversion ends in a CheckpointError with a place, and the folder is what it was."""
    before = content(path.parent)
    with pytest.raises(CheckpointError) as caught:
        convert(path)
    assert says in str(caught.value)
    assert caught.value.problems[0].where.startswith(str(path))
    assert caught.value.exit_status == 2
    assert content(path.parent) == before


def indexed(folder: Path, files: dict[str, object]) -> Path:
    """A folder whose index makes shards of these files, every second one in the format before torch 1.6."""
    for i, (name, held) in enumerate(files.items()):
        torch.save({name: held}, folder / f"{name}.bin", _use_new_zipfile_serialization=i % 2 == 0)
    places = {name: f"{name}.bin" for name in files}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    return folder


def refusals(folder: Path) -> dict[str, str]:
    """File -> what is said of it. The folder stays what it was."""
    before = content(folder)
    with pytest.raises(CheckpointError) as caught:
        convert(folder)
    assert content(folder) == before
    assert caught.value.exit_status == 2
    return {Path(problem.where).stem: problem.what for problem in caught.value.problems}


def test_files_that_call_functions_are_refused_and_none_is_called(tmp_path: Path, listening: tuple[int, list[object]]):
    sprung = tmp_path / "sprung"
    port, guests = listening
    calls = {
        "system": Call(os.system, f"touch {sprung}"),
        "system-legacy": Call(os.system, f"touch {sprung}"),
        "evaluate": Call(builtins.eval, f"open({str(sprung)!r}, 'w')"),
        "execute": Call(builtins.exec, f"open({str(sprung)!r}, 'w')"),
        "import": Call(builtins.__import__, "this"),
        "write": Call(Path.touch, sprung),
        "connect": Call(socket.create_connection, ("127.0.0.1", port)),
        "process": Call(subprocess.Popen, ["touch", str(sprung)]),
    }
    said = refusals(indexed(tmp_path, calls))
    assert said.keys() == calls.keys()
    assert said["system"] == said["system-legacy"] == "calls for 'posix.system'"
    assert said["evaluate"] == "calls for 'eval'"
    assert all(what.startswith("calls for ") for what in said.values())
    assert not sprung.exists()
    assert guests == []


def test_files_that_ask_for_memory_are_refused(tmp_path: Path):
    asks = {
        "bytes": Call(bytearray, 2**33),
        "bytes-legacy": Call(bytearray, 2**33),
        "tensor": Call(torch.FloatTensor, 2**31),
        "tensor-legacy": Call(torch.FloatTensor, 2**31),
        "view": torch.zeros(1).expand(2**40),
    }
    said = refusals(indexed(tmp_path, asks))
    assert said.pop("view") == f"its tensors take {2**42} bytes"
    assert said == dict.fromkeys(list(asks)[:4], "asks for more memory than a file of its size needs")


PAIRS = b"\x80\x02})" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(60))
"""Opens a dict and a tuple of two tuples of two tuples …: 60 deep, so that to hash it takes 2⁶⁰ steps."""


def test_a_file_that_takes_for_ever_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(converter, "SECONDS", 1)
    path = saved(tmp_path / "a.bin", PAIRS + b"K\x01s.")
    assert_refused(path, "took more than 1 seconds of processor time to read")


def test_a_file_that_waits_for_ever_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.bin")
    monkeypatch.setattr(converter, "PATIENCE", 0.001)
    assert_refused(tmp_path / "a.bin", "was not read in 0.03 seconds")


@pytest.mark.parametrize(
    "opcodes", [b"\x80\x02})" + b"\x85" * 10**6 + b"K\x01s.", b"\x80\x02" + b"}K\x01" * 10**5 + b"s" * 10**5 + b"."]
)
def test_a_file_that_is_too_deep_is_refused(tmp_path: Path, opcodes: bytes):
    """Hashing a tuple in a tuple in a tuple … overflows the stack of the process that does it."""
    assert_refused(saved(tmp_path / "a.bin", opcodes), "a.bin: ")


@pytest.mark.parametrize(
    "opcodes", [b"", b"\x80\x02", b"\x80\x02}", b"\x80\x05\x95", b".", b"\x80\x02R.", b"\x80\x02\x8b\xff\xff\xff\x7f."]
)
def test_a_pickle_that_is_cut_or_wrong_is_refused(tmp_path: Path, opcodes: bytes):
    """The unpickler's own faults, in the process of the reader's functions: none of these needs a process of its own."""
    path = saved(tmp_path / "a.bin", opcodes)
    order = convert_worker.Order(files=[(str(path), str(tmp_path / "out"))], seconds=1, memory=2**30, written=2**20)
    with pytest.warns(UserWarning) if b"\x05" in opcodes else pytest.MonkeyPatch.context():
        said = convert_worker.carry_out(order)
    assert said["problems"][0]["what"].startswith("cannot be read: ")
    assert not (tmp_path / "out").exists()


def test_a_reader_that_dies_or_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.bin")
    monkeypatch.setattr(converter, "WORKER", "regard.no_such_module")
    with pytest.raises(WorkError, match=r"its reader failed: .*No module named"):
        convert(tmp_path / "a.bin")
    done = subprocess.CompletedProcess([], -signal.SIGSEGV)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert_refused(tmp_path / "a.bin", "ended its reader with SIGSEGV")


# What the reader could not do even if a file took it over


PRISONER = """
import ctypes, json, os, pathlib, shutil, socket, struct, subprocess, sys
import torch
from regard.checkpoints import convert_worker as worker

folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
native_socket, native_connect = ctypes.CDLL(None).socket, ctypes.CDLL(None).connect
address = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(port), bytes([127, 0, 0, 1]))
acts = {
    "connect": lambda: socket.create_connection(("127.0.0.1", port)),
    "look up": lambda: socket.getaddrinfo("localhost", port),
    "system": lambda: os.system("true"),
    "run": lambda: subprocess.run(["true"]),
    "fork": lambda: os.fork(),
    "execute": lambda: os.execv("/bin/true", ["true"]),
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "write": lambda: open(folder / "written", "w"),
    "append": lambda: open(folder / "here", "a"),
    "open to write": lambda: os.open(folder / "written", os.O_CREAT),
    "touch": lambda: (folder / "written").touch(),
    "remove": lambda: os.remove(folder / "here"),
    "rename": lambda: os.rename(folder / "here", folder / "there"),
    "link": lambda: os.symlink(folder / "here", folder / "there"),
    "change rights": lambda: os.chmod(folder / "here", 0),
    "make a folder": lambda: (folder / "made").mkdir(),
    "remove all": lambda: shutil.rmtree(folder),
    "load a library": lambda: ctypes.CDLL("libc.so.6"),
    "kill": lambda: os.kill(os.getppid(), 0),
    "lift a limit": lambda: worker.resource.setrlimit(worker.resource.RLIMIT_AS, (-1, -1)),
    "take memory": lambda: bytearray(2**30),
    "open many files": lambda: [open("/dev/null") for _ in range(64)],
    "read": lambda: (folder / "here").read_text(),
    "import": lambda: __import__("wave"),
}
seen = {}

def tried(act):
    try:
        act()
    except BaseException as error:
        return type(error).__name__
    return "done"

def taken_over(path):
    seen["answers"] = {name: tried(act) for name, act in acts.items()}
    seen["native connect"] = native_connect(native_socket(socket.AF_INET, socket.SOCK_STREAM, 0), address, len(address))
    seen["bounds"] = {name: worker.resource.getrlimit(getattr(worker.resource, name))[1] for name in sys.argv[3:]}
    return {"a": torch.ones(1)}

def close_network(close=worker.close_network):
    seen["closed"] = close()

worker.read, worker.close_network = taken_over, close_network
order = {"files": [["here", str(folder / "out")]], "seconds": 60, "memory": 2**28, "written": 2**20}
sys.argv[1] = json.dumps(order)
worker.main()
print("\\n" + json.dumps(seen))
"""
"""The reader, taken over by a file as its unpickler would hand it over: what it tries, and what it gets."""


def test_a_file_that_takes_the_reader_over_can_read_and_nothing_else(tmp_path: Path, listening: tuple[int, list[object]]):
    (tmp_path / "here").write_text("mine")
    port, guests = listening
    command = [sys.executable, "-c", PRISONER, str(tmp_path), str(port), "RLIMIT_FSIZE", "RLIMIT_CORE", "RLIMIT_NPROC"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **converter.ONE_THREAD})
    assert done.returncode == 0, done.stderr
    said, seen = map(json.loads, done.stdout.splitlines())
    answers = seen["answers"]
    assert said == {"left_out": []}
    assert {name for name, answer in answers.items() if answer == "done"} == {"read", "import"}
    assert answers.pop("take memory") == "MemoryError"
    assert answers.pop("open many files") == "OSError"
    assert {answer for answer in answers.values() if answer != "done"} == {"PermissionError"}
    assert seen["bounds"] == {"RLIMIT_FSIZE": 2**20 + LARGEST_HEADER, "RLIMIT_CORE": 0, "RLIMIT_NPROC": 0}
    assert content(tmp_path).keys() == {"here", "out"}
    assert (tmp_path / "here").read_text() == "mine"
    if seen["closed"]:  # the audit hook does not see native code; the kernel does, unless it forbids namespaces
        assert seen["native connect"] == -1
        assert guests == []


def test_the_reader_gets_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.bin")
    monkeypatch.setenv("HF_TOKEN", "secret")
    seen = {}

    def run(command: list[str], **options: Any) -> Any:
        seen.update(options)
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(WorkError):
        convert(tmp_path / "a.bin")
    assert seen["env"].keys() <= {*converter.KEPT, *converter.ONE_THREAD}
    assert seen["stdin"] == subprocess.DEVNULL
