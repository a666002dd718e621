"""Equations 1 and 2: what a comparison says about two rewards, and how rewards are fitted to comparisons.

Pure functions, no model in sight.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.maths.require import require_count, require_positive
from dpo_book.maths.shapes import require_one_rank, require_tensors


def preference_probability(reward_a: Tensor, reward_b: Tensor) -> Tensor:
    """Equation 1: p*(a ≻ b) = exp r_a / (exp r_a + exp r_b) = σ(r_a − r_b).

    Rewards are in nats and of any shapes that broadcast; the result has the broadcast shape.
    Only the difference matters: one constant added to both rewards changes nothing (§3).
    """
    require_tensors(reward_a=reward_a, reward_b=reward_b)
    return torch.sigmoid(reward_a - reward_b)


def reward_model_loss(reward_chosen: Tensor, reward_rejected: Tensor) -> Tensor:
    """Equation 2 before its expectation: −log σ(r_w − r_l), one value a pair, in nats.

    Both arguments of shape (B,); returns shape (B,). All against all, (n, 1) and (1, n), gives (n, n); ValueError for
    (B,) and (B, 1), which would pair every row with every other.
    """
    require_one_rank(reward_chosen=reward_chosen, reward_rejected=reward_rejected)
    return -F.logsigmoid(reward_chosen - reward_rejected)


def fit_rewards(wins: Tensor, tolerance: float = 1e-10, max_iterations: int = 100) -> Tensor:
    """Maximum-likelihood Bradley–Terry rewards of n items, with mean zero.

    wins (n, n): ``wins[i, j]`` counts how often i was preferred to j (a tie counts half to each);
    the diagonal is ignored. Returns rewards (n,) in nats, float64. The mean is set to zero because
    comparisons say nothing about it.

    The negative log-likelihood Σ_ij wins_ij · −log σ(r_i − r_j) is convex: Newton's method, halving a
    step that does not descend, ends at the only minimum.

    Raises ValueError where no finite maximum exists: when the items split into two groups and no
    item of the one was ever preferred to an item of the other (Ford 1957).
    """
    require_tensors(wins=wins)
    require_positive("tolerance", tolerance)
    require_count("max_iterations", max_iterations)
    if wins.ndim != 2 or wins.shape[0] != wins.shape[1]:
        raise ValueError(f"wins must be a square matrix, got shape {tuple(wins.shape)}")
    if len(wins) == 0:
        raise ValueError("wins holds no item: there is nothing to fit")
    wins = wins.double().clone().fill_diagonal_(0)
    if (wins < 0).any() or not wins.isfinite().all():
        raise ValueError("wins must be finite counts, none below zero")
    _check_strongly_connected(wins)

    n = len(wins)
    games = wins + wins.T
    ones = torch.full((n, n), 1 / n, dtype=torch.float64)  # pins the direction comparisons cannot see

    def negative_log_likelihood(rewards: Tensor) -> Tensor:
        return (wins * reward_model_loss(rewards[:, None], rewards[None, :])).sum()

    rewards = torch.zeros(n, dtype=torch.float64)
    loss = negative_log_likelihood(rewards)
    for _ in range(max_iterations):
        p = preference_probability(rewards[:, None], rewards[None, :])
        gradient = (games * p - wins).sum(dim=1)
        step = torch.linalg.solve(reward_information(rewards, games) + ones, gradient)
        scale = 1.0
        while (trial := negative_log_likelihood(rewards - scale * step)) > loss and scale > 1e-8:
            scale /= 2
        rewards, loss = rewards - scale * step, trial
        if gradient.abs().max() <= tolerance * games.sum().clamp(min=1):
            break
    return rewards - rewards.mean()


def reward_information(rewards: Tensor, games: Tensor) -> Tensor:
    """The Hessian of the negative log-likelihood, (n, n): what the comparisons know of the rewards.

    −games_ij p_ij (1 − p_ij) off the diagonal, with p_ij = σ(r_i − r_j); on it, what makes every row sum to zero: of
    a shift of all rewards, nothing is known. rewards (n,), games (n, n) with zeros on the diagonal.
    """
    p = preference_probability(rewards[:, None], rewards[None, :])
    weight = games * p * (1 - p)
    return torch.diag(weight.sum(dim=1)) - weight


def _check_strongly_connected(wins: Tensor) -> None:
    """Every item must be reachable from every other along "was preferred to at least once"."""
    n = len(wins)
    reachable = ((wins > 0) | torch.eye(n, dtype=torch.bool)).double()
    for _ in range(max(1, n).bit_length()):  # repeated squaring: paths of length 2, 4, 8, ...
        reachable = ((reachable @ reachable) > 0).double()
    missing = (reachable == 0).nonzero()
    if len(missing):
        loser, winner = missing[0].tolist()
        raise ValueError(
            f"these comparisons have no finite Bradley–Terry fit: no chain of wins leads from item {loser} "
            f"to item {winner}. Add comparisons between their groups, or fit the groups apart."
        )
