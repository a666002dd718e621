"""What a reader's function does while it runs: whom it calls, and whether it ends."""

import inspect
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType

import torch

SECONDS = 5.0  # of this thread's own computing, so that a busy machine stops nobody early
PACKAGE = Path(__file__).resolve().parents[2]
CHECKS = PACKAGE / "checks"
LIBRARIES = (*{Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")}, PACKAGE)
TORCH = Path(torch.__file__).resolve().parent
AUTOGRAD = (
    TORCH / "autograd" / "__init__.py",
    TORCH / "autograd" / "functional.py",
    TORCH / "autograd" / "forward_ad.py",
    TORCH / "_functorch" / "eager_transforms.py",
)


@dataclass(frozen=True)
class Rules:
    """What an answer may not do.

    own: functions of the book that are the answer. on_the_page: names of functions of the chapter that are.
    by_hand: the text forbids autograd.
    """

    own: Sequence[Callable] = ()
    on_the_page: Sequence[str] = ()
    by_hand: bool = False


class OutOfTime(BaseException):
    """Not an Exception: a reader's ``except Exception`` must not swallow it."""


class Watch:
    """Sees every call of a Python function, for ``sys.settrace``, and every step of the reader's own code.

    Tracing, not a signal: it works on every system, in whichever thread a kernel runs its cells, and it sees who is
    called. It sees no other thread that an answer starts, and ends no loop that swallows every exception.
    """

    def __init__(self, rules: Rules, function: Callable):
        self._codes = {inspect.unwrap(own).__code__: own.__name__ for own in rules.own}
        self._rules = rules
        self._inner = set(_nested(getattr(inspect.unwrap(function), "__code__", None)))
        self.seconds = SECONDS
        self._ends = time.thread_time() + SECONDS
        self.refused = ""  # what was called that may not be, in words

    def on_call(self, frame: FrameType, _event: str, _value: object) -> Callable | None:
        code = frame.f_code
        if not self.refused:
            self.refused = self._refuse(code)
        if not is_readers(code):
            return None
        frame.f_trace_opcodes = True  # a loop that is one instruction long has no other event
        return self._on_step

    def _on_step(self, _frame: FrameType, _event: str, _value: object) -> Callable:
        if time.thread_time() > self._ends:
            raise OutOfTime
        return self._on_step

    def _refuse(self, code: CodeType) -> str:
        if code in self._codes:
            return f"you called the book's own `{self._codes[code]}`, which is the answer: write it yourself."
        if code.co_name in self._rules.on_the_page and code not in self._inner and is_readers(code):
            return f"you called `{code.co_name}`, the page's own answer: write it yourself."
        if _is_inside(code.co_filename, (CHECKS,)):
            return "you called the check's own answer: write it yourself."
        if self._rules.by_hand and _is_inside(code.co_filename, AUTOGRAD):
            return "this is autograd's gradient, and the exercise asks for yours: write it by hand."
        return ""


def is_readers(code: CodeType) -> bool:
    """Is it neither the book's nor a library's?"""
    return not (code.co_filename.startswith("<frozen") or _is_inside(code.co_filename, LIBRARIES))


@lru_cache(maxsize=4096)
def _is_inside(filename: str, places: tuple[Path, ...]) -> bool:
    """Is the file one of the places, or in a folder among them? What stands in <> is no file, such as a cell."""
    if filename.startswith("<"):
        return False
    file = Path(filename).resolve()
    return any(file == place or place in file.parents for place in places)


def _nested(code: CodeType | None) -> Iterator[CodeType]:
    """The code of a function, and of every function that is written inside it."""
    if code is not None:
        yield code
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from _nested(constant)
