"""Which mistake gives these wrong answers? One of the exercise's own, one that can happen anywhere, or two."""

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dpo_book.checks.judge import suspects
from dpo_book.checks.judge.answers import read, same

if TYPE_CHECKING:
    from dpo_book.checks.judge.exercise import Exercise

MATCH = 10  # times the tolerance of a right answer: a mistake may amplify rounding
LOOSEST = 1e-3  # but distinct mistakes must not be taken for each other

Change = Callable[[Tensor, tuple], Tensor]  # of an answer, and of the arguments that it belongs to


def name_of_mistake(exercise: "Exercise", given: Sequence[Tensor]) -> str:
    """Words for the first mistake that makes answers ``given`` to the first trials; "" where none is known."""
    lineup = exercise.lineup
    for words, function in exercise.mistakes.items():
        if lineup.matches(given, function, _as_it_is):
            return words
    if not any(value.isfinite().any() for value in given):
        return ""  # nan is like nan, whatever it comes of
    plain = _constant(given) or _copied_argument(exercise, given)
    if plain:
        return plain
    in_arguments = [(words, function, _as_it_is) for words, function in lineup.functions]
    of_results = [(words, exercise.solution, change) for words, change in lineup.changes]
    for words, function, change in chain(in_arguments, of_results, lineup.twofold()):
        if lineup.matches(given, function, change):
            return words
    return ""


def _as_it_is(answer: Tensor, _arguments: tuple) -> Tensor:
    return answer


class Lineup:
    """The suspects of one exercise: functions that are mistaken, and changes of what a function gives.

    What a function gives on a trial is kept: the next wrong answer is compared with the same.
    """

    def __init__(self, exercise: "Exercise"):
        self._exercise = exercise
        self._values: dict[tuple[Callable, int], Tensor | None] = {}
        example = exercise.trials[0]
        self.functions = list(exercise.mistakes.items())
        for suspect in suspects.of_arguments(exercise.parameters, example):
            self.functions.append((suspect.words, _with_arguments(exercise.solution, suspect.change)))
        self.changes: list[tuple[str, Change]] = []
        for suspect in suspects.OF_RESULTS:
            self.changes.append((suspect.words, _of_answer(suspect.change)))
        for suspect in suspects.of_factors(exercise.parameters, example):
            self.changes.append((suspect.words, _times(suspect.change)))

    def twofold(self) -> Iterator[tuple[str, Callable, Change]]:
        """A mistaken function, and a mistake in what becomes of its answer."""
        for first, function in self.functions:
            for second, change in self.changes:
                yield f"two things at once. First, {first} And then, beside that, {second}", function, change

    def matches(self, given: Sequence[Tensor], function: Callable, change: Change) -> bool:
        """Does ``change`` of what ``function`` gives agree with the reader's answers, on every trial that has one?"""
        differs = False  # from the right answer: where it does not, the mistake explains nothing
        for number, value in enumerate(given):
            wrong = self._changed(number, function, change)
            if wrong is None or not self._close(number, value, wrong):
                return False
            differs = differs or not self._close(number, wrong, self._exercise.right_answers[number])
        return differs

    def _changed(self, number: int, function: Callable, change: Change) -> Tensor | None:
        value = self._value(function, number)
        if value is None:
            return None
        try:
            return change(value, self._exercise.trials[number])
        except Exception:  # such as a mean along a dimension that is not there
            return None

    def _value(self, function: Callable, number: int) -> Tensor | None:
        if (function, number) not in self._values:
            self._values[function, number] = self._computed(function, number)
        return self._values[function, number]

    def _computed(self, function: Callable, number: int) -> Tensor | None:
        try:
            value = function(*copy.deepcopy(self._exercise.trials[number]))
            return read(value, a_tuple_will_do=True).detach()
        except Exception:  # a mistake that is impossible with these arguments
            return None

    def _close(self, number: int, one: Tensor, other: Tensor) -> bool:
        tolerance = self._exercise.tolerance_for(one, *self._exercise.trials[number])
        return same(one, other, max(tolerance, min(MATCH * tolerance, LOOSEST)), nan_is_nan=True)


def _with_arguments(function: Callable, change: Callable[[tuple], tuple]) -> Callable:
    def mistaken(*arguments: object) -> Tensor:
        return function(*change(arguments))

    return mistaken


def _of_answer(change: Callable[[Tensor], Tensor]) -> Change:
    def changed(answer: Tensor, _arguments: tuple) -> Tensor:
        return change(answer)

    return changed


def _times(factor: Callable[[tuple], float]) -> Change:
    def changed(answer: Tensor, arguments: tuple) -> Tensor:
        return answer * factor(arguments)

    return changed


def _constant(given: Sequence[Tensor]) -> str:
    """Words for answers that are one number, whatever the arguments."""
    everything = torch.cat([one.flatten() for one in given])
    if len(given) > 1 and everything.numel() > 1 and (everything == everything[0]).all():
        return f"it is {everything[0].item():g} whatever your function is given."
    return ""


def _copied_argument(exercise: "Exercise", given: Sequence[Tensor]) -> str:
    for place, name in enumerate(exercise.parameters):
        if _is_given_back(exercise, given, place):
            return f"it gives back `{name}` as it came."
    return ""


def _is_given_back(exercise: "Exercise", given: Sequence[Tensor], place: int) -> bool:
    for number, value in enumerate(given):
        argument = exercise.trials[number][place]
        if not isinstance(argument, Tensor) or not same(value, argument.double(), exercise.tolerance):
            return False
    return True
