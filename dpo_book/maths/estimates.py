"""Means of samples with their standard errors, and 95 % intervals: normal, Wilson's, bootstrap."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from dpo_book.maths.require import require_count, require_seed, require_share
from dpo_book.maths.shapes import require_outcomes, require_tensors

Z95 = 1.959964  # 95 % of a normal distribution lie within so many standard deviations
DRAWN_AT_ONCE = 2**20  # values of a bootstrap: 16 MB


class Estimate(NamedTuple):
    """A mean over samples and its standard error, in the unit of what was sampled."""

    mean: float
    standard_error: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.standard_error:.2f}"


def estimate(values: Tensor) -> Estimate:
    """The mean of independent samples (n,), n at least 2, and its standard error; NaN if one is NaN."""
    require_tensors(values=values)
    if values.ndim != 1:
        raise ValueError(f"values must be of shape (n,), one a sample; got {tuple(values.shape)}")
    if len(values) < 2:
        raise ValueError("at least two samples are needed for a standard error")
    values = values.cpu().double()  # Apple's GPU has no float64
    return Estimate(values.mean().item(), (values.std() / len(values) ** 0.5).item())


def ratio_estimate(sums: Tensor, sizes: Tensor) -> Estimate:
    """Σ sums / Σ sizes over independent samples, both (n,), n at least 2: what a unit has, if samples differ in size.

    Such as the loss a token, of texts that have unlike many. Its standard error to first order (the delta method;
    Cochran, Sampling Techniques, 1977, section 6.3) is that of the mean of (sums − ratio · sizes) / mean size.
    """
    require_tensors(sums=sums, sizes=sizes)
    if sums.shape != sizes.shape:
        raise ValueError(f"sums and sizes must have one shape; got {tuple(sums.shape)} and {tuple(sizes.shape)}")
    sums, sizes = sums.cpu().double(), sizes.cpu().double()
    ratio = (sums.sum() / sizes.sum()).item()
    left = estimate((sums - ratio * sizes) / sizes.mean())
    return Estimate(ratio, left.standard_error)


class Interval(NamedTuple):
    """A value and the 95 % interval around it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


def interval(measured: Estimate) -> Interval:
    """95 % by the normal approximation: the mean ± 1.96 standard errors."""
    half = Z95 * measured.standard_error
    return Interval(measured.mean, measured.mean - half, measured.mean + half)


def share_interval(share: float, n: int) -> Interval:
    """Of a share among n, by Wilson (1927): it stays within [0, 1], and does not shrink to nothing at 0 or n.

    It solves (share − p)² = 1.96² p (1 − p) / n for p: the error is that of the true share, not of the measured one.
    ValueError unless the share is in [0, 1], and n a whole number of at least 1.
    """
    require_share("share", share)
    require_count("n", n)
    return _wilson(share, share * (1 - share), n)


def normal_share_interval(share: float, n: int) -> Interval:
    """Of a share among n by the normal approximation (Wald): share ± 1.96 √(share (1 − share) / n).

    It may leave [0, 1], and at a share of 0 or 1 it has no width at all: ``coverage`` shows what that costs.
    ValueError as for ``share_interval``.
    """
    require_share("share", share)
    require_count("n", n)
    return interval(Estimate(share, math.sqrt(share * (1 - share) / n)))


def win_rate_interval(outcomes: Tensor) -> Interval:
    """Of a mean of outcomes in [0, 1] such as wins 1, losses 0 and ties 1/2, of shape (n,).

    Wilson's, with the outcomes' own variance where his has share (1 − share): the same thing if there are no ties.
    A tie varies less than a win or a loss, so that Wilson's own would be too wide. It solves for the win rates μ
    with (mean − μ)² ≤ 1.96² (μ (1 − μ) − d) / n. Here μ (1 − μ) − d is an outcome's variance at a mean of μ, and
    d = E[o (1 − o)], 1/4 of the share of ties; d is estimated as if 1.96² wins and losses had been added.
    """
    require_outcomes(outcomes=outcomes)
    outcomes = outcomes.cpu().double()
    variance = outcomes.var(correction=0).item()
    return _wilson(outcomes.mean().item(), variance, len(outcomes))


def _wilson(mean: float, variance: float, n: int) -> Interval:
    """Wilson's interval for the mean of n values in [0, 1] that have this variance."""
    added = Z95**2 / n  # as if so many times n outcomes had been seen besides, half of them wins
    middle = (mean + added / 2) / (1 + added)
    squared_error = variance / n + (added / 2) ** 2 / Z95**2
    half = Z95 * math.sqrt(squared_error) / (1 + added)
    low = max(0.0, middle - half)
    high = min(1.0, middle + half)
    # At 0 and 1 rounding would leave the mean outside.
    return Interval(mean, min(mean, low), max(mean, high))


def bootstrap_interval(values: Tensor, resamples: int = 1000, seed: int = 0) -> Interval:
    """Of a mean of values (n,), by the percentile bootstrap (Efron 1979).

    n values are drawn with replacement from those measured, again and again; the middle 95 % of the means of such
    resamples are the interval. The same seed gives the same interval.
    """
    require_tensors(values=values)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"values must be of shape (n,), at least one; got {tuple(values.shape)}")
    require_count("resamples", resamples)
    require_seed("seed", seed)
    values = values.cpu().double()
    n = len(values)
    generator = torch.Generator().manual_seed(seed)
    means = torch.empty(resamples, dtype=torch.float64)
    for some in means.split(max(1, DRAWN_AT_ONCE // n)):
        drawn = torch.randint(n, (len(some), n), generator=generator)
        some.copy_(values[drawn].mean(dim=1))
    tails = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = means.quantile(tails).tolist()
    return Interval(values.mean().item(), low, high)


def bootstrap_share_interval(share: float, n: int, resamples: int = 1000, seed: int = 0) -> Interval:
    """``bootstrap_interval`` of a share among n, that is, of share · n ones and else zeros.

    ValueError unless share · n is a whole number, up to rounding.
    """
    require_share("share", share)
    require_count("n", n)
    ones = round(share * n)
    if abs(share * n - ones) > 1e-6:
        raise ValueError(f"share must be a whole number among {n}, got {share!r}, that is {share * n:g}")
    values = torch.zeros(n, dtype=torch.float64)
    values[:ones] = 1
    return bootstrap_interval(values, resamples, seed)
