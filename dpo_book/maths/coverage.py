"""How often does a 95 % interval hold the truth? Exactly for shares, and by simulation for anything else."""

from collections.abc import Callable

import torch
from torch import Tensor

from dpo_book.maths.estimates import Interval, share_interval
from dpo_book.maths.require import require_count
from dpo_book.maths.shapes import require_probabilities, require_tensors


def exact_coverage(interval: Callable[[float, int], Interval], shares: Tensor, n: int) -> Tensor:
    """The chance that the interval of a share among n holds the true share p, for every p of ``shares``.

    Σ_k P(k of n | p) · [low(k) ≤ p ≤ high(k)], with binomial chances. interval: such as ``share_interval``, called
    once for each k from 0 to n. shares (S,) in [0, 1]; returns (S,), float64.
    """
    require_probabilities(shares=shares)
    require_count("n", n)
    shares = shares.cpu().double()
    ends = torch.tensor([interval(k / n, n)[1:] for k in range(n + 1)], dtype=torch.float64)  # (n + 1, 2)
    low, high = ends.T
    truth = shares[:, None]
    held = (low <= truth) & (truth <= high)
    return (binomial(shares, n) * held).sum(dim=1)


def binomial(shares: Tensor, n: int) -> Tensor:
    """P(k of n | p) for every p of ``shares`` (S,) and k from 0 to n: (S, n + 1), float64."""
    p = shares.double()[:, None]
    wins = torch.arange(n + 1, dtype=torch.float64)
    losses = wins.flip(0)
    log_factorial = torch.lgamma(wins + 1)
    log_orders = log_factorial[-1] - log_factorial - log_factorial.flip(0)
    log_chance = torch.xlogy(wins, p) + torch.xlogy(losses, 1 - p)
    return (log_orders + log_chance).exp()


def simulated_coverage(interval: Callable[[Tensor], Interval], samples: Tensor, truth: float) -> Interval:
    """The share of simulated samples whose interval holds the truth, with Wilson's interval of that share.

    samples (trials, n): one sample a row. interval: such as ``win_rate_interval``, called once a row.
    """
    require_tensors(samples=samples)
    if samples.ndim != 2 or not len(samples):
        raise ValueError(f"samples must be of shape (trials, n), at least one; got {tuple(samples.shape)}")
    held = 0
    for sample in samples:
        found = interval(sample)
        held += found.low <= truth <= found.high
    return share_interval(held / len(samples), len(samples))
