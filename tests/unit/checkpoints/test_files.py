"""Files and folders that are whole or not there, whatever happens in between."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from regard.checkpoints import atomic_folder, latest, verify
from regard.checkpoints import manifest as manifest_module
from regard.checkpoints.files import LARGEST_JSON, read_json, refilling, replacing, write_json
from regard.errors import CheckpointError, WorkError


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_json_comes_back(tmp_path: Path):
    write_json(tmp_path / "deep" / "x.json", {"名": [1, None, "电影"]})
    assert read_json(tmp_path / "deep" / "x.json") == {"名": [1, None, "电影"]}
    assert "电影" in (tmp_path / "deep" / "x.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "says"),
    [(b"[1]", "holds list"), (b"{", "not JSON"), (b"\xff\xfe\x00", "not JSON"), (b"[" * 10**5, "not JSON")],
)
def test_json_that_is_no_object_is_refused(tmp_path: Path, text: bytes, says: str):
    (tmp_path / "x.json").write_bytes(text)
    with pytest.raises(CheckpointError, match=says):
        read_json(tmp_path / "x.json")


def test_json_without_a_bound_is_refused(tmp_path: Path):
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(LARGEST_JSON + 1)
    with pytest.raises(CheckpointError, match="bytes of JSON"):
        read_json(tmp_path / "x.json")
    with pytest.raises(CheckpointError, match="no such file"):
        read_json(tmp_path / "missing.json")


def test_json_that_may_not_be_read_is_named(open_path: Path, read_only: Any):
    write_json(open_path / "x.json", {})
    (open_path / "x.json").chmod(0)
    with read_only(open_path), pytest.raises(CheckpointError, match="cannot be read"):
        read_json(open_path / "x.json")


def test_an_exception_while_writing_leaves_the_old_file(tmp_path: Path):
    write_json(tmp_path / "x.json", {"old": 1})
    with pytest.raises(KeyError), replacing(tmp_path / "x.json") as beside:
        beside.write_text("half")
        raise KeyError
    assert content(tmp_path) == {"x.json": '{\n  "old": 1\n}\n'}


def test_other_failures_of_the_system_are_named_too(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkError, match="could not be written"):
        write_json(tmp_path / "file" / "x.json", {})


def test_refilling_replaces_some_files_and_leaves_the_others(tmp_path: Path):
    for name in ("config.json", "weights", "run.toml"):
        (tmp_path / name).write_text("old")
    with refilling(tmp_path, seal="config.json") as staging:
        for name in ("config.json", "weights", "task.json"):
            (staging / name).write_text("new")
    assert content(tmp_path) == {"config.json": "new", "run.toml": "old", "task.json": "new", "weights": "new"}


def test_refilling_takes_the_seal_away_first_and_puts_it_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "config.json").write_text("old")
    sealed, replace = [], Path.replace

    def spy(self: Path, target: Path) -> Path:
        sealed.append((Path(target).name, (tmp_path / "config.json").exists()))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", spy)
    with refilling(tmp_path, seal="config.json") as staging:
        for name in ("a", "config.json", "z"):
            (staging / name).write_text("new")
    assert sealed == [("a", False), ("z", False), ("config.json", False)]
    assert content(tmp_path) == {"a": "new", "config.json": "new", "z": "new"}


def test_refilling_that_fails_changes_nothing(tmp_path: Path, disk_full: Any):
    (tmp_path / "config.json").write_text("old")
    with disk_full(), pytest.raises(WorkError, match="no room"), refilling(tmp_path, seal="config.json") as staging:
        (staging / "config.json").write_text("new")
        (staging / "weights").write_text("x" * 1000)
    assert content(tmp_path) == {"config.json": "old"}
    assert not (tmp_path / ".partial").exists()


def write_step(folder: Path, step: int, text: str = "state") -> Path:
    with atomic_folder(folder / f"step-{step}") as staging:
        (staging / "deep").mkdir()
        (staging / "deep" / "weights").write_text(f"{text} {step}")
        (staging / "state.json").write_text("{}")
    return folder / f"step-{step}"


def test_an_atomic_folder_has_a_manifest_and_verifies(tmp_path: Path):
    step = write_step(tmp_path, 3)
    verify(step)
    files = json.loads((step / "manifest.json").read_text())["files"]
    assert files.keys() == {"deep/weights", "state.json"}
    assert files["state.json"]["size"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]


def test_an_atomic_folder_replaces_the_old_one(tmp_path: Path):
    (write_step(tmp_path, 3, "old") / "rest").write_text("x")
    verify(write_step(tmp_path, 3, "new"))
    assert (tmp_path / "step-3" / "deep" / "weights").read_text() == "new 3"
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]


def test_a_failed_atomic_folder_leaves_the_old_one(tmp_path: Path, disk_full: Any):
    before = content(write_step(tmp_path, 3))
    with pytest.raises(KeyError), atomic_folder(tmp_path / "step-3") as staging:
        (staging / "weights").write_text("half")
        raise KeyError
    with disk_full(), pytest.raises(WorkError, match="no room"), atomic_folder(tmp_path / "step-3") as staging:
        (staging / "weights").write_text("x" * 1000)
    assert content(tmp_path / "step-3") == before
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]


def test_the_old_folder_comes_back_when_the_new_one_cannot_be_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = content(write_step(tmp_path, 3))
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(errno.EIO, "the disk is gone")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(WorkError, match="the disk is gone"):
        write_step(tmp_path, 3, "new")
    assert content(tmp_path / "step-3") == before


def test_a_file_in_the_way_is_left_alone(tmp_path: Path):
    (tmp_path / "step-3").write_text("mine")
    with pytest.raises(WorkError, match="a file has this name"):
        write_step(tmp_path, 3)
    assert content(tmp_path) == {"step-3": "mine"}


def test_a_folder_that_may_not_be_written_is_named(open_path: Path, read_only: Any):
    with read_only(open_path), pytest.raises(WorkError, match="may not be written"):
        write_step(open_path, 1)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda step: (step / "deep" / "weights").unlink(), "missing since it was written"),
        (lambda step: (step / "deep" / "weights").write_text("state 4"), "changed or cut"),
        (lambda step: (step / "state.json").write_text(""), "changed or cut"),
        (lambda step: (step / "more").write_text("x"), "not in the manifest"),
        (lambda step: (step / "manifest.json").unlink(), "no such file"),
        (lambda step: (step / "manifest.json").write_text("{}"), "key 'files' is missing"),
        (lambda step: (step / "manifest.json").write_text('{"files": {"../x": 1}}'), "missing since"),
    ],
)
def test_verify_names_the_damage_and_latest_goes_back(tmp_path: Path, damage: Any, says: str):
    good, bad = write_step(tmp_path, 9), write_step(tmp_path, 10)
    assert latest(tmp_path) == bad
    damage(bad)
    with pytest.raises(CheckpointError, match=says):
        verify(bad)
    assert latest(tmp_path) == good


def test_verify_names_a_file_that_may_not_be_read(open_path: Path, read_only: Any):
    step = write_step(open_path, 1)
    (step / "state.json").chmod(0)
    with read_only(open_path), pytest.raises(CheckpointError, match="cannot be read"):
        verify(step)


def test_latest_ignores_what_is_no_checkpoint(tmp_path: Path):
    assert latest(tmp_path / "missing") is None
    for name in ("step-x", "step-007", ".step-9.partial", "best"):
        (tmp_path / name).mkdir()
    assert latest(tmp_path) is None


KILLED = """
import os, signal, sys
from pathlib import Path
from regard.checkpoints import atomic_folder
with atomic_folder(Path(sys.argv[1])) as staging:
    (staging / "weights").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_the_old_folder_and_the_next_one_cleans_up(tmp_path: Path):
    before = content(write_step(tmp_path, 3))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "step-3")], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert killed.returncode == -9
    assert content(tmp_path / "step-3") == before
    assert latest(tmp_path) == tmp_path / "step-3"
    assert (tmp_path / ".step-3.partial" / "weights").exists()
    write_step(tmp_path, 3, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]


def test_everything_is_synced_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    events: list[str] = []
    rename = Path.rename
    monkeypatch.setattr(manifest_module, "sync_tree", lambda path: events.append(f"sync {path.name}"))
    monkeypatch.setattr(
        Path, "rename", lambda self, target: (events.append(f"rename {target.name}"), rename(self, target))[1]
    )
    monkeypatch.setattr(manifest_module, "sync", lambda path: events.append(f"sync {path.name}"))
    write_step(tmp_path, 3)
    assert events == ["sync .step-3.partial", "rename step-3", f"sync {tmp_path.name}"]
