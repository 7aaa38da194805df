"""Hub names: which files are chosen, what offline means, and that only `hub:` reaches for the network."""

from importlib import import_module
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError, HTTPError, RepositoryNotFoundError, RevisionNotFoundError

from regard.data.hub import HubName, fetch
from regard.data.read import read
from regard.errors import DataError, WorkError

httpx = import_module(HTTPError.__module__)
"""What the library speaks to the hub with: httpx, or httpx2 from its version 2 on."""

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with one dataset in it, and no network."""
    repo = tmp_path / "datasets--owner--films"
    snapshot = repo / "snapshots" / COMMIT
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    for name in ("en/train-00000-of-00002.jsonl", "en/train-00001-of-00002.jsonl", "zh/test.csv", "films.py"):
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).write_text('{"text": "x", "label": "a"}\n' if name.endswith("jsonl") else "text,label\nx,a\n")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("REGARD_OFFLINE", "1")
    return snapshot


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("hub:a/b", HubName("a/b", None, None, "train")),
        ("hub:a/b#test", HubName("a/b", None, None, "test")),
        ("hub:a/b/en@v1.0#dev", HubName("a/b", "en", "v1.0", "dev")),
        ("hub:a/b@refs/convert/parquet", HubName("a/b", None, "refs/convert/parquet", "train")),
    ],
)
def test_names(source: str, expected: HubName) -> None:
    assert HubName.parse(source) == expected


@pytest.mark.parametrize("source", ["hub:", "hub:films", "hub:a/b@", "hub:a/b#"])
def test_what_is_no_name(source: str) -> None:
    with pytest.raises(DataError, match=r"not a hub name\n  allowed: hub:owner/name"):
        HubName.parse(source)


FILES = [
    "README.md", "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000.parquet",
    "train.csv", "zh/validation.jsonl.gz", "zh-hard/validation.jsonl.gz", "retrained.csv", "films.py",
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("hub:a/b", ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]),
        ("hub:a/b#test", ["data/test-00000.parquet"]),
        ("hub:a/b/zh#validation", ["zh/validation.jsonl.gz"]),
        ("hub:a/b/zh", []),
    ],
)
def test_choice_of_files(source: str, expected: list[str]) -> None:
    assert HubName.parse(source).chosen(FILES) == expected


def test_all_shards_of_a_split_are_read_from_the_cache(cache: Path) -> None:
    table = read("hub:owner/films/en")
    assert [row.values["label"] for row in table] == ["a", "a"]
    assert [path.parent.name for path in table.paths] == ["en", "en"]
    assert next(iter(table)).where() == "hub:owner/films/en: train-00000-of-00002.jsonl, row 1 (line 1)"


def test_offline_and_not_in_the_cache(cache: Path) -> None:
    with pytest.raises(DataError, match="not in the cache, and the network is switched off\n  fix: unset REGARD_OFFLINE"):
        fetch("hub:owner/other")


def test_a_split_that_is_not_there(cache: Path) -> None:
    message = r"no file of split 'dev' in config 'zh'\n  allowed: en/train-00000.*zh/test.csv\n  fix: name another split"
    with pytest.raises(DataError, match=message):
        fetch("hub:owner/films/zh#dev")


class TestDownload:
    """With a network that is made up."""

    @pytest.fixture
    def asked(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        asked: dict[str, Any] = {"files": ["zh/test.csv", "films.py"]}

        def download(repo: str, **options: Any) -> str:
            asked.update(options, repo=repo)
            return str(cache)

        def list_files(self: object, repo: str, **options: Any) -> list[str]:
            if isinstance(asked["files"], Exception):
                raise asked["files"]
            return list(asked["files"])

        monkeypatch.delenv("REGARD_OFFLINE")
        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", list_files)
        return asked

    def test_only_the_files_of_the_split_are_downloaded(self, asked: dict[str, Any]) -> None:
        assert [path.name for path in fetch("hub:owner/films@v2#test")] == ["test.csv"]
        assert asked["allow_patterns"] == ["zh/test.csv"]
        assert (asked["repo"], asked["revision"], asked["repo_type"]) == ("owner/films", "v2", "dataset")

    def test_a_dataset_that_is_a_script_is_not_run(self, asked: dict[str, Any]) -> None:
        asked["files"] = ["films.py", "README.md"]
        with pytest.raises(DataError, match="fix: try the converted copy: hub:owner/films@refs/convert/parquet"):
            fetch("hub:owner/films")

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            (RepositoryNotFoundError, "no such dataset on the hub\n  fix: check owner and name"),
            (RevisionNotFoundError, "no revision 'v9'\n  fix: name a branch, tag or commit"),
        ],
    )
    def test_what_the_hub_does_not_have(self, asked: dict[str, Any], kind: type[HfHubHTTPError], message: str) -> None:
        asked["files"] = kind("404", response=httpx.Response(404, request=httpx.Request("GET", "https://hub")))
        with pytest.raises(DataError, match=message):
            fetch("hub:owner/films@v9")

    @pytest.mark.parametrize("kind", [ConnectionError, httpx.ConnectError, httpx.ReadTimeout])
    def test_no_connection(self, asked: dict[str, Any], kind: type[Exception]) -> None:
        asked["files"] = kind("no route to host")
        with pytest.raises(WorkError, match="the hub cannot be reached: no route to host\n  fix: try again, or use a file"):
            fetch("hub:owner/films")
