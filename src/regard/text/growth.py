"""How much longer a stranger's `tokenizer.json` may make a text: forty steps of "write a twice" would end any process."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from regard.errors import CheckpointError

MOST = 2**12
"""Times as long: a bound for hostile files, far above what replacements need."""
CHARACTERS = {"ByteLevel": 4, "Precompiled": 18}
"""Of a step, for one that stood there: its bytes; the longest that NFKC makes of any."""


def check_growth(content: Mapping[str, Any], where: str) -> None:
    """Refuse a tokenizer whose steps, one after another, could make a text more than :data:`MOST` times as long.

    content: the file's JSON, of which the library could make a tokenizer.
    """
    for name in ("normalizer", "pre_tokenizer", "decoder"):
        if math.prod(map(_growth, _steps(content.get(name)))) > MOST:
            what = f"its {name} can make a text more than {MOST} times as long"
            raise CheckpointError(what, where=where, fix="do not trust this tokenizer")


def _steps(part: Any) -> Iterator[Mapping[str, Any]]:
    """The steps of a part, those of a sequence one by one."""
    if not isinstance(part, dict):
        return
    if part.get("type") != "Sequence":
        yield part
    for inner in part.values():
        for step in inner if isinstance(inner, list) else ():
            yield from _steps(step)


def _growth(step: Mapping[str, Any]) -> int:
    """How many characters may stand after a step where one stood before."""
    if step.get("type") != "Replace":
        return CHARACTERS.get(str(step.get("type")), 1)
    content, pattern = step["content"], step["pattern"].get("String")
    if not pattern:  # a regular expression, which may match between any two characters
        return 1 + len(content)
    return max(1, math.ceil(len(content) / len(pattern)))
