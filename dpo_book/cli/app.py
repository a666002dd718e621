"""``python -m dpo_book ...``: training runs and the book's longer computations, without a notebook.

A slip is answered in one line, and so is whatever is wrong with the user's files, models and options. A traceback
means that the package itself is at fault.
"""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator

from dpo_book.cli import interrupt
from dpo_book.cli.boundary import as_options, in_words, is_the_users, names_no_file
from dpo_book.cli.commands import COMMANDS
from dpo_book.cli.parsing import option_names, parse_one_of

DESCRIPTION = "Training runs and the workbook's longer computations."
BAD_USAGE = 2  # exit status
NOBODY_READS = 141  # as a shell has it, 128 + SIGPIPE
# Advice for a notebook, and what does the same here.
ADVICE = {
    'build_policy("mini", train_tokenizer(texts)) needs none': "sft --policy mini needs none",
    'sentiment_reward("vader")': "--judge vader",
    "read a file or folder of it with imdb_reviews(source=...)": "name a file or folder of it with --source",
    "raise Limits(calls=...) and ask again": "raise --max-calls and give the command again",
    "raise Limits(cost=...) and ask again": "raise --max-cost and give the command again",
    "Every answer is kept: ask again": "Every answer is kept: give the command again",
    "base_url must be": "--endpoint must be",
    "cost must be": "--max-cost must be",
    "a limit on cost needs input_price or": "--max-cost needs input_price or",
}


def main() -> None:
    """The command line. Exit status 2 and one line for what cannot be used, 130 when it is stopped."""
    _prepare_streams()
    try:
        with _all_written():
            status = _run()
    except KeyboardInterrupt:
        print(interrupt.SAYS, file=sys.stderr)
        status = interrupt.STATUS
    except BrokenPipeError:  # as with "| head", which has read enough
        _forget_output()
        status = NOBODY_READS
    if "torch" in sys.modules:  # else no command has begun, and there are no other processes
        from dpo_book.system.processes import leave

        leave(status)
    if status:
        sys.exit(status)


def _prepare_streams() -> None:
    """Nothing that is printed ends a command.

    β and → are written as UTF-8 to a stream whose own encoding has no place for them, as a pipe on Windows; the name
    of a file that is no text, with backslashes.
    """
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue  # somebody's own, who knows
        stream.reconfigure(errors="backslashreplace")
        try:
            "β→".encode(stream.encoding or "ascii")
        except UnicodeEncodeError:
            stream.reconfigure(encoding="utf-8")


@contextlib.contextmanager
def _all_written() -> Iterator[None]:
    """Also help, after which Python ends: whether somebody reads shows when the last of it is written."""
    try:
        yield
    finally:
        sys.stdout.flush()


def _run() -> int:
    """Read the command line and do what it says; the exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of libraries to each other
        warnings.showwarning = _warned
        try:
            command = parse_one_of(COMMANDS, "python -m dpo_book", DESCRIPTION)
            command()
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except Exception as error:
            if not is_the_users(error):
                raise
            said = in_words(error)
            if names_no_file(error):  # as files are named, see ``writing``
                _forget_output()
                said = f"what is printed cannot be written: {said}"
            return _said(said, BAD_USAGE)
    return 0


def _forget_output() -> None:
    """What is left of the output goes nowhere, or Python would try again at its end, and complain."""
    with contextlib.suppress(OSError, ValueError):  # a stream that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _warned(message: Warning | str, *_: object) -> None:
    _said(str(message), 0)


def _said(message: str, status: int) -> int:
    line = " ".join(message.split())
    for python, here in ADVICE.items():
        line = line.replace(python, here)
    print(f"dpo_book: {as_options(line, option_names(COMMANDS))}", file=sys.stderr)
    return status
