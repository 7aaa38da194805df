"""A packed model predicts what the plain bfloat16 model predicts, and the original never notices."""

import copy
from typing import Any

import pytest
import torch

from regard.layers.linear import PackedLinear
from regard.layers.ragged import Ragged
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.models.pack import packed

STYLES: dict[str, dict[str, Any]] = {
    "bert": {"norm_place": "post", "embedding_norm": True, "n_types": 2},
    "llama": {"kind": "decoder", "positions": "rotary", "norm": "rms", "gated": True, "n_kv_heads": 2, "bias": False},
    "t5": {"kind": "encoder-decoder", "positions": "relative", "norm": "rms", "bias": False},
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("available", [True, False])
def test_packed_is_plain_bfloat16(style: str, available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not available:
        monkeypatch.setattr(PackedLinear, "available", staticmethod(lambda: False))
    torch.manual_seed(0)
    config = ModelConfig(vocab_size=40, d_model=32, n_layers=3, n_heads=4, d_ff=48, **STYLES[style])
    model = build(config, HeadConfig(pool="mean", n_outputs=3)).train()
    before = copy.deepcopy(model.state_dict())
    twin, plain = packed(model), copy.deepcopy(model).to(torch.bfloat16).eval()
    ids = torch.randint(40, (5, 12))
    target = {"decoder_ids": ids[:, :4]} if style == "t5" else {}
    with torch.no_grad():
        quick, slow, exact = twin(ids, **target), plain(ids, **target), copy.deepcopy(model).eval()(ids, **target)
        assert (quick - slow).abs().max() < 0.02 * exact.abs().max()
        assert (quick - exact).abs().max() < 0.05 * exact.abs().max()
        if not target:
            flat = twin(ids.flatten(), ragged=Ragged.of([12] * 5))
            assert (quick - flat).abs().max() < 0.02 * exact.abs().max()
    assert any(isinstance(module, PackedLinear) for module in twin.modules()) == PackedLinear.available()
    assert not twin.training
    assert not any(parameter.requires_grad for parameter in twin.parameters())
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(after[name].dtype == torch.float32 and torch.equal(after[name], value) for name, value in before.items())
