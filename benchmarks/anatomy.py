"""Where the milliseconds of Regard's training step go, and how far its matrix products are from the machine's peak.

`python benchmarks/finetune.py --profile` prints it. Every operator's own time is counted once: an operator belongs to the
matrix products or to the activation by its name, else to what called it: the module, the gradient of an operation, or the
optimizer.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

from harness import Round

if TYPE_CHECKING:
    from finetune import Regard

SELF = {
    "matrix products": ("aten::mm", "aten::addmm", "mkldnn::_linear"),
    "activation": ("aten::gelu", "aten::relu", "aten::tanh", "aten::silu"),
    "norms": ("aten::native_layer_norm",),
}
"""Group -> how the names of its operators begin, wherever they are called."""

WITHIN = {
    "optimizer": ("optimizer",),
    "attention": ("Short", "aten::scaled_dot_product_attention", "ScaledDotProduct"),
    "dropout": ("module Dropout", "MulBackward"),
    "norms": ("module LayerNorm", "module RMSNorm", "NativeLayerNormBackward"),
    "embeddings": ("module Embedding", "EmbeddingBackward"),
    "matrix products: copies and biases": ("module Linear", "AddmmBackward", "MmBackward", "ToCopyBackward", "TBackward"),
}
"""Group -> how the names of its callers begin; the innermost caller that is named here decides."""

REST = "rest"
LARGE = (1024, 2048, 4096)
"""Sides of square products; the quickest stands for the machine's peak."""
COVERED = 0.9
"""Share of the step's arithmetic whose sizes are measured by themselves."""

Size = tuple[int, int, int]
"""(m, k, n) of (m, k) times (k, n)."""


class Watched:
    """An optimizer whose steps the profiler sees by name."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer

    def step(self, **settings: Any) -> float:
        with record_function("optimizer"):
            norm: float = self._optimizer.step(**settings)
        return norm


class Modules:
    """While entered, the profiler sees the forward pass of every module under the name of its class."""

    def __enter__(self) -> None:
        self._open: list[Any] = []
        self._hooks = [
            nn.modules.module.register_module_forward_pre_hook(self._enter),
            nn.modules.module.register_module_forward_hook(self._leave),
        ]

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _enter(self, module: nn.Module, _: Any) -> None:
        scope = record_function(f"module {type(module).__name__}")
        scope.__enter__()
        self._open.append(scope)

    def _leave(self, *_: Any) -> None:
        self._open.pop().__exit__(None, None, None)


def anatomy(regard: Regard) -> dict[str, Any]:
    """One round to warm up, one under the profiler; times are scaled to those of a round without it."""
    regard.train(0)
    plain: Round = regard.train(1)
    regard.optimizer = Watched(regard.optimizer)  # type: ignore[assignment]
    with Modules(), profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
        regard.train(1)
    events = recorded.events()
    assert events is not None
    groups, names = grouped(events)
    total, step = sum(groups.values()), plain.seconds / plain.steps * 1e3
    table = [
        {
            "part of a step": group,
            "milliseconds": step * each / total,
            "share": f"{each / total:.1%}",
            "most of it": names[group],
        }
        for group, each in groups.most_common()
    ]
    sizes = products(events)
    return {
        "a step": f"{step:.1f} ms without the profiler, {plain.rows / plain.steps:.1f} rows",
        "Where a step's time goes": table,
        "Matrix products": peaks(sizes, in_step=groups["matrix products"] / 1e6, wall=plain.seconds, dtype=regard.dtype),
    }


def grouped(events: Iterable[Any]) -> tuple[Counter[str], dict[str, str]]:
    """Microseconds of each group, and the two operators with most of them."""
    groups: Counter[str] = Counter()
    operators: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for event in events:
        group = group_of(event)
        groups[group] += event.self_cpu_time_total
        operators[group][event.name.removeprefix("autograd::engine::evaluate_function: ")] += event.self_cpu_time_total
    names = {group: ", ".join(name for name, _ in counts.most_common(2)) for group, counts in operators.items()}
    return groups, names


def group_of(event: Any) -> str:
    """The group that an operator's own time belongs to."""
    for group, beginnings in SELF.items():
        if event.name.startswith(beginnings) and group_of_callers(event) not in ("optimizer", "attention"):
            return group
    return group_of_callers(event)


def group_of_callers(event: Any) -> str:
    """The group of the innermost caller, the operator itself included, that has one."""
    while event is not None:
        name = event.name.removeprefix("autograd::engine::evaluate_function: ")
        for group, beginnings in WITHIN.items():
            if name.startswith(beginnings):
                return group
        event = event.cpu_parent
    return REST


def products(events: Iterable[Any]) -> Counter[Size]:
    """How often the step multiplies matrices of each size."""
    sizes: Counter[Size] = Counter()
    for event in events:
        if event.name in ("aten::mm", "aten::addmm"):
            first = int(event.name == "aten::addmm")  # before the matrices comes what is added
            (m, k), (_, n) = event.input_shapes[first : first + 2]
            sizes[m, k, n] += 1
    return sizes


def peaks(sizes: Counter[Size], *, in_step: float, wall: float, dtype: torch.dtype) -> list[dict[str, Any]]:
    """GFLOP/s of the step's products inside the step, of the same sizes by themselves, and of large ones.

    in_step: seconds of them in a round; wall: seconds of the whole round.
    """
    work = sum(flops(size) * count for size, count in sizes.items())
    measured, alone, done = 0.0, 0.0, 0.0
    for size, count in sorted(sizes.items(), key=lambda item: -flops(item[0]) * item[1]):
        if done >= COVERED * work:
            break
        seconds = timed(size, dtype)
        alone, measured, done = alone + seconds * count, measured + 1, done + flops(size) * count
    peak, side = max((flops((side,) * 3) / timed((side,) * 3, dtype) / 1e9, side) for side in LARGE)
    rates = {
        "the whole step": work / wall / 1e9,
        "its products, in the step": work / in_step / 1e9,
        f"its products, by themselves ({measured:.0f} sizes)": done / alone / 1e9,
        f"{side} x {side} x {side}": peak,
    }
    return [{"products": name, "GFLOP/s": rate, "of the peak": f"{rate / peak:.0%}"} for name, rate in rates.items()]


def flops(size: Size) -> int:
    """Additions and multiplications of one product."""
    m, k, n = size
    return 2 * m * k * n


def timed(size: Size, dtype: torch.dtype) -> float:
    """Seconds of one product: the median of five, after one that compiles the kernel."""
    m, k, n = size
    left, right = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype)
    torch.mm(left, right)
    return sorted(_seconds(left, right) for _ in range(5))[2]


def _seconds(left: Tensor, right: Tensor) -> float:
    start = time.perf_counter()
    torch.mm(left, right)
    return time.perf_counter() - start
