"""Exercise of chapter 10: how many comparisons a side tell two win rates apart."""

from collections.abc import Callable

import torch
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, vector
from dpo_book.maths.power import comparisons_to_tell

__all__ = ["check_comparisons_needed"]

Z_LEVEL = 1.96  # both as the exercise's text gives them
Z_POWER = 0.8416


def _if_alike(p_a: Tensor, p_b: Tensor) -> Tensor:
    """n times the variance of the difference if both rates were their mean."""
    mean = (p_a + p_b) / 2
    return 2 * mean * (1 - mean)


def _as_they_are(p_a: Tensor, p_b: Tensor) -> Tensor:
    """n times the variance of the difference."""
    return p_a * (1 - p_a) + p_b * (1 - p_b)


def _solved(by_level: Tensor, by_power: Tensor, p_a: Tensor, p_b: Tensor) -> Tensor:
    return ((by_level + by_power) / (p_a - p_b)) ** 2


def _needed(p_a: Tensor, p_b: Tensor, z_level: float = Z_LEVEL, z_power: float = Z_POWER) -> Tensor:
    by_level = z_level * _if_alike(p_a, p_b).sqrt()
    by_power = z_power * _as_they_are(p_a, p_b).sqrt()
    return _solved(by_level, by_power, p_a, p_b)


def _comparisons_needed(p_a: Tensor, p_b: Tensor) -> Tensor:
    return _needed(p_a, p_b)


def _at(z_level: float, z_power: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The mistake of other quantiles."""

    def mistaken(p_a: Tensor, p_b: Tensor) -> Tensor:
        return _needed(p_a, p_b, z_level, z_power)

    return mistaken


def _with_variances(
    of_level: Callable[[Tensor, Tensor], Tensor], of_power: Callable[[Tensor, Tensor], Tensor]
) -> Callable[[Tensor, Tensor], Tensor]:
    """The mistake of other variances, n times that of the difference: under the null hypothesis, and in truth."""

    def mistaken(p_a: Tensor, p_b: Tensor) -> Tensor:
        by_level = Z_LEVEL * of_level(p_a, p_b).sqrt()
        by_power = Z_POWER * of_power(p_a, p_b).sqrt()
        return _solved(by_level, by_power, p_a, p_b)

    return mistaken


def _of_a(p_a: Tensor, p_b: Tensor) -> Tensor:
    return 2 * p_a * (1 - p_a)


def _of_b(p_a: Tensor, p_b: Tensor) -> Tensor:
    return 2 * p_b * (1 - p_b)


def _one_half(p_a: Tensor, p_b: Tensor) -> Tensor:
    return torch.full_like(p_a, 0.5)


def _half_if_alike(p_a: Tensor, p_b: Tensor) -> Tensor:
    return _if_alike(p_a, p_b) / 2


def _of_their_sum(p_a: Tensor, p_b: Tensor) -> Tensor:
    return 2 * (p_a + p_b) * (1 - p_a - p_b)


def _without_roots(p_a: Tensor, p_b: Tensor) -> Tensor:
    return _solved(Z_LEVEL * _if_alike(p_a, p_b), Z_POWER * _as_they_are(p_a, p_b), p_a, p_b)


def _squared_apart(p_a: Tensor, p_b: Tensor) -> Tensor:
    return (Z_LEVEL**2 * _if_alike(p_a, p_b) + Z_POWER**2 * _as_they_are(p_a, p_b)) / (p_a - p_b) ** 2


def _by_arcsine(p_a: Tensor, p_b: Tensor) -> Tensor:
    """With Cohen's h, 2 asin √p_a − 2 asin √p_b, whose variance is 2/n whatever the rates."""
    h = 2 * p_a.sqrt().asin() - 2 * p_b.sqrt().asin()
    return 2 * ((Z_LEVEL + Z_POWER) / h) ** 2


def _continuity_corrected(p_a: Tensor, p_b: Tensor) -> Tensor:
    """Fleiss, Tytun and Ury (1980)."""
    n = _needed(p_a, p_b)
    return n / 4 * (1 + (1 + 4 / (n * (p_a - p_b).abs())).sqrt()) ** 2


check_comparisons_needed = Exercise(
    "comparisons_needed",
    _comparisons_needed,
    [
        (vector(0.9, 0.35, 0.7, 0.2), vector(0.6, 0.65, 0.55, 0.15)),
        (vector(0.57), vector(0.61)),
        (vector(0.8, 0.3), vector(0.5, 0.55)),
        in_float32((vector(0.75, 0.1, 0.62), vector(0.4, 0.3, 0.52))),
        (vector(158 / 256, 0.55, 0.3, 0.95, 0.52), vector(146 / 256, 0.5, 0.9, 0.8, 0.7)),
        (vector(1.0, 0.0), vector(0.85, 0.4)),
    ],
    {
        "every rate has the variance p (1 − p), and a difference has both: this is half of what is needed.": (
            lambda a, b: _needed(a, b) / 2
        ),
        "these are both sides together: the number of one side is asked for.": lambda a, b: 2 * _needed(a, b),
        "the power is missing: with 1.96 alone, every second such study misses the difference.": _at(Z_LEVEL, 0.0),
        "the level is missing: z_power alone leaves no room for chance.": _at(0.0, Z_POWER),
        "this is a one-sided test: two-sided, 2.5 % lie beyond 1.96 on each side.": _at(1.645, Z_POWER),
        "this is a power of 90 %: z_power is 0.8416 for 80 %.": _at(Z_LEVEL, 1.2816),
        "this is a level of 1 %: z_level is 1.96 for 5 %.": _at(2.5758, Z_POWER),
        "the power itself stands where its quantile belongs: Φ(0.8416) is 0.8.": _at(Z_LEVEL, 0.8),
        "z_level is taken for the power, too: that is a power of 97.5 %.": _at(Z_LEVEL, Z_LEVEL),
        "z_power is subtracted: that is a power of 20 %.": _at(Z_LEVEL, -Z_POWER),
        "quantiles or variances are exchanged: 1.96 goes with 2 p̄ (1 − p̄), 0.8416 with the rates as they are.": _at(
            Z_POWER, Z_LEVEL
        ),
        "the squares are added: the sum is squared, (… + …)², as both distances lie between the two rates.": (
            _squared_apart
        ),
        "the difference is not squared: half the difference needs four times as many.": (
            lambda a, b: _needed(a, b) * (a - b).abs()
        ),
        "the difference is not squared: divide by (p_a − p_b)², which has no sign.": (
            lambda a, b: _needed(a, b) * (a - b)
        ),
        "the difference is missing: divide by (p_a − p_b)².": lambda a, b: _needed(a, b) * (a - b) ** 2,
        "this is the root of what is needed: the square is missing.": lambda a, b: _needed(a, b).sqrt(),
        "the two quantiles have one variance, that of the rates as they are: the level's is 2 p̄ (1 − p̄).": (
            _with_variances(_as_they_are, _as_they_are)
        ),
        "the two quantiles have one variance, 2 p̄ (1 − p̄): the power's is p_a (1 − p_a) + p_b (1 − p_b).": (
            _with_variances(_if_alike, _if_alike)
        ),
        "the factor 2 is missing in 2 p̄ (1 − p̄): each side has such a variance.": (
            _with_variances(_half_if_alike, _as_they_are)
        ),
        "p_a stands where the mean p̄ belongs.": _with_variances(_of_a, _as_they_are),
        "p_b stands where the mean p̄ belongs.": _with_variances(_of_b, _as_they_are),
        "p̄ is the sum of the rates here: it is their mean.": _with_variances(_of_their_sum, _as_they_are),
        "only p_a has a variance here: p_b is measured, too.": _with_variances(_of_a, _of_a),
        "only p_b has a variance here: p_a is measured, too.": _with_variances(_of_b, _of_b),
        "the variance is that of two rates of one half: it is largest there, so this is the most, not the number.": (
            _with_variances(_one_half, _one_half)
        ),
        "the roots are missing: a quantile times a standard deviation is a distance.": _without_roots,
        "this is the rule of thumb 16 p̄ (1 − p̄)/(p_a − p_b)²: the formula is asked for.": (
            lambda a, b: 8 * _if_alike(a, b) / (a - b) ** 2
        ),
        "this is the formula with arcsines (Cohen's h): it is close, and another one.": _by_arcsine,
        "a continuity correction is added: the formula is asked for as it is.": _continuity_corrected,
        "rounded up: return the number as it is, as the text asks.": lambda a, b: _needed(a, b).ceil(),
        "rounded: return the number as it is, as the text asks.": lambda a, b: _needed(a, b).round(),
        "cut to a whole number: return the number as it is, as the text asks.": lambda a, b: _needed(a, b).floor(),
        "one is added: return the number as it is, as the text asks.": lambda a, b: _needed(a, b) + 1,
    },
    "With 256 comparisons a side, how far above 0.57 must a win rate be to be told from it with this power?",
    # so that exact quantiles are as right as 1.96 and 0.8416
    tolerance=1e-4,
    own=[comparisons_to_tell],
)
