"""Marks for a course: an answer is judged by another right function, on trials that no page and no check has.

A teacher's notebook calls ``mark`` in the hidden block below a check. It asks for everything by its own import, so
that a name that a reader's notebook has given to something else changes no mark.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from dpo_book.checks import exercises
from dpo_book.checks.judge import in_float32, normal, vector

__all__ = ["in_float32", "mark", "normal", "vector"]


def mark(
    name: str, student: Callable, reference: Callable, trials: Sequence[tuple], far: Sequence[tuple] = ()
) -> None:
    """AssertionError that says what is wrong with ``student``, the answer to exercise ``name``; else nothing.

    reference: a right function written for the marks, with the parameters of the exercise's; plain numbers will do.
    trials, far: its arguments, as of ``Exercise``. The exercise's other rules hold as on the page.
    """
    exercise = exercises()[name]
    right, said = replace(exercise, solution=reference, trials=trials, far=far, extreme=()).judge(student)
    assert right, said
    print(f"✓ {name}: right on {len(trials) + len(far)} trials that the page does not have.")
