"""Broken and hostile files, more than ten thousand: only errors of ours may come out, soon and without much memory.

Every case is drawn from a seed that a failure names; to see one again, run its test and stop at that turn. Memory is bounded
by the kernel while files are read: what asks for more than a little fails here, whether or not it would have been touched.
"""

import json
import os
import random
import resource
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
import transformers
from safetensors.torch import load_file, save_file

from regard.checkpoints import load, read_safetensors, save_model
from regard.checkpoints.families import FAMILIES
from regard.errors import SHOWN, CheckpointError, RegardError
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.text import Tokenizer, train_tokenizer

pytestmark = pytest.mark.timeout(300)

ROOM = 256 * 2**20
"""Bytes of address space that reading may take beyond what the process has: the files are of some kilobytes each."""

NUMBERS = [0, -1, 1, 3, 2**31, 2**53 + 1, 2**63, 10**9, 10**40, 0.5, 1.5, 2.0, -0.0, 1e308, float("nan"), float("inf")]
TEXTS = ["", "8", "bert", "\ud800", "\0", "x" * 100_000]
NASTY = [*NUMBERS, *TEXTS, True, None, [], [0], [[]], [2**62, 2**62], [-1, 5], {}, {"0": "a"}, {"a": {"a": {}}}]


@contextmanager
def little_memory() -> Iterator[None]:
    """The block may take :data:`ROOM` bytes; beyond that allocations fail. Without /proc there is no bound."""
    if not Path("/proc/self/statm").exists():
        yield
        return
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refused(read: Callable[[Path], object], path: Path, case: object) -> bool:
    """Whether the file was refused, in words that fit on a screen; what else is raised is a fault of ours.

    Panics of libraries are no Exceptions, so BaseException is caught.
    """
    try:
        read(path)
    except RegardError as error:
        assert len(str(error)) < 40_000, case
        return True
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise AssertionError(f"case {case}: {type(error).__name__}: {error}") from error
    return False


# How files are changed


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


def encoded(value: object) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def change_json(data: bytes, draw: random.Random) -> bytes:
    """Other values in two of three cases, other bytes in the third."""
    return encoded(change_values(json.loads(data), draw)) if draw.randrange(3) else change_bytes(data, draw)


# Safetensors


Header = dict[str, Any]


def shifted(header: Header, draw: random.Random) -> Header:
    """Bytes that overlap, leave a gap, run backwards or lie outside."""
    entry = header[draw.choice(list(header))]
    start, stop = entry["data_offsets"]
    by = draw.choice([-8, -4, -1, 1, 4, 8, stop - start, 2**20, 2**40, 2**62, -(2**62)])
    entry["data_offsets"] = draw.choice([[start + by, stop + by], [start, stop + by], [start + by, stop], [stop, start]])
    return header


def exchanged(header: Header, draw: random.Random) -> Header:
    """Two tensors under each other's name."""
    one, other = draw.sample(list(header), 2)
    header[one], header[other] = header[other], header[one]
    return header


def reshaped(header: Header, draw: random.Random) -> Header:
    """Another shape, of as many elements or of very many."""
    entry = header[draw.choice(list(header))]
    shape = entry["shape"]
    entry["shape"] = draw.choice(
        [shape[::-1], [*shape, 1], [1, *shape], shape * 9, [2**32, 2**32], [2**62, 4], [0, 2**62], [2**63], [], [-1, -8]]
    )
    return header


def retyped(header: Header, draw: random.Random) -> Header:
    """Another dtype, with the right number of bytes or not."""
    header[draw.choice(list(header))]["dtype"] = draw.choice(
        ["F64", "F16", "BF16", "I32", "U8", "BOOL", "F8_E4M3", "C64", "f32", ""]
    )
    return header


def renumbered(header: Header, draw: random.Random) -> Header:
    """Another layer, or a name of the same tensor that is no name."""
    name = draw.choice(list(header))
    at = draw.choice(["0", "1", "7", "999999", "-1", "1e3", "٣", "../..", "\0", "\ud800", "{}"])
    header[at.join(name.split(".0.", 1)) if ".0." in name else name + at] = header.pop(name)
    return header


LIES = (shifted, exchanged, reshaped, retyped, renumbered, change_values)


def with_header(data: bytes, lie: Callable[[Header, random.Random], Any], draw: random.Random) -> bytes:
    """A safetensors file with another header over the same bytes; now and then its length lies too, or it is no UTF-8."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    text = encoded(lie(header, draw))
    kind = draw.random()
    if kind < 0.05:
        text = text[:-1] + b"," + text[1:]
    elif kind < 0.1:
        text = text.replace(b"weight", draw.choice([b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800", b"\0"]), 1)
    promised = (
        len(text) if draw.random() < 0.9 else draw.choice([0, 1, len(text) - 1, 10**8, 10**8 + 1, 2**31, 2**63, 2**64 - 1])
    )
    rest = data[8 + length :]
    return struct.pack("<Q", promised) + text + draw.choice([rest, rest, rest, rest, rest[:-1], rest + b"\0", b""])


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of ours, of a few kilobytes."""
    config = ModelConfig(vocab_size=64, d_model=8, n_layers=2, n_heads=2, d_ff=16, max_positions=12, n_types=2)
    tokenizer = train_tokenizer(["a dull film", "a beautiful film", "一部好电影"] * 4, kind="wordpiece", vocab_size=60)
    folder = tmp_path_factory.mktemp("ours")
    task = {"task": "text-classification", "labels": ["bad", "good", "neither"], "multi_label": False}
    save_model(folder, build(config, HeadConfig(n_outputs=3)), tokenizer=tokenizer, task=task)
    return folder


@pytest.fixture
def copied(ours: Path, tmp_path: Path) -> Path:
    """A copy of it to be broken."""
    return Path(shutil.copytree(ours, tmp_path / "copied"))


def test_a_changed_safetensors_file_is_refused_or_read(ours: Path, tmp_path: Path):
    whole, path, draw = (ours / "model.safetensors").read_bytes(), tmp_path / "changed.safetensors", random.Random(0)
    header_end = 8 + struct.unpack("<Q", whole[:8])[0]
    count = 0
    with little_memory():
        for turn in range(3000):
            lies = turn % 3
            path.write_bytes(
                with_header(whole, draw.choice(LIES), draw)
                if lies
                else change_bytes(whole[:header_end], draw) + whole[header_end:]
            )
            count += refused(read_safetensors, path, turn)
    assert count > 1800


def test_a_model_whose_tensors_lie_is_refused_or_read(copied: Path):
    """A turned matrix, a layer too many: what a header may well say is found when the folder is loaded."""
    whole, draw = (copied / "model.safetensors").read_bytes(), random.Random(1)
    count = 0
    with little_memory():
        for turn in range(1500):
            (copied / "model.safetensors").write_bytes(with_header(whole, draw.choice(LIES), draw))
            count += refused(load, copied, turn)
    assert count > 1400


@pytest.mark.parametrize("promised", [2**25 + 1, 10**8, 10**8 + 1, 2**63])
def test_a_large_header_is_refused_before_it_is_read(tmp_path: Path, promised: int):
    path = tmp_path / "large.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", promised) + b"{")
        file.truncate(min(promised, 10**9) + 10**6)
    with little_memory():
        assert refused(read_safetensors, path, promised)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{" * 100_000, '{"a":' * 50_000, "9" * 100_000, "[]", "1", "", "\0", "\ud800"]
)
def test_hostile_json_is_refused(copied: Path, text: str):
    data = text.encode("utf-8", "surrogatepass")
    with little_memory():
        for name in ("tokenizer.json", "tokenizer_config.json", "task.json", "config.json"):
            whole = (copied / name).read_bytes()
            (copied / name).write_bytes(data)
            assert refused(load, copied, name)
            (copied / name).write_bytes(whole)
        (copied / "model.safetensors").write_bytes(struct.pack("<Q", len(data)) + data)
        assert refused(load, copied, "header")


@pytest.mark.parametrize(("layout", "dtype"), [("ours", "F32"), ("ours", "F33"), ("bert", "F32")])
def test_of_many_wrong_tensors_the_first_are_explained(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, dtype: str
):
    """To look for the name that was meant takes a millisecond, for a million names a quarter of an hour."""
    folder = copied if layout == "ours" else theirs(layout, tmp_path)[0]
    data = (folder / "model.safetensors").read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    end = len(data) - start
    header = json.loads(data[8:start])
    header |= {f"wrong.{i}": {"dtype": dtype, "shape": [0], "data_offsets": [end, end]} for i in range(5000)}
    text = encoded(header)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data[start:])
    asked: list[str] = []
    monkeypatch.setattr("difflib.get_close_matches", lambda word, *_, **__: asked.append(word) or [])
    with pytest.raises(CheckpointError, match="5000 problems:\n"):
        load(folder)
    assert len(asked) == SHOWN


@pytest.mark.parametrize("name", ["x" * 1001, "\0" * 10**6])
def test_a_name_that_would_fill_the_screen_is_refused(tmp_path: Path, name: str):
    text = encoded({name: {"dtype": "F33", "shape": [], "data_offsets": [0, 0]}})
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(CheckpointError, match="more than 1000 characters"):
        read_safetensors(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "task.json"]
)
def test_a_pipe_in_a_files_place_does_not_hang(copied: Path, name: str):
    (copied / name).unlink()
    os.mkfifo(copied / name)
    assert refused(load, copied, name) == (name not in ("tokenizer.json", "task.json"))  # those a model can do without


# Shards


PLACES = (
    *("", ".", "..", "/", "/etc/passwd", "../model-1.safetensors", "./model-1.safetensors", "deep/model-1.safetensors"),
    *(
        "model-3.safetensors",
        "folder.safetensors",
        "pipe.safetensors",
        "loop.safetensors",
        "dead.safetensors",
        ".safetensors",
    ),
    *("model.safetensors.index.json", "config.json", "model-1.bin", "MODEL-1.SAFETENSORS", "model-1.safetensors\0"),
    *("~/model-1.safetensors", "C:\\model-1.safetensors", "x" * 5000 + ".safetensors", "\ud800.safetensors"),
)
"""Where a shard may be said to be."""


@pytest.fixture
def sharded(copied: Path) -> Path:
    """The same model in two shards, beside what is no shard: a folder, a pipe, links in a circle and to nowhere."""
    tensors = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    names = sorted(tensors)
    for shard, part in (("model-1.safetensors", names[::2]), ("model-2.safetensors", names[1::2])):
        save_file({name: tensors[name] for name in part}, copied / shard)
    places = {name: f"model-{1 + i % 2}.safetensors" for i, name in enumerate(names)}
    (copied / "model.safetensors.index.json").write_bytes(encoded({"metadata": {}, "weight_map": places}))
    (copied / "folder.safetensors").mkdir()
    os.mkfifo(copied / "pipe.safetensors")
    (copied / "loop.safetensors").symlink_to("loop.safetensors")
    (copied / "dead.safetensors").symlink_to("nowhere")
    return copied


def test_a_changed_index_is_refused_or_read(sharded: Path):
    index, draw = sharded / "model.safetensors.index.json", random.Random(2)
    whole = index.read_bytes()
    load(sharded)
    count = 0
    with little_memory():
        for turn in range(1000):
            if turn % 2:
                index.write_bytes(change_json(whole, draw))
            else:
                value = json.loads(whole)
                for name in draw.sample(list(value["weight_map"]), draw.choice([1, 2, 10])):
                    value["weight_map"][name] = draw.choice(PLACES)
                index.write_bytes(encoded(value))
            count += refused(load, sharded, turn)
    assert count > 850


# Configurations, of ours and of every family


SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "dim", "n_embd", "embedding_size", "projection_dim"), 8),
    **dict.fromkeys(("intermediate_size", "hidden_dim", "d_ff", "n_inner", "encoder_ffn_dim", "decoder_ffn_dim"), 16),
    **dict.fromkeys(("num_hidden_layers", "n_layers", "n_layer", "num_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "n_heads", "n_head", "num_heads"), 2),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads", "num_decoder_layers"), 2),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_source_positions", "max_target_positions"), 16),
    **dict.fromkeys(("head_dim", "d_kv", "num_mel_bins", "patch_size", "num_conv_pos_embeddings"), 4),
    **dict.fromkeys(("classifier_proj_size", "codevector_dim", "proj_codevector_dim", "image_size"), 8),
    **dict.fromkeys(("conv_stride", "conv_kernel"), (2, 2)),
    **dict.fromkeys(("num_feat_extract_layers", "num_conv_pos_embedding_groups"), 2),
    "conv_dim": (8, 8),
    **dict.fromkeys(("rotary_pct", "partial_rotary_factor"), 1.0),
    "pooler_hidden_size": 8,
    "position_buckets": 16,
    **dict.fromkeys(("vocab_size", "decoder_vocab_size"), 40),
}
"""The keys of transformers' configurations that make a model small, whatever its family."""


def small(values: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration's values with these sizes; what follows from its sizes is left for it to work out again."""
    result = {}
    for key, value in values.items():
        if isinstance(value, dict) and key.endswith(("_config", "rope_parameters")):
            result[key] = small(value)
        elif key.endswith("token_id") and isinstance(value, int):
            result[key] = min(value, 3)
        elif key != "layer_types":
            result[key] = SIZES.get(key, value)
    return result


def theirs(family: str, folder: Path) -> list[Path]:
    """Folders of small random models of a family: its base class and the next one, as transformers saves them."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    kind = transformers.CONFIG_MAPPING[family]
    folders = []
    for name in list(FAMILIES[family].architectures)[:2]:
        torch.manual_seed(0)
        getattr(transformers, name)(kind.from_dict(small(kind().to_dict()))).save_pretrained(folder / name)
        folders.append(folder / name)
    return folders


def assert_config_holds(folder: Path, draw: random.Random, turns: int) -> None:
    """Each key at each nasty value as far as `turns` go, then values and bytes drawn at random."""
    config = folder / "config.json"
    whole = config.read_bytes()
    load(folder)
    values = json.loads(whole)
    singles = [(key, nasty) for key in values for nasty in NASTY]
    count = 0
    with little_memory():
        for key, nasty in draw.sample(singles, min(len(singles), turns // 2)):
            config.write_bytes(encoded({**values, key: nasty}))
            count += refused(load, folder, (folder.name, key, nasty))
        for turn in range(turns // 2):
            config.write_bytes(change_json(whole, draw))
            count += refused(load, folder, (folder.name, turn))
    config.write_bytes(whole)
    assert count > turns // 10


def test_a_changed_config_of_ours_is_refused_or_read(copied: Path):
    assert_config_holds(copied, random.Random(3), 800)


TURNS = 2400
"""Changed configurations of all families together."""


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_changed_config_of_theirs_is_refused_or_read(family: str, tmp_path: Path):
    for folder in theirs(family, tmp_path):
        assert_config_holds(folder, random.Random(4), TURNS // (2 * len(FAMILIES)))


# Tokenizers


CORPUS = ["a dull film", "a beautiful film", "一部好电影", "the café was cold; nobody came"] * 8


def pieces(folder: Path, kind: str, *names: str, **settings: Any) -> list[str]:
    """A small SentencePiece model under these names, with the settings beside it; its pieces."""
    with (folder / names[0]).open("wb") as file:
        options = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1} if kind == "unigram" else {}
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS), model_writer=file, vocab_size=30, model_type=kind, minloglevel=2, **options
        )
    for name in names[1:]:
        shutil.copy(folder / names[0], folder / name)
    (folder / "tokenizer_config.json").write_bytes(encoded(settings))
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / names[0]))
    return [model.id_to_piece(index) for index in range(model.get_piece_size())]


def vocabulary(folder: Path, name: str) -> None:
    """The older files of a tokenizer, in place of its tokenizer.json."""
    model = json.loads((folder / "tokenizer.json").read_bytes())["model"]
    (folder / "tokenizer.json").unlink()
    if name == "vocab.txt":
        (folder / name).write_text("\n".join(model["vocab"]), encoding="utf-8")
    else:
        (folder / name).write_bytes(encoded(model["vocab"]))
        (folder / "merges.txt").write_text("\n".join(" ".join(pair) for pair in model["merges"]), encoding="utf-8")


def tokenizer_folder(kind: str, folder: Path) -> Path:
    """A folder with a tokenizer of one kind, and all files that may stand beside it."""
    folder.mkdir()
    match kind:
        case "wordpiece" | "bpe" | "unigram":
            train_tokenizer(CORPUS, kind=kind, vocab_size=400).save(folder)
        case "vocab.txt":
            train_tokenizer(CORPUS, kind="wordpiece", vocab_size=80).save(folder)
            vocabulary(folder, kind)
        case "vocab.json":
            train_tokenizer(CORPUS, kind="bpe", vocab_size=400, specials="gpt").save(folder)
            vocabulary(folder, kind)
        case "T5":
            pieces(folder, "unigram", "spiece.model", tokenizer_class="T5Tokenizer", extra_ids=4)
        case "Llama":
            pieces(folder, "bpe", "tokenizer.model", tokenizer_class="LlamaTokenizer", add_bos_token=True)
        case "Marian":
            held = pieces(folder, "unigram", "source.spm", "target.spm", tokenizer_class="MarianTokenizer")
            (folder / "vocab.json").write_bytes(encoded({name: i for i, name in enumerate(reversed(held))}))
        case "plain":
            pieces(folder, "unigram", "any.model")
    config = folder / "tokenizer_config.json"
    settings = json.loads(config.read_bytes())
    added = {"1": {"content": Tokenizer.load(folder).tokens([1])[0], "special": True}}
    config.write_bytes(encoded({**settings, "model_max_length": 32, "added_tokens_decoder": added}))
    (folder / "special_tokens_map.json").write_bytes(encoded({"additional_special_tokens": ["<one>", {"content": "<two>"}]}))
    return folder


def use(folder: Path) -> None:
    """Load a tokenizer and do what a prediction does."""
    tokenizer = Tokenizer.load(folder)
    ids, _, _ = tokenizer.ids(["a dull film", "", "电影 <one>\0"])
    tokenizer.encode(["a dull film"], ["电影"], max_length=12)
    tokenizer.decode(ids)


@pytest.mark.parametrize(
    "kind", ["wordpiece", "bpe", "unigram", "vocab.txt", "vocab.json", "T5", "Llama", "Marian", "plain"]
)
def test_a_changed_tokenizer_is_refused_or_used(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    folder, draw = tokenizer_folder(kind, tmp_path / "tokenizer"), random.Random(5)
    files = sorted(folder.iterdir())
    use(folder)
    count = 0
    with little_memory():
        for turn in range(400):
            path = draw.choice(files)
            whole = path.read_bytes()
            path.write_bytes((change_json if path.suffix == ".json" else change_bytes)(whole, draw))
            count += refused(use, folder, (turn, path.name))
            path.write_bytes(whole)
    assert count > 40
    capfd.readouterr()  # panics of the tokenizers library say so on standard error


def fast(**parts: Any) -> dict[str, Any]:
    """A tokenizer.json with two tokens."""
    model = {"type": "WordLevel", "vocab": {"[UNK]": 0, "a": 1}, "unk_token": "[UNK]"}
    return {"version": "1.0", "added_tokens": [], "model": model, **parts}


def replaced(content: str, **pattern: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
TWICE = replaced("aa", String="a")
LONGER: dict[str, dict[str, Any]] = {
    "normalizer": {"normalizer": {"type": "Sequence", "normalizers": [TWICE] * 18}},
    "normalizer in normalizers": {
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": [TWICE] * 9}] * 2}
    },
    "expression": {"normalizer": {"type": "Sequence", "normalizers": [replaced("x", Regex="(?=.)")] * 18}},
    "nothing": {"normalizer": replaced("x" * 5000, String="")},
    "pre-tokenizer": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTES] * 9}},
    "decoder": {"decoder": {"type": "Sequence", "decoders": [TWICE] * 18}},
}
"""Some thousand bytes that make a character a hundred thousand; with a few steps more, they would end the process."""


@pytest.mark.parametrize("parts", LONGER.values(), ids=LONGER)
def test_a_tokenizer_that_makes_texts_ever_longer_is_refused(tmp_path: Path, parts: dict[str, Any]):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(encoded(fast()))
    use(tmp_path)
    path.write_bytes(encoded(fast(**parts)))
    with pytest.raises(CheckpointError, match="can make a text more than 4096 times as long"):
        use(tmp_path)


def test_ids_with_gaps_of_billions_do_not_hang(tmp_path: Path):
    model = {"type": "BPE", "vocab": {"zz": 4_000_000_000, "[UNK]": 0}, "merges": []}
    (tmp_path / "tokenizer.json").write_bytes(encoded(fast(model=model)))
    with little_memory():
        assert refused(use, tmp_path, "gaps")


@pytest.mark.parametrize(
    "settings",
    [{"extra_ids": 10**9}, {"added_tokens_decoder": {"9" * 5000: {"content": "x"}}}, {"cls_token": "\ud800"}],
    ids=["many sentinels", "a number of 5000 digits", "half a pair"],
)
def test_settings_that_ask_for_too_much_are_refused(tmp_path: Path, settings: dict[str, Any]):
    pieces(tmp_path, "unigram", "spiece.model", tokenizer_class="T5Tokenizer", **settings)
    with little_memory():
        assert refused(use, tmp_path, "settings")


def test_a_file_far_larger_than_any_vocabulary_is_not_read(tmp_path: Path):
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(2**30)
    with little_memory():
        assert refused(use, tmp_path, "large")
