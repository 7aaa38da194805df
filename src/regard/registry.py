"""Names to things, with a helpful error for a name that is not there, and entry points for plug-ins (floor 0)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import TypeVar

from regard.errors import ConfigError, did_you_mean, listed

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """A read-only mapping filled by `register` and by installed entry points of group `regard.<plural>`.

    kind: what one entry is called in error messages ("schedule", "task"); plural: what several are, None = kind and an s. A
    missing name raises :class:`~regard.errors.ConfigError` that names the closest entry and lists all of them.
    """

    def __init__(self, kind: str, *, plural: str | None = None) -> None:
        self.kind, self.plural = kind, plural or f"{kind}s"
        self._entries: dict[str, T] = {}
        self._plugins_loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: `@SCHEDULES.register("cosine")`. A name can be taken once."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered already")
            self._entries[name] = entry
            return entry

        return add

    def _load_plugins(self) -> None:
        if not self._plugins_loaded:
            self._plugins_loaded = True
            for entry_point in entry_points(group=f"regard.{self.plural}"):
                self._entries.setdefault(entry_point.name, entry_point.load())

    def __getitem__(self, name: str) -> T:
        self._load_plugins()
        if name not in self._entries:
            raise ConfigError(
                f"unknown {self.kind} {name!r}", allowed=listed(sorted(self._entries)), fix=did_you_mean(name, self._entries)
            )
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._load_plugins()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._load_plugins()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self._load_plugins()
        return len(self._entries)
