"""Several models on one scale, from their wins over each other: intervals, and whether one scale fits at all."""

from typing import NamedTuple

import torch
from torch import Tensor

from dpo_book.maths.bradley_terry import fit_rewards, preference_probability, reward_information
from dpo_book.maths.estimates import Estimate, Interval, interval


class Leaderboard(NamedTuple):
    """Bradley–Terry rewards (n,) in nats, mean zero, and their covariance (n, n); float64."""

    rewards: Tensor
    covariance: Tensor

    def intervals(self) -> list[Interval]:
        """Each item's reward above the mean of all, with its 95 % interval."""
        errors = self.covariance.diagonal().sqrt().tolist()
        return [interval(Estimate(*of_one)) for of_one in zip(self.rewards.tolist(), errors, strict=True)]

    def difference(self, i: int, j: int) -> Interval:
        """The reward of i minus that of j: whether i is better. Two overlapping intervals do not answer that."""
        variance = self.covariance[i, i] + self.covariance[j, j] - 2 * self.covariance[i, j]
        return interval(Estimate((self.rewards[i] - self.rewards[j]).item(), variance.sqrt().item()))

    def win_rate(self, i: int, j: int) -> Interval:
        """The chance that i wins over j, σ(r_i − r_j), with its 95 % interval."""
        ends = torch.tensor(self.difference(i, j), dtype=torch.float64)
        return Interval(*ends.sigmoid().tolist())


def leaderboard(wins: Tensor) -> Leaderboard:
    """Rewards of n models from wins (n, n), as ``fit_rewards`` takes and refuses them, with their covariance.

    The covariance is the pseudo-inverse of the information: without the direction in which all rewards shift.
    It supposes that comparisons are independent and that Bradley–Terry holds; ``goodness_of_fit`` asks whether.
    """
    rewards = fit_rewards(wins)
    information = reward_information(rewards, _games(wins))
    information = (information + information.T) / 2  # p (1 − p) rounds otherwise than (1 − p) p
    shift = torch.full_like(information, 1 / len(wins))  # of all rewards at once: comparisons do not see it
    return Leaderboard(rewards, torch.linalg.inv(information + shift) - shift)


class GoodnessOfFit(NamedTuple):
    """How far wins are from what one scale of rewards expects."""

    deviance: float
    degrees_of_freedom: int
    p_value: float  # the chance of so large a deviance if Bradley–Terry holds


def goodness_of_fit(wins: Tensor) -> GoodnessOfFit:
    """Whether one reward an item explains the wins (n, n) of n items over each other.

    Deviance: 2 Σ_ij wins_ij log(wins_ij / (games_ij p_ij)), twice the log-likelihood that a free win rate for each
    pair gains. If Bradley–Terry holds and expected counts are at least 5 or so, it follows a χ² distribution with one
    degree of freedom a pair that met, less n − 1. Ties counted half make it too small.

    ValueError where ``fit_rewards`` raises it, and if no degree is left: without a cycle of pairs, any wins fit.
    """
    rewards = fit_rewards(wins)
    games = _games(wins)
    pairs = int((games.triu() > 0).sum())
    freedom = pairs - (len(wins) - 1)
    if freedom == 0:
        raise ValueError(f"{pairs} pairs of {len(wins)} items fit any wins: a test needs pairs that close a cycle")
    counted = wins.double().clone().fill_diagonal_(0)
    expected = games * preference_probability(rewards[:, None], rewards[None, :])
    met = games > 0
    deviance = 2 * torch.xlogy(counted[met], counted[met] / expected[met]).sum().clamp(min=0)
    half_freedom = torch.tensor(freedom / 2, dtype=torch.float64)
    p_value = torch.special.gammaincc(half_freedom, deviance / 2)  # of χ², above the deviance
    return GoodnessOfFit(deviance.item(), freedom, p_value.item())


def _games(wins: Tensor) -> Tensor:
    """How often each two items met: (n, n) float64, zeros on the diagonal."""
    counted = wins.double().clone().fill_diagonal_(0)
    return counted + counted.T
