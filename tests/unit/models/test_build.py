"""The whole Transformer of Vaswani et al. 2017: it has the paper's parts, it runs, and it learns."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regard.layers.cache import Cache
from regard.layers.norms import LayerNorm, RMSNorm
from regard.layers.positions import SinusoidalPositions
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.models.model import Model

PAPER: dict[str, Any] = {
    "kind": "encoder-decoder",
    "positions": "sinusoidal",
    "norm_place": "post",
    "embedding_scale": True,
    "activation": "relu",
}
START = torch.zeros(64, 1, dtype=torch.int64)


def vaswani(head: HeadConfig | None = None) -> Model:
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=10, d_model=32, n_layers=2, n_heads=4, d_ff=64, dropout=0.0, attention_dropout=0.0, **PAPER
    )
    return build(config, head)


def learn(model: Model, loss_of: Callable[[Tensor], Tensor], steps: int) -> float:
    """The mean loss of the last ten of some steps of Adam, each on 64 fresh rows of 6 digits from 1 to 9."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        loss = loss_of(torch.randint(1, 10, (64, 6)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-10:]) / 10


def test_the_base_model_has_the_papers_size() -> None:
    with torch.device("meta"):
        config = ModelConfig(vocab_size=37000, d_model=512, n_layers=6, n_heads=8, d_ff=2048, **PAPER)
        model = build(config)
    sizes = {name: sum(p.numel() for p in stack.layers.parameters()) for name, stack in model.named_children() if stack}
    width, inner = 512, 2048
    attention, norm = 4 * (width * width + width), 2 * width
    feedforward = 2 * width * inner + inner + width
    assert sizes == {
        "encoder": 6 * (attention + feedforward + 2 * norm),
        "decoder": 6 * (2 * attention + feedforward + 3 * norm),
    }
    # Table 3 rounds to 65 million; one embedding table serves source, target and output
    assert round((sum(sizes.values()) + 37000 * width) / 1e6) == 63
    assert model.encoder is not None
    assert isinstance(model.encoder.embeddings.positions, SinusoidalPositions)
    assert model.encoder.norm is None
    assert model.encoder.embeddings.scale == 512**0.5


def test_it_learns_to_classify() -> None:
    model = vaswani(HeadConfig(n_outputs=10))
    loss = learn(model, lambda ids: F.cross_entropy(model(ids, decoder_ids=START), ids[:, 2]), 250)
    assert loss < 0.1  # guessing costs ln 9 = 2.2


def test_it_learns_a_number() -> None:
    model = vaswani(HeadConfig(n_outputs=1))
    loss = learn(model, lambda ids: F.mse_loss(model(ids, decoder_ids=START)[:, 0], (ids > 4).float().mean(1)), 200)
    assert loss < 0.004  # guessing costs the variance, 0.041


def test_it_learns_to_reverse_and_writes_what_it_learned() -> None:
    model = vaswani()
    assert model.encoder is not None and model.decoder is not None
    table = model.decoder.embeddings.tokens.weight

    def loss_of(ids: Tensor) -> Tensor:
        turned = ids.flip(1)
        hidden = model.hidden(ids, decoder_ids=torch.cat([START, turned[:, :-1]], 1))
        return F.cross_entropy((hidden @ table.T).flatten(0, 1), turned.flatten())

    assert learn(model, loss_of, 400) < 0.2
    model.eval()
    ids, cache, written = torch.randint(1, 10, (64, 6)), Cache(2), [START]
    with torch.no_grad():
        memory = model.encoder(ids)
        for _ in range(6):
            hidden = model.decoder(written[-1], memory=memory, cache=cache)
            written.append((hidden @ table.T).argmax(-1))
    assert (torch.cat(written[1:], 1) == ids.flip(1)).float().mean() > 0.9


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("place", ["pre", "post"])
@pytest.mark.parametrize("gated", [True, False])
def test_variants_are_data(norm: str, place: str, gated: bool) -> None:
    config = ModelConfig(
        vocab_size=9, d_model=8, n_layers=2, n_heads=2, d_ff=12, norm=norm, norm_place=place, gated=gated, bias=False
    )
    stack = build(config).encoder
    assert stack is not None
    assert isinstance(stack.layers[0].attention_norm, LayerNorm if norm == "layer" else RMSNorm)
    assert (stack.norm is not None) == (place == "pre")
    assert (stack.layers[0].feedforward.gate_proj is not None) == gated
    assert not any(name.endswith("proj.bias") for name, _ in stack.named_parameters())
    hidden = stack(torch.tensor([[1, 2, 3]]))
    if place == "post" or norm == "layer":
        torch.testing.assert_close(hidden.pow(2).mean(-1), torch.ones(1, 3), atol=1e-2, rtol=0)
    hidden.pow(3).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in stack.parameters())


def test_a_seed_decides_the_weights() -> None:
    first, second = vaswani(HeadConfig(n_outputs=2)), vaswani(HeadConfig(n_outputs=2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["encoder", "decoder", "encoder-decoder"])
@pytest.mark.parametrize("n_layers", [2, 12])
def test_tokens_begin_apart_from_each_other(kind: str, n_layers: int) -> None:
    torch.manual_seed(0)
    model = build(ModelConfig(vocab_size=50, d_model=64, n_layers=n_layers, n_heads=4, d_ff=128, **{**PAPER, "kind": kind}))
    ids = torch.randint(0, 50, (8, 14))
    for stack in (model.encoder, model.decoder):
        if stack is not None:
            states = stack(ids, memory=torch.randn(8, 5, 64)).detach()
            # their mean square is 1; of Xavier's weights alone the variance is 0.15 to 0.35 but in the shallow stacks
            assert states.var(1, correction=0).mean() > 0.35


def test_a_model_says_what_it_lacks() -> None:
    ids = torch.tensor([[1, 2]])
    with pytest.raises(ValueError, match="this model has no such head"):
        vaswani()(ids, decoder_ids=ids)
    with pytest.raises(
        ValueError, match="an encoder-decoder needs decoder_ids when it reads sound, or goes on with a cache"
    ):
        vaswani().hidden(ids, cache=Cache(2))
    with pytest.raises(ValueError, match="a model needs an encoder or a decoder"):
        Model(vaswani().config).hidden(ids)
