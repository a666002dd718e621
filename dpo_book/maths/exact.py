"""Exact measures of a policy where all responses are listed: KL, expected reward, win rate, best of n.

Log-probabilities and rewards are of shape (..., N), all N responses to a prompt along the last dimension; in nats.
Other shapes raise ValueError, but that (N,) stands for every prompt. A NaN goes on into the result; only where
rewards are sorted, in ``win_rate`` and ``best_of_n_logp``, it would become an answer and raises ValueError.
"""

import torch
from torch import Tensor

from dpo_book.maths.require import require_count
from dpo_book.maths.shapes import require_no_nan, require_one_shape, require_same_responses


def kl_divergence(logp: Tensor, other_logp: Tensor) -> Tensor:
    """KL[π ‖ π'] = Σ_y π(y|x) (log π(y|x) − log π'(y|x)).

    Both arguments (..., N) over all N responses; returns (...). A response of probability zero under π
    adds nothing, whatever π' says.
    """
    require_same_responses(logp=logp, other_logp=other_logp)
    p = logp.exp()
    return (p * torch.where(p > 0, logp - other_logp, 0.0)).sum(dim=-1)


def expected_reward(logp: Tensor, reward: Tensor) -> Tensor:
    """E_{y~π}[r(x,y)], exactly: (..., N) and (..., N) give (...)."""
    require_same_responses(logp=logp, reward=reward)
    return (logp.exp() * reward).sum(dim=-1)


def win_rate(logp: Tensor, other_logp: Tensor, reward: Tensor) -> Tensor:
    """Probability that a response of π has more reward than one of π', ties counting half; (..., N) gives (...).

    Exact, from the rewards' sorted order: N log N work instead of N² comparisons.
    """
    require_one_shape(logp=logp, other_logp=other_logp, reward=reward)
    require_no_nan(reward=reward)
    return (logp.exp() * _midrank(other_logp, reward)).sum(dim=-1)


def best_of_n_logp(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    """log-probability that y is the best of n draws from π_ref, equal rewards being broken by lot; (..., N).

    With F(y) the chance of a draw no better than y and F⁻(y) of one worse: among the responses as good as y,
    the best of n falls with chance F^n − F⁻^n, dealt out in proportion to π_ref. So y's own chance is
    π_ref(y) (F^n − F⁻^n) / (F − F⁻) = π_ref(y) Σ_k F^(n−1−k) F⁻^k, a sum in which nothing cancels.
    """
    require_count("n", n)
    require_one_shape(ref_logp=ref_logp, reward=reward)
    require_no_nan(reward=reward)
    at_most, below = _distribution(ref_logp, reward)
    times_likelier = torch.zeros_like(at_most)
    for k in range(n):
        times_likelier += at_most ** (n - 1 - k) * below**k
    return ref_logp + times_likelier.log()


def _midrank(logp: Tensor, reward: Tensor) -> Tensor:
    """P(r < r(y)) + P(r = r(y)) / 2 for a draw from π, at every y."""
    at_most, below = _distribution(logp, reward)
    return (at_most + below) / 2


def _distribution(logp: Tensor, reward: Tensor) -> tuple[Tensor, Tensor]:
    """P(r ≤ r(y)) and P(r < r(y)) for a draw from π, at every y: two tensors of logp's shape."""
    reward = reward.contiguous()  # as searchsorted wants it, and what is sorted of it
    ordered, order = reward.sort(dim=-1)
    probability = logp.exp().gather(-1, order)
    summed = probability.cumsum(dim=-1)
    nothing = torch.zeros_like(summed[..., :1])
    of_the_lowest = torch.cat([nothing, summed], dim=-1)  # (..., N + 1): at k, P(one of the k lowest rewards)
    how_many_at_most = torch.searchsorted(ordered, reward, right=True)
    how_many_below = torch.searchsorted(ordered, reward, right=False)
    return of_the_lowest.gather(-1, how_many_at_most), of_the_lowest.gather(-1, how_many_below)
