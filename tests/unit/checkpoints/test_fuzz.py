"""Broken and hostile files: only a CheckpointError or a ConfigError may come out, soon and without much memory."""

import json
import random
import resource
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regard.checkpoints import load, read_safetensors
from regard.errors import CheckpointError, ConfigError

pytestmark = pytest.mark.timeout(60)

NASTY: list[Any] = [
    *(0, -1, 1, 3, 2**31, 2**63, 10**40, True, None, 1.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "8", "bert", "\ud800", "x" * 10_000, [], [0], [[]], [2**62, 2**62], [-1, 5], {}, {"0": "a"}, {"a": {"a": {}}}),
]


def reads_or_refuses(read: Callable[[Path], object], path: Path) -> bool:
    """Whether the file was refused, in words that fit on a screen."""
    try:
        read(path)
    except (CheckpointError, ConfigError) as error:
        assert len(str(error)) < 40_000
        return True
    return False


def memory() -> int:
    """Bytes that this process has ever held at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def change_values(value: Any, draw: random.Random) -> Any:
    """The same JSON with one to three places replaced, removed or renamed."""
    for _ in range(draw.randint(1, 3)):
        place, key = value, draw.choice(list(value))
        while isinstance(place[key], dict) and place[key] and draw.random() < 0.8:
            place = place[key]
            key = draw.choice(list(place))
        kind = draw.random()
        if kind < 0.7:
            place[key] = draw.choice(NASTY)
        elif kind < 0.85:
            del place[key]
        else:
            place[key + draw.choice("x.0{*")] = place.pop(key)
        if not value:
            break
    return value


def change_bytes(data: bytes, draw: random.Random) -> bytes:
    """Some bytes flipped, cut out, doubled, or the end missing."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(changed))
        kind = draw.random()
        if kind < 0.6:
            changed[at] = draw.randrange(256)
        elif kind < 0.8:
            del changed[at : at + draw.randint(1, 9)]
        else:
            changed[at:at] = changed[at : at + draw.randint(1, 9)]
        if not changed:
            break
    return bytes(changed[: draw.randrange(len(changed) + 1)]) if draw.random() < 0.1 else bytes(changed)


def with_header(data: bytes, draw: random.Random) -> bytes:
    """A safetensors file with another header over the same bytes."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.dumps(change_values(json.loads(data[8 : 8 + length]), draw)).encode("utf-8", "surrogatepass")
    promised = draw.choice(NASTY[:7]) if draw.random() < 0.1 else len(header)
    return struct.pack("<Q", abs(promised) % 2**64) + header + data[8 + length :]


def test_a_changed_safetensors_file_is_refused_or_read(ours: Path, tmp_path: Path):
    whole, path, draw = (ours / "model.safetensors").read_bytes(), tmp_path / "changed.safetensors", random.Random(0)
    header_end = 8 + struct.unpack("<Q", whole[:8])[0]
    before, refused = memory(), 0
    for turn in range(3000):
        changed = with_header(whole, draw) if turn % 2 else change_bytes(whole[:header_end], draw) + whole[header_end:]
        path.write_bytes(changed)
        refused += reads_or_refuses(read_safetensors, path)
    assert refused > 2500
    assert memory() - before < 300 * 2**20


@pytest.mark.parametrize("layout", ["ours", "theirs"])
def test_a_changed_config_is_refused_or_read(layout: str, ours: Path, write_bert: Callable[[], Path]):
    folder, draw = ours if layout == "ours" else write_bert(), random.Random(1)
    for path in folder.glob("token*"):
        path.unlink()
    config = folder / "config.json"
    whole = config.read_bytes()
    before, refused = memory(), 0
    for turn in range(1200):
        if turn % 3:
            text = json.dumps(change_values(json.loads(whole), draw))
            config.write_bytes(text.encode("utf-8", "surrogatepass"))
        else:
            config.write_bytes(change_bytes(whole, draw))
        refused += reads_or_refuses(load, folder)
    assert refused > 400
    assert memory() - before < 300 * 2**20


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{" * 100_000, '{"a":' * 50_000, "9" * 100_000, "[]", "1", "", "\0", "\ud800"]
)
def test_hostile_json_is_refused(ours: Path, text: str):
    (ours / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert reads_or_refuses(load, ours)
    header = text.encode("utf-8", "surrogatepass")
    (ours / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    assert reads_or_refuses(read_safetensors, ours / "model.safetensors")
