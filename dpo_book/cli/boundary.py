"""Whose fault an error is, and how it is told.

What comes from outside, files, models, options, disk and memory, is the user's to mend and is told in one line.
Whatever else goes wrong is a fault of this package and keeps its traceback. Light: nothing here imports torch.
"""

import errno
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 600  # characters of what a library says
NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")  # torch on a GPU, Windows, Linux


class Refused(Exception):
    """Something of the user's cannot be used; the message names it."""


@contextmanager
def entering(what: str, name: object, faults: type[BaseException] = BaseException) -> Iterator[None]:
    """Around the place where something comes in or goes out: what a library raises there becomes Refused.

    The message begins with ``what`` and ``name``, unless it has the name itself. faults: which errors count, where
    more is done than reading; all by default, for a library in Rust panics with one that is no Exception.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, BrokenPipeError, Refused):
        raise
    except faults as error:
        said = in_words(error)
        named = re.search(rf"(?<!\w){re.escape(str(name))}(?!\w)", said)
        raise Refused(said if named else f"{what} {name}: {said}") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what writes: an error of the disk that names no file becomes Refused, which names ``path``."""
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError) or not names_no_file(error):
            raise
        raise Refused(f"writing {path}: {in_words(error)}") from error


def names_no_file(error: BaseException) -> bool:
    """Whether it is the system's word on a file that it leaves unnamed, as a full disk at a flush."""
    return not _lacks_memory(error) and isinstance(error, OSError) and error.filename is None and not _is_ours(error)


def is_the_users(error: BaseException) -> bool:
    """Whether an error that nobody caught is the user's.

    The package's own classes of errors are: they are raised on purpose, with a message for the reader. So are the
    disk and the memory.
    """
    return _is_ours(error) or isinstance(error, OSError) or _lacks_memory(error)


def in_words(error: BaseException) -> str:
    """What it says, in one line."""
    if _lacks_memory(error):
        return (
            "there is not enough memory: take a smaller model, or fewer rows or tokens at once (--micro-batch-size, "
            "--max-length, --processes, where the command has them)"
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    said = " ".join(str(error).split())
    if _is_ours(error):
        return said
    if len(said) > LONGEST:
        said = f"{said[:LONGEST]}..."
    if isinstance(error, ValueError | OSError) and said:
        return said
    return f"{type(error).__name__}: {said}".removesuffix(
        ": "
    )  # what "'rope'" or "list index out of range" means is in the name


def as_options(said: str, names: Collection[str]) -> str:
    """Advice as one types it: --max-length 8 for ``max_length = 8``, --drop-long for ``drop_long=True``.

    names: the options, as Python writes them. Plain words among them, as "steps", stay words.
    """
    spelled = "|".join(sorted((name for name in names if "_" in name), key=len, reverse=True))
    return re.sub(rf"(?<![\w./'\"-])({spelled})(?![\w/'\"(]|\.\w)(?:( ?= ?)(?=\S)(True\b)?)?", _as_option, said)


def _as_option(found: re.Match) -> str:
    name, equals, true = found.groups()
    option = f"--{name.replace('_', '-')}"
    return f"{option} " if equals and not true else option


def _is_ours(error: BaseException) -> bool:
    return type(error).__module__.startswith("dpo_book.")


def _lacks_memory(error: BaseException) -> bool:
    """torch's own error on a GPU is a RuntimeError, and so is all that it has on a CPU."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, RuntimeError):
        return any(words in str(error).lower() for words in NO_MEMORY)
    return isinstance(error, MemoryError)
