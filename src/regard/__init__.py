"""Regard: attention prediction models, trained, understood, checked, compressed and served on the machine you have.

    import regard

    result = regard.train("reviews.csv", task="text-classification", model="minilm", columns={"text": "review"})
    model = regard.load(result.out)
    model.predict(["a dull, beautiful film"])

Nothing heavy is imported before it is used: `import regard` does not import torch.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regard.checkpoints.export import export
    from regard.errors import CheckpointError, ConfigError, DataError, InputError, RegardError, WorkError
    from regard.machine import doctor
    from regard.predictor import Predictor, load
    from regard.tasks.inspect import check
    from regard.training.run import Result, train

_PLACES = {
    "CheckpointError": "regard.errors",
    "ConfigError": "regard.errors",
    "DataError": "regard.errors",
    "InputError": "regard.errors",
    "Predictor": "regard.predictor",
    "RegardError": "regard.errors",
    "Result": "regard.training.run",
    "WorkError": "regard.errors",
    "check": "regard.tasks.inspect",
    "doctor": "regard.machine",
    "export": "regard.checkpoints.export",
    "load": "regard.predictor",
    "train": "regard.training.run",
}

__version__ = version("regard")
__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "InputError",
    "Predictor",
    "RegardError",
    "Result",
    "WorkError",
    "__version__",
    "check",
    "doctor",
    "export",
    "load",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'regard' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
