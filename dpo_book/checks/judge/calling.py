"""A reader's function, called with care: it may raise, never end, change what it is given, or call the answer."""

import builtins
import copy
import inspect
import linecache
import sys
import sysconfig
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType

import torch
from torch import Tensor

from dpo_book.checks.judge.answers import Fault

SECONDS = 5.0  # of this thread's own computing, so that a busy machine stops nobody early
PACKAGE = Path(__file__).resolve().parents[2]
CHECKS = str(PACKAGE / "checks")
LIBRARIES = (*{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}, str(PACKAGE), "<frozen")
TORCH = str(Path(torch.__file__).parent)
AUTOGRAD = tuple(
    f"{TORCH}/{place}"
    for place in ("autograd/__init__.py", "autograd/functional.py", "autograd/forward_ad.py", "_functorch")
)


class _OutOfTime(BaseException):
    """Not an Exception: a reader's ``except Exception`` must not swallow it."""


class NotWritten(Fault):
    """The stub stands there as it came."""


class Overflow(Fault):
    """A number became too large for Python's own arithmetic, where a tensor would hold inf."""


def call(
    function: Callable, names: Sequence[str], arguments: tuple, own: Sequence[Callable] = (), by_hand: bool = False
) -> object:
    """``function(*arguments)``. Fault where that gives no value that can be judged.

    names: what the arguments are called. own: functions of the book, or names of functions on the page, that are
    the answer and so may not be called. by_hand: autograd may not be used.
    """
    before = [value.detach().clone() if isinstance(value, Tensor) else copy.copy(value) for value in arguments]
    watch = _Watch(own, by_hand)
    value = _watched(function, arguments, watch)
    if watch.refused:
        raise Fault(watch.refused)
    for name, was, is_now in zip(names, before, arguments, strict=True):
        if not _unchanged(was, is_now):
            copied = f"{name}.clone()" if isinstance(was, Tensor) else f"{name}.copy()"
            raise Fault(
                f"it changes `{name}` in place, and whoever called it loses that: work on a copy, `{copied}`, "
                "or write `x = x + 1` instead of `x += 1`."
            )
    return value


def _watched(function: Callable, arguments: tuple, watch: "_Watch") -> object:
    others = sys.gettrace()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a check says itself what it finds
            sys.settrace(watch.on_call)
            try:
                return function(*arguments)
            finally:
                sys.settrace(others)
    except NotImplementedError as error:
        raise NotWritten("not written yet. Replace the line that raises NotImplementedError.") from error
    except _OutOfTime as error:
        raise Fault(f"it did not end within {SECONDS:g} seconds and was stopped{_line_of(error)}.") from error
    except SystemExit as error:
        raise Fault(f"your function calls exit(){_line_of(error)}; return a value instead.") from error
    except RecursionError as error:
        raise Fault(f"your function calls itself without end{_line_of(error)}.") from error
    except Exception as error:  # whatever a reader's code raises is feedback, not a crash
        if watch.refused:
            raise Fault(watch.refused) from error
        kind = Overflow if isinstance(error, OverflowError) else Fault
        raise kind(f"your function stopped{_line_of(error)}: {_in_a_line(error)}") from error


def _in_a_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"


def require_function(function: object, names: Sequence[str]) -> None:
    """Fault unless ``function`` can be called with arguments of these names, in this order."""
    if not callable(function):
        raise Fault("give the function itself to the check, without calling it.")
    if getattr(builtins, getattr(function, "__name__", ""), None) is function:
        return
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C have none
        return
    try:
        signature.bind(*names)
    except TypeError as error:
        wanted, taken = ", ".join(names), ", ".join(signature.parameters)
        raise Fault(f"your function takes ({taken}), and it is called with ({wanted}).") from error


def _line_of(error: BaseException) -> str:
    """in line 3, `…`: the last line of the reader's own that an error came through."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        name = frame.f_code.co_filename
        if _is_readers(frame.f_code):
            source = linecache.getline(name, line).strip()
            return f" in line {line}, `{source}`" if source else f" in line {line}"
    return ""


def _is_readers(code: CodeType) -> bool:
    return not code.co_filename.startswith(LIBRARIES)


def _unchanged(before: object, after: object) -> bool:
    if isinstance(before, Tensor):
        return before.shape == after.shape and torch.equal(before, after)
    return before == after


class _Watch:
    """Sees every call of a Python function, for ``sys.settrace``, and every step of the reader's own code.

    Tracing, not a signal: it works on every system and in every thread, and it sees who is called.
    """

    def __init__(self, own: Sequence[Callable | str], by_hand: bool):
        self._codes = {_code_of(function): function.__name__ for function in own if callable(function)}
        self._names = {name for name in own if isinstance(name, str)}
        self._by_hand = by_hand
        self._ends = time.thread_time() + SECONDS
        self.refused = ""  # what was called that may not be, in words

    def on_call(self, frame: FrameType, _event: str, _value: object) -> Callable | None:
        code = frame.f_code
        if not self.refused:
            self.refused = self._refuse(code)
        if not _is_readers(code):
            return None
        frame.f_trace_opcodes = True  # a loop that is one instruction long has no other event
        return self._on_step

    def _on_step(self, _frame: FrameType, _event: str, _value: object) -> Callable:
        if time.thread_time() > self._ends:
            raise _OutOfTime
        return self._on_step

    def _refuse(self, code: CodeType) -> str:
        if code in self._codes:
            return f"you called the book's own `{self._codes[code]}`, which is the answer: write it yourself."
        if code.co_name in self._names and _is_readers(code):
            return f"you called `{code.co_name}`, the page's own answer: write it yourself."
        if code.co_filename.startswith(CHECKS):
            return "you called the check's own answer: write it yourself."
        if self._by_hand and code.co_filename.startswith(AUTOGRAD):
            return "this is autograd's gradient, and the exercise asks for yours: write it by hand."
        return ""


def _code_of(function: Callable) -> CodeType:
    return inspect.unwrap(function).__code__
