"""Words labelled as parts of entities, and what they make up."""

import pytest

from regard.tasks.entities import Tagged, are_parts, entities


def found(labels: str) -> list[tuple[str | None, int, int]]:
    """The entities of words of one letter each, as (kind, first word, behind the last)."""
    words = [Tagged(label, 1.0, i, i + 1) for i, label in enumerate(labels.split())]
    return [(part.label, part.start, part.end) for part in entities(words)]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("O B-PER I-PER O", [("PER", 1, 3)]),
        ("B-PER B-PER I-LOC", [("PER", 0, 1), ("PER", 1, 2), ("LOC", 2, 3)]),
        ("I-PER I-PER O I-PER", [("PER", 0, 2), ("PER", 3, 4)]),
        ("B-PER I-LOC I-PER", [("PER", 0, 1), ("LOC", 1, 2), ("PER", 2, 3)]),
        # BIOES: an end ends, a single stands alone
        ("B-PER I-PER E-PER I-PER", [("PER", 0, 3), ("PER", 3, 4)]),
        ("S-PER S-PER E-LOC E-LOC", [("PER", 0, 1), ("PER", 1, 2), ("LOC", 2, 3), ("LOC", 3, 4)]),
        ("S-PER I-PER", [("PER", 0, 1), ("PER", 1, 2)]),
        # BMES, also of words without a kind; BILOU
        ("B_ORG M_ORG M_ORG E_ORG S_ORG", [("ORG", 0, 4), ("ORG", 4, 5)]),
        ("B E S B M E", [("", 0, 2), ("", 2, 3), ("", 3, 6)]),
        ("B-A I-A L-A U-A O U-A", [("A", 0, 3), ("A", 3, 4), ("A", 5, 6)]),
        ("X [SEP] B-A-B I-A-B O", [("A-B", 2, 4)]),
        ("O O", []),
        ("", []),
    ],
)
def test_schemes(labels: str, expected: list[tuple[str, int, int]]) -> None:
    assert found(labels) == expected


def test_a_score_is_the_mean_of_its_words() -> None:
    words = [Tagged("B-A", 0.5, 0, 3), Tagged("I-A", 0.75, 4, 9), Tagged(None, 0.0, 10, 11), Tagged("I-A", 0.25, 12, 13)]
    assert entities(words) == [Tagged("A", 0.625, 0, 9), Tagged("A", 0.25, 12, 13)]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["O", "B-PER", "I-PER"], True),
        (["B-A", "I-A", "E-A", "S-A"], True),
        (["O", "B_A", "M_A", "X", "[CLS]", "<pad>"], True),
        (["B", "M", "E", "S"], True),
        (["n", "v", "wp"], False),
        (["NOUN", "B-NP", "O"], False),
        (["LABEL_0", "LABEL_1"], False),
        (["O"], False),
        ([], False),
    ],
)
def test_which_labels_are_parts(labels: list[str], expected: bool) -> None:
    assert are_parts(labels) == expected
