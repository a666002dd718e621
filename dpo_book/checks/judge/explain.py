"""What to say of a wrong answer: the mistake's name where it is known, else the first value that differs."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from dpo_book.checks.judge.answers import first_difference, told_apart
from dpo_book.checks.judge.hints import of_shape, of_values
from dpo_book.checks.judge.lineup import name_of_mistake
from dpo_book.checks.judge.trials import in_words

if TYPE_CHECKING:
    from dpo_book.checks.judge.exercise import Exercise


def in_trial(exercise: "Exercise", number: int) -> str:
    return f"on trial {number} ({in_words(exercise.parameters, exercise.trials[number - 1])}) "


def explain(exercise: "Exercise", given: Sequence[Tensor]) -> str:
    """Words for answers ``given`` to the first trials, of which at least one is wrong."""
    named = name_of_mistake(exercise, given)
    if named:
        return named
    number = _first_wrong(exercise, given)
    value, arguments = given[number - 1], exercise.trials[number - 1]
    right, tolerance = exercise.right_answers[number - 1], exercise.tolerance_for(value, *arguments)
    start = _so_far(number) + in_trial(exercise, number)
    if value.shape != right.shape:
        return start + of_shape(value, right, tolerance, dict(zip(exercise.parameters, arguments, strict=True)))
    where, its, wanted = first_difference(value, right, tolerance)
    its, wanted = told_apart(its, wanted)
    hint = of_values(given, exercise.right_answers[: len(given)]) or of_values([value], [right])
    return f"{start}{where} should be {wanted}, yours is {its}.{hint}"


def _first_wrong(exercise: "Exercise", given: Sequence[Tensor]) -> int:
    """The number of the first trial whose answer is wrong, from 1."""
    for number, value in enumerate(given, start=1):
        if not exercise.agrees(value, number):
            return number
    raise ValueError("every answer is right")


def too_far(exercise: "Exercise", arguments: tuple, given: Tensor, right: Tensor) -> str:
    """Words for an answer that is lost at large arguments."""
    if given.shape != right.shape:
        named = dict(zip(exercise.parameters, arguments, strict=True))
        return f"others {of_shape(given, right, exercise.tolerance, named)}"
    where, its, wanted = first_difference(given, right, exercise.tolerance_for(given, *arguments))
    its, wanted = told_apart(its, wanted)
    place = where.removeprefix("the value at ").removeprefix("it")
    value = f"value {place}" if place else "it"
    return f"{sizes(exercise.parameters, arguments)} {value} should be {wanted}, yours is {its}"


def sizes(names: Sequence[str], arguments: tuple) -> str:
    """Words for arguments that are special by their size."""
    return f"others ({', '.join(_ranges(names, arguments))})"


def _ranges(names: Sequence[str], arguments: tuple) -> Iterator[str]:
    for name, value in zip(names, arguments, strict=True):
        if isinstance(value, Tensor) and value.is_floating_point():
            least, most = value.aminmax()
            between = f" from {least.item():g} to {most.item():g}" if least < most else f" = {most.item():g}"
            yield f"`{name}`{between}"
        elif isinstance(value, int | float):
            yield f"`{name}` = {value}"


def _so_far(number: int) -> str:
    if number == 1:
        return ""
    if number == 2:
        return "trial 1 is right; "
    return f"trials 1 {'and' if number == 3 else 'to'} {number - 1} are right; "
