"""Win rates from the qualities of answers: of two policies on the same prompts, over seeds; and the stored table."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from dpo_book.frontier.by_temperature import PEOPLE
from dpo_book.maths.estimates import Interval, share_interval
from dpo_book.maths.shapes import require_one_shape

RUN = ["world", "method", "strength", "seed"]  # columns that tell a run


def outcomes(qualities: Tensor, other_qualities: Tensor) -> Tensor:
    """1 where the first is better, 0 where it is worse, 0.5 for the very same quality; any one shape, float64."""
    require_one_shape(qualities=qualities, other_qualities=other_qualities)
    return ((qualities - other_qualities).sign().double() + 1) / 2


def win_rate_over_seeds(by_seed: Sequence[Tensor]) -> Interval:
    """The mean of outcomes (P,) of several seeds on the same prompts, with its 95 % interval.

    A prompt's outcomes depend on each other, so it counts by their mean. Such means vary less than wins and losses
    do: P of them tell as much as P · μ (1 − μ) / variance independent comparisons, and of so many this is Wilson's
    interval. It is for other prompts, and these seeds. Where all means are the same, P is taken.
    """
    means = torch.stack(list(by_seed)).double().mean(dim=0)
    rate = means.mean().item()
    variance = means.var(correction=0).item()
    tell = len(means) * rate * (1 - rate) / variance if variance else len(means)
    return share_interval(rate, round(tell))


def read_answers(path: Path) -> pd.DataFrame:
    """A table of ``tools.by_temperature``; ``qualities`` are tensors (P,) again, and so are ``words``.

    last: whether a row is of a finished policy.
    """
    answers = pd.read_csv(path)
    for column in ("qualities", "words"):
        answers[column] = answers[column].map(_numbers)
    latest = answers.groupby(RUN)["step"].transform("max")
    return answers.assign(last=answers["step"] == latest)


def rates_by(column: str, answers: pd.DataFrame, others: pd.DataFrame) -> dict[float, Interval]:
    """The win rate of ``answers`` against ``others`` at each value of ``column``, over the seeds of both.

    Rows meet at the same seed and temperature; people's, who have neither, meet all. ValueError where a policy has
    several rows of one seed at a value: choose a step.
    """
    met = ["world", "seed", "temperature"]
    if set(others["method"]) == {PEOPLE}:
        met = ["world"]
    meetings = answers.merge(others, on=met, suffixes=("", "_of_other"))
    rates = {}
    for value, at_value in meetings.groupby(column):
        if at_value.duplicated(["method", "seed"]).any():
            raise ValueError(f"several rows of one seed at {column} {value:g}: choose a step and a temperature")
        both = zip(at_value["qualities"], at_value["qualities_of_other"], strict=True)
        by_seed = [outcomes(ours, theirs) for ours, theirs in both]
        rates[value] = win_rate_over_seeds(by_seed)
    return rates


def wins_between(groups: Sequence[pd.DataFrame]) -> Tensor:
    """How often each of n policies won over each other one, a tie half, over prompts and seeds: (n, n) float64.

    groups: a policy's rows, one a seed, in the order of the seeds.
    """
    qualities = [torch.stack(list(rows["qualities"])) for rows in groups]  # (seeds, P) each
    wins = torch.zeros(len(groups), len(groups), dtype=torch.float64)
    for i, ours in enumerate(qualities):
        for j, theirs in enumerate(qualities):
            if i != j:
                wins[i, j] = outcomes(ours, theirs).sum()
    return wins


def _numbers(text: str) -> Tensor:
    return torch.tensor([float(number) for number in text.split()], dtype=torch.float64)
