"""What tyro makes of a command line: the command asked for with its options, or one line about the slip."""

import contextlib
import inspect
import io
import itertools
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import partial, wraps

import tyro

from dpo_book.cli.config_file import Expanded, expanded, option_kinds

OPTIONS = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
Command = Callable[..., None]


class Slip(Exception):
    """A command line that cannot be read; the message is one line."""


def parse(command: Command, prog: str, arguments: Sequence[str] | None = None) -> Callable[[], None]:
    """``command`` with the options that ``arguments`` (or the program's own) give it, to be called. Or Slip."""
    _refuse_repeated(arguments)
    with _slips():
        return tyro.cli(_later(command), prog=prog, args=arguments, config=OPTIONS)


def parse_one_of(
    commands: Sequence[Command], prog: str, description: str, arguments: Sequence[str] | None = None
) -> Callable[[], None]:
    """The one of several commands that is asked for, as in ``parse``."""
    app = tyro.extras.SubcommandApp()
    for command in commands:
        app.command(_later(command))
    _refuse_repeated(arguments)
    read = _with_file(commands, sys.argv[1:] if arguments is None else arguments)
    with _naming(read), _slips():
        return app.cli(prog=prog, description=description, args=read.arguments, config=OPTIONS)


def _with_file(commands: Sequence[Command], arguments: Sequence[str]) -> Expanded:
    """The command line with the options of the file that its ``--config`` names."""
    asked = [command for command in commands if arguments and command.__name__ == arguments[0]]
    return expanded(arguments, option_kinds(asked[0]) if asked else {})


@contextmanager
def _naming(read: Expanded) -> Iterator[None]:
    """A Slip about an option that came from a file names the file."""
    try:
        yield
    except Slip as slip:
        said = str(slip)
        for key in read.keys:
            if f"--{key.replace('_', '-')}" in said or said.startswith(f"{key.replace('-', '_')} "):
                raise Slip(f"--config {read.file}: {said}") from None
        raise


def option_names(commands: Sequence[Command]) -> set[str]:
    """The options of all commands, as Python writes them: parameters, and the fields of dataclasses among them."""
    names = set()
    for command in commands:
        for name, parameter in inspect.signature(command).parameters.items():
            if is_dataclass(parameter.annotation):
                names.update(field.name for field in fields(parameter.annotation))
            else:
                names.add(name)
    return names


def _refuse_repeated(arguments: Sequence[str] | None) -> None:
    """Slip for an option that is given twice, of which the last would count without a word."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = itertools.takewhile(_is_no_end, given)
    names = [argument.split("=")[0].replace("_", "-") for argument in options if argument.startswith("--")]
    for name, times in Counter(names).items():
        if times > 1:
            raise Slip(f"{name} is given {times} times: which of them is meant?")


def _is_no_end(argument: str) -> bool:
    """What follows a bare "--" is no option, whatever it looks like."""
    return argument != "--"


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
    said = " ".join(" ".join(itertools.takewhile(_is_text, lines)).split())
    said = re.sub(r"^Error parsing \S*__tyro\S*: ", "", said)
    # Of an option that may be left out, tyro says at length why a text is neither None nor a number.
    either = r"no type matching \{None\}\|(\w+) could be instantiated from \[(.*?)\]\. Got errors: .*"
    return re.sub(either, r"\1 wanted, not \2", said)


def _is_text(line: str) -> bool:
    return not line.startswith(("─", "╰"))
