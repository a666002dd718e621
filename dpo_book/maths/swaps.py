"""The swap test: what the same comparisons, shown in both orders, say about a judge's bias for a place.

A judge of logistic position bias δ sees a margin m: shown first, a wins with chance σ(m + δ), shown second with
σ(m − δ). Both verdicts fall on the first place with chance σ(m + δ) (1 − σ(m − δ)), both on the second with
(1 − σ(m + δ)) σ(m − δ). The ratio of the two is exp(2δ), whatever the margin.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from dpo_book.maths.estimates import Interval, share_interval, win_rate_interval
from dpo_book.maths.power import rejection_chance
from dpo_book.maths.require import SettingError, require_count, require_share
from dpo_book.maths.shapes import require_verdicts


class SwapTest(NamedTuple):
    """What both orders of n comparisons say, each with its 95 % interval."""

    consistent: Interval  # share of comparisons with one verdict in both orders
    bias: Interval  # share of verdicts for the first place, minus 1/2; ties half
    bias_nats: Interval  # the same in log-odds: δ
    win_rate: Interval  # of a, the mean of both orders
    z: float  # standard errors between the bias and none

    def __str__(self) -> str:
        return f"consistent {self.consistent}, bias {self.bias} or {self.bias_nats} nats, win rate {self.win_rate}"


def swap_test(shown_first: Tensor, shown_second: Tensor) -> SwapTest:
    """Consistency, position bias and corrected win rate from the same comparisons in both orders.

    Both (n,): what a gets, 1 for a win, 0 for a loss, 0.5 for a tie, with a shown first and with a shown second. The
    two verdicts of a comparison depend on each other, so a comparison counts as one outcome, the mean of both.

    The win rate is what the judge would say without bias, to first order in δ; a strong bias pulls it towards 1/2.
    If no comparison has both verdicts on one place, nothing is known of δ: NaN, from −∞ to ∞.
    """
    require_verdicts(shown_first=shown_first, shown_second=shown_second)
    first, second = shown_first.cpu().double(), shown_second.cpu().double()
    n = len(first)
    same = (first == second).double().mean().item()
    first_place = (first + 1 - second) / 2  # the share of a comparison's verdicts for what was shown first
    share = win_rate_interval(first_place)
    return SwapTest(
        consistent=share_interval(same, n),
        bias=Interval(*(end - 0.5 for end in share)),
        bias_nats=_log_odds_bias(first, second),
        win_rate=win_rate_interval((first + second) / 2),
        z=_z(first_place - 0.5),
    )


def _log_odds_bias(first: Tensor, second: Tensor) -> Interval:
    """δ = ½ log(both verdicts for the first place / both for the second), by Wilson's interval of that share."""
    both_first = int(((first == 1) & (second == 0)).sum())
    both_second = int(((first == 0) & (second == 1)).sum())
    if both_first + both_second == 0:  # nothing to learn from
        return Interval(math.nan, -math.inf, math.inf)
    share = share_interval(both_first / (both_first + both_second), both_first + both_second)
    half_log_odds = torch.tensor(share, dtype=torch.float64).logit() / 2
    return Interval(*half_log_odds.tolist())


def _z(deviations: Tensor) -> float:
    """Σ d / √Σ d²: without bias, every deviation is as likely with the other sign. McNemar's test (1947)."""
    size = deviations.square().sum().sqrt().item()
    return deviations.sum().item() / size if size else 0.0


def swap_power(bias: float, consistent: float, n: int, level: float = 0.05) -> float:
    """The chance that the swap test of n comparisons, two-sided at ``level``, finds this bias.

    bias: the share of verdicts for the first place, minus 1/2. consistent: the share of comparisons with one verdict
    in both orders. Without ties, a deviation is ± 1/2 in the others: Σ d has mean n · bias, and its variance is
    n ((1 − consistent) / 4 − bias²).
    """
    require_share("consistent", consistent)
    require_count("n", n)
    swayed = 1 - consistent
    if not 2 * abs(bias) <= swayed + 1e-12:  # written so that NaN fails too
        raise SettingError(f"bias must be within ±{swayed / 2:g}, half the share of inconsistent ones; got {bias!r}")
    if swayed == 0:
        raise SettingError("consistent must be below 1: a judge that no order sways has no bias to find")
    mean = 2 * bias * math.sqrt(n / swayed)
    spread = math.sqrt(max(0.0, 1 - 4 * bias**2 / swayed))
    return rejection_chance(mean, spread, level)
