"""A model folder in memory, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field
from torch import Tensor

from regard.config import Settings
from regard.errors import CheckpointError
from regard.models.config import HeadConfig, ModelConfig
from regard.text.tokenizer import Tokenizer

CONFIG, TASK = "config.json", "task.json"
GENERATION, FEATURES, PROCESSOR = "generation_config.json", "preprocessor_config.json", "processor_config.json"
COMPANIONS = (GENERATION, FEATURES, PROCESSOR)
"""Files of theirs that say how text is generated, and what sound and images are made into; the last holds in one part of it
what older checkpoints have in a file of its own."""
PREPROCESSORS = ("feature_extractor", "image_processor")
"""Those parts: of sound, of images."""
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "*.spm")


class Origin(Settings):
    """The checkpoint that a model began as, kept so that export gives back what it came with."""

    family: str
    """Its `model_type`, a name of :data:`~regard.checkpoints.families.FAMILIES`."""
    architecture: str
    """Its model class."""
    config: dict[str, Any]
    """Its config.json, whole."""
    prefixed: bool = False
    """It has no output layer, and yet its tensors' names begin as if it had: so do some files, and they stay so."""
    files: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """What else came with it, of :data:`COMPANIONS`, whole."""
    source: str = ""
    """What the user asked for when it was fine-tuned."""
    revision: str | None = None
    """The commit of a hub model."""
    digests: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of each of its files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model folder in memory. `build(config, head)` makes the model, `load_state_dict(tensors)` fills it."""

    config: ModelConfig
    head: HeadConfig | None
    tensors: Mapping[str, Tensor]
    """By our names. In the stored dtype they are views of the mapped file."""
    tokenizer: Tokenizer | None
    """None when the folder has no tokenizer."""
    task: dict[str, Any] | None
    """What task.json says, or what their config.json says of labels; None for a model without an output layer."""
    source: str
    """What the user asked for."""
    revision: str | None = None
    """The commit of a hub model."""
    origin: Origin | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors of a head that Regard does not use, such as a masked-language-model's, by their names: export writes them."""


def read_tokenizer(folder: Path, config: ModelConfig) -> Tokenizer | None:
    """The tokenizer of a folder, None when it has none. Raises CheckpointError when it knows more tokens than the model."""
    if not any(path.is_file() for pattern in TOKENIZER_FILES for path in folder.glob(pattern)):
        return None
    tokenizer = Tokenizer.load(folder)
    if 0 < config.vocab_size < tokenizer.vocab_size:
        raise CheckpointError(
            f"the tokenizer knows {tokenizer.vocab_size} tokens",
            where=str(folder),
            allowed=f"at most {config.vocab_size}, the rows of the model's embedding table",
            fix="the tokenizer is another model's: get the folder anew",
        )
    return tokenizer
