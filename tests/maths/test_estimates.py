"""Intervals of means: Wilson's with and without ties, the normal one, and the bootstrap."""

import itertools
import math

import numpy as np
import pytest
import torch

from dpo_book.maths import estimates
from dpo_book.maths.coverage import binomial
from dpo_book.maths.estimates import (
    Z95,
    bootstrap_interval,
    bootstrap_share_interval,
    estimate,
    normal_share_interval,
    ratio_estimate,
    share_interval,
    win_rate_interval,
)


def outcomes(wins, ties, losses):
    return torch.tensor([1.0] * wins + [0.5] * ties + [0.0] * losses)


def test_the_normal_interval_is_the_textbook_s():
    value, low, high = normal_share_interval(0.9, 50)
    half = 1.959964 * math.sqrt(0.9 * 0.1 / 50)
    assert (value, low, high) == pytest.approx((0.9, 0.9 - half, 0.9 + half), abs=1e-12)


def test_the_normal_interval_leaves_0_to_1_and_has_no_width_at_the_ends():
    assert normal_share_interval(0.98, 50).high > 1
    assert normal_share_interval(1.0, 50) == (1.0, 1.0, 1.0)
    assert share_interval(1.0, 50).low < 0.95  # Wilson's does


# ------------------------------------------------------------------ win rates with ties


@pytest.mark.parametrize(("wins", "losses"), [(158, 98), (50, 0), (0, 1), (1, 3)])
def test_without_ties_it_is_wilson_s(wins, losses):
    n = wins + losses
    # float64 sums of at most 256 terms
    assert win_rate_interval(outcomes(wins, 0, losses)) == pytest.approx(share_interval(wins / n, n), abs=1e-12)


@pytest.mark.parametrize("counts", [(20, 10, 20), (45, 4, 1), (3, 250, 3), (0, 5, 0), (1, 1, 0)])
def test_its_ends_solve_the_equation_that_it_names(counts):
    o = outcomes(*counts).double().numpy()
    n, mean = len(o), o.mean()
    d = (o * (1 - o)).sum() / (n + Z95**2)
    found = win_rate_interval(outcomes(*counts))
    for end in found[1:]:
        assert (mean - end) ** 2 == pytest.approx(Z95**2 * (end * (1 - end) - d) / n, abs=1e-12)


def test_outcomes_between_win_and_tie_count_too():
    both_orders = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0, 1.0])
    o = both_orders.numpy().astype(float)
    shrunk = 1 + Z95**2 / 6
    half = Z95 / shrunk * math.sqrt(np.var(o) / 6 + Z95**2 / (4 * 36))
    middle = (o.mean() + Z95**2 / 12) / shrunk
    assert win_rate_interval(both_orders) == pytest.approx((o.mean(), middle - half, middle + half), abs=1e-12)


def test_ties_make_it_narrower_but_never_a_point():
    split, half_ties, ties = (outcomes(*counts) for counts in ((25, 0, 25), (12, 26, 12), (0, 50, 0)))
    widths = [found.high - found.low for found in map(win_rate_interval, (split, half_ties, ties))]
    assert widths[0] > widths[1] > widths[2] > 0.05


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float16])
def test_wins_of_any_type_are_taken(dtype):
    wins = outcomes(3, 0, 1)
    assert win_rate_interval(wins.to(dtype)) == win_rate_interval(wins)


@pytest.mark.parametrize("value", [1.5, -0.1, math.nan, math.inf])
def test_an_outcome_outside_0_to_1_is_refused(value):
    with pytest.raises(ValueError, match=r"outcomes must be in \[0, 1\]"):
        win_rate_interval(torch.tensor([0.0, value, 1.0]))


@pytest.mark.parametrize("shape", [(0,), (2, 3), ()])
def test_outcomes_are_one_a_comparison(shape):
    with pytest.raises(ValueError, match=r"outcomes must be of shape \(n,\)"):
        win_rate_interval(torch.ones(shape))


# ------------------------------------------------------------------ bootstrap


def test_the_bootstrap_has_the_percentiles_of_all_resamples():
    values = [0.0, 1.0, 2.0, 5.0, 9.0]
    means = np.sort([np.mean(drawn) for drawn in itertools.product(values, repeat=5)])
    exact = np.quantile(means, [0.025, 0.975])
    found = bootstrap_interval(torch.tensor(values), resamples=20_000)
    # A percentile of 20,000 draws is off by 0.1 of the percent; the exact quantiles of 2.2 to 2.8 % are within 0.2.
    assert found == pytest.approx((3.4, *exact), abs=0.2)


def test_the_bootstrap_of_a_share_has_binomial_percentiles():
    _, low, high = bootstrap_share_interval(0.9, 50, resamples=20_000)
    below = binomial(torch.tensor([0.9]), 50)[0].cumsum(0)
    k_low, k_high = round(50 * low), round(50 * high)
    assert below[k_low - 1] < 0.025 <= below[k_low] and below[k_high - 1] < 0.975 <= below[k_high]


def test_many_values_are_drawn_in_parts(monkeypatch):
    values = torch.randn(40, generator=torch.Generator().manual_seed(0))
    whole = bootstrap_interval(values, resamples=50)
    monkeypatch.setattr(estimates, "DRAWN_AT_ONCE", 100)
    assert bootstrap_interval(values, resamples=50) == pytest.approx(whole, abs=1e-12)


def test_a_seed_gives_one_interval():
    first, again, other = (bootstrap_share_interval(0.5, 20, seed=seed, resamples=100) for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("values", [torch.ones(0), torch.ones(2, 2), torch.tensor(1.0)])
def test_the_bootstrap_takes_one_value_a_sample(values):
    with pytest.raises(ValueError, match=r"values must be of shape \(n,\)"):
        bootstrap_interval(values)


def test_nan_goes_on_into_the_bootstrap_s_interval():
    assert all(math.isnan(end) for end in bootstrap_interval(torch.tensor([1.0, math.nan])))


def test_a_share_of_no_whole_number_is_refused():
    with pytest.raises(ValueError, match=r"share must be a whole number among 50, got 0.617, that is 30.85"):
        bootstrap_share_interval(0.617, 50)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_nothing_or_of_all_lies_in_its_own_interval(share):
    for n in range(1, 400):  # rounding left it outside at 142 of them
        found = share_interval(share, n)
        assert found.low <= share <= found.high


# ------------------------------------------------------------------ ratios


def test_a_ratio_of_samples_of_one_size_is_a_mean():
    values = torch.tensor([1.0, 2.0, 4.0, 9.0], dtype=torch.float64)
    assert ratio_estimate(3 * values, torch.full((4,), 3)) == pytest.approx(estimate(values), rel=1e-12)


def test_a_ratio_s_error_is_that_of_repeated_samples():
    """2,000 samples of 50 texts: the error's own error is 1/√4,000 of it; 5 % are three of those and the bias."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(5, 40, (2000, 50), generator=generator)
    sums = 2.0 * sizes + sizes.sqrt() * torch.randn(2000, 50, generator=generator) + 3
    found = [ratio_estimate(*sample) for sample in zip(sums, sizes, strict=True)]
    spread = torch.tensor([ratio for ratio, _ in found]).std().item()
    assert sum(error for _, error in found) / 2000 == pytest.approx(spread, rel=0.05)
    assert found[0].mean == pytest.approx((sums[0].double().sum() / sizes[0].sum()).item(), rel=1e-12)


def test_sums_and_sizes_have_one_shape():
    with pytest.raises(ValueError, match="one shape"):
        ratio_estimate(torch.ones(3), torch.ones(4))
    with pytest.raises(ValueError, match="at least two samples"):
        ratio_estimate(torch.ones(1), torch.ones(1))
