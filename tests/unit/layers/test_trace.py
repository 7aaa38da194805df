"""The one door to the inside: what can be recorded, under which name, and what an edit does."""

from typing import Any

import pytest
import torch
from torch import Tensor

from regard.layers.ragged import Ragged
from regard.layers.trace import Trace
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.models.model import Model

IDS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
EVERYTHING = ["*", "*.*", "*.*.*", "*.*.*.*", "*.*.*.*.*", "*.*.*.*.*.*", "*.*.*.*.*.*.*"]


def made(kind: str = "encoder", **options: Any) -> Model:
    torch.manual_seed(0)
    config = ModelConfig(kind=kind, vocab_size=11, d_model=8, n_layers=2, n_heads=2, d_ff=12, **options)
    return build(config, HeadConfig(n_outputs=3)).eval()


def traced(model: Model, trace: Trace, **options: Any) -> Tensor:
    with torch.no_grad():
        return model.hidden(IDS, trace=trace, **options)


def sites(stack: str, *, cross: bool = False, weights: tuple[str, ...] = ("attention.weights",)) -> set[str]:
    inside = {"", *weights, "attention", "feedforward"}
    if cross:
        inside |= {"cross_attention.weights", "cross_attention"}
    layers = {f"{stack}.layers.{i}.{name}".rstrip(".") for i in range(2) for name in inside}
    return {stack, f"{stack}.embeddings"} | layers


def test_the_sites_are_those_of_the_documentation() -> None:
    trace = Trace(EVERYTHING)
    traced(made(), trace)
    assert set(trace.values) == sites("encoder")
    trace = Trace(EVERYTHING)
    traced(made("decoder"), trace)
    assert set(trace.values) == sites("decoder")
    trace = Trace(EVERYTHING)
    traced(made("encoder-decoder"), trace, decoder_ids=IDS[:, :3])
    assert set(trace.values) == sites("encoder") | sites("decoder", cross=True)
    trace = Trace(EVERYTHING)
    with torch.no_grad():
        made().hidden(IDS.flatten()[:7], ragged=Ragged.of([2, 2, 3]), trace=trace)
    assert set(trace.values) == sites("encoder", weights=("attention.group.0.weights", "attention.group.1.weights"))
    assert trace.values["encoder.layers.0.attention.group.0.weights"].shape == (2, 2, 2, 2)


def test_a_star_stands_for_one_part_of_a_name() -> None:
    trace = Trace(["encoder.layers.*"])
    traced(made(), trace)
    assert set(trace.values) == {"encoder.layers.0", "encoder.layers.1"}
    trace = Trace(["encoder.layers.*.attention.weights"])
    assert trace.wants("encoder.layers.7.attention.weights")
    assert not trace.wants("encoder.layers.7.attention")


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("positions", ["learned", "rotary", "alibi", "relative"])
def test_weights_are_shares_of_what_may_be_seen(kind: str, positions: str) -> None:
    trace = Trace(["*.layers.*.attention.weights"])
    traced(made(kind, positions=positions), trace, attention_mask=torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]))
    assert len(trace.values) == 2
    for weights in trace.values.values():
        assert weights.shape == (2, 2, 4, 4)
        assert weights.dtype == torch.float32
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 4))
        assert (weights[1, ..., 3] == 0).all()
        assert kind == "encoder" or (weights.triu(1) == 0).all()


def test_recorded_states_are_the_models_own() -> None:
    model, trace = made(norm_place="post"), Trace(["encoder", "encoder.layers.1", "encoder.embeddings"])
    hidden = traced(model, trace)
    assert torch.equal(trace.values["encoder"], hidden)
    assert torch.equal(trace.values["encoder.layers.1"], hidden)  # post-norm: no last norm follows
    embedded = model.encoder.embeddings(IDS, torch.arange(4)[None])
    assert torch.equal(trace.values["encoder.embeddings"], embedded)


def test_an_identity_edit_changes_nothing() -> None:
    model = made()
    plain = traced(model, Trace())
    seen: list[str] = []
    for site in sorted(sites("encoder")):
        edited = traced(model, Trace(edits={site: lambda value, site=site: (seen.append(site), value)[1]}))
        torch.testing.assert_close(edited, plain, atol=1e-5, rtol=0)
        if not site.endswith("weights"):
            assert torch.equal(edited, plain)
    assert set(seen) == sites("encoder")


def test_an_edit_of_states_goes_on_from_there() -> None:
    model = made()
    other = Trace(["encoder.layers.0"])
    target = model.hidden(IDS.flip(1), trace=other)
    patched = model.hidden(IDS, trace=Trace(edits={"encoder.layers.0": lambda _: other.values["encoder.layers.0"]}))
    assert torch.equal(patched, target)
    blank = Trace(["encoder.layers.0.feedforward"], edits={"encoder.*.*.feedforward": torch.zeros_like})
    changed = model.hidden(IDS, trace=blank)
    assert not blank.values["encoder.layers.0.feedforward"].any()  # recorded after the edit
    assert not torch.allclose(changed, traced(model, Trace()))


def test_silencing_a_head_is_removing_its_output() -> None:
    model = made()

    def silence(weights: Tensor) -> Tensor:
        return weights * torch.tensor([0.0, 1.0])[:, None, None]

    edited = traced(model, Trace(edits={"encoder.layers.1.attention.weights": silence}))
    with torch.no_grad():
        model.encoder.layers[1].attention.o_proj.weight[:, :4] = 0
    torch.testing.assert_close(edited, traced(model, Trace()), atol=1e-6, rtol=0)


def test_the_output_has_a_gradient_with_respect_to_the_weights() -> None:
    model, trace = made(), Trace(["encoder.layers.0.attention.weights"])
    output = model(IDS, trace=trace)
    (grad,) = torch.autograd.grad(output[0, 0], trace.values["encoder.layers.0.attention.weights"])
    assert grad[0].abs().sum() > 0
    assert (grad[1] == 0).all()


def test_an_edit_keeps_the_shape() -> None:
    with pytest.raises(ValueError, match=r"the edit at encoder.layers.0 gave shape \(2, 3, 8\), not \(2, 4, 8\)"):
        traced(made(), Trace(edits={"encoder.layers.0": lambda value: value[:, 1:]}))
