"""What sound and images have in common: a file that is there and not empty, and what a checkpoint wants made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, PrivateAttr

from regard.config import Settings, parse
from regard.errors import CheckpointError, DataError
from regard.text.files import read_object


class Preprocessor(Settings):
    """A checkpoint's `preprocessor_config.json`: a subclass is one kind of it, under our names, with the format's defaults.

    Keys that Regard has no use for are kept in `original`, which is what an export writes.
    """

    model_config = ConfigDict(extra="ignore", validate_by_name=False, validate_by_alias=True)
    part: ClassVar[str]
    """Where `processor_config.json`, which newer files are, holds it."""
    _original: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def original(self) -> dict[str, Any]:
        """The file's values as they were read."""
        return dict(self._original)

    @classmethod
    def of(cls, values: Mapping[str, Any], *, where: str) -> Self:
        """From the file's values; null means the default.

        Raises :class:`~regard.errors.ConfigError` that lists every key that is wrong or asks for what Regard does not do.
        """
        settings = parse(cls, {key: value for key, value in values.items() if value is not None}, where=where)
        settings._original = dict(values)
        return settings

    @classmethod
    def read(cls, folder: Path) -> Self:
        """From a checkpoint's folder. Raises :class:`~regard.errors.CheckpointError` if it has no such file."""
        path, whole = folder / "preprocessor_config.json", folder / "processor_config.json"
        if path.exists():
            return cls.of(read_object(path), where=str(path))
        values = read_object(whole).get(cls.part) if whole.exists() else None
        if isinstance(values, dict):
            return cls.of(values, where=f"{whole}, key {cls.part!r}")
        raise CheckpointError(
            f"no {path.name}", where=str(folder), fix="get it from where the checkpoint comes from: it says what to feed it"
        )


def check_file(path: Path) -> None:
    """DataError unless the path is a file that can be read and holds something."""
    where = str(path)
    try:
        with path.open("rb") as stream:
            start = stream.read(1)
    except FileNotFoundError:
        raise DataError("no such file", where=where, fix="check the path") from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=where, fix="name a file that you may read") from None
    if not start:
        raise DataError("the file is empty", where=where, fix="check that it was written or downloaded whole")
