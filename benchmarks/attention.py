"""Regard's kernel for short rows against torch's fused attention, on batches of text classification.

    python benchmarks/attention.py [--threads 1] [--tokens 4096] [--heads 12] [--width 32] [--repeats 15]

One line a length: the time of `kernels.Short` divided by that of F.scaled_dot_product_attention; below 1, Short is faster.
Each batch holds as many rows of that length as the token budget allows. The bounds in
`kernels` are the longest lengths up to which Short mostly wins: in training (forward and backward, with dropout as without),
and in a forward pass alone.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from regard.layers import kernels

LENGTHS = (8, 16, 32, 48, 64, 96, 128, 192, 256)
Kernel = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def ours(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    return kernels.Short.apply(q, k, v, None, q.shape[-1] ** -0.5, dropout)


def theirs(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)


def inputs(length: int, dtype: torch.dtype, options: argparse.Namespace) -> list[Tensor]:
    """q, k and v as projections leave them: (rows, tokens, heads, width), seen as (rows, heads, tokens, width)."""
    shape = (max(1, options.tokens // length), length, options.heads, options.width)
    return [torch.randn(shape, dtype=dtype, requires_grad=True).transpose(1, 2) for _ in range(3)]


def forward(kernel: Kernel, parts: list[Tensor], dropout: float) -> None:
    with torch.no_grad():
        kernel(*parts, dropout)


def training(kernel: Kernel, parts: list[Tensor], dropout: float) -> None:
    out = kernel(*parts, dropout)
    torch.autograd.grad(out, parts, torch.ones_like(out))


def ratio(run: Callable[..., None], parts: list[Tensor], dropout: float, repeats: int) -> float:
    """Median over pairs of neighbouring runs, so that a busy machine slows both alike."""
    ratios = []
    for i in range(repeats + 2):
        seconds = []
        for kernel in (ours, theirs):
            start = time.perf_counter()
            run(kernel, parts, dropout)
            seconds.append(time.perf_counter() - start)
        if i >= 2:  # the first runs choose and compile
            ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("threads", 1), ("tokens", 4096), ("heads", 12), ("width", 32), ("repeats", 15)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    columns = [
        (f"{str(dtype).removeprefix('torch.')} {name}", run, dtype, dropout)
        for dtype in (torch.float32, torch.bfloat16)
        for name, run, dropout in (("forward", forward, 0.0), ("training", training, 0.0), ("dropout", training, 0.1))
    ]
    print(f"Short / torch, {options.tokens} tokens, {options.heads} heads of {options.width}, {options.threads} thread(s)")
    print(f"SHORT_TRAINING = {kernels.SHORT_TRAINING}, SHORT_PREDICTION = {kernels.SHORT_PREDICTION}")
    print(" ".join(["length", *(f"{title:>18}" for title, *_ in columns)]))
    for length in LENGTHS:
        row = [ratio(run, inputs(length, dtype, options), dropout, options.repeats) for _, run, dtype, dropout in columns]
        print(" ".join([f"{length:6}", *(f"{value:18.2f}" for value in row)]), flush=True)


if __name__ == "__main__":
    main()
