"""Means of samples with their standard errors, and 95 % intervals."""

from typing import NamedTuple

from torch import Tensor

from dpo_book.maths.require import require_count, require_share
from dpo_book.maths.shapes import require_tensors

Z95 = 1.959964  # 95 % of a normal distribution lie within so many standard deviations


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

    ValueError unless the share is in [0, 1], and n a whole number of at least 1.
    """
    require_share("share", share)
    require_count("n", n)
    shrunk = 1 + Z95**2 / n
    middle = (share + Z95**2 / (2 * n)) / shrunk
    variance = share * (1 - share) / n + Z95**2 / (4 * n**2)
    half = Z95 * variance**0.5 / shrunk
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))
