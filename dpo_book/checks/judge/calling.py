"""A reader's function, called with care: it may raise, never end, change what it is given, or call the answer."""

import copy
import inspect
import linecache
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence

from torch import Tensor

from dpo_book.checks.judge.answers import Fault
from dpo_book.checks.judge.watch import OutOfTime, Rules, Watch, is_readers


class NotWritten(Fault):
    """The stub stands there as it came."""


class OutOfRange(Fault):
    """A number left the range of Python's own arithmetic, where a tensor would hold inf or nan."""


def call(function: Callable, names: Sequence[str], arguments: tuple, rules: Rules) -> object:
    """``function(*arguments)``. Fault where that gives no value that can be judged, or breaks the rules.

    names: what the arguments are called.
    """
    before = [value.detach().clone() if isinstance(value, Tensor) else copy.copy(value) for value in arguments]
    watch = Watch(rules, function)
    value = _watched(function, arguments, watch)
    if watch.refused:
        raise Fault(watch.refused)
    for name, was, is_now in zip(names, before, arguments, strict=True):
        if not _unchanged(was, is_now):
            said = f"it changes `{name}` in place, and whoever called it loses that: work on a copy, "
            if isinstance(was, Tensor):
                raise Fault(said + f"`{name}.clone()`, or write `x = x + 1` instead of `x += 1`.")
            raise Fault(said + f"`{name}.copy()`.")
    return value


def _watched(function: Callable, arguments: tuple, watch: Watch) -> object:
    others = sys.gettrace()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a check says itself what it finds
            sys.settrace(watch.on_call)
            try:
                return function(*arguments)
            finally:
                sys.settrace(others)
    except OutOfTime as error:
        raise Fault(f"it did not end within {watch.seconds:g} seconds and was stopped{_line_of(error)}.") from error
    except SystemExit as error:
        raise Fault(f"your function calls exit(){_line_of(error)}; return a value instead.") from error
    except RecursionError as error:
        raise Fault(f"your function calls itself without end{_line_of(error)}.") from error
    except Exception as error:  # whatever a reader's code raises is feedback, not a crash: the stub's error, too
        if watch.refused:
            raise Fault(watch.refused) from error
        if isinstance(error, NotImplementedError) and not str(error):  # torch's own have words
            raise NotWritten("not written yet. Replace the line that raises NotImplementedError.") from error
        kind = OutOfRange if _is_out_of_range(error) else Fault
        raise kind(f"your function stopped{_line_of(error)}: {_in_a_line(error)}") from error


def _is_out_of_range(error: Exception) -> bool:
    return isinstance(error, OverflowError | ZeroDivisionError) or str(error) == "math domain error"


def _in_a_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"


def require_function(function: object, names: Sequence[str]) -> None:
    """Fault unless ``function`` can be called with arguments of these names, in this order."""
    if not callable(function):
        raise Fault("give the function itself to the check, without calling it.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C have none
        return
    try:
        signature.bind(*names)
    except TypeError as error:
        wanted, taken = ", ".join(names), ", ".join(signature.parameters)
        raise Fault(f"your function takes ({taken}), and it is called with ({wanted}), in this order.") from error


def _line_of(error: BaseException) -> str:
    """in line 3, `…`: the last line of the reader's own that an error came through."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        name = frame.f_code.co_filename
        if is_readers(frame.f_code):
            source = linecache.getline(name, line).strip()
            return f" in line {line}, `{source}`" if source else f" in line {line}"
    return ""


def _unchanged(before: object, after: object) -> bool:
    if isinstance(before, Tensor):
        return before.shape == after.shape and before.equal(after)
    return before == after
