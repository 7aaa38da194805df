"""Reading: every format, the real files, and arbitrary text back unchanged."""

import csv
import gzip
import io
import json
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.lines import ROW_LIMIT
from regard.data.read import ending, read

ROWS = [{"text": "a dull, beautiful film", "label": "good"}, {"text": 'she said "no"', "label": "坏"}]


def as_csv(rows: list[dict[str, str]]) -> bytes:
    sink = io.StringIO()
    writer = csv.DictWriter(sink, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue().encode()


def as_tsv(rows: list[dict[str, str]]) -> bytes:
    return "".join("\t".join(cells) + "\n" for cells in (rows[0], *(row.values() for row in rows))).encode()


def as_jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_json(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps(rows, indent=1).encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


FORMATS = {"csv": as_csv, "tsv": as_tsv, "jsonl": as_jsonl, "json": as_json, "parquet": as_parquet}
PACKED = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


def values(path: Path, **options: Any) -> list[dict[str, Any]]:
    table = read(path, **options)
    rows = [dict(row.values) for row in table]
    table.problems.raise_if_any()
    return rows


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("format", FORMATS)
def test_every_format(format: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{format}{suffix}"
    path.write_bytes(PACKED[suffix](FORMATS[format](ROWS)))
    table = read(path)
    assert table.columns == ["text", "label"]
    assert [dict(row.values) for row in table] == [dict(row.values) for row in table] == ROWS
    assert table.paths == [path]
    assert not table.problems


class TestRows:
    def test_places(self, tmp_path: Path) -> None:
        path = tmp_path / "x.csv"
        path.write_text('text,label\n\n"two\nlines",a\nx,b\n')
        rows = list(read(path))
        assert [(row.number, row.line) for row in rows] == [(1, 3), (2, 5)]
        assert rows[1].where("label") == f"{path}, row 2 (line 5), column label"

    def test_txt_keeps_every_line(self, tmp_path: Path) -> None:
        (tmp_path / "x.txt").write_bytes("\ufeffone\r\n\n two \nthree".encode())
        assert [row.values["text"] for row in read(tmp_path / "x.txt")] == ["one", "", " two ", "three"]

    def test_tsv_quotes_are_literal(self, tmp_path: Path) -> None:
        (tmp_path / "x.tsv").write_text('text\tlabel\n"open\ta\nshut"\tb\n')
        assert [row.values["text"] for row in read(tmp_path / "x.tsv")] == ['"open', 'shut"']

    def test_mark_and_spaces_around_names(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_bytes("\ufefftext, label\nx,a\n".encode())
        assert read(tmp_path / "x.csv").columns == ["text", "label"]

    def test_json_columns_of_later_rows(self, tmp_path: Path) -> None:
        (tmp_path / "x.jsonl").write_text('{"text": "x"}\n\n{"text": "y", "label": "a"}\n')
        table = read(tmp_path / "x.jsonl")
        assert table.columns == ["text", "label"]
        assert [(row.number, row.line) for row in table] == [(1, 1), (2, 3)]

    def test_json_that_is_lines(self, tmp_path: Path) -> None:
        (tmp_path / "x.json").write_bytes(as_jsonl(ROWS))
        assert values(tmp_path / "x.json") == ROWS

    def test_long_json_list_without_line_ends(self, tmp_path: Path) -> None:
        rows = [{"text": "x" * 100, "n": n} for n in range(20_000)]
        (tmp_path / "x.json").write_text(json.dumps(rows))
        assert (tmp_path / "x.json").stat().st_size > 2 * ROW_LIMIT
        assert values(tmp_path / "x.json") == rows

    def test_given_format_wins_over_the_name(self, tmp_path: Path) -> None:
        (tmp_path / "TREC.test").write_text("NUM:dist How far is it ?\n")
        assert values(tmp_path / "TREC.test", format="txt") == [{"text": "NUM:dist How far is it ?"}]


class TestColumns:
    def test_names(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_text("review,stars,text,id\nfine,5,shadowed,7\n")
        rows = values(tmp_path / "x.csv", columns={"text": "review", "label": "stars"})
        assert rows == [{"text": "fine", "label": "5", "id": "7"}]

    def test_two_names_swapped(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_text("text,label\nx,y\n")
        assert values(tmp_path / "x.csv", columns={"text": "label", "label": "text"}) == [{"text": "y", "label": "x"}]

    def test_numbers(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_text("fine,5,7\nbad,1,8\n")
        table = read(tmp_path / "x.csv", columns={"text": 0, "label": 1})
        assert table.columns == ["0", "1", "2"]
        assert dict(next(iter(table)).values) == {"text": "fine", "label": "5", "2": "7"}
        assert (table.theirs("label"), table.theirs("other")) == ("1", "other")


class TestFolders:
    def test_one_file(self, tmp_path: Path) -> None:
        (tmp_path / "reviews.csv").write_bytes(as_csv(ROWS))
        (tmp_path / "README.txt").write_text("about")
        assert values(tmp_path) == ROWS

    def test_a_folder_a_class(self, tmp_path: Path) -> None:
        for label, name, text in (("pos", "2.txt", "fine\nfilm"), ("pos", "1.txt", "good"), ("neg", "1.txt", "bad")):
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / name).write_text(text)
        (tmp_path / ".git").mkdir()
        (tmp_path / ".git" / "x.txt").write_text("no class")
        assert values(tmp_path) == [
            {"text": "bad", "label": "neg"},
            {"text": "good", "label": "pos"},
            {"text": "fine\nfilm", "label": "pos"},
        ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.csv", "csv"), ("a.b.TSV.gz", "tsv"), ("a.json.XZ", "json"), ("a.gz", ""), ("a", ""), ("a.parquet", "parquet")],
)
def test_ending(name: str, expected: str) -> None:
    assert ending(Path(name)) == expected


# A NUL byte and half a surrogate pair are not text: reading reports them.
TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]))
TABLE = st.lists(st.fixed_dictionaries({"text": TEXT, "label": TEXT}), min_size=1, max_size=8)


@given(rows=TABLE)
@pytest.mark.parametrize(
    ("format", "write"), [("csv", as_csv), ("jsonl", as_jsonl), ("json", as_json), ("parquet", as_parquet)]
)
def test_any_text_comes_back(
    format: str, write: Callable[[Any], bytes], rows: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"round-trip.{format}"
    path.write_bytes(write(rows))
    assert values(path) == rows


@given(content=st.binary(max_size=300), format=st.sampled_from(["csv", "tsv", "txt", "jsonl", "json", "parquet", "csv.gz"]))
def test_any_bytes_give_rows_or_problems(content: bytes, format: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    from regard.errors import DataError

    path = tmp_path_factory.getbasetemp() / f"bytes.{format}"
    path.write_bytes(content)
    try:
        table = read(path)
    except DataError:
        return
    for row in table:
        assert set(row.values) <= set(table.columns) or format.startswith("json")


@pytest.mark.parametrize("format", ["csv", "tsv", "txt", "jsonl", "json"])
def test_memory_does_not_grow_with_the_file(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{format}"
    rows = [{"text": f"a line of some length, the number {n} of many", "label": "a"} for n in range(20_000)]
    path.write_bytes("\n".join(row["text"] for row in rows).encode() if format == "txt" else FORMATS[format](rows))
    assert path.stat().st_size > 900_000
    tracemalloc.start()
    count = sum(1 for _ in read(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 600_000


class TestRealFiles:
    pytestmark = pytest.mark.real

    @pytest.mark.parametrize(
        ("name", "columns", "count", "first"),
        [
            (
                "sst2/dev.tsv",
                {"text": "sentence"},
                872,
                {"text": "it 's a charming and often affecting journey . ", "label": "1"},
            ),
            ("tnews/test.json.gz", {"text": "sentence"}, 10_000, {"label": "102"}),
            ("stsb/stsb-en-dev.csv.gz", {"text": 0, "pair": 1, "score": 2}, 1500, {"score": "5.0"}),
            ("mrpc/msr-para-val.tsv", {"text": "#1 String", "label": "Quality"}, 500, {"label": "1", "#1 ID": "1479718"}),
            ("afqmc/dev.csv.gz", {}, 4316, {"label": "0"}),
            ("chnsenticorp/test.tsv.gz", {"text": "text_a"}, 1200, {"label": "1"}),
        ],
    )
    def test_is_read_whole(
        self, shared: Path, name: str, columns: dict[str, str | int], count: int, first: dict[str, str]
    ) -> None:
        rows = values(shared / "data" / name, columns=columns)
        assert len(rows) == count
        assert {key: rows[0][key] for key in first} == first

    def test_trec_is_told_to_be_converted(self, shared: Path) -> None:
        table = read(shared / "data" / "trec" / "TREC.train.gz", format="txt")
        assert sum(1 for _ in table) == 5452
        assert [problem.what for problem in table.problems] == ["byte 0xf0 is not UTF-8 (byte 60 of the line)"]
        assert "iconv -f latin1" in next(iter(table.problems)).fix
