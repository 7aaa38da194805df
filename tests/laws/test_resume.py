"""A run that is killed at any instant and started again ends as if nothing had happened (law 5).

Bit-identical are weights, metrics, predictions and the loss of every step, on one machine with one number of threads:
another number of threads sums in another order and may differ in the last bits.
"""

import gzip
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

import regard
from regard.checkpoints.files import read_json
from regard.cli.app import main
from regard.errors import WorkError

KILLS = 30
STEPS = 40
SETTINGS = {
    "training.steps": STEPS,
    "training.threads": 1,
    "training.checkpoint_every": 3,
    "training.eval_every": 5,
    "training.dropout": 0.1,
    "training.lr": 0.002,
    "batch.rows": 8,
    "batch.accumulate": 2,
    "tokenizer.vocab_size": 600,
}

FORK = get_context("forkserver")
FORK.set_forkserver_preload(["regard.cli.app", "regard.training.run"])
"""Torch is imported once, in the server: a start costs a fork."""


@pytest.fixture(scope="module")
def rows(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few hundred real reviews."""
    with gzip.open(shared / "data/sst2/train_full.tsv.gz", "rt", encoding="utf-8") as lines:
        text = "".join(line for _, line in zip(range(301), lines, strict=False))
    path = tmp_path_factory.mktemp("rows") / "rows.tsv"
    path.write_text(text, encoding="utf-8")
    return path


def arguments(rows: Path, out: Path, model: str = "tiny", **settings: object) -> list[str]:
    """The command line of a small run."""
    chosen = SETTINGS | {name.replace("__", "."): value for name, value in settings.items()}
    sets = [part for name, value in chosen.items() for part in ("--set", f"{name}={value}")]
    return ["train", str(rows), "--columns", "text=sentence", "--model", model, "--out", str(out), *sets]


def interruptible(command: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite run in the background ignores it, and so would this
    main(command)


def started(command: list[str]) -> ForkServerProcess:
    process = FORK.Process(target=interruptible, args=(command,), daemon=True)
    process.start()
    return process


def finished(command: list[str]) -> None:
    process = started(command)
    process.join()
    assert process.exitcode == 0


def state(out: Path) -> dict[str, object]:
    """All that a finished run has made, but for clocks."""
    files: dict[str, object] = {
        path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()
    }
    metrics = read_json(out / "metrics.json")
    del metrics["run"]["seconds"]
    events = [json.loads(line) for line in (out / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    learned = [(e["step"], e.get("loss"), e.get("values")) for e in events if e["event"] in ("step", "evaluation")]
    return files | {"metrics.json": metrics, "events.jsonl": learned}


def newest_step(out: Path) -> int:
    """The last step that has been told of; 0 before the first."""
    try:
        lines = (out / "events.jsonl").read_text(encoding="utf-8").splitlines()
        return max((json.loads(line).get("step", 0) for line in lines), default=0)
    except (FileNotFoundError, json.JSONDecodeError):  # cut lines are what this is about
        return 0


def an_instant(out: Path, chance: random.Random) -> Callable[[], bool]:
    """Whether the moment to kill has come: early, at a step, while a checkpoint or the best weights are saved, late."""
    places = {
        "early": [".run.toml.partial", "run.toml", "tokenizer.json", "checkpoints/start.json", "encoded"],
        "saving": ["checkpoints/.step-*.partial"] * 4 + ["checkpoints/.best-*.partial"] * 2,
        "late": [".partial", "model.safetensors", ".metrics.json.partial"],
    }
    kind = chance.choice(["early", "step", "step", "saving", "saving", "saving", "late"])
    if kind == "step":
        step = newest_step(out) + chance.randrange(1, 12)
        return lambda: newest_step(out) >= step
    place = chance.choice(places[kind])
    return lambda: is_there(out, place)


def is_there(out: Path, place: str) -> bool:
    """Whether a path of this pattern exists, in a folder that changes while it is looked at."""
    try:
        return any(out.glob(place))
    except FileNotFoundError:  # what was listed a moment ago is gone
        return False


def kill(process: ForkServerProcess, when: Callable[[], bool], chance: random.Random) -> bool:
    """Kill a process a moment after `when`; False if it was done before."""
    while process.is_alive():
        if when():
            time.sleep(chance.choice([0, 0, 0.001, 0.005, 0.02]))
            process.kill()
            break
        time.sleep(0.0002)
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@pytest.fixture(scope="module")
def finished_run(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody has disturbed."""
    out = tmp_path_factory.mktemp("finished") / "run"
    finished(arguments(rows, out))
    return out


@pytest.mark.parametrize(
    ("settings", "kills"),
    [
        ({"training__precision": "float32"}, 12),
        ({"training__precision": "bfloat16", "training__average": 3, "training__ema": 0.9}, 12),
        ({"training__patience": 3}, KILLS - 24),
    ],
    ids=["float32", "bfloat16, averaged", "pretrained, stopping early"],
)
def test_a_run_killed_at_any_instant_ends_as_if_nothing_had_happened(settings, kills, rows, tmp_path, request):
    out, chance = tmp_path / "run", random.Random(0)
    model = str(request.getfixturevalue("finished_run")) if "training__patience" in settings else "tiny"
    command = arguments(rows, out, model=model, **settings)
    finished(command)
    undisturbed = state(out)
    texts = [line.split("\t")[0] for line in rows.read_text(encoding="utf-8").splitlines()[1:60]]
    answers = regard.load(out, precision="float32").predict(texts)
    shutil.rmtree(out)

    killed = 0
    while killed < kills:
        when = an_instant(out, chance)
        if kill(started(command), when, chance):
            killed += 1
        else:
            assert state(out) == undisturbed
            shutil.rmtree(out)
    finished(command)

    assert state(out) == undisturbed
    assert regard.load(out, precision="float32").predict(texts) == answers


@pytest.mark.parametrize(
    ("sign", "status"), [(signal.SIGINT, 1), (signal.SIGTERM, -signal.SIGTERM)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_run_asked_to_stop_can_go_on(sign, status, rows, tmp_path, finished_run):
    out = tmp_path / "run"
    process = started(arguments(rows, out))
    while newest_step(out) < 8:
        time.sleep(0.001)
    os.kill(process.pid, sign)
    process.join()
    assert process.exitcode == status
    assert not (out / "metrics.json").exists()
    finished(arguments(rows, out))
    assert (out / "model.safetensors").read_bytes() == (finished_run / "model.safetensors").read_bytes()


def test_the_same_command_on_a_finished_run_trains_nothing(rows, finished_run, tmp_path):
    out = shutil.copytree(finished_run, tmp_path / "run")
    before = state(out)
    (out / "checkpoints").mkdir()  # as after a kill between the last file and the tidying up
    heard = []
    command = {"columns": {"text": "sentence"}, "model": "tiny", "out": out, "listeners": [heard.append]}
    nested: dict[str, dict[str, object]] = {}
    for name, value in SETTINGS.items():
        section, _, key = name.partition(".")
        nested.setdefault(section, {})[key] = value
    result = regard.train(str(rows), settings=nested, **command)
    assert [event["event"] for event in heard] == ["note"]
    assert "finished" in heard[0]["text"]
    assert result.metrics == before["metrics.json"]["metrics"]
    assert not (out / "checkpoints").exists()
    assert state(out) == before


def test_a_full_disk_loses_no_checkpoint(rows, tmp_path, finished_run):
    out = tmp_path / "run"
    program = "import sys; from regard.cli.app import main; main(sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", program, *arguments(rows, out)], stderr=subprocess.PIPE, text=True)
    while not (out / "checkpoints" / "step-6").exists():
        time.sleep(0.001)
        assert process.poll() is None
    # events.jsonl still fits, a checkpoint does not
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    message = process.communicate()[1]
    assert process.returncode == 1
    assert "no room to write" in message
    assert "free some space, or choose another folder; what was there before is unchanged" in message
    assert "Traceback" not in message
    assert any((out / "checkpoints").glob("step-*"))
    assert not any((out / "checkpoints").glob(".*"))
    finished(arguments(rows, out))
    assert (out / "model.safetensors").read_bytes() == (finished_run / "model.safetensors").read_bytes()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may reach; pytest's own is closed to others, which would be a refusal of another kind."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_folder_that_closes_loses_no_checkpoint(rows, open_folder):
    out = open_folder / "run"
    root = os.geteuid() == 0

    def closing(event):
        if event["event"] == "step" and event["step"] == 5:
            (out / "checkpoints").chmod(0o555)
            if root:
                os.seteuid(65534)

    nested = {"training": {"steps": 9, "checkpoint_every": 3, "eval_every": 9, "threads": 1}, "batch": {"rows": 8}}
    command = {"columns": {"text": "sentence"}, "model": "tiny", "out": out, "settings": nested}
    try:
        with pytest.raises(WorkError, match="may not be written: Permission denied") as caught:
            regard.train(str(rows), **command, listeners=[closing])
    finally:
        if root:
            os.seteuid(0)
        (out / "checkpoints").chmod(0o755)
    assert "choose another folder, or change the rights of this one" in str(caught.value)
    assert caught.value.exit_status == 1
    assert [path.name for path in (out / "checkpoints").glob("step-*")] == ["step-3"]
    heard = []
    assert regard.train(str(rows), **command, listeners=[heard.append]).steps == 9
    assert next(event for event in heard if event["event"] == "start")["step"] == 3
