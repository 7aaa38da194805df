import pytest
import torch
from torch import Tensor, nn

from regard.config import TrainingConfig
from regard.models.build import build
from regard.models.config import HeadConfig, ModelConfig
from regard.training.optimizers import AdamW, optimizer_for

SIZE, WIDTH = 12, 6


def parameters(seed: int = 0) -> dict[str, nn.Parameter]:
    torch.manual_seed(seed)
    shapes = {"matrix": (WIDTH, 5), "bias": (5,), "table": (SIZE, WIDTH)}
    return {name: nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()}


def gradients(step: int, scale: float = 1.0) -> tuple[dict[str, Tensor], list[int]]:
    """Summed gradients of a step, and the rows of the table that occur in it; one occurs twice."""
    torch.manual_seed(100 + step)
    occur = [step % 3, 3 + step % 4, 3 + step % 4]
    return {"matrix": torch.randn(WIDTH, 5) * scale, "bias": torch.randn(5) * scale, "rows": torch.randn(3, WIDTH)}, occur


def feed(held: dict[str, nn.Parameter], step: int, *, sparse: bool, scale: float = 1.0) -> None:
    """Put the gradients of a step where the backward pass would."""
    grads, occur = gradients(step, scale)
    held["matrix"].grad, held["bias"].grad = grads["matrix"].clone(), grads["bias"].clone()
    table = torch.sparse_coo_tensor(torch.tensor([occur]), grads["rows"] * scale, (SIZE, WIDTH), check_invariants=True)
    held["table"].grad = table if sparse else table.to_dense()


def ours(held: dict[str, nn.Parameter], *, by_rows: bool, weight_decay: float = 0.1) -> AdamW:
    tables = frozenset({"table"} if by_rows else ())
    return AdamW(held, decayed=frozenset({"matrix"}), by_rows=tables, weight_decay=weight_decay)


def theirs(held: dict[str, nn.Parameter], weight_decay: float = 0.1) -> torch.optim.AdamW:
    groups = [{"params": [held["matrix"]], "weight_decay": weight_decay}]
    groups += [{"params": [held[name]], "weight_decay": 0.0} for name in ("bias", "table")]
    return torch.optim.AdamW(groups, fused=False)


@pytest.mark.parametrize("clip", [None, 0.5, 1e9], ids=["no clip", "clip", "clip that never comes"])
def test_it_is_torchs_adamw_with_torchs_clipping(clip):
    held, reference = parameters(), parameters()
    optimizer, other = ours(held, by_rows=True), theirs(reference)
    for step in range(8):
        count, lr = 3 + step, 0.1 / (step + 1)
        feed(held, step, sparse=True)
        feed(reference, step, sparse=False)
        for parameter in reference.values():
            parameter.grad /= count
        norm = nn.utils.clip_grad_norm_(reference.values(), clip or float("inf"))
        for group in other.param_groups:
            group["lr"] = lr
        other.step()
        assert optimizer.step(lr=lr, count=count, clip=clip) == pytest.approx(float(norm), rel=1e-6)
        assert all(parameter.grad is None for parameter in held.values())
    for name in held:
        torch.testing.assert_close(held[name], reference[name], rtol=2e-6, atol=2e-7)


def test_a_table_by_rows_is_a_dense_table():
    held, dense = parameters(), parameters()
    sparse_one, dense_one = ours(held, by_rows=True), ours(dense, by_rows=False)
    before = held["table"].detach().clone()
    occurred = set()
    for step in range(10):
        feed(held, step, sparse=True)
        feed(dense, step, sparse=False)
        occurred |= set(gradients(step)[1])
        sparse_one.step(lr=0.05, count=4, clip=1.0)
        dense_one.step(lr=0.05, count=4, clip=1.0)
        torch.testing.assert_close(held["table"], dense["table"], rtol=1e-6, atol=1e-7)
    others = sorted(set(range(SIZE)) - occurred)
    assert others
    assert torch.equal(held["table"][others], before[others])
    assert not torch.equal(held["table"][sorted(occurred)], before[sorted(occurred)])


def test_a_row_that_is_not_in_a_step_still_moves_by_its_momentum():
    held = parameters()
    optimizer = ours(held, by_rows=True)
    feed(held, 0, sparse=True)
    optimizer.step(lr=0.05, count=1, clip=None)
    before = held["table"].detach().clone()
    feed(held, 1, sparse=True)
    optimizer.step(lr=0.05, count=1, clip=None)
    assert not torch.equal(held["table"][0], before[0])


def small_model() -> nn.Module:
    torch.manual_seed(0)
    config = ModelConfig(vocab_size=30, d_model=16, n_layers=1, n_heads=2, d_ff=32, max_positions=8)
    return build(config, HeadConfig(n_outputs=2))


def train(model: nn.Module, optimizer: AdamW, steps: range) -> None:
    dtype = model.encoder.layers[0].attention.q_proj.weight.dtype
    for step in steps:
        torch.manual_seed(step)
        model(torch.randint(1, 30, (4, 6)), dtype=dtype).square().sum().backward()
        optimizer.step(lr=0.01, count=4, clip=1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_was_saved_goes_on_bit_by_bit(dtype):
    model, fresh = small_model(), small_model()
    optimizer = optimizer_for(model, TrainingConfig(), dtype)
    train(model, optimizer, range(5))
    saved = {name: tensor.clone() for name, tensor in optimizer.state().items()}

    other = optimizer_for(fresh, TrainingConfig(), dtype)
    other.load(saved)
    for steps in (range(5, 5), range(5, 10)):
        train(model, optimizer, steps)
        train(fresh, other, steps)
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), fresh.parameters(), strict=True))
    assert {name: tensor.tolist() for name, tensor in optimizer.state().items()} == {
        name: tensor.tolist() for name, tensor in other.state().items()
    }


def test_matrices_are_kept_narrow_and_given_back_wide():
    model = small_model()
    optimizer = optimizer_for(model, TrainingConfig(), torch.bfloat16)
    train(model, optimizer, range(3))
    weight = model.encoder.layers[0].attention.q_proj.weight
    masters = dict(optimizer.masters())
    assert weight.dtype == torch.bfloat16
    assert torch.equal(weight, masters["encoder.layers.0.attention.q_proj.weight"].bfloat16())
    optimizer.widen()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(torch.equal(parameter, masters[name]) for name, parameter in model.named_parameters())


def test_only_matrices_decay():
    model = small_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = optimizer_for(model, TrainingConfig(weight_decay=0.5), torch.float32)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    table = model.encoder.embeddings.tokens.weight
    table.grad = torch.sparse_coo_tensor(torch.tensor([[0]]), torch.zeros(1, 16), table.shape, check_invariants=True)
    optimizer.step(lr=0.1, count=1, clip=None)
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved
    assert all(
        name.endswith("weight") and parameter.dim() == 2 for name, parameter in model.named_parameters() if name in moved
    )
    assert not [name for name in moved if "embeddings" in name or "norm" in name]


def test_frozen_parameters_are_left_alone():
    model = small_model()
    frozen = model.encoder.layers[0].attention.q_proj.weight.requires_grad_(False)
    before = frozen.detach().clone()
    optimizer = optimizer_for(model, TrainingConfig(), torch.float32)
    train(model, optimizer, range(2))
    assert torch.equal(frozen, before)
    assert "encoder.layers.0.attention.q_proj.weight" not in dict(optimizer.masters())
