"""What tyro makes of a command line: the command asked for with its options, or one line about the slip."""

import contextlib
import io
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps

import tyro

OPTIONS = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
Command = Callable[..., None]


class Slip(Exception):
    """A command line that cannot be read; the message is one line."""


def parse(command: Command, prog: str, arguments: Sequence[str] | None = None) -> Callable[[], None]:
    """``command`` with the options that ``arguments`` (or the program's own) give it, to be called. Or Slip."""
    with _slips():
        return tyro.cli(_later(command), prog=prog, args=arguments, config=OPTIONS)


def parse_one_of(
    commands: Sequence[Command], prog: str, description: str, arguments: Sequence[str] | None = None
) -> Callable[[], None]:
    """The one of several commands that is asked for, as in ``parse``."""
    app = tyro.extras.SubcommandApp()
    for command in commands:
        app.command(_later(command))
    with _slips():
        return app.cli(prog=prog, description=description, args=arguments, config=OPTIONS)


def _later(command: Command) -> Callable[..., Callable[[], None]]:
    """The same options, and instead of running the command, it with its arguments: stderr is its own again."""

    @wraps(command)
    def with_options(*positional: object, **named: object) -> Callable[[], None]:
        return partial(command, *positional, **named)

    return with_options


@contextmanager
def _slips() -> Iterator[None]:
    """Of tyro's answer to a slip, a box of many lines, a Slip is made; help ends the program as ever."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            yield
    except SystemExit as stop:
        if stop.code:
            raise Slip(f"{_in_one_line(box.getvalue())} (--help shows the options)") from None
        raise


def _in_one_line(box: str) -> str:
    """What stands in tyro's box up to its first rule."""
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]
    said = " ".join(itertools.takewhile(_is_text, lines))
    return re.sub(r"^Error parsing \S*__tyro\S*: ", "", said)


def _is_text(line: str) -> bool:
    return not line.startswith(("─", "╰"))
