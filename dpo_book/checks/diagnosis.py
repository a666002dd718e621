"""An exercise of chapter 12: what is wrong with three broken runs, from their logs. To solve it, do not read on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dpo_book.checks.broken_runs import CAUSES, PATIENTS
from dpo_book.checks.judge import Exercise
from dpo_book.checks.judge.answers import Fault, read
from dpo_book.checks.judge.calling import call
from dpo_book.checks.judge.verdict import Verdict

__all__ = ["LIST", "SIGNS", "check_diagnosis"]

LIST = list(CAUSES)
# What a log with this cause shows that others do not; tests/checks/test_broken_runs.py holds each against a run.
SIGNS = {
    "the learning rate is far too high": "log-probabilities would fall by nats at once and the loss jump above 1",
    "the learning rate is far too low": "the log-probabilities would stay where they were at step 1",
    "β is 100 times too small": "rewards would stay near 0 while log-probabilities move a long way",
    "the labels are coin flips": "accuracy would stay near a half to the end, however far the policy moves",
    "the policy did not start from the reference": "rewards would differ from 0 at step 1 already",
    "a few pairs are seen again and again": "accuracy would reach 1 and the loss fall to almost 0",
}
FROM_ZERO = "the causes are counted from 1, as the list above prints them, and yours are counted from 0."


@dataclass(frozen=True)
class Diagnosis(Exercise):
    """An exercise whose answer is one cause a patient, by its number from 1; every wrong one is judged by itself."""

    def judge(self, student: Callable[[], list[int]]) -> Verdict:
        try:
            given = self.answer(student, ())
        except Fault:  # the general judgement says what is wrong with it
            return super().judge(student)
        what = _wrong_in(given)
        return Verdict(False, f"✗ {self.name}: {what}") if what else super().judge(student)

    def answer(self, student: Callable, arguments: tuple) -> Tensor:
        value = call(student, self.parameters, arguments, self.rules)
        if isinstance(value, Mapping):
            raise Fault("it returns a dict; a list is asked for, with the numbers of A, B and C in this order.")
        if _has_words(value):
            raise Fault(f"it returns words; give the number of each cause, from 1 to {len(LIST)}.")
        return read(value, a_tuple_will_do=True).detach()


def _has_words(value: object) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(one, str) for one in values)


def _wrong_in(given: Tensor) -> str:
    """What is wrong with these numbers, the first thing only; "" where nothing is."""
    if given.shape != (len(PATIENTS),):
        return f"three numbers are asked for, one for each log: shape (3,), and yours has {tuple(given.shape)}."
    if torch.equal(given + 1, check_diagnosis.right_answer(())):
        return FROM_ZERO
    if not set(given.tolist()) <= set(range(1, len(LIST) + 1)):
        return f"the first value should be the number of log A's cause, from 1 to {len(LIST)}, and so on."
    for (name, cause), number in zip(PATIENTS.items(), given.tolist(), strict=True):
        if LIST[int(number) - 1] != cause:
            return _not_this(name, LIST[int(number) - 1])
    return ""


def _not_this(name: str, cause: str) -> str:
    return f"not in log {name}: if {cause}, {SIGNS[cause]}."


def _answer(**other: str) -> Callable[[], Tensor]:
    numbers = [1.0 + LIST.index(other.get(name, cause)) for name, cause in PATIENTS.items()]

    def answer() -> Tensor:
        return torch.tensor(numbers)

    return answer


def _wrong_answers() -> dict[str, Callable[[], Tensor]]:
    """What is said of every wrong cause → the answer that is wrong there alone."""
    wrong = {}
    for name, right in PATIENTS.items():
        for cause in LIST:
            if cause != right:
                wrong[_not_this(name, cause)] = _answer(**{name: cause})
    wrong[FROM_ZERO] = _from_zero
    return wrong


def _from_zero() -> Tensor:
    return _answer()() - 1


check_diagnosis = Diagnosis(
    "diagnosis",
    _answer(),
    [()],
    _wrong_answers(),
    "Which of the six would a held-out accuracy have shown at once, and which would it not?",
    some_numbers=True,
)
