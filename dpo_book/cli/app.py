"""``python -m dpo_book ...``: training runs and the book's longer computations, without a notebook.

A slip is answered in one line.
"""

import io
import sys
import warnings

from dpo_book.cli import interrupt
from dpo_book.cli.commands import COMMANDS
from dpo_book.cli.parsing import Slip, parse_one_of

DESCRIPTION = "Training runs and the workbook's longer computations."
BAD_USAGE = 2  # exit status


def main() -> None:
    """The command line. Exit status 2 and one line for a slip, 130 when it is stopped."""
    _write_utf8()
    try:
        status = _run()
    except KeyboardInterrupt:
        print(interrupt.SAYS, file=sys.stderr)
        status = interrupt.STATUS
    if "torch" in sys.modules:  # else no command has begun, and there are no other processes
        from dpo_book.system.processes import leave

        leave(status)
    if status:
        sys.exit(status)


def _write_utf8() -> None:
    """β and → are written as UTF-8 to a stream whose own encoding has no place for them, as a pipe on Windows."""
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue  # somebody's own, who knows
        try:
            "β→".encode(stream.encoding or "ascii")
        except UnicodeEncodeError:
            stream.reconfigure(encoding="utf-8")


def _run() -> int:
    """Read the command line and do what it says; the exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of libraries to each other
        warnings.showwarning = _warned
        try:
            command = parse_one_of(COMMANDS, "python -m dpo_book", DESCRIPTION)
            command()
        except (Slip, ValueError, ImportError) as error:
            return _said(str(error), BAD_USAGE)
        except OSError as error:
            return _said(
                f"{error.filename or 'a file'}: {error.strerror}" if error.strerror else str(error), BAD_USAGE
            )
        except RuntimeError as error:
            from dpo_book.training.checkpoints import CheckpointError
            from dpo_book.training.updates import TrainingDiverged

            if not isinstance(error, CheckpointError | TrainingDiverged):
                raise
            return _said(str(error), BAD_USAGE)
    return 0


def _warned(message: Warning | str, *_: object) -> None:
    _said(str(message), 0)


def _said(message: str, status: int) -> int:
    print(f"dpo_book: {' '.join(message.split())}", file=sys.stderr)
    return status
