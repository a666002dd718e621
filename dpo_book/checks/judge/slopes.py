"""The slope of an answer: what training needs of a loss beyond its value, and what ``.detach()`` or NumPy lose.

The right slope is found by central differences of the right answer, so that it needs no autograd of its own.
"""

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dpo_book.checks.judge.answers import Fault, first_difference, read, same, told_apart
from dpo_book.checks.judge.calling import call

if TYPE_CHECKING:
    from dpo_book.checks.judge.exercise import Exercise

STEP = 1e-5  # the error of a central difference is of the order of its square
TOLERANCE = 1e-4
NOTHING = (
    "the values are right, but they carry no gradient, so training could not move anything: is there a `.detach()`, "
    "`.item()`, `float()`, `torch.tensor(...)` or NumPy in it?"
)
NAN = " (nan: what a `where` or a mask leaves out must be a number, too.)"
DETACHED = " Is a part of the formula detached?"


class Slopes:
    """The right slopes of one exercise, by every parameter that training moves, on its float64 trials."""

    def __init__(self, exercise: "Exercise"):
        self._exercise = exercise
        self._places = [exercise.parameters.index(name) for name in exercise.trains]
        self._right: dict[int, list[Tensor]] = {}  # trial → a slope for each of the places

    def require(self, student: Callable) -> None:
        """Fault unless the answer's gradient is right."""
        for number, arguments in enumerate(self._exercise.trials):
            if self._places and all(arguments[place].dtype == torch.float64 for place in self._places):
                self._require_on(student, number)

    def _require_on(self, student: Callable, number: int) -> None:
        leaves = list(copy.deepcopy(self._exercise.trials[number]))
        for place in self._places:
            leaves[place].requires_grad_()
        answer = self._answer(student, leaves)
        right_slopes = self._right_slopes(number)
        if not answer.requires_grad:
            if any(slope.abs().max() > TOLERANCE for slope in right_slopes):
                raise Fault(NOTHING)
            return  # an answer that is constant here, such as log 1, need not know of its arguments
        weighed = (_weights(answer.detach()) * answer).sum()
        slopes = torch.autograd.grad(weighed, [leaves[place] for place in self._places], allow_unused=True)
        for place, slope, right in zip(self._places, slopes, right_slopes, strict=True):
            _require_same(
                self._exercise.parameters[place], torch.zeros_like(right) if slope is None else slope, right
            )

    def _answer(self, student: Callable, leaves: Sequence) -> Tensor:
        exercise = self._exercise
        try:
            value = call(student, exercise.parameters, self._normalised(leaves), exercise.rules)
            return read(value, exercise.some_numbers)
        except Fault as fault:
            raise Fault(f"the values are right, but on tensors that require a gradient {fault}") from fault

    def _right_slopes(self, number: int) -> list[Tensor]:
        if number not in self._right:
            self._right[number] = [self._right_slope(number, place) for place in self._places]
        return self._right[number]

    def _right_slope(self, number: int, place: int) -> Tensor:
        slope = torch.zeros_like(self._exercise.trials[number][place])
        for at in range(slope.numel()):
            ahead, behind = (self._weighed(number, place, at, step) for step in (STEP, -STEP))
            slope.view(-1)[at] = (ahead - behind) / (2 * STEP)
        return slope

    def _weighed(self, number: int, place: int, at: int, step: float) -> Tensor:
        moved = list(copy.deepcopy(self._exercise.trials[number]))
        moved[place].view(-1)[at] += step
        answer = self._exercise.right_answer(self._normalised(moved))
        return (_weights(answer) * answer).sum()

    def _normalised(self, arguments: Sequence) -> tuple:
        """The arguments with every distribution normalised: formulas that agree on those may differ elsewhere."""
        normalised = list(arguments)
        for name in self._exercise.distributions:
            place = self._exercise.parameters.index(name)
            normalised[place] = arguments[place].log_softmax(-1)
        return tuple(normalised)


def _weights(answer: Tensor) -> Tensor:
    """One for every value, all different, so that no two slopes cancel or are exchanged unseen."""
    return torch.linspace(1.0, 2.0, answer.numel(), dtype=answer.dtype).reshape(answer.shape)


def _require_same(name: str, slope: Tensor, right: Tensor) -> None:
    if not same(slope, right, TOLERANCE):
        where, its, wanted = first_difference(slope, right, TOLERANCE)
        its, wanted = told_apart(its, wanted)
        raise Fault(
            f"the values are right, but not their gradient by `{name}`: {where} should be {wanted}, yours is {its}."
            + (NAN if slope.isnan().any() else DETACHED)
        )
