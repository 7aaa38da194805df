"""A packed model predicts what the plain model of its dtype predicts, and the original never notices."""

import copy
from typing import Any

import pytest
import torch

from regard.layers.linear import PackedLinear, QuantizedLinear
from regard.layers.ragged import Ragged
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.models.pack import packed

STYLES: dict[str, dict[str, Any]] = {
    "bert": {"norm_place": "post", "embedding_norm": True, "n_types": 2},
    "llama": {"kind": "decoder", "positions": "rotary", "norm": "rms", "gated": True, "n_kv_heads": 2, "bias": False},
    "albert": {"norm_place": "post", "n_unique_layers": 1, "d_embedding": 24},
    "deberta": {"norm_place": "post", "positions": "none", "disentangled": {"distance": 20, "buckets": 8}},
    "deberta, by itself": {"disentangled": {"distance": 5, "shared": False, "norm": False}, "convolution": {"kernel": 3}},
    "modernbert": {"positions": "rotary", "gated": True, "window": 4, "local_layers": (1, 2), "first_norm": False},
    "t5": {"kind": "encoder-decoder", "positions": "relative", "norm": "rms", "bias": False},
}


HEADS = {
    "tokens": HeadConfig(over="tokens", dense=False, n_outputs=3),
    "tied": HeadConfig(over="vocabulary", activation="gelu", norm=True, n_outputs=40),
    "untied": HeadConfig(over="vocabulary", activation="gelu", norm=True, n_outputs=40),
}


@pytest.mark.parametrize("name", HEADS)
@torch.inference_mode()
def test_every_token_is_answered(name: str) -> None:
    """By a head over tokens, also one whose output is the token table; of padded and of ragged batches."""
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=40, d_model=32, n_layers=2, n_heads=4, d_ff=48, tie_head=name == "tied", **STYLES["bert"]
    )
    model = build(config, HEADS[name]).eval()
    twin = packed(model)
    ids = torch.randint(40, (5, 12))
    exact, quick = model(ids), twin(ids)
    assert quick.shape == exact.shape == (5, 12, HEADS[name].n_outputs)
    assert quick.dtype == torch.float32
    assert (quick - exact).abs().max() < 0.05 * exact.abs().max()
    flat = twin(ids.flatten(), ragged=Ragged.of([12] * 5), dtype=torch.bfloat16)
    assert (quick - flat.view_as(quick)).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("available", [True, False])
def test_packed_is_plain(style: str, dtype: torch.dtype, available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not available:
        monkeypatch.setattr(PackedLinear, "available", staticmethod(lambda dtype: False))
    near, nearer = (0.05, 0.02) if dtype == torch.bfloat16 else (1e-5, 1e-5)
    torch.manual_seed(0)
    config = ModelConfig(vocab_size=40, d_model=32, n_layers=3, n_heads=4, d_ff=48, **STYLES[style])
    model = build(config, HeadConfig(pool="mean", n_outputs=3)).train()
    before = copy.deepcopy(model.state_dict())
    twin, plain = packed(model, dtype), copy.deepcopy(model).to(dtype).eval()
    ids = torch.randint(40, (5, 12))
    target = {"decoder_ids": ids[:, :4]} if style == "t5" else {}
    with torch.no_grad():
        quick, slow, exact = twin(ids, **target), plain(ids, **target), copy.deepcopy(model).eval()(ids, **target)
        assert (quick - slow).abs().max() < nearer * exact.abs().max()
        assert (quick - exact).abs().max() < near * exact.abs().max()
        if not target:
            flat = twin(ids.flatten(), ragged=Ragged.of([12] * 5))
            assert (quick - flat).abs().max() < nearer * exact.abs().max()
    assert any(isinstance(module, PackedLinear) for module in twin.modules()) == PackedLinear.available(dtype)
    assert not twin.training
    assert not any(parameter.requires_grad for parameter in twin.parameters())
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(after[name].dtype == torch.float32 and torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.skipif(not QuantizedLinear.available(), reason="this processor has no VNNI")
@pytest.mark.parametrize("style", ["bert", "llama", "t5"])
@torch.inference_mode()
def test_eight_bits_are_near(style: str) -> None:
    torch.manual_seed(0)
    config = ModelConfig(vocab_size=40, d_model=32, n_layers=2, n_heads=4, d_ff=48, **STYLES[style])
    model = build(config, HEADS["tied"]).eval()
    ids = torch.randint(40, (5, 12))
    target = {"decoder_ids": ids[:, :4]} if style == "t5" else {}
    exact, quick = model(ids, **target), packed(model, int8=True)(ids, **target)
    assert quick.dtype == torch.float32
    assert 0 < (quick - exact).norm() < 0.06 * exact.norm()
