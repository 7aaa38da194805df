"""How much memory loading takes: of a checkpoint no second copy is ever made, whatever it is cast to."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from regard.checkpoints.families import FAMILIES
from regard.checkpoints.rules import apply
from regard.models.build import build
from regard.models.config import ModelConfig

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no /proc: no peak of memory to reset")

MOST = 1.15
"""Times the size of the weights in the dtype that they are loaded in."""

CHILD = """
import json, sys
from pathlib import Path
import torch
from regard.checkpoints import load
from regard.models.build import filled

def memory(line):
    return next(int(each.split()[1]) for each in Path("/proc/self/status").read_text().splitlines() if each.startswith(line))

def loaded(folder):
    found = load(folder, dtype=None if dtype == "stored" else getattr(torch, dtype))
    model = filled(found.config, found.head, found.tensors)
    for weight in model.state_dict().values():  # every page is read once
        weight.sum()
    return model

small, large, dtype = sys.argv[1:]
loaded(small)
Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
before = memory("VmRSS")
model = loaded(large)
size = sum(weight.nbytes for weight in model.state_dict().values())
print(json.dumps({"size": size, "peak": (memory("VmHWM") - before) * 1024}))
"""


def checkpoint(folder: Path, family: str, dtype: torch.dtype, width: int) -> Path:
    """A folder in the layout of a family, with a table of words that is most of it where `width` is small."""
    layers = {"intermediate_size": 4 * width, "max_position_embeddings": 64, "num_hidden_layers": 6}
    kinds = {
        "bert": layers,
        "gpt2": {"n_positions": 64, "n_layer": 6, "n_embd": width, "n_head": 8},
        "gpt_neox": {**layers, "rotary_pct": 1.0},
    }
    theirs = {"model_type": family, "hidden_size": width, "num_attention_heads": 8, "vocab_size": 30_000, **kinds[family]}
    tables = FAMILIES[family]
    described = tables.read(theirs, tables.base, None, where="")
    config: ModelConfig = described.config
    tensors = apply(build(config).state_dict(), tables.base.entries("", theirs), reverse=True)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**theirs, "architectures": [tables.base.name]}))
    save_file({name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("family", "stored", "dtype", "width"),
    [
        ("bert", torch.float16, "stored", 768),
        ("bert", torch.float16, "float32", 512),
        ("bert", torch.float32, "bfloat16", 768),
        ("gpt2", torch.float32, "stored", 512),  # its matrices lie turned: they are copied, one by one
        ("gpt2", torch.float16, "float32", 512),
        ("gpt_neox", torch.float32, "bfloat16", 768),  # its heads lie in turn: the same
    ],
)
def test_a_checkpoint_loads_in_little_more_memory_than_it_has(
    tmp_path: Path, family: str, stored: torch.dtype, dtype: str, width: int
):
    small = checkpoint(tmp_path / "small", family, stored, 16)
    large = checkpoint(tmp_path / "large", family, stored, width)
    command = [sys.executable, "-c", CHILD, str(small), str(large), dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    told = json.loads(done.stdout)
    assert told["size"] > 60 * 10**6
    assert told["peak"] <= MOST * told["size"]
