"""Instant feedback on exercises: a check says whether an answer is right, and else which mistake it looks like.

A check runs the student's function on fixed inputs and compares with the right answer; a wrong answer is compared
with the answers of known mistakes. ``EXERCISES`` lists all of them for the tests.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

EXERCISES: dict[str, "Exercise"] = {}


@dataclass(frozen=True)
class Exercise:
    """One code exercise; called with the student's function it prints what it found.

    cases: the arguments of each trial call, float64 and without special structure, so that two different
    formulas do not agree on them by luck. solution: the right function. mistakes: what to say → the function
    that makes that mistake. thought: one thing to think about once it is right.
    """

    name: str
    cases: Sequence[tuple]
    solution: Callable[..., Tensor]
    mistakes: Mapping[str, Callable[..., Tensor]]
    thought: str
    answers: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "answers", [self.solution(*case) for case in self.cases])
        if self.name in EXERCISES:
            raise ValueError(f"there are two exercises of the name {self.name!r}")
        EXERCISES[self.name] = self

    def __call__(self, student: Callable[..., Tensor]) -> None:
        """Print the judgement of ``student``."""
        print(self.judge(student)[1])

    def judge(self, student: Callable[..., Tensor]) -> tuple[bool, str]:
        """(is it right, what to say about it)."""
        try:
            given = [_as_tensor(student(*_copied(case))) for case in self.cases]
        except NotImplementedError:
            return False, f"{self.name}: not written yet. Replace the line that raises NotImplementedError."
        except Exception as error:  # whatever a student's code raises is feedback, not a crash
            return False, f"✗ {self.name}: your function stopped with {type(error).__name__}: {error}"
        if _same(given, self.answers):
            return True, f"✓ {self.name}: right. {self.thought}"
        for what, mistaken in self.mistakes.items():
            if _same(given, [mistaken(*case) for case in self.cases]):
                return False, f"✗ {self.name}: {what}"
        if given[0].shape != self.answers[0].shape:
            expected, got = tuple(self.answers[0].shape), tuple(given[0].shape)
            return False, f"✗ {self.name}: the result should have shape {expected}, yours has {got}."
        expected, got = self.answers[0].flatten()[0], given[0].flatten()[0]
        return (
            False,
            f"✗ {self.name}: on the first trial the first value should be {expected:.4f}, yours is {got:.4f}.",
        )


def _as_tensor(value: object) -> Tensor:
    if value is None:
        raise TypeError("it returned None; is a return missing?")
    return torch.as_tensor(value, dtype=torch.float64).detach()


def _copied(case: tuple) -> tuple:
    """Arguments of the student's own: changing them in place cannot change the answer."""
    return tuple(value.clone() if isinstance(value, Tensor) else value for value in case)


def _same(given: Sequence[Tensor], answers: Sequence[Tensor]) -> bool:
    # 1e-5 lets float32 inside the student's function pass; distinct formulas differ by far more on these inputs.
    return all(
        a.shape == b.shape and torch.allclose(a, b.double(), rtol=1e-5, atol=1e-7)
        for a, b in zip(given, answers, strict=True)
    )


def random_case(seed: int, *shapes: tuple[int, ...], offset: float = 0.0) -> tuple[Tensor, ...]:
    """Tensors of normal float64 numbers plus ``offset``, fixed by ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) + offset for shape in shapes)
