"""`regard chat`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import regard
from regard.cli.console import Json, print_json, print_line, say
from regard.errors import DataError


def chat(model: str, /, *, system: str | None = None, precision: str = "auto", json: Json = False) -> None:
    """Talk with a model that was trained to chat: a line is a message, Ctrl-D ends the conversation.

    Parameters
    ----------
    model
        A model folder, or a hub name.
    system
        What the model is told before all else.
    precision
        float32, bfloat16, or auto: bfloat16 where the hardware has it.
    json
        Print one JSON object on standard output when the conversation ends, and nothing else there.
    """
    conversation = regard.load(model, precision=precision).conversation(system=system)
    answers = []
    for message in _messages():
        let_go, answer = conversation.forgotten, ""
        try:
            for piece in conversation.say(message):
                answer += piece
                if not json:
                    sys.stdout.write(piece)
                    sys.stdout.flush()
        except DataError as error:  # what is wrong is this one message
            if not sys.stdin.isatty():
                raise
            say(str(error))
            continue
        answers.append({"text": message, "generated": answer, "forgotten": conversation.forgotten})
        if not json:
            print_line("")
        if conversation.forgotten > let_go:
            say(f"the conversation no longer fits the model: its first {conversation.forgotten} answers are forgotten")
    if json:
        print_json({"model": model, "system": system, "answers": answers})


def _messages() -> Iterator[str]:
    """The lines of standard input; blank ones say nothing."""
    asks = sys.stdin.isatty()
    while True:
        if asks:
            sys.stderr.write("> ")
            sys.stderr.flush()
        try:
            line = sys.stdin.readline()
        except UnicodeDecodeError as error:
            raise DataError(f"not UTF-8: {error.reason}", where="standard input", fix="give UTF-8") from None
        if not line:
            return
        if line.strip():
            yield line.rstrip("\r\n")
