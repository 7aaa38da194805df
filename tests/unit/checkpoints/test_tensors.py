"""Safetensors files: what is read, what is refused and why, what a failed write leaves behind."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from regard.checkpoints import read_safetensors, write_safetensors
from regard.checkpoints.tensors import DTYPES, read_header, read_weights
from regard.errors import CheckpointError, WorkError


def entry(shape: list[int], start: int, stop: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def write_raw(path: Path, header: object, data: int) -> Path:
    """A file with this header, whatever it says, and so many bytes of data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))
    return path


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_every_dtype_comes_back_bit_for_bit(tmp_path: Path, dtype: torch.dtype):
    tensor = torch.tensor([[0, 1, 2], [3, 4, 250]]).to(dtype)
    write_safetensors(tmp_path / "x.safetensors", {"a": tensor, "b": tensor[0, 0], "c": tensor[:0]})
    back = read_safetensors(tmp_path / "x.safetensors")
    assert all(torch.equal(back[name], part) for name, part in {"a": tensor, "b": tensor[0, 0], "c": tensor[:0]}.items())
    assert {part.dtype for part in back.values()} == {dtype}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tensors=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.floats(width=32), max_size=9)))
def test_any_names_come_back_and_the_library_reads_the_same(tmp_path: Path, tensors: dict[str, list[float]]):
    tensors.pop("__metadata__", None)
    held = {name: torch.tensor(values) for name, values in tensors.items()}
    write_safetensors(tmp_path / "x.safetensors", held)
    back, theirs = read_safetensors(tmp_path / "x.safetensors"), load_file(tmp_path / "x.safetensors")
    assert back.keys() == held.keys() == theirs.keys()
    assert all(torch.equal(back[name], held[name]) or held[name].isnan().any() for name in held)


def test_a_view_that_is_not_contiguous_is_written_as_it_reads(tmp_path: Path):
    matrix = torch.arange(6.0).reshape(2, 3)
    write_safetensors(tmp_path / "x.safetensors", {"turned": matrix.t()})
    assert torch.equal(read_safetensors(tmp_path / "x.safetensors")["turned"], matrix.t())


def test_views_of_one_memory_and_ties_are_written_each(tmp_path: Path):
    whole = torch.arange(6.0)
    held = {"first": whole[:3], "second": whole[3:], "tied": whole, "again": whole}
    write_safetensors(tmp_path / "x.safetensors", held)
    back = read_safetensors(tmp_path / "x.safetensors")
    assert back.keys() == held.keys()
    assert all(torch.equal(back[name], held[name]) for name in held)


def test_tensors_are_mapped_and_changing_them_leaves_the_file_alone(tmp_path: Path):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"a": torch.zeros(4)})
    read_safetensors(path)["a"].add_(1)
    assert torch.equal(read_safetensors(path)["a"], torch.zeros(4))


def test_a_large_file_takes_no_memory_before_it_is_used(tmp_path: Path):
    path, pages = tmp_path / "x.safetensors", Path("/proc/self/statm")
    if not pages.exists():
        pytest.skip("no /proc: resident memory cannot be read")
    save_file({"a": torch.zeros(2**24)}, path)
    before = int(pages.read_text().split()[1])
    tensors = read_safetensors(path)
    assert int(pages.read_text().split()[1]) - before < 2**24 * 4 / 4096 / 4
    assert tensors["a"].shape == (2**24,)


@pytest.mark.parametrize(
    ("header", "data", "says"),
    [
        ({"a": entry([2], 0, 4)}, 4, "bytes 0 to 4, but F32 [2] takes 8"),
        ({"a": entry([2], 8, 0)}, 8, "bytes 8 to 0, but F32 [2] takes 8"),
        ({"a": entry([1], 0, 4), "b": entry([2], 0, 8)}, 8, "overlap before byte"),
        ({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, 12, "a gap before byte"),
        ({"a": entry([1], 4, 8)}, 8, "a gap before byte"),
        ({"a": entry([1], 0, 4)}, 9, "the tensors end at byte"),
        ({"a": entry([1000], 0, 4000)}, 9, "the tensors end at byte"),
        ({}, 1, "the tensors end at byte"),
        ({"a": entry([1], 0, 4, "F33")}, 4, "dtype 'F33'"),
        ({"a": entry([0, 2**60], 0, 0)}, 0, "its shape is too large"),
        ({"a": entry([1] * 17, 0, 4)}, 4, "its shape is too large"),
        ({"a": entry([-1], 0, 4)}, 4, "its description is not right"),
        ({"a": entry([True], 0, 4)}, 4, "its description is not right"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2, 4]}}, 4, "its description is not right"),
        ({"a": 1}, 0, "its description is not right"),
        ({"__metadata__": {"a": 1}}, 0, "__metadata__ is not text to text"),
        ([], 0, "not a JSON object"),
        (b'{"a": 1, "a": 2}', 0, "a name stands twice"),
        (b"{x}", 0, "the header is not right"),
    ],
)
def test_a_broken_header_is_named(tmp_path: Path, header: object, data: int, says: str):
    path = write_raw(tmp_path / "x.safetensors", header, data)
    with pytest.raises(CheckpointError) as caught:
        read_header(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_all_broken_tensors_are_named_at_once(tmp_path: Path):
    path = write_raw(tmp_path / "x.safetensors", {"a": entry([2], 0, 4), "b": entry([1], 0, 4, "F33"), "c": 0}, 8)
    with pytest.raises(CheckpointError) as caught:
        read_header(path)
    assert [problem.where.rpartition(" ")[2] for problem in caught.value.problems] == ["'a'", "'b'", "'c'"]


@pytest.mark.parametrize(
    "head", [b"", b"\x01", struct.pack("<Q", 0), struct.pack("<Q", 10**6), struct.pack("<Q", 2**64 - 1)]
)
def test_a_header_outside_the_file_is_refused(tmp_path: Path, head: bytes):
    (tmp_path / "x.safetensors").write_bytes(head + bytes(5 if len(head) == 8 else 0))
    with pytest.raises(CheckpointError, match=r"promise a header of \d+ bytes|no header"):
        read_safetensors(tmp_path / "x.safetensors")


def test_a_header_above_the_limit_is_refused_before_it_is_read(tmp_path: Path):
    with (tmp_path / "x.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 150_000_000))
        file.truncate(200_000_000)
    with pytest.raises(CheckpointError, match="promise a header of 150000000 bytes"):
        read_safetensors(tmp_path / "x.safetensors")


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".ckpt", ".pkl", ".BIN"])
def test_pickled_files_are_never_opened(tmp_path: Path, suffix: str):
    path = tmp_path / f"pytorch_model{suffix}"
    path.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    for read in (lambda: read_safetensors(path), lambda: read_weights(tmp_path)):
        with pytest.raises(CheckpointError, match="a pickled file") as caught:
            read()
        assert "fix: convert its weights once: regard convert " in str(caught.value)


def test_a_folder_without_weights_says_what_it_has(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"no model\.safetensors and no model\.safetensors\.index\.json"):
        read_weights(tmp_path)
    write_safetensors(tmp_path / "adapter_model.safetensors", {"a": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"only adapter_model\.safetensors"):
        read_weights(tmp_path)


@pytest.fixture
def sharded(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    def write(places: dict[str, Any]) -> Path:
        write_safetensors(tmp_path / "model-1.safetensors", {"a": torch.zeros(2)})
        write_safetensors(tmp_path / "model-2.safetensors", {"b": torch.ones(3)})
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
        return tmp_path

    return write


def test_shards_are_read_as_one(sharded: Callable[[dict[str, Any]], Path]):
    tensors = read_weights(sharded({"a": "model-1.safetensors", "b": "model-2.safetensors"}))
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {"a": (2,), "b": (3,)}


@pytest.mark.parametrize(
    ("places", "says"),
    [
        ({"a": "model-1.safetensors", "c": "model-2.safetensors"}, "tensor 'c' is missing"),
        ({"a": "model-1.safetensors", "c": "model-2.safetensors"}, "tensor 'b' is not what the index puts there"),
        ({"a": "model-2.safetensors", "b": "model-2.safetensors"}, "tensor 'a' is missing"),
        ({"a": "model-3.safetensors"}, "no such file"),
        ({"a": "../model-1.safetensors"}, "'weight_map' is not right"),
        ({"a": "model.bin"}, "'weight_map' is not right"),
        ({"a": 1}, "'weight_map' is not right"),
    ],
)
def test_a_wrong_index_is_named(sharded: Callable[[dict[str, Any]], Path], places: dict[str, Any], says: str):
    with pytest.raises(CheckpointError) as caught:
        read_weights(sharded(places))
    assert says in str(caught.value)


def test_a_full_disk_leaves_the_old_file_whole(tmp_path: Path, disk_full: Any):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"a": torch.zeros(2)})
    before = path.read_bytes()
    with disk_full(), pytest.raises(WorkError, match="no room to write") as caught:
        write_safetensors(path, {"a": torch.ones(1000)})
    assert caught.value.problems[0].where == str(path)
    assert path.read_bytes() == before
    assert [other.name for other in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_folder_that_may_not_be_written_is_named(open_path: Path, read_only: Any):
    with read_only(open_path), pytest.raises(WorkError, match="may not be written"):
        write_safetensors(open_path / "x.safetensors", {"a": torch.ones(1)})
    assert list(open_path.iterdir()) == []
