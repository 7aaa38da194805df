"""Datasets of the Hugging Face hub: their data files, read by our own readers; a dataset's script is never run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import huggingface_hub
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is httpx's or httpx2's, by the version
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from regard.config import offline
from regard.data.lines import COMPRESSED
from regard.errors import DataError, WorkError, listed

HUB = "hub:"
"""What a hub name starts with; without it no name ever reaches the network."""

_NAME = re.compile(r"(?P<repo>[^/@#]+/[^/@#]+)(/(?P<config>[^@#]+))?(@(?P<revision>[^#]+))?(#(?P<split>.+))?")
_ENDINGS = (".parquet", ".jsonl", ".csv", ".tsv", ".json")
"""Formats in the order of preference."""


@dataclass(frozen=True)
class HubName:
    """The parts of `hub:owner/name[/config][@revision][#split]`."""

    repo: str
    config: str | None
    revision: str | None
    split: str

    @classmethod
    def parse(cls, source: str) -> HubName:
        """The parts of a hub name; the split is `train` when none is given."""
        found = _NAME.fullmatch(source.removeprefix(HUB))
        if found is None:
            raise DataError("not a hub name", where=source, allowed=f"{HUB}owner/name[/config][@revision][#split]")
        return cls(found["repo"], found["config"], found["revision"], found["split"] or "train")

    def chosen(self, names: list[str]) -> list[str]:
        """Which of a repository's files hold the split, in order: all of one format, the best that there is."""
        for suffix in _ENDINGS:
            same = [name for name in sorted(names) if _ending(name) == suffix and self._fits(PurePosixPath(name))]
            if same:
                return same
        return []

    def _fits(self, path: PurePosixPath) -> bool:
        words = re.split(r"[-_.]", path.name.lower())
        folders = path.parts[:-1]
        in_config = self.config is None or self.config in folders or path.name.startswith(f"{self.config}-")
        return in_config and (self.split.lower() in words or self.split in folders)


def fetch(source: str) -> list[Path]:
    """Local copies of the files of a split, downloaded if they are not in the cache.

    With REGARD_OFFLINE=1 or HF_HUB_OFFLINE=1 only the cache is asked. Raises DataError for a name or a split that is not
    there, WorkError when the hub cannot be reached.
    """
    name = HubName.parse(source)
    try:
        folder = _snapshot(name) if offline() else _downloaded(name, source)
    except RepositoryNotFoundError:
        raise DataError(
            "no such dataset on the hub", where=source, fix="check owner and name; for a private one log in: hf auth login"
        ) from None
    except RevisionNotFoundError:
        raise DataError(
            f"no revision {name.revision!r}", where=source, fix="name a branch, tag or commit of the dataset"
        ) from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        raise DataError(
            "not in the cache, and the network is switched off", where=source, fix="unset REGARD_OFFLINE and HF_HUB_OFFLINE"
        ) from None
    except (HTTPError, OSError) as error:
        raise WorkError(f"the hub cannot be reached: {error}", where=source, fix="try again, or use a file") from None
    present = [str(path.relative_to(folder).as_posix()) for path in folder.rglob("*") if path.is_file()]
    return [folder / path for path in _chosen(name, present, source)]


def _downloaded(name: HubName, source: str) -> Path:
    files = huggingface_hub.HfApi().list_repo_files(name.repo, repo_type="dataset", revision=name.revision)
    return _snapshot(name, _chosen(name, files, source))


def _snapshot(name: HubName, wanted: list[str] | None = None) -> Path:
    """The folder of the dataset's files: the wanted ones downloaded, or with None what the cache has."""
    folder = huggingface_hub.snapshot_download(
        name.repo, repo_type="dataset", revision=name.revision, allow_patterns=wanted, local_files_only=wanted is None
    )
    return Path(folder)


def _chosen(name: HubName, files: list[str], source: str) -> list[str]:
    wanted = name.chosen(files)
    if not wanted:
        data = [file for file in sorted(files) if _ending(file) in _ENDINGS]
        raise DataError(
            f"no file of split {name.split!r}" + (f" in config {name.config!r}" if name.config else ""),
            where=source,
            allowed=listed(data) if data else "a dataset with csv, tsv, json, jsonl or parquet files",
            fix="name another split or config" if data else f"try the converted copy: {HUB}{name.repo}@refs/convert/parquet",
        )
    return wanted


def _ending(name: str) -> str:
    path = PurePosixPath(name)
    return PurePosixPath(path.stem).suffix if path.suffix in COMPRESSED else path.suffix
