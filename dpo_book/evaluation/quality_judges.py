"""Judges that know the truth: one that always tells it, and one with noise and biases of known size."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dpo_book.data.rows import show
from dpo_book.evaluation.judges import Answer, Judge, JudgeError, Shown
from dpo_book.maths.require import require_finite, require_positive, require_seed

Quality = Callable[[str, str], float]  # of a text as a response to a prompt: quality(prompt, text)
Qualities = Callable[[Sequence[str], Sequence[str]], Sequence[float]]  # of many at once


def exact_judge(quality: Quality) -> Judge:
    """The text of higher quality wins; a tie only where both have the very same. A world's ``reward`` is a quality.

    JudgeError for a quality that is not a finite number.
    """

    def one_by_one(prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
        return [quality(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]

    return judge_by(one_by_one)


def judge_by(qualities: Qualities) -> Judge:
    """``exact_judge`` of qualities that are computed for many prompts and texts at once.

    Each distinct text is rated once a call, so a text ties with itself, and both orders compare the same two numbers.
    """

    def judge(shown: Sequence[Shown]) -> list[Answer]:
        return [_higher(*rated) for rated in _rated(qualities, shown)]

    return judge


def _higher(first: float, second: float) -> Answer:
    explanation = f"quality {first:.4g} against {second:.4g}"
    if first == second:
        return Answer("tie", explanation)
    return Answer("first" if first > second else "second", explanation)


def _rated(qualities: Qualities, shown: Sequence[Shown]) -> list[tuple[float, float]]:
    """The qualities of the first and the second text of all that is shown."""
    wanted = {}  # of each prompt and text, in order
    for prompt, first, second in shown:
        wanted[prompt, first] = wanted[prompt, second] = None
    if not wanted:
        return []
    prompts, texts = zip(*wanted, strict=True)
    values = list(qualities(prompts, texts))
    if len(values) != len(texts):
        raise JudgeError(f"{len(texts)} texts were to be rated and {len(values)} qualities came")
    for (prompt, text), value in zip(wanted, values, strict=True):
        wanted[prompt, text] = _finite(value, text)
    return [(wanted[prompt, first], wanted[prompt, second]) for prompt, first, second in shown]


def _finite(value: float, text: str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise JudgeError(f"the quality of {show(text)} is {number}: a judge compares finite numbers")
    return number


# ------------------------------------------------------------------ with noise and biases


@dataclass(frozen=True, kw_only=True)
class SyntheticJudge:
    """A judge that prefers by Bradley–Terry (eq. 1), with biases: p(first) = σ(Δq/noise + position + length · Δw).

    Δq, Δw: how much more quality, and how many more words, the first text has than the second. noise: how much
    quality makes one nat, so a larger one means more chance. position_bias: nats in favour of what is shown first.
    length_bias: nats in favour of the longer text, for each word more. Below zero they favour the second and the
    shorter. It knows no ties.

    A coin is made of the seed and of what is shown: asked the same again it says the same, whatever else it is asked,
    and its answers to different questions are independent. A question that stands in a list twice has two coins.
    """

    quality: Quality
    noise: float
    position_bias: float = 0.0
    length_bias: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        require_positive("noise", self.noise)
        require_finite("position_bias", self.position_bias)
        require_finite("length_bias", self.length_bias)
        require_seed("seed", self.seed)

    def first_probability(self, shown: Sequence[Shown]) -> Tensor:
        """With which probability it says that the first text is better: (n,) float64, exact."""
        margins = []
        for prompt, first, second in shown:
            difference = self._quality_of(prompt, first) - self._quality_of(prompt, second)
            words = len(first.split()) - len(second.split())
            margins.append(difference / self.noise + self.position_bias + self.length_bias * words)
        return torch.tensor(margins, dtype=torch.float64).sigmoid()

    def __call__(self, shown: Sequence[Shown]) -> list[Answer]:
        probabilities = self.first_probability(shown).tolist()
        times = Counter()
        answers = []
        for one, probability in zip(shown, probabilities, strict=True):
            coin = _coin(self.seed, one, times[one])
            times[one] += 1
            place = "first" if coin < probability else "second"
            answers.append(Answer(place, f"the first was better with probability {probability:.4f}"))
        return answers

    def _quality_of(self, prompt: str, text: str) -> float:
        return _finite(self.quality(prompt, text), text)


def _coin(seed: int, shown: Shown, time: int) -> float:
    """A number in [0, 1], uniform over what it is made of."""
    content = json.dumps([seed, time, *shown])
    digest = hashlib.sha256(content.encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64
