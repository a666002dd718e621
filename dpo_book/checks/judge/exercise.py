"""One exercise: what is right, on what an answer is tried, and what to say of a wrong one."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from IPython import get_ipython
from IPython.display import display
from torch import Tensor

from dpo_book.checks.judge.answers import Fault, read, same
from dpo_book.checks.judge.calling import NotWritten, OutOfRange, call, require_function
from dpo_book.checks.judge.explain import explain, in_trial, sizes, too_far
from dpo_book.checks.judge.lineup import Lineup
from dpo_book.checks.judge.slopes import Slopes
from dpo_book.checks.judge.trials import in_float64, is_float32
from dpo_book.checks.judge.verdict import Verdict
from dpo_book.checks.judge.watch import Rules

FLOAT32 = 1e-4  # of a result in float32, whose numbers have seven digits, after some sums and exponentials
FAR_AWAY = "right for ordinary numbers, but for"


@dataclass(frozen=True)
class Exercise:
    """One code exercise; called with the reader's function it shows what it found.

    solution: a right function; its parameters have the names that the exercise's text uses.
    trials: arguments that every right answer takes, whatever its style.
    mistakes: what to say → the function that makes that mistake; same parameters.
    thought: one thing to think about once it is right.
    far: arguments so large that a clamp shows. Where a plain formula overflows there, that is said and forgiven.
    extreme: arguments that the exercise's text says an answer has to survive.
    trains: parameters by which training differentiates the answer; the answer's gradient has to be right, too.
    distributions: parameters whose exponentials sum to 1 over the last dimension, which no step of training changes.
    own: functions of the book that are the answer. on_the_page: names of functions of the chapter that are.
    by_hand: the text forbids autograd.
    tolerance: relative; 1e-5 lets float32 inside an answer pass, and distinct formulas differ by far more.
    some_numbers: the answer is a few numbers, which a tuple holds as well as a list.
    """

    name: str
    solution: Callable[..., Tensor]
    trials: Sequence[tuple]
    mistakes: Mapping[str, Callable[..., Tensor]]
    thought: str
    far: Sequence[tuple] = ()
    extreme: Sequence[tuple] = ()
    trains: Sequence[str] = ()
    distributions: Sequence[str] = ()
    own: Sequence[Callable] = ()
    on_the_page: Sequence[str] = ()
    by_hand: bool = False
    tolerance: float = 1e-5
    some_numbers: bool = False

    @cached_property
    def rules(self) -> Rules:
        return Rules(self.own, self.on_the_page, self.by_hand)

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.solution).parameters)

    def __call__(self, student: Callable) -> None:
        """Show the judgement of ``student``: wrapped between words on a page, printed in a terminal."""
        verdict = self.judge(student)
        if get_ipython() is None:
            print(verdict)
        else:
            display(verdict)

    def judge(self, student: Callable) -> Verdict:
        """Is it right, and what to say about it."""
        try:
            require_function(student, self.parameters)
            self._require_right(student)
            note = self._reach(student)
            self.slopes.require(student)
        except NotWritten as stub:
            return Verdict(False, f"{self.name}: {stub}")
        except Fault as fault:
            return Verdict(False, f"✗ {self.name}: {fault}")
        return Verdict(True, f"✓ {self.name}: right. {self.thought}{note}")

    def right_answer(self, arguments: tuple) -> Tensor:
        """The right answer, computed in float64 also where the arguments are not: nothing is better than it."""
        return read(self.solution(*in_float64(arguments)), a_tuple_will_do=True).detach().double()

    @cached_property
    def right_answers(self) -> list[Tensor]:
        """Of all trials."""
        return [self.right_answer(arguments) for arguments in self.trials]

    @cached_property
    def lineup(self) -> Lineup:
        return Lineup(self)

    @cached_property
    def slopes(self) -> Slopes:
        return Slopes(self)

    def answer(self, student: Callable, arguments: tuple) -> Tensor:
        """What ``student`` gives for arguments, which stay as they are. Fault where that is no value."""
        value = call(student, self.parameters, copy.deepcopy(arguments), self.rules)
        return read(value, self.some_numbers).detach()

    def tolerance_for(self, *values: object) -> float:
        """The tolerance where any of these is a tensor in float32: arguments, or an answer."""
        return max(self.tolerance, FLOAT32) if is_float32(values) else self.tolerance

    def agrees(self, given: Tensor, number: int) -> bool:
        """Is it the right answer to trial ``number``, from 1?"""
        tolerance = self.tolerance_for(given, *self.trials[number - 1])
        return same(given, self.right_answers[number - 1], tolerance)

    def _require_right(self, student: Callable) -> None:
        """Fault that explains the first wrong answer, or says why there is none."""
        given: list[Tensor] = []
        for number, arguments in enumerate(self.trials, start=1):
            try:
                given.append(self.answer(student, arguments))
            except NotWritten:
                raise
            except Fault as fault:
                if self._are_right(given):
                    raise Fault(f"{in_trial(self, number)}{fault}" if number > 1 else str(fault)) from fault
                break
        if not self._are_right(given):
            self._require_the_same_twice(student, given)
            raise Fault(explain(self, given))

    def _are_right(self, given: Sequence[Tensor]) -> bool:
        return all(self.agrees(value, number) for number, value in enumerate(given, start=1))

    def _require_the_same_twice(self, student: Callable, given: Sequence[Tensor]) -> None:
        """Fault where a second call gives another value."""
        for first, arguments in zip(given, self.trials, strict=False):
            if not same(self.answer(student, arguments), first, FLOAT32, nan_is_nan=True):
                raise Fault("it gives another value when it is called again: is something drawn at random?")

    def _reach(self, student: Callable) -> str:
        """A note on overflow that is forgiven, or "". Fault where large arguments are cut off, or have to survive."""
        note = ""
        for arguments in self.far:
            note = self._forgiven(student, arguments) or note
        for arguments in self.extreme:
            given = self._answer_far_away(student, arguments)
            self._require_far_away(given, arguments, ": the text asks that it survives them.")
        return note

    def _forgiven(self, student: Callable, arguments: tuple) -> str:
        """A note where a plain formula overflows. Fault where the answer is a number, and another one."""
        try:
            given = self._answer_far_away(student, arguments)
        except OutOfRange as error:
            return f" ({error}. That is forgiven here.)"
        note, right = "", self.right_answer(arguments)
        if given.shape == right.shape and not given.isfinite().all():
            note = f" (For {too_far(self, arguments, given, right)}, by overflow: that is forgiven here.)"
            given = given.where(given.isfinite(), right)
        self._require_far_away(given, arguments, ". Is something clamped or rounded off?")
        return note

    def _answer_far_away(self, student: Callable, arguments: tuple) -> Tensor:
        """The answer, where what keeps it from being one may come of the arguments' size."""
        try:
            return self.answer(student, arguments)
        except Fault as fault:
            kind = OutOfRange if isinstance(fault, OutOfRange) else Fault
            raise kind(f"{FAR_AWAY} {sizes(self.parameters, arguments)} {fault}") from fault

    def _require_far_away(self, given: Tensor, arguments: tuple, why: str) -> None:
        right = self.right_answer(arguments)
        if not same(given, right, self.tolerance_for(given, *arguments)):
            raise Fault(f"{FAR_AWAY} {too_far(self, arguments, given, right)}{why}")
