"""Models from the Hugging Face hub: the one place where a checkpoint may come from the network (law 8)."""

from __future__ import annotations

import re
from pathlib import Path

from regard.config import offline
from regard.errors import CheckpointError, WorkError, listed

FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.jinja"]
"""What is fetched: never code, never a pickled file."""

NAME = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*")


def looks_like_name(text: str) -> bool:
    """Whether a text can be the name of a hub model: `owner/name`, or `name` alone."""
    return NAME.fullmatch(text) is not None


def fetch(name: str, revision: str | None = None) -> Path:
    """The folder of a hub model in the local cache, downloaded if need be; the folder's name is the commit.

    name: `owner/name`. revision: branch, tag or commit; None is the main branch. Raises
    :class:`~regard.errors.CheckpointError` for a name or revision that is not there or not open to the user, and
    :class:`~regard.errors.WorkError` when the connection fails.
    """
    from huggingface_hub import errors, snapshot_download  # a third of a second: only who needs it pays

    where = f"{name}@{revision}" if revision else name
    local = offline()
    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=FILES, ignore_patterns=["*/*"], local_files_only=local)
        )
    except errors.HFValidationError as error:
        raise CheckpointError(f"not a hub name: {error}", where=where, allowed="owner/name") from None
    except errors.RevisionNotFoundError:
        raise CheckpointError("the hub has no such revision", where=where, fix="give a branch, tag or commit") from None
    except errors.GatedRepoError:
        raise CheckpointError(
            "the owner must let you in first", where=where, fix="ask on its hub page, then log in"
        ) from None
    except errors.RepositoryNotFoundError:
        raise CheckpointError("no such folder, and no such hub model", where=where, fix="check the spelling") from None
    except errors.LocalEntryNotFoundError as error:
        if local:
            raise CheckpointError(
                "not in the local cache, and the network is off",
                where=where,
                allowed=listed(cached()) or "nothing is cached",
                fix="give a folder, or unset REGARD_OFFLINE and HF_HUB_OFFLINE once to download it",
            ) from None
        raise _unreachable(error, where) from error
    except (OSError, errors.HTTPError) as error:  # type: ignore[attr-defined]  # httpx's or httpx2's, by the version
        raise _unreachable(error, where) from error


def cached() -> list[str]:
    """Names of the models in the local cache."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        return sorted(repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model")
    except CacheNotFound:
        return []


def _unreachable(error: Exception, where: str) -> WorkError:
    return WorkError(f"the download failed: {error}", where=where, fix="check the connection, or give a folder instead")
