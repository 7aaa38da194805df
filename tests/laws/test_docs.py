"""README and docs: every command in them works, and both languages say the same."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
RUNNER = ROOT / "tools" / "run_page.py"
BESIDE_THE_READER = ("examples",)
"""Folders of the repository that commands on a page may name."""

RUN = ("sh", "python")
SHOWN = ("text", "json", "toml", "csv", "mermaid")
"""What a fenced block may be marked as: run by the tests, or only shown (output, files)."""


def parsed(page: Path) -> list[Token]:
    """The page's Markdown; a page that is not there reads as an empty one."""
    return MarkdownIt().parse(page.read_text(encoding="utf-8")) if page.exists() else []


def headings(page: Path) -> list[str]:
    return [token.tag for token in parsed(page) if token.type == "heading_open"]


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(token.info, token.content) for token in parsed(page) if token.type == "fence" and token.info in RUN]


def twins() -> list[tuple[Path, Path]]:
    """Each English page and its Chinese twin, whether or not both are there."""
    english, chinese = ROOT / "docs" / "en", ROOT / "docs" / "zh"
    names = {page.relative_to(folder) for folder in (english, chinese) for page in folder.rglob("*.md")}
    return [(ROOT / "README.md", ROOT / "README.zh-CN.md"), *((english / name, chinese / name) for name in sorted(names))]


def pages() -> list[Path]:
    """All pages but the Chinese ones, whose blocks are the same."""
    docs = [page for page in sorted((ROOT / "docs").rglob("*.md")) if ROOT / "docs" / "zh" not in page.parents]
    return [ROOT / "README.md", *docs]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def follow(page: Path, folder: Path) -> tuple[int, str]:
    """Runs the page's blocks inside `folder`, offline: exit status and everything printed."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "REGARD_OFFLINE": "1",
    }
    log = folder / "page.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(RUNNER), str(page)],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait()
        finally:  # servers that the page started in the background
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return status, log.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [page for page in pages() if blocks(page)], ids=name)
def test_every_block_of_the_page_runs(page, tmp_path):
    for folder in BESIDE_THE_READER:
        shutil.copytree(ROOT / folder, tmp_path / folder)
    status, output = follow(page, tmp_path)
    assert status == 0, output


@pytest.mark.parametrize(("english", "chinese"), twins(), ids=[name(english) for english, _ in twins()])
def test_both_languages_have_the_same_headings_and_the_same_code(english, chinese):
    assert headings(english) == headings(chinese)
    assert blocks(english) == blocks(chinese)


@pytest.mark.parametrize("page", [*pages(), *(chinese for _, chinese in twins())], ids=name)
def test_no_code_hides_from_the_runner(page):
    """A block marked `bash`, `console` or `py`, or only indented, would be read as code and never be run."""
    marks = {
        token.info if token.type == "fence" else "indented" for token in parsed(page) if token.tag == "code" and token.block
    }
    assert marks <= {*RUN, *SHOWN}


FENCE = "```"


@pytest.fixture
def page(tmp_path):
    """Writes a page from (language, code) pairs."""

    def write(*fences):
        path = tmp_path / "page.md"
        path.write_text("# Title\n\n" + "\n".join(f"{FENCE}{language}\n{code}\n{FENCE}\n" for language, code in fences))
        return path

    return write


def test_blocks_run_in_order_in_one_folder_and_python_remembers(page, tmp_path):
    path = page(
        ("sh", "echo 41 > number.txt"),
        ("python", "from pathlib import Path\nnumber = int(Path('number.txt').read_text())"),
        ("text", "exit 1"),
        ("python", "print(number + 1, file=open('sum.txt', 'w'))"),
        ("sh", "python -c 'import regard'\ngrep 42 \\\n  sum.txt"),
    )
    status, output = follow(path, tmp_path)
    assert status == 0, output
    assert "page.md:20: sh" in output


@pytest.mark.parametrize(
    ("language", "code", "message"),
    [
        ("sh", "false\ntrue", "the block ended with status 1"),
        ("sh", "cat missing | sort", "missing: No such file"),
        ("sh", "echo $unset", "unset: unbound variable"),
        ("python", "x = 1\n1 / 0", 'page.md", line 5'),
    ],
)
def test_a_block_that_fails_ends_the_page(language, code, message, page, tmp_path):
    status, output = follow(page((language, code), ("sh", "touch reached")), tmp_path)
    assert status == 1
    assert "page.md:3: " in output
    assert message in output
    assert not (tmp_path / "reached").exists()


def test_what_installs_is_skipped(page, tmp_path):
    path = page(("sh", "git clone nowhere\ncd regard\nmake \\\n  setup\npip install nothing\ntouch reached"))
    status, output = follow(path, tmp_path)
    assert status == 0, output
    assert (tmp_path / "reached").exists()


def test_a_server_of_a_page_lives_as_long_as_the_page(page, tmp_path):
    path = page(("sh", "sleep 600 & echo $! > server.pid"), ("sh", "kill -0 $(cat server.pid)"))
    status, output = follow(path, tmp_path)
    assert status == 0, output
    assert ended(int((tmp_path / "server.pid").read_text()))


def ended(pid: int) -> bool:
    """Whether the process is gone, or waits only for its parent to notice, within five seconds."""
    for _ in range(100):
        shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
        if not shown or shown.startswith("Z"):
            return True
        time.sleep(0.05)
    return False
