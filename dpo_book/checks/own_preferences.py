"""Exercises of chapter 12: two looks at a file of preferences, the choice of a run, and three broken logs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dpo_book.checks import Exercise
from dpo_book.checks.broken_runs import CAUSES, PATIENTS

# Tokens of the chosen and of the rejected completion of some pairs; in some they are equally many.
LENGTHS = [
    (torch.tensor([12, 7, 9, 20, 5, 8, 8]), torch.tensor([10, 7, 11, 4, 3, 8, 2])),
    (torch.tensor([3, 6, 4, 4, 9]), torch.tensor([5, 6, 9, 1, 12])),
]


def _shares(longer: float, equal: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A share in which a pair counts so much if its chosen is longer, and so much if both are equally long."""

    def share(chosen: Tensor, rejected: Tensor) -> Tensor:
        return (longer * (chosen > rejected) + equal * (chosen == rejected)).double().mean()

    return share


def _without_ties(chosen: Tensor, rejected: Tensor) -> Tensor:
    differ = chosen != rejected
    return (chosen > rejected)[differ].double().mean()


def _shorter_share(chosen: Tensor, rejected: Tensor) -> Tensor:
    return _longer_share(rejected, chosen)


def _mean_difference(chosen: Tensor, rejected: Tensor) -> Tensor:
    return (chosen - rejected).double().mean()


def _count(chosen: Tensor, rejected: Tensor) -> Tensor:
    return len(chosen) * _longer_share(chosen, rejected)


_longer_share = _shares(1.0, 0.5)

check_longer_share = Exercise(
    "longer_share",
    LENGTHS,
    _longer_share,
    {
        "equally long pairs count as not longer here: each says nothing, and counts half.": _shares(1.0, 0.0),
        "equally long pairs count as longer here: each says nothing, and counts half.": _shares(1.0, 1.0),
        "equally long pairs are left out; here they stay in, and count half.": _without_ties,
        "this is how often the *rejected* one is longer.": _shorter_share,
        "this is by how much the chosen is longer, not how often.": _mean_difference,
        "a count; divide by the number of pairs.": _count,
    },
    "From how many pairs on is a share of 0.55 more than chance? (The interval of chapter 12's table says.)",
)


# Prompts of training rows and of held-out rows.
PROMPTS = [
    (
        ["The plot is", "The lead", "I saw it", "The lead"],
        ["The lead", "The film", "The lead", "I saw", "The plot is"],
    ),
    (["What a", "A joy"], ["What", "What a", "What", "It is", "A joy to"]),
]


def _leaked(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    known = set(train)
    return torch.tensor([float(prompt in known) for prompt in held_out], dtype=torch.float64)


def _fresh(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return 1 - _leaked(train, held_out)


def _of_training(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return _leaked(held_out, train)


def _repeated(_train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return torch.tensor([float(list(held_out).count(prompt) > 1) for prompt in held_out], dtype=torch.float64)


def _within(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    everything = "\n".join(train)
    return torch.tensor([float(prompt in everything) for prompt in held_out], dtype=torch.float64)


def _how_many(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return _leaked(train, held_out).sum()


def _distinct(train: Sequence[str], held_out: Sequence[str]) -> Tensor:
    return torch.tensor(float(len(set(train) & set(held_out))), dtype=torch.float64)


check_leaked_prompts = Exercise(
    "leaked_prompts",
    PROMPTS,
    _leaked,
    {
        "this marks the rows that are fresh: 1 belongs to those whose prompt training has.": _fresh,
        "this marks rows of training; asked for are the held-out ones.": _of_training,
        "this marks prompts that come twice among the held-out rows; compare them with training.": _repeated,
        "a prompt that only begins like one of training counts here; compare whole prompts.": _within,
        "one number for every held-out row is asked for, not how many there are.": _how_many,
        "a prompt that comes in two held-out rows counts once here; give one number for every row.": _distinct,
    },
    "Would it find a prompt that differs in a space or a capital? What would?",
)


# Held-out loss of some runs, its standard error, and their KL from the reference.
SWEEPS = [
    (
        torch.tensor([0.640, 0.655, 0.648, 0.690, 0.700, 0.652], dtype=torch.float64),
        torch.tensor([0.010, 0.012, 0.011, 0.013, 0.080, 0.014], dtype=torch.float64),
        torch.tensor([4.00, 0.50, 2.50, 0.10, 0.20, 9.00], dtype=torch.float64),
    ),
    (
        torch.tensor([0.675, 0.630, 0.618, 0.610, 0.622], dtype=torch.float64),
        torch.tensor([0.009, 0.010, 0.012, 0.015, 0.030], dtype=torch.float64),
        torch.tensor([0.30, 0.90, 3.00, 6.00, 8.00], dtype=torch.float64),
    ),
]


def _least_among(allowed: Tensor, kl: Tensor) -> Tensor:
    return kl.where(allowed, torch.inf).argmin().double()


def _choose(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    best = loss.argmin()
    return _least_among(loss <= loss[best] + error[best], kl)


def _lowest_loss(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return loss.argmin().double()


def _lowest_kl(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return kl.argmin().double()


def _own_errors(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return _least_among(loss - error <= loss.min(), kl)


def _farthest(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    best = loss.argmin()
    return kl.where(loss <= loss[best] + error[best], -torch.inf).argmax().double()


def _counted_from_one(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return _choose(loss, error, kl) + 1


check_choose = Exercise(
    "choose",
    SWEEPS,
    _choose,
    {
        "this is the run with the lowest loss; one within its standard error strays less.": _lowest_loss,
        "this is the run that strays least of all, whatever its loss.": _lowest_kl,
        "every run is measured by its own error here, so that a noisy one gets in: use the best's.": _own_errors,
        "among the runs allowed this takes the one with the largest KL; nothing is gained by straying.": _farthest,
        "runs are counted from 0, as in Python.": _counted_from_one,
    },
    "The losses share their held-out pairs. Is the error of a *difference* between two of them larger or smaller?",
)


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


@dataclass(frozen=True)
class Diagnosis(Exercise):
    """An exercise whose answer is one cause a patient, by its number from 1; every wrong one is judged by itself."""

    def judge(self, student: Callable[[], list[int]]) -> tuple[bool, str]:
        try:
            given = torch.as_tensor(student(), dtype=torch.float64)
        except Exception:  # the general judgement says what is wrong with it
            return super().judge(student)
        if given.shape != (len(PATIENTS),):
            return super().judge(student)
        if not set(given.tolist()) <= set(range(1, len(LIST) + 1)):
            what = f"the first value should be the number of log A's cause, from 1 to {len(LIST)}, and so on."
            return False, f"✗ {self.name}: {what}"
        for (name, cause), number in zip(PATIENTS.items(), given.tolist(), strict=True):
            if LIST[int(number) - 1] != cause:
                return False, f"✗ {self.name}: {_not_this(name, LIST[int(number) - 1])}"
        return super().judge(student)


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
    return wrong


check_diagnosis = Diagnosis(
    "diagnosis",
    [()],
    _answer(),
    _wrong_answers(),
    "Which of the six would a held-out accuracy have shown at once, and which would it not?",
)
