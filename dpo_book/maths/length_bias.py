"""The win rate at equal length: what a judge's taste for long answers, and for a place, leaves of it."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from dpo_book.maths.estimates import Interval, interval
from dpo_book.maths.logistic import logistic_regression
from dpo_book.maths.shapes import require_one_shape, require_outcomes


class LengthControl(NamedTuple):
    """The win rate of a at equal length, and how much length and place weigh; all with 95 % intervals."""

    win_rate: Interval
    length: Interval  # nats in favour of a for each ``deviation`` by which a is longer
    position: Interval  # nats in favour of what is shown first
    deviation: float  # the standard deviation of the length differences, in the unit of the lengths


def length_control(wins: Tensor, extra_length: Tensor, a_is_first: Tensor) -> LengthControl:
    """How often a would win at equal length and in no particular place, by logistic regression.

    P(a wins) = σ(w₀ + w₁ · extra_length / deviation + w₂ · place), place being +1 with a shown first and −1 else; the
    win rate is σ(w₀). wins (n,): 1, 0 or 1/2; extra_length (n,): length of a minus that of b, in any unit;
    a_is_first (n,): bool. Raises as ``logistic_regression``.

    This is the plain form. AlpacaEval's length-controlled win rate (arXiv 2404.04475) also gives every instruction
    a difficulty, weighs it and length anew for every model, and regularises. Both take out whatever goes with
    length: also quality, where longer answers are better.
    """
    require_one_shape(wins=wins, extra_length=extra_length, a_is_first=a_is_first)
    require_outcomes(wins=wins)
    extra = extra_length.cpu().double()
    deviation = extra.std(correction=0).item()
    if not 0 < deviation < math.inf:
        raise ValueError("extra_length must be finite and vary: equal differences show no effect of length")
    first = a_is_first.cpu().bool()
    if first.all() or not first.any():
        raise ValueError("a_is_first must be True for some and False for others: else a place is no different from a")
    place = 2 * first.double() - 1
    features = torch.stack([torch.ones_like(extra), extra / deviation, place], dim=1)
    fit = logistic_regression(features, wins)
    log_odds, length, position = (interval(fit.estimate(k)) for k in range(3))
    win_rate = torch.tensor(log_odds, dtype=torch.float64).sigmoid()
    return LengthControl(Interval(*win_rate.tolist()), length, position, deviation)
