"""Stems of English words (Porter 1980, An algorithm for suffix stripping), as ROUGE takes them.

Equal to NLTK's `PorterStemmer` with its extensions, which is what rouge-score uses: a list of irregular words, gentler rules
for short ones, and three more endings. The comments give the steps of the paper.
"""

from __future__ import annotations

from functools import lru_cache

IRREGULAR = {
    **dict.fromkeys(("sky", "skies"), "sky"),
    **dict.fromkeys(("inning", "innings"), "inning"),
    **dict.fromkeys(("outing", "outings"), "outing"),
    **dict.fromkeys(("canning", "cannings"), "canning"),
    **{word: word for word in ("news", "howe", "proceed", "exceed", "succeed")},
    "dying": "die",
    "lying": "lie",
    "tying": "tie",
}

DOUBLE = """
    ational=ate tional=tion enci=ence anci=ance izer=ize bli=ble entli=ent eli=e ousli=ous ization=ize ation=ate ator=ate
    alism=al iveness=ive fulness=ful ousness=ous aliti=al iviti=ive biliti=ble fulli=ful
"""
DERIVED = "icate=ic ative= alize=al iciti=ic ical=ic ful= ness="
LAST = "al= ance= ence= er= ic= able= ible= ant= ement= ment= ent= ion= ou= ism= ate= iti= ous= ive= ize="


def _rules(text: str) -> tuple[tuple[str, str], ...]:
    """`a=b` says that the ending a becomes b; longer endings first, since the longest that fits is the one that counts."""
    pairs = (rule.split("=") for rule in text.split())
    return tuple(sorted(((ending, new) for ending, new in pairs), key=lambda rule: -len(rule[0])))


STEP_2, STEP_3, STEP_4 = map(_rules, (DOUBLE, DERIVED, LAST))


@lru_cache(maxsize=2**16)
def stem(word: str) -> str:
    """The stem of a word of small letters: `relational` -> `relat`. Words of one or two letters stay as they are."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if len(word) <= 2:
        return word
    word = _tense(_plural(word))
    if word.endswith("y") and len(word) > 2 and _shape(word[:-1])[-1] == "c":  # 1c
        word = word[:-1] + "i"
    return _tidy(_stripped(_replaced(_doubled(word), STEP_3)))


def _shape(word: str) -> str:
    """A letter c for every consonant and v for every vowel; a y is a vowel behind a consonant."""
    shape = ""
    for letter in word:
        vowel = letter in "aeiou" or (letter == "y" and shape[-1:] == "c")
        shape += "v" if vowel else "c"
    return shape


def _measure(word: str) -> int:
    """How often a vowel is followed by a consonant: m of the paper."""
    return _shape(word).count("vc")


def _short(word: str) -> bool:
    """Consonant, vowel, consonant other than w, x, y: `hop`, behind which an e was lost; also `ow` and its like."""
    shape = _shape(word)
    return (shape[-3:] == "cvc" and word[-1] not in "wxy") or shape == "vc"


def _plural(word: str) -> str:  # 1a
    if word.endswith("ies") and len(word) == 4:
        return word[:-1]
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _tense(word: str) -> str:  # 1b
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        base = word.removesuffix(ending)
        if base != word and "v" in _shape(base):
            return _mended(base)
    return word


def _mended(base: str) -> str:
    """What is left of `hopped`, `hoping`, `conflated` without the ending."""
    if base.endswith(("at", "bl", "iz")):
        return base + "e"
    if base[-2:-1] == base[-1] and _shape(base)[-1] == "c":
        return base if base[-1] in "lsz" else base[:-1]
    return base + "e" if _measure(base) == 1 and _short(base) else base


def _doubled(word: str) -> str:  # 2
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        return _doubled(word[:-2])
    if word.endswith("logi"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    return _replaced(word, STEP_2)


def _replaced(word: str, rules: tuple[tuple[str, str], ...]) -> str:
    """The first ending that fits decides, also where what it leaves is too short to lose it."""
    for ending, new in rules:
        if word.endswith(ending):
            base = word[: -len(ending)]
            return base + new if _measure(base) > 0 else word
    return word


def _stripped(word: str) -> str:  # 4
    for ending, _ in STEP_4:
        if word.endswith(ending):
            base = word[: -len(ending)]
            fits = _measure(base) > 1 and (ending != "ion" or base[-1] in "st")
            return base if fits else word
    return word


def _tidy(word: str) -> str:  # 5
    base = word.removesuffix("e")
    if base != word and (_measure(base) > 1 or (_measure(base) == 1 and not _short(base))):
        word = base
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word
