"""Plain text as documents: what one is, where it is cut, and that nothing is lost or held."""

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.check import Columns, check
from regard.data.documents import PIECE, Documents
from regard.data.read import read
from regard.errors import DataError

TEXT = Columns(("text",), None)


def found(path: Path, documents: Documents) -> list[tuple[int | None, str, Any]]:
    table = read(path, documents=documents)
    rows = [(row.line, row.values["text"], row.values["continues"]) for row in table]
    table.problems.raise_if_any()
    return rows


def test_a_line_each_is_what_a_text_file_is_otherwise(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("one\n\ntwo\n")
    table = read(tmp_path / "x.txt", documents="line")
    assert table.columns == ["text"]
    assert (
        [row.values["text"] for row in table]
        == [row.values["text"] for row in read(tmp_path / "x.txt")]
        == ["one", "", "two"]
    )


def test_documents_between_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes("\ufeff\none\r\n two\r\n\n \t\nthree".encode())
    assert found(tmp_path / "x.txt", "blank") == [(2, "one\n two", False), (6, "three", False)]


def test_a_whole_file(tmp_path: Path) -> None:
    (tmp_path / "x.txt.gz").write_bytes(gzip.compress(b"one\n\ntwo\n"))
    assert found(tmp_path / "x.txt.gz", "file") == [(1, "one\n\ntwo", False)]


def test_a_folder_of_files(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt"):
        (tmp_path / name).write_text(f"{name}\n\nmore\n")
    (tmp_path / "README.txt").write_text("about")
    assert [text for _, text, _ in found(tmp_path, "file")] == ["a.txt\n\nmore", "b.txt\n\nmore"]
    assert read(tmp_path, documents="file").paths == [tmp_path / "a.txt", tmp_path / "b.txt"]
    with pytest.raises(DataError, match="the folder holds 2 data files"):
        read(tmp_path)
    (tmp_path / "c.csv").write_text("text\nx\n")
    with pytest.raises(DataError, match="the folder holds 3 data files"):
        read(tmp_path, documents="file")


def test_other_formats_have_a_document_a_row(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "one\\n\\ntwo"}\n')
    assert [dict(row.values) for row in read(tmp_path / "x.jsonl", documents="blank")] == [{"text": "one\n\ntwo"}]


LINES = st.lists(st.sampled_from(["", " ", "a", "b" * (PIECE // 2), "c" * (PIECE - 1), "d" * (2 * PIECE)]), max_size=12)


@given(lines=LINES)
def test_pieces_are_the_document(lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    text = "\n".join(["first", *lines])
    path = tmp_path_factory.getbasetemp() / "pieces.txt"
    path.write_text(text + "\n")
    rows = found(path, "file")
    assert "".join(piece for _, piece, _ in rows) == text
    assert [continues for _, _, continues in rows] == [*[True] * (len(rows) - 1), False]
    for line, piece, _ in rows:
        assert len(piece.rstrip()) <= PIECE or "\n" not in piece.rstrip(), "only a line that is too long makes a long piece"
        assert piece.strip()
        assert line is not None
        assert [*text.split("\n"), ""][line - 1] == piece.split("\n")[0]


@given(lines=LINES)
def test_documents_are_the_lines_between_blank_ones(lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "documents.txt"
    path.write_text("\n".join([*lines, "last"]))
    documents, begun = [], ""
    for _, piece, continues in found(path, "blank"):
        begun += piece
        if not continues:
            documents, begun = [*documents, begun], ""
    assert begun == ""
    expected = "\n".join(line.strip() for line in [*lines, "last"]).split("\n\n")
    assert documents == [document.strip("\n") for document in expected if document.strip("\n")]


def test_memory_does_not_grow_with_the_document(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("a line of some length\n" * 100_000)
    table = read(tmp_path / "x.txt", documents="file")
    tracemalloc.start()
    count = sum(1 for _ in table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 135
    assert peak < 600_000


class TestWrong:
    @pytest.mark.parametrize("documents", ["blank", "file"])
    def test_what_is_wrong_with_a_line_is_told(self, documents: Documents, tmp_path: Path) -> None:
        (tmp_path / "x.txt").write_bytes(b"caf\xe9\n" + b"x" * 2_000_000 + b"\nmore\n")
        table = read(tmp_path / "x.txt", documents=documents)
        assert [row.values["text"] for row in table] == ["caf\ufffd\nmore"]
        assert [problem.where for problem in table.problems] == [f"{tmp_path}/x.txt, line 2", f"{tmp_path}/x.txt, line 1"]

    def test_an_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "x.txt").write_text("")
        with pytest.raises(DataError, match=r"x\.txt: the file is empty"):
            read(tmp_path / "x.txt", documents="file")

    def test_blank_lines_alone(self, tmp_path: Path) -> None:
        (tmp_path / "x.txt").write_text("\n\n")
        assert "there are no rows" in str(next(iter(check(read(tmp_path / "x.txt", documents="blank"), TEXT).problems)))

    def test_columns_by_number(self, tmp_path: Path) -> None:
        (tmp_path / "x.txt").write_text("one\n")
        with pytest.raises(DataError, match=r"x\.txt: columns are given by number"):
            read(tmp_path / "x.txt", documents="blank", columns={"text": 0})


class TestRealFiles:
    pytestmark = pytest.mark.real

    def test_shakespeare_is_one_document(self, shared: Path) -> None:
        report = check(read(path := shared / "data" / "tinyshakespeare" / "input.txt.gz", documents="file"), TEXT)
        report.problems.raise_if_any()
        assert report.lengths["total"] == 1_115_393, "all characters but the last line end"
        assert report.warnings == []
        assert "".join(text for _, text, _ in found(path, "file")) == gzip.decompress(path.read_bytes()).decode()[:-1]

    def test_shakespeare_has_7222_speeches(self, shared: Path) -> None:
        rows = found(shared / "data" / "tinyshakespeare" / "input.txt.gz", "blank")
        assert len(rows) == 7222
        assert rows[0] == (1, "First Citizen:\nBefore we proceed any further, hear me speak.", False)

    def test_penn_treebank_has_a_sentence_a_line(self, shared: Path) -> None:
        report = check(read(shared / "data" / "ptb" / "ptb.valid.txt.gz", documents="line"), TEXT)
        assert (report.rows, report.problems.count) == (3370, 0)
