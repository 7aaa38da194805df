"""`regard doctor`."""

from __future__ import annotations

import regard
from regard.cli.console import Json, print_json, print_table


def doctor(*, json: Json = False) -> None:
    """Tell what this machine offers: processor, memory, GPU, precision, installed extras.

    Parameters
    ----------
    json
        Print one JSON object on standard output and nothing else there.
    """
    facts = regard.doctor()
    if json:
        print_json(facts)
    else:
        print_table("this machine", ("what", "found"), [(name, str(fact)) for name, fact in facts.items()])
