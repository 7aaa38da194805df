"""Loading runs no stranger's code and opens nothing but data (law 7); nothing asks the network unless a hub name is given
(law 8).

Each program here runs in a process of its own, for an audit hook cannot be taken off again. What native code opens no hook
sees, so the kernel is asked too (inotify).
"""

import ctypes
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import regard
from regard.checkpoints.tensors import PICKLED
from regard.cli.app import run
from regard.errors import CheckpointError

DATA = {".safetensors", ".json", ".toml", ".txt", ".model", ".spm", ".arrow", ".jsonl", ".new", ".md"}
"""Endings of what may be opened in a model's folder or a run's; none of these can hold code."""

UNFINISHED = re.compile(r"((?<=\.arrow)\.\w+)?(\.partial)+$")
"""What a file's name ends in while it is written."""

WATCHED = """
import json, os, sys

opened, unpickled, asked, started = [], [], [], []

def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)) and not os.path.isdir(arguments[0]):
        opened.append(os.path.abspath(os.fsdecode(arguments[0])))
    elif event.startswith(("pickle.", "_pickle.")):
        unpickled.append(str(arguments))
    elif event.startswith("socket."):
        asked.append(f"{event} {arguments[1:]}")
        raise OSError("the network is closed")
    elif event.startswith(("subprocess.", "os.system", "os.fork", "os.exec", "os.posix_spawn", "os.spawn", "pty.")):
        started.append(f"{event} {arguments}")

sys.addaudithook(watch)
answer = None
try:
    exec(sys.argv[1])
finally:
    lists = {"opened": opened, "unpickled": unpickled, "asked": asked, "started": started}
    json.dump({**lists, "answer": answer}, open(sys.argv[2], "w"))
"""
"""Runs a program, and writes down every file that Python opens, what is unpickled, every try to reach the network, and every
process that it starts."""


@dataclass(frozen=True)
class Seen:
    """What a program did. answer: what it left in `answer`."""

    opened: set[Path]
    unpickled: list[str]
    asked: list[str]
    started: list[str]
    answer: Any
    output: str


def watched(program: str, report: Path, **environment: str) -> Seen:
    """Runs a program under the hook, in a fresh process that no setting keeps from the network."""
    around = {name: value for name, value in os.environ.items() if name not in ("REGARD_OFFLINE", "HF_HUB_OFFLINE")}
    around |= {"HF_HOME": str(report.parent / "no-cache"), "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run([sys.executable, "-c", WATCHED, program, str(report)], env=around, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    values = json.loads(report.read_text(encoding="utf-8"))
    return Seen(opened=set(map(Path, values.pop("opened"))), **values, output=done.stderr)


OPEN, IS_FOLDER, NONBLOCKING = 0x20, 0x40000000, 0o4000
HEAD = struct.Struct("iIII")


@contextmanager
def kernel_sees(folder: Path) -> Iterator[set[Path]]:
    """The files in a folder and its sub-folders that anybody opens while the block runs; filled when it ends: inotify(7)."""
    opened: set[Path] = set()
    if not sys.platform.startswith("linux"):
        yield opened
        return
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(NONBLOCKING)
    assert descriptor >= 0, os.strerror(ctypes.get_errno())
    try:
        folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        places = {libc.inotify_add_watch(descriptor, os.fsencode(path), OPEN): path for path in folders}
        assert min(places) >= 0
        yield opened
        while True:
            try:
                events = os.read(descriptor, 1 << 20)
            except BlockingIOError:
                return
            at = 0
            while at < len(events):
                watch, mask, _, size = HEAD.unpack_from(events, at)
                name = os.fsdecode(events[at + HEAD.size : at + HEAD.size + size].rstrip(b"\0"))
                at += HEAD.size + size
                if name and watch in places and not mask & IS_FOLDER:
                    opened.add(places[watch] / name)
    finally:
        os.close(descriptor)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sprung,)


TRAPS = ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "model.pkl", "last.ckpt")
CODE = ("modeling_bert.py", "__init__.py", "configuration.py", "tokenizer.py")


def trapped(folder: Path, sprung: Path, *names: str) -> Path:
    """The folder, with pickles and scripts in it that would make the file `sprung`."""
    for name in names or TRAPS:
        (folder / name).write_bytes(pickle.dumps(Trap(sprung)))
    for name in () if names else CODE:
        (folder / name).write_text(f"import pathlib\npathlib.Path({str(sprung)!r}).touch()\n", encoding="utf-8")
    return folder


def judge(seen: Seen, native: set[Path], folder: Path, sprung: Path) -> set[str]:
    """Nothing was unpickled, executed or asked of the network, and all that was opened is data; the names of these files.

    No process was started either, which could do these things unseen.
    """
    assert seen.unpickled == []
    assert seen.asked == []
    assert seen.started == []
    assert not sprung.exists()
    names = {UNFINISHED.sub("", path.name) for path in seen.opened | native if path.is_relative_to(folder)}
    assert {Path(name).suffix for name in names} <= DATA
    return names


def test_the_watchers_see_what_they_must(tmp_path: Path) -> None:
    """A law that nothing could break would prove nothing."""
    sprung = tmp_path / "sprung"
    folder = trapped(tmp_path, sprung, "model.pkl")
    program = f"import pickle, socket, subprocess; pickle.load(open({str(folder / 'model.pkl')!r}, 'rb'))\n"
    program += "subprocess.run(['true'])\n"
    program += "try: socket.create_connection(('127.0.0.1', 9))\nexcept OSError as error: answer = str(error)"
    with kernel_sees(folder) as native:
        seen = watched(program, tmp_path / "report.json")
    assert sprung.exists()
    assert seen.unpickled
    assert seen.answer == "the network is closed"
    assert [event.split()[0] for event in seen.asked] == ["socket.getaddrinfo"]
    assert len(seen.started) == 1
    assert folder / "model.pkl" in seen.opened
    if sys.platform.startswith("linux"):
        assert folder / "model.pkl" in native


PREDICT = "import regard; answer = regard.load({folder!r}).predict(['a fine film', '这部电影很好看'])"


def test_our_own_folder_is_data_alone(trained: Path, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    folder = trapped(shutil.copytree(trained, tmp_path / "model"), sprung)
    with kernel_sees(folder) as native:
        seen = watched(PREDICT.format(folder=str(folder)), tmp_path / "report.json")
    assert {"config.json", "model.safetensors", "tokenizer.json", "task.json"} <= judge(seen, native, folder, sprung)
    assert len(seen.answer) == 2


def test_a_checkpoint_of_somebody_else_is_data_alone(shared: Path, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    folder = tmp_path / "model"
    shutil.copytree(shared / "checkpoints" / "bert-tiny-question", folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    trapped(folder, sprung)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    classes = {
        "AutoConfig": "configuration.Config",
        "AutoModel": "modeling_bert.Model",
        "AutoTokenizer": "tokenizer.Tokenizer",
    }
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": classes}), encoding="utf-8")
    with kernel_sees(folder) as native:
        seen = watched(PREDICT.format(folder=str(folder)), tmp_path / "report.json")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= judge(seen, native, folder, sprung)
    assert len(seen.answer) == 2


def test_a_resumed_training_reads_data_alone(reviews: Path, small: dict[str, Any], tmp_path: Path) -> None:
    sprung, out = tmp_path / "sprung", tmp_path / "run"
    nested = {**small, "training": {**small["training"], "checkpoint_every": 5}}

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "checkpoint" and event["step"] == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        regard.train(str(reviews), model="tiny", out=out, settings=nested, listeners=[stop])
    for folder in (out, out / "checkpoints"):
        trapped(folder, sprung)
    program = f"""
import regard
events = []
regard.train({str(reviews)!r}, model="tiny", out={str(out)!r}, settings={nested!r}, listeners=[events.append])
answer = [event["step"] for event in events if event["event"] == "start"]
"""
    with kernel_sees(out) as native:
        seen = watched(program, tmp_path / "report.json")
    assert seen.answer == [10]
    names = judge(seen, native, out, sprung)
    assert {"run.toml", "tokenizer.json", "start.json", "manifest.json", "progress.json", "state.safetensors"} <= names
    assert any(name.endswith(".arrow") for name in names)


@pytest.mark.parametrize("ending", PICKLED)
def test_weights_that_are_pickled_alone_are_refused_with_the_way_out(trained: Path, tmp_path: Path, ending: str) -> None:
    sprung = tmp_path / "sprung"
    folder = shutil.copytree(trained, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    weights = trapped(folder, sprung, f"pytorch_model{ending}") / f"pytorch_model{ending}"
    for source in (folder, weights):
        with pytest.raises(CheckpointError, match="never read") as caught:
            regard.load(source)
        (problem,) = caught.value.problems
        assert problem.where == str(weights)
        assert problem.allowed == "safetensors"
        assert problem.fix == f"convert its weights once: regard convert {source}"
    assert not sprung.exists()


def test_the_command_that_converts_unpickles_in_another_process(tmp_path: Path) -> None:
    """The one door for pickles: this process sees none, and the other runs nothing that is in them."""
    sprung = tmp_path / "sprung"
    torch.save({"weights": torch.ones(2), "state": Trap(sprung)}, tmp_path / "trap.bin")
    torch.save({"weights": torch.ones(2)}, tmp_path / "fine.bin")
    verbs = [["convert", str(tmp_path / name), "--out", str(tmp_path / "out")] for name in ("trap.bin", "fine.bin")]
    program = f"from regard.cli.app import run\nanswer = [run(verb) for verb in {verbs!r}]"
    seen = watched(program, tmp_path / "report.json")
    assert seen.answer == [2, 0], seen.output
    assert "Traceback" not in seen.output
    assert (seen.unpickled, seen.asked) == ([], [])
    assert [name for name in seen.started if "regard.checkpoints.convert_worker" not in name] == []
    assert not sprung.exists()
    assert torch.equal(load_file(tmp_path / "out" / "model.safetensors")["weights"], torch.ones(2))


def test_the_front_door_opens_without_torch_and_without_a_socket(tmp_path: Path) -> None:
    seen = watched("import regard; dir(regard); answer = sorted(sys.modules)", tmp_path / "report.json")
    assert seen.asked == []
    assert not {"torch", "numpy", "huggingface_hub"} & set(seen.answer)


def test_no_verb_asks_the_network(reviews: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    source, run_out = str(reviews), str(out)
    train = ["train", source, "--model", "tiny", "--out", run_out, "--set", "training.steps=2", "--set", "batch.rows=8"]
    verbs = [
        ["check", source, "--json"],
        train,
        ["check", source, "--model", run_out],
        ["evaluate", run_out, source],
        ["predict", run_out, "a fine film"],
        ["predict", run_out, "--input", source, "--output", str(tmp_path / "answers.csv")],
        ["train", source, "--model", run_out, "--out", f"{run_out}-2", *train[6:]],
        ["doctor"],
    ]
    program = f"from regard.cli.app import run\nanswer = [run(verb) for verb in {verbs!r}]"
    seen = watched(program, tmp_path / "report.json")
    assert seen.answer == [0] * len(verbs), seen.output
    assert seen.asked == []


def test_a_hub_name_and_no_switch_open_the_network(tmp_path: Path) -> None:
    program = """
import os
from regard.cli.app import run
answer = []
for name, switch in (("owner/name", "1"), ("owner/name", "0"), ("hub:owner/name", "0"), ("minilm", "0")):
    os.environ["REGARD_OFFLINE"] = switch
    before = len(asked)
    answer.append([run(["predict", name, "a fine film"]), len(asked) > before])
"""
    seen = watched(program, tmp_path / "report.json")
    assert seen.answer == [[2, False], *[[1, True]] * 3]
    assert {event.split()[0] for event in seen.asked} == {"socket.getaddrinfo"}
    assert "owner/name: the download failed: " in seen.output
    assert "fix: check the connection, or give a folder instead" in seen.output
    assert "Traceback" not in seen.output


def test_names_of_files_that_are_not_there_open_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.getaddrinfo", ask)
    monkeypatch.setattr("huggingface_hub.snapshot_download", ask)
    monkeypatch.delenv("REGARD_OFFLINE", raising=False)
    monkeypatch.chdir(tmp_path)
    for verb in (["train", "data/films"], ["check", "owner/films"], ["evaluate", "./model", "owner/films"]):
        assert run(verb) == 2
