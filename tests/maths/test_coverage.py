"""Which intervals hold the truth as often as they say: exact sums over all outcomes, and simulation beside them."""

import itertools
import math

import pytest
import torch

from dpo_book.maths.coverage import binomial, exact_coverage, simulated_coverage
from dpo_book.maths.estimates import (
    bootstrap_share_interval,
    normal_share_interval,
    share_interval,
    win_rate_interval,
)

SHARES = torch.tensor([0.5, 0.57, 0.61, 0.9], dtype=torch.float64)


def wilson(k, n):
    """Written out from the quadratic (k/n − p)² = z² p (1 − p) / n."""
    z2 = 1.959964**2
    a, b, c = 1 + z2 / n, 2 * k / n + z2 / n, (k / n) ** 2
    root = math.sqrt(b * b - 4 * a * c)
    return (b - root) / (2 * a), (b + root) / (2 * a)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_binomial_chances_are_those_of_counting(share):
    expected = [math.comb(9, k) * share**k * (1 - share) ** (9 - k) for k in range(10)]
    assert binomial(torch.tensor([share], dtype=torch.float64), 9)[0].tolist() == pytest.approx(expected, abs=1e-12)


def test_coverage_is_the_share_of_all_sequences_whose_interval_holds_the_truth():
    n, p = 9, 0.61
    held = 0.0
    for sequence in itertools.product((0, 1), repeat=n):
        low, high = wilson(sum(sequence), n)
        chance = math.prod(p if won else 1 - p for won in sequence)
        held += chance * (low <= p <= high)
    found = exact_coverage(share_interval, torch.tensor([p], dtype=torch.float64), n)
    assert found.item() == pytest.approx(held, abs=1e-9)


@pytest.mark.parametrize(
    ("n", "expected"), [(50, (0.9351, 0.9556, 0.9588, 0.9703)), (256, (0.9475, 0.9498, 0.9532, 0.9529))]
)
def test_wilson_s_holds_the_truth_in_93_to_97_of_100(n, expected):
    """One is outside, by 0.03 of a percent: 90 % of 50, on the safe side."""
    found = exact_coverage(share_interval, SHARES, n).tolist()
    assert found == pytest.approx(expected, abs=5e-5)
    assert all(0.93 < coverage < 0.9704 for coverage in found)


def test_the_normal_one_misses_the_truth_near_1():
    found = exact_coverage(normal_share_interval, torch.tensor([0.9, 0.98], dtype=torch.float64), 50)
    assert found.tolist() == pytest.approx([0.8789, 0.6354], abs=5e-5)
    far = exact_coverage(normal_share_interval, torch.tensor([0.57, 0.61], dtype=torch.float64), 256)
    assert (far > 0.94).all()


def test_the_bootstrap_misses_it_there_too():
    def interval(share, n):
        return bootstrap_share_interval(share, n, resamples=400)

    at_61, at_98 = exact_coverage(interval, torch.tensor([0.61, 0.98], dtype=torch.float64), 50).tolist()
    # A percentile of 400 resamples is the neighbouring count now and then, which has a chance of up to 0.03.
    assert 0.92 < at_61 < 0.98
    # 50 wins of 50, whose every resample is 50 wins, have a chance of 0.98^50 = 0.364: there it has no width.
    assert at_98 == pytest.approx(1 - 0.98**50, abs=0.01)


# ------------------------------------------------------------------ with ties


def covered(interval, n, mean, tie):
    """The exact chance that an interval of win-tie-loss outcomes holds their mean: over all counts of the three."""
    win, loss, held = mean - tie / 2, 1 - mean - tie / 2, 0.0
    for wins in range(n + 1):
        for ties in range(n + 1 - wins):
            losses = n - wins - ties
            low, high = interval(wins, ties, losses)
            if low <= mean <= high:
                held += math.comb(n, wins) * math.comb(n - wins, ties) * win**wins * tie**ties * loss**losses
    return held


def by_own_variance(wins, ties, losses):
    return win_rate_interval(torch.tensor([1.0] * wins + [0.5] * ties + [0.0] * losses))[1:]


def as_if_binomial(wins, ties, losses):
    n = wins + ties + losses
    return wilson(wins + ties / 2, n)


def normal(wins, ties, losses):
    n = wins + ties + losses
    mean = (wins + ties / 2) / n
    variance = (wins + ties / 4) / n - mean**2
    half = 1.959964 * math.sqrt(max(variance, 0) / (n - 1))
    return mean - half, mean + half


@pytest.mark.parametrize(("mean", "tie"), [(0.5, 0.3), (0.61, 0.1), (0.61, 0.3), (0.9, 0.05), (0.9, 0.1)])
def test_a_win_rate_with_ties_is_held_by_its_own_variance(mean, tie):
    assert 0.94 < covered(by_own_variance, 30, mean, tie) < 0.965


def test_what_others_do_about_ties_is_too_wide_or_too_narrow():
    assert covered(as_if_binomial, 30, 0.5, 0.6) > 0.995  # ties as if they varied like wins and losses
    assert covered(normal, 30, 0.9, 0.1) < 0.91  # their own variance, and no Wilson
    assert 0.95 < covered(by_own_variance, 30, 0.5, 0.6) < 0.975


# ------------------------------------------------------------------ by simulation


def test_simulation_agrees_with_the_exact_coverage():
    draws = torch.rand(1500, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = simulated_coverage(win_rate_interval, (draws < 0.9).double(), 0.9)
    assert found.low < exact_coverage(share_interval, SHARES[3:], 50).item() < found.high


def test_every_interval_is_counted_once():
    def interval(sample):
        return share_interval(sample[0].item(), 10)

    samples = torch.tensor([[0.5], [0.6], [0.0], [1.0]])
    assert simulated_coverage(interval, samples, 0.5) == share_interval(0.5, 4)


def test_what_cannot_be_covered_is_refused():
    with pytest.raises(ValueError, match=r"shares must be in \[0, 1\]"):
        exact_coverage(share_interval, torch.tensor([1.2]), 50)
    with pytest.raises(ValueError, match="n must be a whole number"):
        exact_coverage(share_interval, SHARES, 0)
    with pytest.raises(ValueError, match=r"samples must be of shape \(trials, n\)"):
        simulated_coverage(win_rate_interval, torch.ones(5), 0.5)
