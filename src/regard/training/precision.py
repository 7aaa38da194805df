"""Which device and which arithmetic: what the machine really has, not what it would accept."""

from __future__ import annotations

import torch

from regard.errors import ConfigError, did_you_mean, listed

PRECISIONS = ("auto", "float32", "bfloat16")


def device() -> torch.device:
    """The first GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bfloat16(on: torch.device) -> bool:
    """Whether bfloat16 products are faster here than float32: AMX or AVX512-BF16 on a CPU, Ampere or later on a GPU.

    oneDNN emulates bfloat16 elsewhere, slower than float32, so that "supported" is not the question.
    """
    if on.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def compute_dtype(precision: str, on: torch.device) -> torch.dtype:
    """`float32`, `bfloat16`, or `auto` -> the dtype of activations and matrix products on this device.

    Raises :class:`~regard.errors.ConfigError` for any other name.
    """
    if precision not in PRECISIONS:
        fix = did_you_mean(precision, PRECISIONS)
        raise ConfigError(f"unknown precision {precision!r}", where="precision", allowed=listed(PRECISIONS), fix=fix)
    if precision == "auto":
        return torch.bfloat16 if has_bfloat16(on) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
