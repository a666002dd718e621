"""Power: the formulas against exact sums over every possible count, and the paper's own numbers."""

import math
from statistics import NormalDist

import pytest
import torch

from dpo_book.maths.coverage import binomial
from dpo_book.maths.power import (
    comparisons_to_tell,
    normal_quantile,
    normal_share,
    power_of_difference,
    rejection_chance,
    two_sided_p,
    z_of_difference,
)

LIMIT = NormalDist().inv_cdf(0.975)


def exact_power(share_a, share_b, n):
    """The chance of |z| > 1.96 over all pairs of counts, z written out anew."""
    a, b = binomial(torch.tensor([share_a, share_b], dtype=torch.float64), n)
    k = torch.arange(n + 1, dtype=torch.float64)
    mean = (k[:, None] + k[None, :]) / (2 * n)
    error = (2 * mean * (1 - mean) / n).sqrt()
    z = (k[:, None] - k[None, :]) / n / error  # NaN where both are 0 or n, which tells nothing apart
    return (a[:, None] * b[None, :])[z.abs() > LIMIT].sum().item()


def test_the_normal_distribution_is_python_s():
    for z in (-5.0, -1.0, 0.0, 0.3, 2.0):
        assert normal_share(z) == pytest.approx(NormalDist().cdf(z), abs=1e-12)
    for share in (0.001, 0.5, 0.8, 0.975):
        assert normal_quantile(share) == pytest.approx(NormalDist().inv_cdf(share), abs=1e-9)
    assert two_sided_p(-LIMIT) == two_sided_p(LIMIT) == pytest.approx(0.05, abs=1e-9)


def test_the_paper_s_158_and_146_of_256_are_1_08_errors_apart():
    z = z_of_difference(158 / 256, 146 / 256, 256)
    assert z == pytest.approx(1.08, abs=0.005)
    assert z_of_difference(146 / 256, 158 / 256, 256) == -z
    assert two_sided_p(z) == pytest.approx(0.28, abs=0.005)


def test_57_and_61_of_100_take_2373_comparisons_a_side():
    n = comparisons_to_tell(0.57, 0.61)
    assert n == 2373
    # Fleiss's formula, its quantiles from Python
    reach = LIMIT * math.sqrt(2 * 0.59 * 0.41) + NormalDist().inv_cdf(0.8) * math.sqrt(0.57 * 0.43 + 0.61 * 0.39)
    assert n == math.ceil(reach**2 / 0.04**2)


def test_256_a_side_had_a_power_of_15_of_100():
    assert power_of_difference(0.57, 0.61, 256) == pytest.approx(0.151, abs=5e-4)


@pytest.mark.parametrize(("a", "b", "n"), [(0.57, 0.61, 256), (0.57, 0.61, 1500), (0.5, 0.6, 300), (0.5, 0.5, 256)])
def test_power_is_that_of_all_possible_counts(a, b, n):
    # Counts are whole numbers, so that the difference jumps by 1 / n. Half a jump is 0.04 standard errors at 300,
    # which moves the power by up to 0.04 · 0.4 = 0.016.
    assert power_of_difference(a, b, n) == pytest.approx(exact_power(a, b, n), abs=0.016)


@pytest.mark.parametrize(("a", "b"), [(0.57, 0.61), (0.2, 0.25), (0.9, 0.95), (0.5, 0.51)])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_number_is_the_least_with_that_power(a, b, power):
    n = comparisons_to_tell(a, b, power)
    # the far tail, which the formula leaves out, is 4e-5 at a power of one half
    assert power_of_difference(a, b, n) >= power
    assert power_of_difference(a, b, n - 1) < power + 5e-5
    assert comparisons_to_tell(b, a, power) == n


def test_a_stricter_level_takes_more():
    assert comparisons_to_tell(0.57, 0.61, level=0.01) > comparisons_to_tell(0.57, 0.61) > 2000
    assert power_of_difference(0.57, 0.61, 256, level=0.01) < 0.06


def test_where_nothing_differs_the_power_is_the_level():
    for level in (0.01, 0.05, 0.3):
        assert power_of_difference(0.6, 0.6, 1000, level) == pytest.approx(level, abs=1e-12)


def test_a_test_without_spread_is_certain():
    assert (rejection_chance(2.0, 0.0), rejection_chance(-2.0, 0.0), rejection_chance(1.0, 0.0)) == (1.0, 1.0, 0.0)
    assert power_of_difference(0.0, 1.0, 100) == 1.0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"share_a": 1.2}, "share_a must be in"),
        ({"share_b": math.nan}, "share_b must be in"),
        ({"share_a": 0.61}, "must differ, both are 0.61"),
        ({"power": 1.0}, "power must be above 0 and below 1"),
        ({"power": 0.3}, "power must be at least 0.5"),
        ({"level": 0.0}, "level must be above 0 and below 1"),
    ],
)
def test_wrong_arguments_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        comparisons_to_tell(**{"share_a": 0.57, "share_b": 0.61} | arguments)


def test_no_comparison_and_no_variance_have_no_power():
    with pytest.raises(ValueError, match="n must be a whole number of at least 1"):
        power_of_difference(0.5, 0.6, 0)
    with pytest.raises(ValueError, match="nothing varies"):
        power_of_difference(1.0, 1.0, 10)
