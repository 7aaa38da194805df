"""What this machine offers to a model (floor 6)."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from regard.config import offline
from regard.layers.linear import PackedLinear
from regard.training.precision import compute_dtype, device, has_bfloat16

EXTRAS = {
    "serve": "fastapi",
    "track": "tensorboard",
    "onnx": "onnxruntime",
    "ray": "ray",
    "explain": "captum",
    "audio": "soundfile",
    "tune": "optuna",
}
"""Extra -> a package that it installs."""


def doctor() -> dict[str, Any]:
    """Facts by name, JSON-ready: versions, processor and its matrix units, memory (GiB), GPU, chosen precision, extras."""
    on = device()
    return {
        "regard": version("regard"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "amx": bool(torch.cpu._is_amx_tile_supported()),
        "avx512_bf16": bool(torch.cpu._is_avx512_bf16_supported()),
        "packed_prediction": PackedLinear.available(compute_dtype("auto", on)),
        "gpu": torch.cuda.get_device_name(on) if on.type == "cuda" else None,
        "bfloat16": has_bfloat16(on),
        "precision": str(compute_dtype("auto", on)).removeprefix("torch."),
        "offline": offline(),
        "extras": {extra: _version(package) for extra, package in EXTRAS.items()},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
