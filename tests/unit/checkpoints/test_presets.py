"""Presets: the sizes of the paper, and names that exist."""

import pytest
import torch

from regard.checkpoints import PRESETS, preset
from regard.checkpoints.families import FAMILIES, Description
from regard.checkpoints.hub import looks_like_name
from regard.checkpoints.presets import SHORT_NAMES
from regard.errors import ConfigError
from regard.models.build import build
from regard.models.config import HeadConfig


@pytest.mark.parametrize(
    ("name", "layers", "width", "millions"),
    [("tiny", 2, 128, 4.4), ("mini", 4, 256, 11.3), ("small", 4, 512, 29.1), ("base", 12, 768, 110.1)],
)
def test_presets_have_the_sizes_of_the_paper(name: str, layers: int, width: int, millions: float):
    """Turc et al. 2019, table 1: with BERT's vocabulary, pooler and masked-language-model head (dense, norm, bias)."""
    config = preset(name, vocab_size=30522)
    assert (config.n_layers, config.d_model, config.d_ff, config.head_width) == (layers, width, 4 * width, 64)
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in build(config, HeadConfig(n_outputs=0)).parameters())
    parameters += width * width + 3 * width + 30522
    assert round(parameters / 1e6, 1) == millions


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_can_be_exported(name: str):
    bert = FAMILIES["bert"]
    written = bert.write(Description(preset(name, vocab_size=100), None, None), {}, architecture=bert.base, where="")
    assert written["hidden_size"] == PRESETS[name]["encoder"]["d_model"]


def test_presets_take_changes_and_name_mistakes():
    assert preset("tiny", vocab_size=100, pad_id=3).pad_id == 3
    with pytest.raises(ConfigError, match="unknown preset 'tini'"):
        preset("tini", vocab_size=100)
    with pytest.raises(ConfigError, match="preset 'tiny': unknown key 'd_modle'"):
        preset("tiny", vocab_size=100, d_modle=3)


def test_short_names_are_hub_names_and_no_presets():
    assert all(looks_like_name(name) and name.count("/") == 1 for name in SHORT_NAMES.values())
    assert not SHORT_NAMES.keys() & set(PRESETS)
