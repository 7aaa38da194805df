"""The hub, without a network: what is asked of the library, and what its refusals become."""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors

from regard.checkpoints.hub import cached, fetch, looks_like_name
from regard.errors import CheckpointError, RegardError, WorkError

httpx = import_module(errors.HTTPError.__module__)
"""What the library speaks to the hub with: httpx, or httpx2 from its version 2 on."""

NOT_FOUND = httpx.Response(404, request=httpx.Request("GET", "https://example.invalid"))


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REGARD_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def answer(monkeypatch: pytest.MonkeyPatch, result: Any) -> list[dict[str, Any]]:
    """Let the library answer or raise `result`; returns what it will have been asked."""
    asked: list[dict[str, Any]] = []

    def snapshot_download(name: str, **options: Any) -> str:
        asked.append({"name": name, **options})
        if isinstance(result, Exception):
            raise result
        return str(result)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_only_safe_files_are_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    asked = answer(monkeypatch, tmp_path)
    assert fetch("owner/name", "v1") == tmp_path
    assert asked[0]["revision"] == "v1"
    assert asked[0]["local_files_only"] is False
    assert set(asked[0]["allow_patterns"]) == {"*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.jinja"}


@pytest.mark.parametrize(("name", "value", "local"), [("REGARD_OFFLINE", "1", True), ("HF_HUB_OFFLINE", "yes", True)])
def test_the_network_can_be_forbidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, local: bool):
    asked = answer(monkeypatch, tmp_path)
    monkeypatch.setenv(name, value)
    fetch("owner/name")
    for value in ("0", "false", "No", "off", ""):
        monkeypatch.setenv(name, value)
        fetch("owner/name")
    assert [each["local_files_only"] for each in asked] == [local, *[False] * 5]


@pytest.mark.parametrize(
    ("refusal", "kind", "says"),
    [
        (errors.HFValidationError("bad"), CheckpointError, "not a hub name: bad"),
        (errors.RepositoryNotFoundError("x", response=NOT_FOUND), CheckpointError, "no such folder, and no such hub model"),
        (errors.GatedRepoError("x", response=NOT_FOUND), CheckpointError, "the owner must let you in first"),
        (errors.RevisionNotFoundError("x", response=NOT_FOUND), CheckpointError, "the hub has no such revision"),
        (errors.HfHubHTTPError("server", response=NOT_FOUND), WorkError, "the download failed: server"),
        (errors.LocalEntryNotFoundError("no route"), WorkError, "the download failed: no route"),
        (ConnectionError("no route"), WorkError, "the download failed: no route"),
        (httpx.ConnectError("no route"), WorkError, "the download failed: no route"),
    ],
)
def test_refusals_say_what_to_do(monkeypatch: pytest.MonkeyPatch, refusal: Exception, kind: type[RegardError], says: str):
    answer(monkeypatch, refusal)
    with pytest.raises(kind) as caught:
        fetch("owner/name", "v1")
    assert f"owner/name@v1: {says}" in str(caught.value)
    assert caught.value.problems[0].fix or caught.value.problems[0].allowed


def test_offline_says_what_is_in_the_cache(monkeypatch: pytest.MonkeyPatch):
    answer(monkeypatch, errors.LocalEntryNotFoundError("not there"))
    monkeypatch.setenv("REGARD_OFFLINE", "1")
    repos = [SimpleNamespace(repo_id="owner/b", repo_type="model"), SimpleNamespace(repo_id="data", repo_type="dataset")]
    monkeypatch.setattr(huggingface_hub, "scan_cache_dir", lambda: SimpleNamespace(repos=repos))
    with pytest.raises(CheckpointError, match="the network is off") as caught:
        fetch("owner/name")
    assert caught.value.problems[0].allowed == "owner/b"


def test_an_empty_cache_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def scan() -> None:
        raise errors.CacheNotFound("none", cache_dir=tmp_path)

    monkeypatch.setattr(huggingface_hub, "scan_cache_dir", scan)
    assert cached() == []


def test_the_library_itself_finds_nothing_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("REGARD_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="not in the local cache"):
        fetch("owner/name")


@pytest.mark.parametrize("name", ["minilm", "owner/name", "owner-1/name_2.5-b", "a"])
def test_hub_names(name: str):
    assert looks_like_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/x", "a/b/c", "a b", "a/", ".hidden", "a/.b", "~/x", "c:\\x"])
def test_what_is_no_hub_name(name: str):
    assert not looks_like_name(name)
