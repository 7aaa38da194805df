"""Words where no spaces are."""

import builtins
from typing import Any

import pytest

from regard.errors import ConfigError
from regard.text.chinese import is_cjk, words


@pytest.mark.parametrize(
    ("character", "expected"), [("中", True), ("𠀀", True), ("豈", True), ("か", False), ("。", False), ("a", False)]
)
def test_ideographs(character: str, expected: bool) -> None:
    assert is_cjk(character) is expected


def test_text_without_ideographs_needs_no_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without_jieba(name: str, *args: Any) -> Any:
        if name == "jieba":
            raise ImportError(name)
        return imported(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_jieba)
    assert words(" a  café, b\n") == [(1, 2), (4, 9), (10, 11)]
    assert words("") == []
    with pytest.raises(ConfigError, match=r"Chinese words need jieba\n  fix: pip install jieba"):
        words("我来到北京")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning", "ignore::UserWarning")
def test_words_are_spans_of_the_text() -> None:
    pytest.importorskip("jieba", reason="the extra `chinese` is not installed")
    text = "我来到 BERT 北京清华大学"
    assert [text[start:stop] for start, stop in words(text)] == ["我", "来到", "BERT", "北京", "清华大学"]
