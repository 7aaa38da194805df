"""AdamW (Loshchilov and Hutter 2019, algorithm 2), arranged for what a training step really costs on a CPU.

A step of a small model is bound by memory, not by arithmetic. Therefore:

- Matrices may be kept twice: a float32 master here, a bfloat16 working copy in the model. The gradient stays bfloat16 until
  its turn comes; then some layers' worth of it is widened, used and dropped.
- An embedding table with a sparse gradient is updated on the rows that have occurred so far. The others have had no
  gradient, so their moments are 0 and AdamW would not move them (tables have no weight decay): leaving them out changes
  nothing.
- The division by the number of examples and the clipping of the norm are one factor, applied inside the update.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from regard.config import TrainingConfig
from regard.layers.embeddings import Embedding
from regard.layers.linear import Linear
from regard.models.heads import TiedLinear
from regard.models.model import Model

State = dict[str, Tensor]

TOGETHER = 4_000_000
"""Parameters updated by one call: enough to keep all threads busy, little enough that their widened gradients are small."""


def optimizer_for(model: Model, settings: TrainingConfig, dtype: torch.dtype) -> AdamW:
    """AdamW over a model that computes in `dtype`: matrices decay and are kept narrow, token tables are updated by rows, but
    for one that answers are given with too: its gradient has all rows."""
    projections, tables = set(), set()
    answering = {id(module.weight) for module in model.modules() if isinstance(module, TiedLinear)}
    for name, module in model.named_modules():
        if isinstance(module, Linear):
            projections |= {f"{name}.weight", f"{name}.bias"}
        elif name.endswith("embeddings.tokens") and isinstance(module, Embedding):
            module.sparse = module.weight.requires_grad and id(module.weight) not in answering
            tables |= {f"{name}.weight"} if module.sparse else set()
    return AdamW(
        dict(model.named_parameters()),
        decayed=frozenset(name for name in projections if name.endswith("weight")),
        narrow=frozenset(projections),
        by_rows=frozenset(tables),
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        dtype=dtype,
    )


class AdamW:
    """Updates parameters in place from the *sum* of their examples' gradients.

    parameters: name -> float32 parameter; those that do not require a gradient are left alone. decayed: names with weight
    decay. narrow: names whose parameter becomes `dtype` and is kept in float32 here. by_rows: names of tables whose modules
    give sparse gradients. The learning rate comes with each `step`, so that a schedule needs no access to the inside.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        decayed: frozenset[str] = frozenset(),
        narrow: frozenset[str] = frozenset(),
        by_rows: frozenset[str] = frozenset(),
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._betas, self._eps, self._weight_decay = betas, eps, weight_decay
        trained = {name: parameter for name, parameter in parameters.items() if parameter.requires_grad}
        device = next(iter(trained.values())).device
        self._steps = torch.zeros((), device=device)
        self._dense = {
            name: Dense(parameter, name in decayed, dtype if name in narrow else torch.float32)
            for name, parameter in trained.items()
            if name not in by_rows
        }
        self._tables = {name: Rows(trained[name]) for name in trained if name in by_rows}

    def step(self, *, lr: float, count: float, clip: float | None) -> float:
        """One update with the mean gradient: the accumulated sum divided by `count`; returns the mean gradient's norm.

        clip: the mean gradient is scaled down to this global norm if it is larger (Pascanu et al. 2013).
        """
        dense = [part for part in self._dense.values() if part.parameter.grad is not None]
        tables = [table for table in self._tables.values() if table.parameter.grad is not None]
        for table in tables:
            table.gather()
        norms = [part.norm() for part in dense] + [table.norm() for table in tables]
        norm = float(torch.stack(norms).norm()) / count
        scale = self._steps.new_tensor(count * max(1.0, norm / clip if clip else 1.0))
        self._steps += 1
        for parts in _together(dense):
            moments = [part.first for part in parts], [part.second for part in parts]
            grads = [_grad(part.parameter).float() for part in parts]
            decay = self._weight_decay if parts[0].decays else 0.0
            self._update([part.master for part in parts], grads, moments, lr=lr, decay=decay, scale=scale)
            for part in parts:
                part.done()
        for table in tables:
            rows, grad, first, second = table.active()
            self._update([rows], [grad], ([first], [second]), lr=lr, decay=0.0, scale=scale)
            table.done()
        return norm

    def _update(
        self,
        masters: list[Tensor],
        grads: list[Tensor],
        moments: tuple[list[Tensor], list[Tensor]],
        *,
        lr: float,
        decay: float,
        scale: Tensor,
    ) -> None:
        """torch's fused kernel, which divides the gradients by `scale` itself."""
        torch._fused_adamw_(
            masters,
            grads,
            *moments,
            [],
            [self._steps] * len(masters),
            lr=lr,
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=decay,
            eps=self._eps,
            amsgrad=False,
            maximize=False,
            grad_scale=scale,
        )

    def masters(self) -> Iterator[tuple[str, Tensor]]:
        """Every trained parameter in float32, by name."""
        for name, part in self._parts():
            yield name, part.master

    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Give the masters, and with them the model, other values, as :meth:`masters` names them; moments stay."""
        for name, part in self._parts():
            part.master.copy_(weights[name])
            if part.parameter.data_ptr() != part.master.data_ptr():
                part.parameter.data.copy_(part.master)

    def widen(self) -> None:
        """Give the model its float32 parameters back; the end of training."""
        for part in self._dense.values():
            part.parameter.data = part.master

    def state(self) -> State:
        """Everything needed to go on bit by bit: masters, moments, row lists and the step count."""
        state = {"steps": self._steps}
        for name, part in self._parts():
            state |= {f"{name}.{key}": value for key, value in part.state().items()}
        return state

    def load(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`; also sets the model's parameters."""
        self._steps.copy_(state["steps"])
        for name, part in self._parts():
            part.load({key: state[f"{name}.{key}"] for key in part.state()})

    def _parts(self) -> Iterator[tuple[str, Dense | Rows]]:
        yield from self._dense.items()
        yield from self._tables.items()


def _together(parts: Sequence[Dense]) -> Iterator[list[Dense]]:
    """Parts that share a weight decay, in lists of about :data:`TOGETHER` parameters."""
    for decays in (True, False):
        group: list[Dense] = []
        for part in parts:
            if part.decays == decays:
                group.append(part)
                if sum(member.master.numel() for member in group) >= TOGETHER:
                    yield group
                    group = []
        if group:
            yield group


def _grad(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


class Dense:
    """A parameter with a dense gradient, and what AdamW keeps for it."""

    def __init__(self, parameter: nn.Parameter, decays: bool, dtype: torch.dtype) -> None:
        self.parameter, self.decays = parameter, decays
        self.master = parameter.data
        self.first, self.second = torch.zeros_like(self.master), torch.zeros_like(self.master)
        if dtype != parameter.dtype:
            parameter.data = self.master.to(dtype)

    def norm(self) -> Tensor:
        """The gradient's norm, rounded to its dtype: 0.4 % at worst in bfloat16, and no float32 copy is made for it."""
        norm: Tensor = torch.linalg.vector_norm(_grad(self.parameter))
        return norm.float()

    def done(self) -> None:
        """After an update of the master: hand it to the model."""
        if self.parameter.dtype != torch.float32:
            self.parameter.data.copy_(self.master)
        self.parameter.grad = None

    def state(self) -> State:
        """What a checkpoint keeps."""
        return {"master": self.master, "first": self.first, "second": self.second}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`; also sets the model's parameter."""
        for mine, saved in zip(self.state().values(), state.values(), strict=True):
            mine.copy_(saved)
        self.parameter.data.copy_(self.master)


class Rows:
    """An embedding table with a sparse gradient: the rows seen so far, side by side in the order in which they came, and
    their moments."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self.parameter = parameter
        self.master = parameter.data
        self._slot_of = torch.full((len(self.master),), -1, dtype=torch.int64, device=parameter.device)
        self._rows = self._slot_of[:0]
        # of the full size, but only the first len(_rows) rows are ever touched
        self._moving, self._first, self._second, self._grad = (_untouched(self.master) for _ in range(4))
        self._touched = self._rows

    def gather(self) -> None:
        """Sum the gradient's repeated rows into their slots; new rows get a slot."""
        grad = _grad(self.parameter)
        ids, values = grad._indices()[0], grad._values()
        new = ids[self._slot_of[ids] < 0].unique()
        self._slot_of[new] = torch.arange(len(self._rows), len(self._rows) + len(new), device=ids.device)
        self._moving[len(self._rows) : len(self._rows) + len(new)] = self.master[new]
        self._rows = torch.cat([self._rows, new])
        slots = self._slot_of[ids]
        self._grad.index_add_(0, slots, values.float())
        self._touched = slots.unique()

    def norm(self) -> Tensor:
        """The gradient's norm."""
        norm: Tensor = torch.linalg.vector_norm(self._grad[self._touched])
        return norm

    def active(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The rows seen so far, (rows, width); their gradient and moments."""
        n = len(self._rows)
        return self._moving[:n], self._grad[:n], self._first[:n], self._second[:n]

    def done(self) -> None:
        """After an update of :meth:`active`: hand the rows to the model."""
        self.master.index_copy_(0, self._rows, self._moving[: len(self._rows)])
        self._grad[self._touched] = 0
        self.parameter.grad = None

    def state(self) -> State:
        """What a checkpoint keeps."""
        n = len(self._rows)
        return {"master": self.master, "rows": self._rows, "first": self._first[:n], "second": self._second[:n]}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`; also sets the model's table."""
        self.master.copy_(state["master"])
        self._rows = state["rows"].to(self._slot_of.device, copy=True)
        n = len(self._rows)
        self._slot_of.fill_(-1)
        self._slot_of[self._rows] = torch.arange(n, device=self._rows.device)
        self._moving[:n] = self.master[self._rows]
        self._first[:n], self._second[:n] = state["first"], state["second"]


def _untouched(like: Tensor) -> Tensor:
    """float32 zeros of this shape and device; on a CPU they take memory only where they are written to, and those that
    torch makes take it at once."""
    if not like.is_cpu:
        return torch.zeros_like(like)
    return torch.from_numpy(np.zeros(like.shape, np.float32))
