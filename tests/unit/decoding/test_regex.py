"""Regular expressions as automata over bytes: what they accept is what `re.fullmatch` accepts."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.decoding import regular
from regard.decoding.regex import containing, regex
from regard.decoding.regular import START, Automaton, others, ranges
from regard.errors import ConfigError

ALPHABET = "ab1 é\n龘"
TEXTS = ["".join(letters) for length in range(4) for letters in itertools.product(ALPHABET, repeat=length)]

ATOMS = st.sampled_from(
    [
        "a",
        "b",
        "é",
        "龘",
        ".",
        r"\d",
        r"\D",
        r"\w",
        r"\W",
        r"\s",
        r"\S",
        "[ab]",
        "[^a]",
        "[^\\s1]",
        "[a-龘]",
        r"[\n-a]",
        r"\n",
    ]
)
COUNTS = st.sampled_from(["?", "*", "+", "{2}", "{1,2}", "{2,}", "{0}", "*?", "+?"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda options: f"({'|'.join(options)})"),
        st.tuples(inner, COUNTS).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        inner.map(lambda pattern: f"(?s:{pattern})"),
        inner.map(lambda pattern: f"({pattern}|)"),
    ),
    max_leaves=6,
)


def accepted(automaton: Automaton) -> set[str]:
    return {text for text in TEXTS if automaton.complete(automaton.read(START, text.encode()))}


@settings(deadline=None, max_examples=150)
@given(pattern=PATTERNS)
def test_a_pattern_accepts_what_re_matches_as_a_whole(pattern: str):
    automaton = Automaton(regex(pattern), where="")
    assert accepted(automaton) == {text for text in TEXTS if re.fullmatch(pattern, text)}


@settings(deadline=None, max_examples=50)
@given(pattern=PATTERNS, starts=st.booleans(), ends=st.booleans())
def test_a_pattern_of_json_schema_is_found_anywhere(pattern: str, starts: bool, ends: bool):
    pattern = f"{'^' * starts}(?:{pattern}){'$' * ends}"
    automaton = Automaton(containing(pattern, where=""), where="")
    # `$` of Python also stands before a newline at the end, that of JSON Schema does not.
    theirs = re.compile(pattern.removesuffix("$") + (r"\Z" if ends else ""), re.ASCII)
    assert accepted(automaton) == {text for text in TEXTS if theirs.search(text)}


@pytest.mark.parametrize(
    "pattern", [r"\d", r"[^\w]", r"\s", ".", r"[^\x00-\ud7ff]", "[\x7f-\x80\u07ff-\u0800\uffff-\U00010000]"]
)
def test_every_character_is_told_apart(pattern: str):
    automaton, theirs = Automaton(regex(pattern), where=""), re.compile(pattern)
    edges = {0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0xFFFFF, 0x100000, 0x10FFFF}
    codes = edges | set(range(0x3000)) | set(range(0, 0x110000, 97)) - set(range(0xD800, 0xE000))
    wrong = [
        code
        for code in codes
        if automaton.complete(automaton.read(START, chr(code).encode())) != bool(theirs.fullmatch(chr(code)))
    ]
    assert wrong == []


def test_bytes_that_are_no_character_lead_nowhere():
    automaton = Automaton(regex("(?s:.*)"), where="")
    for piece in (b"\x80", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff", b"a\xe9\xbea"):
        assert automaton.read(START, piece) == regular.DEAD
    assert not automaton.complete(automaton.read(START, "龘".encode()[:2]))


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted), max_size=5))
def test_ranges_and_what_lies_between_them(pairs: list[tuple[int, int]]):
    inside = {code for first, last in ranges(pairs) for code in range(first, last + 1)}
    assert inside == {code for first, last in pairs for code in range(first, last + 1)}
    outside = {code for first, last in others(ranges(pairs)) for code in range(first, min(last, 99) + 1)}
    assert outside == set(range(100)) - inside


@pytest.mark.parametrize("pattern", [r"[^\s\S]", r"a[^\s\S]b", r"(?:[^\s\S])+"])
def test_an_empty_language_is_known(pattern: str):
    assert Automaton(regex(pattern), where="").empty
    assert not Automaton(regex(f"({pattern}|x)"), where="").empty


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("a(", "not a regular expression: missing ), unterminated subpattern at position 1"),
        (r"(a)\1", "a reference to a group"),
        ("a(?=b)", "looking ahead or behind"),
        (r"\bword", "a place inside the text"),
        ("a|^b", "a place inside the text"),
        ("(?i)a", "ignoring case"),
        ("(?i:a)", "ignoring case"),
        ("a++", "a possessive repetition"),
        ("(?>a)", "an atomic group"),
    ],
)
def test_what_no_regular_language_has_is_refused(pattern: str, what: str):
    with pytest.raises(ConfigError, match=rf"(?s)^the code: {re.escape(what)}.*\n  allowed: .*\n  fix: "):
        regex(pattern, where="the code")


def test_all_that_is_refused_is_named_at_once():
    with pytest.raises(ConfigError, match="3 problems") as raised:
        regex(r"(?i)(a)\1(?=b)\1")
    assert len(raised.value.problems) == 3


def test_the_empty_text_repeated_is_the_empty_text():
    for pattern, text in (("(?:){1000000000}", ""), ("(?:){0,1000000000}a", "a"), ("(?:(?:)*)+", "")):
        assert accepted(Automaton(regex(pattern), where="")) == {text}


def test_groups_in_groups_without_measure_are_refused():
    with pytest.raises(ConfigError, match=r"^code: nested too deeply\n  fix: write"):
        regex("(" * 5000 + ")" * 5000, where="code")


def test_more_states_than_there_is_room_for_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(regular, "MOST_STATES", 100)
    automaton = Automaton(regex("(a|b)*a(a|b){20}"), where="code")
    with pytest.raises(ConfigError, match=r"^code: too many states\n  allowed: 100\n  fix: make"):
        for text in map("".join, itertools.product("ab", repeat=10)):
            automaton.read(START, text.encode())


def test_an_expression_without_measure_is_refused():
    with pytest.raises(ConfigError, match=r"code: too large to be written out\n  allowed: 300000 places\n  fix: make"):
        Automaton(regex("(a{1000}){1000}"), where="code")
