"""The `regard` command: its verbs, its exit status, how errors look."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

import regard
from regard.cli import chat, check, convert, doctor, evaluate, export, predict, train
from regard.cli.console import say
from regard.errors import InputError, RegardError, WorkError

app = App(
    name="regard",
    help="Attention prediction models: trained, understood, checked and used on the machine you have.",
    version=lambda: regard.__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
for verb in (
    check.check,
    train.train,
    evaluate.evaluate,
    predict.predict,
    chat.chat,
    export.export,
    convert.convert,
    doctor.doctor,
):
    app.command(verb)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 the work failed, 2 the input is wrong (`REGARD_DEBUG=1`: traceback)."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """The exit status of one command."""
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _failed(InputError(f"{error}".strip(), fix="regard --help, or regard VERB --help"))
    except RegardError as error:
        return _failed(error)
    except BrokenPipeError:  # the reader of our output went away: `regard predict … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _failed(WorkError(error.strerror or str(error), where=str(error.filename or "")))
    except KeyboardInterrupt:
        say("interrupted")
        return 1
    return 0


def _failed(error: RegardError) -> int:
    if os.environ.get("REGARD_DEBUG") == "1":
        raise error
    say(f"regard: {error}")
    return error.exit_status
