"""Every kind of wrong file that we can think of, and what Regard says about it: where, what, what to do."""

import gzip
import io
import json
import lzma
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from regard.data.check import Columns, Report, check
from regard.data.read import read
from regard.errors import SHOWN, DataError, Problem

ONE = Columns(("text",), "label")
PAIR = Columns(("text", "pair"), "label")
MANY = Columns(("text",), "label", target_kind="labels")
SCORE = Columns(("text",), "score", target_kind="number")
SUMMARY = Columns(("text",), "summary", target_kind="text")


@dataclass(frozen=True)
class Case:
    """A file and what must be said of it. says: for each problem, in order, fragments that its message holds."""

    name: str
    file: str
    content: bytes
    says: tuple[tuple[str, ...], ...]
    columns: Columns = ONE
    mapped: dict[str, str | int] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None


def csv(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in ("text,label", "fine,a", *lines, "fine too,b")).encode()


def jsonl(*rows: object) -> bytes:
    good = {"text": "fine", "label": "a"}, {"text": "fine too", "label": "b"}
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in (good[0], *rows, good[1])).encode()


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


GOOD = csv()
CHINESE = "text,label\n这家酒店的房间很干净，服务也好,好\n房间太小，早餐难吃，不会再来,坏\n"
FRENCH = "text,label\nun café très agréable,a\nc'était raté,b\n"
MIXED = '[{"text": "x", "label": "a"}, {"text": "y" "label": "b"}]'

CASES = [
    # the file as a whole
    Case("empty file", "x.csv", b"", (("x.csv: the file is empty", "fix: check that it was written"),)),
    Case("empty jsonl", "x.jsonl", b"", (("x.jsonl: the file is empty",),)),
    Case("empty json", "x.json", b"\n\n", (("x.json: the file is empty",),)),
    Case("empty txt", "x.txt", b"", (("x.txt: the file is empty",),)),
    Case("blank lines only", "x.csv", b"\n\n\n", (("x.csv: the file is empty",),)),
    Case("empty gz", "x.csv.gz", gzip.compress(b""), (("x.csv.gz: the file is empty",),)),
    Case("header only", "x.csv", b"text,label\n", (("x.csv: there are no rows", "fix: check that the file"),)),
    Case("empty list", "x.json", b"[]", (("x.json: the file is empty",),)),
    Case("unknown ending", "x.docx", GOOD, (("x.docx: unknown ending .docx", "allowed: .csv, .tsv", "fix: rename"),)),
    Case("misspelt ending", "x.cvs", GOOD, (("unknown ending .cvs", "fix: did you mean 'csv'?"),)),
    Case("no ending", "reviews", GOOD, (("reviews: the name has no ending", "allowed: .csv"),)),
    # compression and signatures
    Case("truncated gz", "x.csv.gz", gzip.compress(GOOD * 999)[:-40], (("x.csv.gz", "is cut off", "fix: download"),)),
    Case("not a gz", "x.csv.gz", GOOD, (("x.csv.gz, line 1: is not gzip-compressed", "fix: download or pack"),)),
    Case("damaged gz", "x.csv.gz", gzip.compress(GOOD)[:10] + b"\xff" * 40, (("x.csv.gz, line 1: is damaged",),)),
    Case("broken xz", "x.csv.xz", GOOD, (("x.csv.xz, line 1: is damaged", "fix: download or pack"),)),
    Case("truncated xz", "x.csv.xz", lzma.compress(GOOD)[:-20], (("x.csv.xz", "is cut off"),)),
    Case("truncated json gz", "x.json.gz", gzip.compress(b"[" + b" " * 200_000)[:60], (("x.json.gz", "is cut off"),)),
    Case("gz without its ending", "x.csv", gzip.compress(GOOD), (("x.csv: is gzip-compressed", "fix: add .gz"),)),
    Case("xz without its ending", "x.csv", lzma.compress(GOOD), (("x.csv: is xz-compressed", "fix: add .xz"),)),
    Case("workbook", "x.csv", b"PK\x03\x04rest", (("an Excel workbook", "fix: unpack it, or export it as CSV"),)),
    Case("parquet named csv", "x.csv", parquet(text=["x"]), (("is a Parquet file", "fix: name it .parquet"),)),
    # encodings
    Case(
        "latin-1",
        "x.csv",
        FRENCH.encode("latin1"),
        (("x.csv, line 2: byte 0xe9 is not UTF-8 (byte 7", "1 more", "latin1 -t utf-8"),),
    ),
    Case("gbk", "x.csv", CHINESE.encode("gbk"), (("x.csv, line 2: byte 0xd5 is not UTF-8", "1 more", "iconv -f gb18030"),)),
    Case("utf-16", "x.csv", GOOD.decode().encode("utf-16"), (("x.csv: is UTF-16", "allowed: UTF-8", "iconv -f utf-16"),)),
    Case("utf-16 unmarked", "x.csv", GOOD.decode().encode("utf-16-le"), (("x.csv: looks like UTF-16", "iconv -f utf-16"),)),
    Case(
        "latin-1 json",
        "x.json",
        b'[\n{"text": "caf\xe9"}]',
        (("x.json, line 2: byte 0xe9 is not UTF-8", "iconv -f latin1"),),
    ),
    Case(
        "old Mac line ends", "x.csv", GOOD.replace(b"\n", b"\r"), (("x.csv: its lines end in carriage returns", "fix: tr"),)
    ),
    Case("NUL byte", "x.csv", csv("a\0b,a"), (("x.csv, line 3: a NUL byte (byte 2 of the line)", "fix: remove it"),)),
    # headers and column maps
    Case(
        "missing column",
        "x.csv",
        csv().replace(b"text", b"review"),
        (("no column 'text'", "allowed: 'review', 'label'", "--columns text=NAME"),),
    ),
    Case(
        "misspelt column", "x.csv", csv().replace(b"label", b"lable"), (("no column 'label'", "fix: did you mean 'lable'?"),)
    ),
    Case("two missing columns", "x.csv", b"a,b\n1,2\n", (("no column 'text'",), ("no column 'label'",))),
    Case(
        "tabs in a csv", "x.csv", b"text\tlabel\nx\ta\n", (("no column 'text'", "separated by tabs"), ("no column 'label'",))
    ),
    Case("semicolons", "x.csv", b"text;label\nx;a\n", (("no column 'text'", "separated by semicolons"), ("'label'",))),
    Case(
        "duplicate header",
        "x.csv",
        b"text,label,text\nx,a,y\n",
        (("x.csv, line 1: the header names 'text' more than once", "fix: rename"),),
    ),
    Case(
        "mapped to nothing",
        "x.csv",
        GOOD,
        (("no column 'star' (mapped to 'label')", "fix: map it to"),),
        mapped={"label": "star"},
    ),
    Case(
        "number out of range",
        "x.csv",
        b"x,a\ny,b\n",
        (("no column '2' (mapped to 'label')", "allowed: '0', '1'"),),
        mapped={"text": 0, "label": 2},
    ),
    Case(
        "negative number",
        "x.csv",
        GOOD,
        (("label=-1 is negative", "allowed: numbers from 0"),),
        mapped={"text": 0, "label": -1},
    ),
    Case(
        "two columns mapped to one",
        "x.csv",
        GOOD,
        (("text and pair are both mapped to column text", "fix: map each"),),
        mapped={"text": "text", "pair": "text"},
    ),
    Case("names and numbers", "x.csv", GOOD, (("names and numbers are mixed",),), mapped={"text": 0, "label": "label"}),
    Case(
        "numbers for json",
        "x.jsonl",
        jsonl(),
        (("columns are given by number", "fix: --columns text=review"),),
        mapped={"text": 0, "label": 1},
    ),
    Case("numbers for parquet", "x.parquet", parquet(text=["x"]), (("columns are given by number",),), mapped={"text": 0}),
    # rows of comma-separated files
    Case(
        "too many cells",
        "x.csv",
        csv("no, never,a"),
        (("x.csv, row 2 (line 3): the row has 3 cells, the header has 2", "fix: put a cell that contains a comma"),),
    ),
    Case(
        "too few cells", "x.csv", csv("no"), (("x.csv, row 2 (line 3): the row has 1 cells", "fix: add the missing cells"),)
    ),
    Case(
        "width without header",
        "x.csv",
        b"x,a\ny\nz,b\n",
        (("x.csv, row 2 (line 2)", "the first row has 2"),),
        mapped={"text": 0, "label": 1},
    ),
    Case(
        "tsv width",
        "x.tsv",
        b"text\tlabel\nx\ty\ta\nz\tb\nw\tc\n",
        (("x.tsv, row 1 (line 2): the row has 3 cells", "fix: replace tabs"),),
    ),
    Case(
        "unbalanced quote",
        "x.csv",
        csv('"never closed,a', "fine,a"),
        (("x.csv, line 3: a double quote is opened and never closed", "fix: double each quote"),),
    ),
    Case("quote inside", "x.csv", csv('"a "good" film",a'), (("x.csv, line 3: text follows a closing double quote",),)),
    Case(
        "row after a multi-line cell",
        "x.csv",
        csv('"two\nlines",a', "no"),
        (("x.csv, row 3 (line 5): the row has 1 cells",),),
    ),
    Case(
        "10 MB cell",
        "x.csv",
        csv("y" * 10_000_000 + ",a"),
        (("x.csv, line 3: a line of 10.0 MB", "allowed: rows of up to 1.0 MB", "fix: split"),),
    ),
    Case(
        "10 MB first line",
        "x.csv",
        b"y" * 10_000_000,
        (("x.csv, line 1: a line of 10.0 MB",), ("x.csv, line 1: the first row cannot be read",)),
    ),
    # rows of JSON
    Case(
        "broken JSON line",
        "x.jsonl",
        jsonl('{"text": "x", '),
        (("x.jsonl, row 2 (line 2): the line is not JSON", "allowed: one JSON object"),),
    ),
    Case("deep JSON", "x.jsonl", jsonl("[" * 100_000), (("x.jsonl, row 2 (line 2): the line is not JSON",),)),
    Case("list in a line", "x.jsonl", jsonl(["x", "a"]), (("x.jsonl, row 2 (line 2): the row is a list, not an object",),)),
    Case("null line", "x.jsonl", jsonl(None), (("x.jsonl, row 2 (line 2): the row is nothing (null)",),)),
    Case("10 MB JSON line", "x.jsonl", jsonl({"text": "y" * 10_000_000}), (("x.jsonl, line 2: a line of 10.0 MB",),)),
    Case(
        "object, not list",
        "x.json",
        b'{\n "data": []\n}',
        (("x.json: the JSON is not a list", "allowed: a list of objects"),),
    ),
    Case("text, not list", "x.json", b"hello", (("x.json: the JSON is not a list",),)),
    Case(
        "text in the list",
        "x.json",
        b'[{"text":"x","label":"a"},\n"y", {"text":"x","label":"b"}]',
        (("x.json, row 2 (line 2): the row is text",),),
    ),
    Case(
        "broken list",
        "x.json",
        MIXED.encode(),
        (("x.json, line 1: the JSON is broken: Expecting ',' delimiter",)),
    ),
    Case(
        "unfinished list",
        "x.json",
        b'[{"text": "x", "label": "a"},\n',
        (("x.json, line 2: the JSON is broken", "allowed: a list of objects"),),
    ),
    Case(
        "list without commas",
        "x.json",
        b'[{"text": "x", "label": "a"}\n{}]',
        (("x.json, line 2: the JSON is broken: '{' where ','",)),
    ),
    Case(
        "after the list",
        "x.json",
        b'[{"text":"x","label":"a"},{"text":"y","label":"b"}]\n[]',
        (("x.json, line 2: something follows the end",),),
    ),
    # values of the inputs
    Case(
        "empty text",
        "x.csv",
        csv(",a"),
        (("x.csv, row 2 (line 3), column text: the text is empty", "fix: fill it in or remove"),),
    ),
    Case(
        "blank text",
        "x.csv",
        csv(" \u3000 ,a"),
        (("x.csv, row 2 (line 3), column text: the text is nothing but white space",),),
    ),
    Case(
        "file's own name",
        "x.csv",
        csv(",a").replace(b"text", b"review"),
        (("row 2 (line 3), column review: the text is empty",),),
        mapped={"text": "review"},
    ),
    Case("no text key", "x.jsonl", jsonl({"label": "a"}), (("x.jsonl, row 2 (line 2), column text: the text is missing",),)),
    Case(
        "nested text",
        "x.jsonl",
        jsonl({"text": ["x", "y"], "label": "a"}),
        (("column text: a list where text is meant", "fix: write it as text"),),
    ),
    Case("number as text", "x.jsonl", jsonl({"text": 5, "label": "a"}), (("column text: a number where text is meant",),)),
    Case(
        "half a pair",
        "x.jsonl",
        jsonl({"text": "\ud800", "label": "a"}),
        (("row 2 (line 2), column text: half a surrogate pair",),),
    ),
    Case(
        "second text empty",
        "x.csv",
        b"text,pair,label\nx,,a\ny,z,b\n",
        (("row 1 (line 2), column pair: the text is empty",),),
        columns=PAIR,
    ),
    Case(
        "blank line of text",
        "x.txt",
        b"one\n\nthree\n",
        (("x.txt, row 2 (line 2), column text: the text is empty",),),
        columns=Columns(("text",), None),
    ),
    Case(
        "huge value",
        "x.parquet",
        parquet(text=["y" * 2_000_000, "x", "z"], label=["a", "b", "a"]),
        (("x.parquet, row 1, column text: a text of 2.0 million",),),
    ),
    Case(
        "binary text",
        "x.parquet",
        parquet(text=[b"\xff", b"x"], label=["a", "b"]),
        (("row 1, column text: a value of type bytes",), ("row 2",)),
    ),
    # values of the target
    Case(
        "empty label",
        "x.csv",
        csv("x,"),
        (("x.csv, row 2 (line 3), column label: the label is missing", "fix: fill it in"),),
    ),
    Case(
        "null label",
        "x.jsonl",
        jsonl({"text": "x", "label": None}),
        (("x.jsonl, row 2 (line 2), column label: the label is missing",),),
    ),
    Case(
        "no label key", "x.jsonl", jsonl({"text": "x"}), (("x.jsonl, row 2 (line 2), column label: the label is missing",),)
    ),
    Case(
        "NaN label",
        "x.parquet",
        parquet(text=["x", "y"], label=[float("nan"), None]),
        (("row 1, column label: the label is missing",), ("row 2",)),
    ),
    Case(
        "float label",
        "x.jsonl",
        jsonl({"text": "x", "label": 1.5}),
        (("row 2 (line 2), column label: the label is 1.5", "fix: write classes as"),),
    ),
    Case(
        "nested label",
        "x.jsonl",
        jsonl({"text": "x", "label": {"a": 1}}),
        (("column label: an object where one label is meant", "allowed: one class"),),
    ),
    Case(
        "mixed labels",
        "x.jsonl",
        jsonl({"text": "x", "label": 1}),
        (
            (
                "x.jsonl, column label: the labels are of mixed types: text (row 1)",
                "a number (row 2)",
                "fix: write them all",
            ),
        ),
    ),
    Case(
        "half a pair as label",
        "x.jsonl",
        jsonl({"text": "x", "label": "\udfff"}),
        (("column label: half a surrogate pair",),),
    ),
    Case(
        "unknown label",
        "x.csv",
        csv("x,c"),
        (("x.csv, row 2 (line 3), column label: unknown label 'c'", "allowed: 'a', 'b'"),),
        labels=("a", "b"),
    ),
    Case(
        "misspelt label",
        "x.csv",
        csv("x,positiv"),
        (("unknown label 'positiv'", "fix: did you mean 'positive'?"),),
        labels=("a", "b", "positive"),
    ),
    Case(
        "one class",
        "x.csv",
        b"text,label\nx,a\ny,a\n",
        (("x.csv, column label: only one class, 'a'", "allowed: two or more", "fix: add rows"),),
    ),
    Case(
        "a class a row",
        "x.csv",
        b"text,label\n" + b"".join(b"x,%d\n" % i for i in range(10_000)),
        (("10,000 different labels or more", "fix: map another"),),
    ),
    Case(
        "not a number",
        "x.csv",
        b"text,score\nx,4.5\ny,high\n",
        (("row 2 (line 3), column score: 'high' is not a number",),),
        columns=SCORE,
    ),
    Case(
        "infinite number",
        "x.csv",
        b"text,score\nx,4.5\ny,inf\n",
        (("row 2 (line 3), column score: 'inf' is not a number",),),
        columns=SCORE,
    ),
    Case(
        "true as number",
        "x.jsonl",
        b'{"text": "x", "score": true}\n',
        (("row 1 (line 1), column score: True is not a number",),),
        columns=SCORE,
    ),
    Case(
        "number as summary",
        "x.jsonl",
        b'{"text": "x", "summary": 1}\n',
        (("column summary: a number where text is meant",),),
        columns=SUMMARY,
    ),
    Case(
        "number as labels",
        "x.jsonl",
        jsonl({"text": "x", "label": 1}),
        (("column label: a number where labels are meant", "text parted by '|'"),),
        columns=MANY,
    ),
    Case(
        "number in labels",
        "x.jsonl",
        jsonl({"text": "x", "label": [1]}),
        (("column label: a number among the labels",),),
        columns=MANY,
    ),
    Case(
        "unknown of several",
        "x.csv",
        csv("x,a|c|d"),
        (("unknown label 'c'",), ("unknown label 'd'",)),
        columns=MANY,
        labels=("a", "b"),
    ),
    # Parquet
    Case(
        "parquet damaged inside",
        "x.parquet",
        parquet(text=["x"] * 99)[:4] + b"\xff" * 40 + parquet(text=["x"] * 99)[44:],
        (("no column 'label'",), ("x.parquet, row 1: is damaged", "fix: download or write it again")),
    ),
    Case(
        "latin-1 in parquet",
        "x.parquet",
        parquet(text=pa.array([b"caf\xe9", b"x", b"y"]).view(pa.string()), label=["a", "a", "b"]),
        (("x.parquet, row 1: text that is not UTF-8",),),
    ),
    Case(
        "broken parquet",
        "x.parquet",
        b"PAR1 and nothing more",
        (("x.parquet: is not a whole Parquet file", "fix: download"),),
    ),
    Case("truncated parquet", "x.parquet", parquet(text=["x"] * 99)[:-30], (("x.parquet: is not a whole Parquet file",),)),
    Case(
        "truncated parquet gz",
        "x.parquet.gz",
        gzip.compress(parquet(text=["x"] * 99))[:-30],
        (("x.parquet.gz: is cut off",),),
    ),
    Case("parquet without rows", "x.parquet", parquet(text=[], label=[]), (("x.parquet: there are no rows",),)),
]


def problems_of(path: Path, case: Case) -> list[Problem]:
    try:
        table = read(path, columns=case.mapped)
        return list(check(table, case.columns, labels=case.labels).problems)
    except DataError as error:
        return error.problems


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_said(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.file
    path.write_bytes(case.content)
    found = [str(problem) for problem in problems_of(path, case)]
    assert len(found) == len(case.says), found
    for message, fragments in zip(found, case.says, strict=True):
        assert message.startswith((str(path), "the column map")), message
        missing = [fragment for fragment in fragments if fragment not in message]
        assert not missing, message
        assert len(message) < 700, "a message must not drown the screen in the file's content"


def test_all_problems_of_a_file_come_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(csv(*["one,two,three", ",a", "x,"] * 10))
    with pytest.raises(DataError) as caught:
        check(read(path), ONE).problems.raise_if_any()
    assert caught.value.count == 30
    assert len(caught.value.problems) == SHOWN
    assert str(caught.value).startswith("30 problems:")
    assert str(caught.value).endswith("… and 10 more")


def test_reading_goes_on_after_a_broken_row(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(csv("one,two,three", '"never closed,a', "x\0y,b"))
    table = read(path)
    assert [(row.number, row.values["text"]) for row in table] == [(1, "fine"), (4, "xy"), (5, "fine too")]
    assert table.problems.count == 3


def test_an_unclosed_quote_does_not_read_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(csv('"never closed,a', *["a line of text,b"] * 200_000))
    table = read(path)
    assert sum(1 for _ in table) == 200_002
    assert table.problems.count == 1


class TestPlaces:
    def test_missing_file(self, tmp_path: Path) -> None:
        (tmp_path / "reviews.csv").write_bytes(GOOD)
        with pytest.raises(DataError, match=r"review\.csv: no such file\n  fix: did you mean 'reviews.csv'\?"):
            read(tmp_path / "review.csv")

    def test_hub_name_without_its_prefix(self) -> None:
        with pytest.raises(DataError, match="fix: for a hub dataset write hub:owner/name"):
            read("owner/name")

    def test_folder_without_data(self, tmp_path: Path) -> None:
        (tmp_path / "README.txt").write_text("no data")
        (tmp_path / ".hidden.csv").write_bytes(GOOD)
        with pytest.raises(DataError, match=r"the folder holds no data\n  allowed: one file of csv, tsv"):
            read(tmp_path)

    def test_folder_with_several_files(self, tmp_path: Path) -> None:
        for name in ("dev.csv", "train.csv"):
            (tmp_path / name).write_bytes(GOOD)
        with pytest.raises(
            DataError, match=r"the folder holds 2 data files\n.*\n  fix: name one of them: dev.csv, train.csv"
        ):
            read(tmp_path)

    def test_unreadable_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(self: Path) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "iterdir", refuse)
        with pytest.raises(DataError, match="the folder cannot be read: Permission denied\n  fix: check your rights"):
            read(tmp_path)

    def test_unreadable_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(self: Path, mode: str) -> None:
            raise PermissionError(13, "Permission denied")

        (tmp_path / "x.csv").write_bytes(GOOD)
        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(
            DataError, match=r"x\.csv: cannot be read: Permission denied\n  fix: check the path and your rights"
        ):
            read(tmp_path / "x.csv")

    def test_disk_that_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Failing(io.BytesIO):
            def readline(self, size: int | None = -1, /) -> bytes:
                raise OSError(5, "Input/output error")

        (tmp_path / "x.csv").write_bytes(GOOD)
        monkeypatch.setattr(Path, "open", lambda *_: Failing())
        with pytest.raises(DataError, match=r"x\.csv, line 1: cannot be read: .*Input/output error\n  fix: download"):
            read(tmp_path / "x.csv")

    def test_pipe(self, tmp_path: Path) -> None:
        import os

        os.mkfifo(tmp_path / "x.csv")
        with pytest.raises(DataError, match="is not a regular file\n  fix: save the rows to a file first"):
            read(tmp_path / "x.csv")

    def test_huge_text_in_class_folders(self, tmp_path: Path) -> None:
        (tmp_path / "good").mkdir()
        (tmp_path / "good" / "1.txt").write_text("x" * 2_000_000)
        table = read(tmp_path)
        assert list(table) == []
        assert "1.txt: a text of 2.0 MB" in str(next(iter(table.problems)))


class TestWarnings:
    """What may be meant does not stop a run, but is told."""

    def report(self, tmp_path: Path, content: bytes, columns: Columns = ONE) -> Report:
        path = tmp_path / "x.csv"
        path.write_bytes(content)
        report = check(read(path), columns)
        assert not report.problems.count
        return report

    @pytest.mark.parametrize(
        ("content", "fragment"),
        [
            (csv("fine,a"), "x.csv: repeated texts: 1 row (such as rows 1 and 2)"),
            (csv("fine,b"), "x.csv: texts with different targets: 1 (such as rows 1 and 2)"),
            (csv(), "fewer than 5 rows of label 'a', 'b'"),
            (csv(*[f"x{i},a" for i in range(50)]), "uneven classes: 51 rows of 'a', 1 of 'b'"),
            (csv("x,A"), "labels that differ by case or white space alone: 'a', 'A'"),
            (csv("x,1"), "some labels are numbers ('1'), others words ('a', 'b')"),
            (b"text,label\nx,1.5\ny,2\n", "the labels look like scores"),
            (csv(*[f"x{i},{i}" for i in range(200)]), "202 different labels for 202 rows: is this the label column?"),
            (csv("x" * 30_000 + ",a"), "x.csv, row 2 (line 3): 1 row of 20,000 characters or more"),
            (b",text,label\n0,x,a\n1,y,b\n", "x.csv: column 0 (counted from 0) has no name in the header"),
        ],
    )
    def test_what_is_said(self, content: bytes, fragment: str, tmp_path: Path) -> None:
        warnings = [str(warning) for warning in self.report(tmp_path, content).warnings]
        assert any(fragment in warning for warning in warnings), warnings

    TRANSLATION = Columns(("text",), "translation", target_kind="text", languages=("source_language", "target_language"))

    @pytest.mark.parametrize(
        ("lines", "says"),
        [
            (
                ["a long text,a long text"],
                ["row 2 (line 3): 1 row (2) with a translation that is the text itself, the first here"],
            ),
            (["ok,ok", "x,y", " no ,no"], ["row 2 (line 3): 2 rows (2, 4) with a translation that is the text itself"]),
            ([f"same {i},same {i}" for i in range(9)], ["9 rows (2, 3, 4, 5, 6 …) with a translation that is the text"]),
            (["ab,abcdefghijklmnopqrs"], ["1 row (2) with a translation more than 9 times as long as the text"]),
            (
                ["abcdefghijklmnopqrs,ab"],
                ["1 row (2) with a translation more than 9 times as long as the text, or the other"],
            ),
            (["ab,abcdefghijklmnopqr"], []),
            # three bytes each: a language without spaces is not short
            (["我,I am one of them myself"], []),
        ],
    )
    def test_two_sides_that_do_not_fit(self, lines: list[str], says: list[str], tmp_path: Path) -> None:
        content = "".join(f"{line}\n" for line in ["text,translation", "one,eins", *lines]).encode()
        warnings = [str(warning) for warning in self.report(tmp_path, content, self.TRANSLATION).warnings]
        assert len(warnings) == len(says), warnings
        for warning, fragment in zip(warnings, says, strict=True):
            assert warning.startswith(f"{tmp_path}/x.csv, row 2 (line 3): ")
            assert fragment in warning

    def test_a_summary_may_be_short_but_not_the_text(self, tmp_path: Path) -> None:
        content = b"text,summary\na text that is long and goes on and on,short\nsame,same\n"
        (warning,) = self.report(tmp_path, content, SUMMARY).warnings
        assert warning.what == "1 row (2) with a summary that is the text itself, the first here"

    def test_a_text_into_two_languages_is_no_repetition(self, tmp_path: Path) -> None:
        for code, content in (("en", "one\ntwo\none\n"), ("de", "eins\nzwei\nein\n"), ("fr", "un\ndeux\nun\n")):
            (tmp_path / f"x.{code}").write_text(content)
        report = check(read(tmp_path / "x.en-de,en-fr"), self.TRANSLATION)
        assert [warning.what for warning in report.warnings] == [
            "repeated texts: 2 rows (such as rows 1 and 3)",
            "texts with different targets: 1 (such as rows 1 and 3)",
        ]
        (tmp_path / "y.csv").write_text("text,translation\none,eins\nnine,neun\n")
        told = check(read(tmp_path / "y.csv"), self.TRANSLATION, against=report).warnings
        assert [warning.what for warning in told] == [
            f"1 of 2 rows are in {tmp_path}/x.en-de,en-fr too (such as row 1), which flatters the scores"
        ]

    def test_odd_rows_of_several_files_are_counted_and_those_of_the_first_are_named(self, tmp_path: Path) -> None:
        for code in ("en", "de", "fr"):
            (tmp_path / f"x.{code}").write_text("ok\nno\n")
        (warning,) = check(read(tmp_path / "x.en-de,en-fr"), self.TRANSLATION).warnings
        assert str(warning) == (
            f"{tmp_path}/x.en, line 1 (beside {tmp_path}/x.de, line 1): "
            "4 rows (1, 2 …) with a translation that is the text itself, the first here"
        )

    def test_rows_of_the_training_file(self, tmp_path: Path) -> None:
        for name, lines in (("train.csv", ("x,a", "y,b")), ("dev.csv", ("z,a", "y,a"))):
            (tmp_path / name).write_bytes(b"text,label\n" + "\n".join(lines).encode())
        train = check(read(tmp_path / "train.csv"), ONE)
        report = check(read(tmp_path / "dev.csv"), ONE, labels=["a", "b"], against=train)
        assert not report.problems.count
        assert [str(w) for w in report.warnings if "flatters" in str(w)] == [
            f"{tmp_path}/dev.csv: 1 of 2 rows are in {tmp_path}/train.csv too (such as row 2), which flatters the scores"
        ]

    def test_the_training_file_itself(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_bytes(GOOD)
        (tmp_path / "link.csv").symlink_to(tmp_path / "x.csv")
        train = check(read(tmp_path / "x.csv"), ONE)
        report = check(read(tmp_path / "link.csv"), ONE, against=train)
        assert [str(problem) for problem in report.problems] == [
            f"{tmp_path}/link.csv: the same file as {tmp_path}/x.csv\n"
            "  fix: evaluate on rows that were not trained on, or give no --eval"
        ]
