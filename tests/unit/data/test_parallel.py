"""Parallel files: lines side by side, every direction, and what is said where they do not fit."""

import gzip
import lzma
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.check import Columns, check
from regard.data.read import read
from regard.errors import DataError

PAIR = Columns(("text",), "translation", target_kind="text")
LINE = st.text(st.characters(blacklist_characters="\0\n\r", blacklist_categories=["Cs"]), max_size=12)


def written(folder: Path, **files: str | bytes) -> None:
    """`en="…"` is the file `train.en`."""
    for code, content in files.items():
        (folder / f"train.{code}").write_bytes(content.encode() if isinstance(content, str) else content)


def refusal(source: str | Path) -> str:
    with pytest.raises(DataError) as caught:
        read(source)
    return str(caught.value)


def problems(source: Path, columns: Columns = PAIR) -> list[str]:
    return [str(problem) for problem in check(read(source), columns).problems]


def test_two_files_are_rows_of_a_text_and_its_translation(tmp_path: Path) -> None:
    written(tmp_path, en="one\ntwo\n", de="eins\nzwei\n")
    table = read(tmp_path / "train.en-de")
    assert table.columns == ["text", "translation", "source_language", "target_language"]
    assert [dict(row.values) for row in table] == [
        {"text": "one", "translation": "eins", "source_language": "en", "target_language": "de"},
        {"text": "two", "translation": "zwei", "source_language": "en", "target_language": "de"},
    ]
    assert table.paths == [tmp_path / "train.en", tmp_path / "train.de"]


def test_directions_follow_each_other_and_share_files(tmp_path: Path) -> None:
    written(tmp_path, en="one\n", zh_CN="一\n", eng_Latn="uno\n")
    table = read(tmp_path / "train.en-zh_CN,zh_CN-en,en-eng_Latn")
    assert [tuple(row.values.values()) for row in table] == [
        ("one", "一", "en", "zh_CN"),
        ("一", "one", "zh_CN", "en"),
        ("one", "uno", "en", "eng_Latn"),
    ]


def test_files_may_be_compressed_each_in_its_way(tmp_path: Path) -> None:
    (tmp_path / "a.b.en.gz").write_bytes(gzip.compress(b"one\n"))
    (tmp_path / "a.b.de.xz").write_bytes(lzma.compress(b"eins\n"))
    assert [row.values["translation"] for row in read(tmp_path / "a.b.en-de")] == ["eins"]


def test_a_plain_file_goes_before_a_compressed_one(tmp_path: Path) -> None:
    written(tmp_path, en="one\n", de="eins\n", **{"de.gz": gzip.compress(b"old\n")})
    assert [row.values["translation"] for row in read(tmp_path / "train.en-de")] == ["eins"]


def test_a_file_or_folder_of_the_exact_name_wins(tmp_path: Path) -> None:
    written(tmp_path, en="one\n", de="eins\n")
    (tmp_path / "train.en-de").mkdir()
    (tmp_path / "train.en-de" / "x.csv").write_text("text\nmine\n")
    assert [dict(row.values) for row in read(tmp_path / "train.en-de")] == [{"text": "mine"}]


def test_line_ends_and_a_mark_are_no_part_of_the_text(tmp_path: Path) -> None:
    written(tmp_path, en="\ufeffone\r\ntwo", de="eins\nzwei\r\n")
    assert [(row.values["text"], row.values["translation"]) for row in read(tmp_path / "train.en-de")] == [
        ("one", "eins"),
        ("two", "zwei"),
    ]


def test_columns_can_be_mapped(tmp_path: Path) -> None:
    written(tmp_path, en="one\n", de="\n")
    table = read(tmp_path / "train.en-de", columns={"text": "translation", "translation": "text"})
    assert [row.values["translation"] for row in table] == ["one"]
    # the place is that of the file's own column
    assert str(next(iter(check(table, PAIR).problems))).startswith(f"{tmp_path}/train.de, line 1 (beside ")


@given(pairs=st.lists(st.tuples(LINE, LINE), min_size=1, max_size=8))
def test_any_lines_come_back_side_by_side(pairs: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    written(folder, xx="".join(f"{a}\n" for a, _ in pairs), yy="".join(f"{b}\n" for _, b in pairs))
    table = read(folder / "train.xx-yy")
    rows = [(row.number, row.values["text"], row.values["translation"]) for row in table]
    table.problems.raise_if_any()
    assert rows == [(i, a.removeprefix("\ufeff") if i == 1 else a, b.removeprefix("\ufeff") if i == 1 else b)
                    for i, (a, b) in enumerate(pairs, start=1) if a.strip() or b.strip()]  # fmt: skip


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    written(tmp_path, en="a line of some length\n" * 40_000, de="eine ebenso lange Zeile\n" * 20_000)
    table = read(tmp_path / "train.en-de")
    tracemalloc.start()
    count = sum(1 for _ in table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 600_000


class TestWrong:
    def test_a_file_that_is_missing(self, tmp_path: Path) -> None:
        written(tmp_path, en="one\n", fr="un\n")
        source = tmp_path / "train.en-de"
        assert refusal(source) == (
            f"{source}: no such file, and no parallel file train.de, train.de.gz or train.de.xz either\n"
            "  allowed: train.en, train.fr\n"
            "  fix: name languages whose files are there"
        )

    def test_all_missing_files_at_once(self, tmp_path: Path) -> None:
        written(tmp_path, en="one\n")
        message = refusal(tmp_path / "train.en-de,zh-en")
        assert message.startswith("2 problems:")
        assert "no parallel file train.de," in message
        assert "no parallel file train.zh," in message

    def test_no_file_of_the_name(self, tmp_path: Path) -> None:
        message = refusal(tmp_path / "train.en-de")
        assert message.count("fix: check the path") == 2
        assert "allowed" not in message

    @pytest.mark.parametrize(
        ("ending", "says"),
        [
            ("en-zh-CN", "no such file, and 'en-zh-CN' does not name the two languages"),
            ("en-de,fr", "no such file, and 'fr' does not name the two languages"),
            ("en-", "no such file, and 'en-' does not name the two languages"),
            ("en-de,", "no such file, and '' does not name the two languages"),
            ("en-en", "'en-en' names one language twice"),
            ("en-de,de-en,en-de", "the direction 'en-de' is named twice"),
        ],
    )
    def test_directions(self, ending: str, says: str, tmp_path: Path) -> None:
        written(tmp_path, en="one\n", de="eins\n")
        message = refusal(tmp_path / f"train.{ending}")
        assert says in message
        assert "allowed: train.en-de, or several directions: train.en-de,de-en; codes of letters, digits and _" in message

    def test_columns_by_number(self, tmp_path: Path) -> None:
        written(tmp_path, en="one\n", de="eins\n")
        with pytest.raises(DataError, match=r"train\.en: columns are given by number, but"):
            read(tmp_path / "train.en-de", columns={"text": 0})

    def test_an_empty_file(self, tmp_path: Path) -> None:
        written(tmp_path, en="one\n", de="")
        assert refusal(tmp_path / "train.en-de").startswith(f"{tmp_path}/train.de: the file is empty\n")

    @pytest.mark.parametrize(("longer", "shorter"), [("en", "de"), ("de", "en")])
    def test_unequal_numbers_of_lines(self, longer: str, shorter: str, tmp_path: Path) -> None:
        written(tmp_path, **{longer: "a\nb\nc\nd\ne\n", shorter: "a\nb\n"})
        (found,) = problems(tmp_path / "train.en-de")
        assert found.startswith(
            f"{tmp_path}/train.{longer}: the file has 5 lines and {tmp_path}/train.{shorter} has 2: line 3 stands alone\n"
        )
        assert found.endswith("fix: find the line where they part, and align them again")

    def test_blank_lines_at_one_end_are_told_apart(self, tmp_path: Path) -> None:
        written(tmp_path, en="a\n\n \n", de="a\n")
        (found,) = problems(tmp_path / "train.en-de")
        assert "has 3 lines and" in found
        assert found.endswith("fix: remove the blank lines at its end")

    def test_a_line_that_is_blank_on_one_side(self, tmp_path: Path) -> None:
        written(tmp_path, en="one\n \nthree\n\nfive\n", de="eins\nzwei\n\n\nfünf\n")
        table = read(tmp_path / "train.en-de")
        assert [row.number for row in table] == [1, 2, 3, 5], "blank on both sides is no row"
        en, de = f"{tmp_path}/train.en", f"{tmp_path}/train.de"
        assert [str(problem).splitlines()[0] for problem in check(table, PAIR).problems] == [
            f"{en}, line 2 (beside {de}, line 2): the text is nothing but white space",
            f"{de}, line 3 (beside {en}, line 3): the translation is missing",
        ]

    def test_a_line_that_cannot_be_read_keeps_the_others_aligned(self, tmp_path: Path) -> None:
        written(tmp_path, en=b"one\n" + b"x" * 2_000_000 + b"\nthree\n", de="eins\nzwei\ndrei\n")
        table = read(tmp_path / "train.en-de")
        assert [row.values["translation"] for row in table] == ["eins", "drei"]
        assert [problem.where for problem in table.problems] == [f"{tmp_path}/train.en, line 2"]

    def test_bytes_that_are_not_utf8(self, tmp_path: Path) -> None:
        written(tmp_path, en="one\ntwo\n", de="eins\nfünf\n".encode("latin1"))
        (found,) = problems(tmp_path / "train.en-de")
        assert found.startswith(f"{tmp_path}/train.de, line 2: byte 0xfc is not UTF-8")


class TestRealFiles:
    pytestmark = pytest.mark.real

    @pytest.mark.parametrize(
        ("name", "count"),
        [
            ("val.en-de", 1014),
            ("val.de-en,en-fr,cs-en", 3042),
            ("test_2016_flickr.en-fr", 1000),
            ("tok/test_2016_flickr.lc.norm.tok.en-de", 1000),
        ],
    )
    def test_multi30k_is_in_order(self, name: str, count: int, shared: Path) -> None:
        report = check(read(shared / "data" / "multi30k" / name), PAIR)
        report.problems.raise_if_any()
        assert report.rows == count

    def test_places(self, shared: Path) -> None:
        folder = shared / "data" / "multi30k"
        row = next(iter(read(folder / "train.en-de")))
        assert row.values["text"] == "Two young, White males are outside near many bushes."
        assert row.where("translation") == f"{folder}/train.de.gz, line 1 (beside {folder}/train.en.gz, line 1)"
