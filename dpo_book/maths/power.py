"""How many comparisons tell one win rate from another? Two-sided z-tests of shares, and their power."""

import math

import torch

from dpo_book.maths.require import SettingError, require_count, require_share


def normal_share(z: float) -> float:
    """Φ(z): the share of a normal distribution below z standard deviations."""
    return torch.special.ndtr(torch.tensor(z, dtype=torch.float64)).item()


def normal_quantile(share: float) -> float:
    """The z with Φ(z) = share; ValueError unless the share is above 0 and below 1."""
    _require_inside("share", share)
    return torch.special.ndtri(torch.tensor(share, dtype=torch.float64)).item()


def two_sided_p(z: float) -> float:
    """The chance of a z at least so far from 0 where nothing differs: 2 Φ(−|z|)."""
    return 2 * normal_share(-abs(z))


def rejection_chance(mean: float, spread: float, level: float = 0.05) -> float:
    """The power of a two-sided test at ``level`` whose z is normal with this mean and standard deviation.

    P(|z| > z_level) = Φ((mean − z_level) / spread) + Φ((−mean − z_level) / spread), where Φ(z_level) = 1 − level / 2.
    """
    _require_inside("level", level)
    limit = normal_quantile(1 - level / 2)
    if spread == 0:
        return float(abs(mean) > limit)
    above = normal_share((mean - limit) / spread)
    below = normal_share((-mean - limit) / spread)
    return above + below


def z_of_difference(share_a: float, share_b: float, n: int) -> float:
    """How many standard errors apart two shares are that were measured on n comparisons a side, unpaired.

    z = (share_a − share_b) / √(2 p̄ (1 − p̄) / n), with their mean p̄: the variance if both sides were alike.
    """
    require_count("n", n)
    variance_if_alike = _variances(share_a, share_b)[0]
    return (share_a - share_b) / math.sqrt(variance_if_alike / n)


def power_of_difference(share_a: float, share_b: float, n: int, level: float = 0.05) -> float:
    """The chance that ``z_of_difference`` tells two true shares apart with n comparisons a side, at ``level``.

    The z of a sample is about normal, around the z of the true shares.
    """
    z = z_of_difference(share_a, share_b, n)
    variance_if_alike, variance = _variances(share_a, share_b)
    return rejection_chance(z, math.sqrt(variance / variance_if_alike), level)


def comparisons_to_tell(share_a: float, share_b: float, power: float = 0.8, level: float = 0.05) -> int:
    """How many comparisons a side tell two true shares apart with this power, two-sided at ``level``, unpaired.

    n = (z_level √(2 p̄ (1 − p̄)) + z_power √(p_a (1 − p_a) + p_b (1 − p_b)))² / (p_a − p_b)², rounded up, where
    Φ(z_level) = 1 − level / 2 and Φ(z_power) = power: ``power_of_difference`` solved for n.
    """
    _require_inside("power", power)
    _require_inside("level", level)
    if power < 0.5:  # the formula leaves out the far tail, which counts where the power is low
        raise SettingError(f"power must be at least 0.5, got {power!r}")
    if share_a == share_b:
        raise SettingError(f"share_a and share_b must differ, both are {share_a!r}: no number tells them apart")
    variance_if_alike, variance = _variances(share_a, share_b)
    by_level = normal_quantile(1 - level / 2) * math.sqrt(variance_if_alike)
    by_power = normal_quantile(power) * math.sqrt(variance)
    return math.ceil(((by_level + by_power) / (share_a - share_b)) ** 2)


def _variances(share_a: float, share_b: float) -> tuple[float, float]:
    """n times the variance of a difference of two shares: if both were their mean, and as they are."""
    require_share("share_a", share_a)
    require_share("share_b", share_b)
    mean = (share_a + share_b) / 2
    if mean in (0, 1):
        raise SettingError("share_a and share_b must not both be 0 or both be 1, where nothing varies")
    return 2 * mean * (1 - mean), share_a * (1 - share_a) + share_b * (1 - share_b)


def _require_inside(name: str, value: float) -> None:
    require_share(name, value)
    if value in (0, 1):
        raise SettingError(f"{name} must be above 0 and below 1, got {value!r}")
