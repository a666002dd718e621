"""The difference of two policies' win rates against one opponent: on the same prompts, or on different ones."""

import math

from torch import Tensor

from dpo_book.maths.estimates import Estimate, estimate
from dpo_book.maths.require import SettingError, require_share
from dpo_book.maths.shapes import require_one_shape

ROUNDING = 1e-12


def unpaired_difference(outcomes_a: Tensor, outcomes_b: Tensor) -> Estimate:
    """mean(a) − mean(b) of outcomes on different prompts, (n_a,) and (n_b,): the variances of both means add up."""
    a = estimate(outcomes_a)
    b = estimate(outcomes_b)
    return Estimate(a.mean - b.mean, math.hypot(a.standard_error, b.standard_error))


def paired_difference(outcomes_a: Tensor, outcomes_b: Tensor) -> Estimate:
    """The same for outcomes on the same prompts, (n,) both: what a prompt does to both policies drops out."""
    require_one_shape(outcomes_a=outcomes_a, outcomes_b=outcomes_b)
    return estimate(outcomes_a.double() - outcomes_b.double())


def variance_of_pairing(correlation: float, share_a: float = 0.5, share_b: float = 0.5) -> float:
    """The variance of a paired difference over that of an unpaired one, for two true win rates.

    Var(a − b) / (Var a + Var b) = 1 − 2ρ s_a s_b / (s_a² + s_b²), with s² = share (1 − share) and ρ the correlation
    of the outcomes on a prompt; with equal shares, 1 − ρ. So many times as many comparisons do, paired.

    Wins and losses of unlike shares cannot agree everywhere: SettingError for a correlation that no two have.
    """
    if not -1 <= correlation <= 1:  # written so that NaN fails too
        raise SettingError(f"correlation must be in [-1, 1], got {correlation!r}")
    require_share("share_a", share_a)
    require_share("share_b", share_b)
    variance_a = share_a * (1 - share_a)
    variance_b = share_b * (1 - share_b)
    if variance_a + variance_b == 0:
        raise SettingError("share_a and share_b must not both be 0 or 1, where nothing varies")
    covariance = correlation * math.sqrt(variance_a * variance_b)
    least = max(0.0, share_a + share_b - 1) - share_a * share_b  # both win as seldom as can be
    most = min(share_a, share_b) - share_a * share_b  # and as often
    if not least - ROUNDING <= covariance <= most + ROUNDING:
        raise SettingError(
            f"correlation {correlation:g} is not possible between shares of {share_a:g} and {share_b:g}"
        )
    return 1 - 2 * covariance / (variance_a + variance_b)
