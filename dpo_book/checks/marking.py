"""Marks for a course: an answer is judged by another right function, on trials that no page and no check has.

A teacher's notebook calls ``mark`` in the hidden block below a check.
"""

import builtins
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import FunctionType

import torch

from dpo_book.checks import exercises
from dpo_book.checks.judge import in_float32, normal, vector

__all__ = ["in_float32", "mark", "normal", "vector"]


def mark(name: str, student: Callable, reference: Callable, trials: Sequence[tuple]) -> None:
    """AssertionError that says what is wrong with ``student``, the answer to exercise ``name``; else nothing.

    The answer has to be right by the page's own check, whatever the page shows, and by ``reference``: a right
    function written for the marks, with the exercise's parameters, which may return plain numbers.
    trials: arguments.
    """
    exercise = exercises()[name]
    _require(exercise.judge(student))
    _require(replace(exercise, solution=_apart(reference), trials=trials, far=(), extreme=()).judge(student))
    print(f"✓ {name}: right, also by another answer and on other trials than the page's.")


def _require(verdict: tuple[bool, str]) -> None:
    right, said = verdict
    assert right, said


def _apart(reference: Callable) -> Callable:
    """The same function without the notebook's names: a reader may have called something ``sum``."""
    names = {"__builtins__": builtins, "math": math, "torch": torch}
    return FunctionType(reference.__code__, names, reference.__name__)
