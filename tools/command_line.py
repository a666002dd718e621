"""A tool's command line: the options are the parameters of a function, and a slip is answered in one line."""

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from dpo_book.cli.parsing import Slip, parse


def run(command: Callable[..., None], arguments: Sequence[str] | None = None) -> None:
    """Call ``command`` with the options that the program was given. Its name is its module's, for the help."""
    try:
        call = parse(command, f"python -m tools.{command.__name__}", arguments)
    except Slip as slip:
        refuse(str(slip))
    call()


def refuse(message: str) -> NoReturn:
    """End the program as after any slip: a line, and exit status 2."""
    print(message, file=sys.stderr)
    sys.exit(2)
