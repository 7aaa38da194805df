"""The table of what loads, in README's documentation, says what the tables in the source say."""

import re
from pathlib import Path

import pytest

from regard.checkpoints.families import FAMILIES

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"\| [^|]+ \| `([^`]+)` \| ([^|]+) \| [^|]+ \|")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_lists_every_family_with_its_tasks(language: str):
    page = (DOCS / language / "families.md").read_text(encoding="utf-8")
    told = {name: set() if tasks == "–" else set(tasks.split(", ")) for name, tasks in ROW.findall(page) if name in FAMILIES}
    assert told.keys() == set(re.findall(r"\| `([a-z0-9_-]+)` \|", page)) - {"model_type"}
    assert told == {
        family.name: {each.task for each in (family.base, *family.heads) if each.task and each.fields is not None}
        for family in FAMILIES.values()
    }
