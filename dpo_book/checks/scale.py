"""Exercises of chapter 11: the memory of training, the gradient of uneven parts, and three broken logs."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dpo_book.checks import Exercise, random_case
from dpo_book.checks.broken_runs import CAUSES, PATIENTS

# Parameters of a model, tokens that are scored, words of its vocabulary.
SIZES = [(124_439_808, 3_000, 50_257), (1_100_000, 512, 2_048)]
# Gradients of K = 3 parts' mean losses, each of D = 4 numbers, and how many pairs each part has.
PARTS = [
    (random_case(seed, (3, 4))[0], torch.tensor(sizes, dtype=torch.float64))
    for seed, sizes in ((0, [16, 16, 5]), (1, [7, 1, 2]))
]


def _bytes(parameters: int, logits: int, numbers: int = 4, size: int = 4) -> Tensor:
    """numbers: kept for every parameter: weight, gradient, two moments. size: bytes of each."""
    return torch.tensor(size * (numbers * parameters + logits), dtype=torch.float64)


check_training_bytes = Exercise(
    "training_bytes",
    SIZES,
    lambda n, tokens, vocabulary: _bytes(n, tokens * vocabulary),
    {
        "AdamW's two moments are missing: each is as large as the weights.": lambda n, t, v: _bytes(n, t * v, 2),
        "AdamW keeps two numbers a parameter, not one.": lambda n, t, v: _bytes(n, t * v, 3),
        "this counts numbers; each has four bytes.": lambda n, t, v: _bytes(n, t * v, size=1),
        "only the weights and the logits are there: training keeps gradients and moments too.": (
            lambda n, t, v: _bytes(n, t * v, 1)
        ),
        "the logits are missing: 4 bytes for every scored token and every word of the vocabulary.": (
            lambda n, t, v: _bytes(n, 0)
        ),
        "a token has a logit for every word of the vocabulary, not one.": lambda n, t, v: _bytes(n, t),
    },
    "At how many tokens do the logits of GPT-2's vocabulary outweigh all the rest?",
)


def _weighted(gradients: Tensor, sizes: Tensor) -> Tensor:
    return (sizes / sizes.sum()) @ gradients


check_whole_gradient = Exercise(
    "whole_gradient",
    PARTS,
    _weighted,
    {
        "every part weighs the same here, though some have fewer pairs.": lambda g, n: g.mean(dim=0),
        "a sum over parts of means is K times too long: weigh each by its share of the pairs.": (
            lambda g, n: g.sum(dim=0)
        ),
        "weighed by the sizes, but not divided by their sum: shares must add up to 1.": lambda g, n: n @ g,
        "divided by the number of parts once more: the shares add up to 1 already.": (
            lambda g, n: _weighted(g, n) / len(n)
        ),
        "divided by the largest part instead of by all pairs.": lambda g, n: (n / n.max()) @ g,
        "small parts weigh most here: the share is n over the sum, not its inverse.": (
            lambda g, n: (n.reciprocal() / n.reciprocal().sum()) @ g
        ),
    },
    "The parts may lie on other machines. What do they have to send each other?",
)

LIST = list(CAUSES)
# What a log with this cause shows that others do not; tests/test_scale.py holds each against a run.
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
    return lambda: torch.tensor([1.0 + LIST.index(other.get(name, cause)) for name, cause in PATIENTS.items()])


check_diagnosis = Diagnosis(
    "diagnosis",
    [()],
    _answer(),
    {
        _not_this(name, cause): _answer(**{name: cause})
        for name, right in PATIENTS.items()
        for cause in LIST
        if cause != right
    },
    "Which of the six would a held-out accuracy have shown at once, and which would it not?",
)
