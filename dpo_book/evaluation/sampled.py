"""How good is a policy? Exact answers over enumerated responses, and sampled ones with standard errors.

Exact functions take log-probabilities and rewards of shape (P, N), all N responses to each of P prompts.
Sampled ones work for any policy and give an ``Estimate``.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_book.models.logprobs import collate, sequence_logp
from dpo_book.models.policy import sample, sample_ids


class Estimate(NamedTuple):
    """A mean over samples and its standard error, in the unit of what was sampled."""

    mean: float
    standard_error: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.standard_error:.2f}"


def expected_reward(logp: Tensor, reward: Tensor) -> Tensor:
    """E_{y~π}[r(x,y)], exactly: (..., N) and (..., N) give (...)."""
    return (logp.exp() * reward).sum(dim=-1)


def win_rate(logp: Tensor, other_logp: Tensor, reward: Tensor) -> Tensor:
    """Probability that a response of π has more reward than one of π', ties counting half; (..., N) gives (...).

    Exact, from the rewards' sorted order: N log N work instead of N² comparisons.
    """
    return (logp.exp() * _midrank(other_logp, reward)).sum(dim=-1)


def best_of_n_logp(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    """log-probability that y is the best of n draws from π_ref, equal rewards being broken by lot; (..., N).

    With F(y) the chance of a draw no better than y and F⁻(y) of one worse: among the responses as good as y,
    the best of n falls with chance F^n − F⁻^n, shared in proportion to π_ref. So y's own chance is
    π_ref(y) (F^n − F⁻^n) / (F − F⁻) = π_ref(y) Σ_k F^(n−1−k) F⁻^k, a sum in which nothing cancels.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n must be a whole number of at least 1, got {n!r}")
    at_most, below = _distribution(ref_logp, reward)
    share = power = torch.ones_like(at_most)
    for _ in range(n - 1):
        power = power * below
        share = share * at_most + power
    return ref_logp + share.log()


def _midrank(logp: Tensor, reward: Tensor) -> Tensor:
    """P(r < r(y)) + P(r = r(y)) / 2 for a draw from π, at every y."""
    at_most, below = _distribution(logp, reward)
    return (at_most + below) / 2


def _distribution(logp: Tensor, reward: Tensor) -> tuple[Tensor, Tensor]:
    """P(r ≤ r(y)) and P(r < r(y)) for a draw from π, at every y: two tensors of logp's shape."""
    ordered, order = reward.sort(dim=-1)
    cumulative = logp.exp().gather(-1, order).cumsum(dim=-1)
    cumulative = torch.cat([torch.zeros_like(cumulative[..., :1]), cumulative], dim=-1)
    at_most = cumulative.gather(-1, torch.searchsorted(ordered, reward.contiguous(), right=True))
    below = cumulative.gather(-1, torch.searchsorted(ordered, reward.contiguous(), right=False))
    return at_most, below


def sampled_reward(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    reward: Callable[[str, str], float],
    max_new_tokens: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> Estimate:
    """E[r(x,y)] from one sample a prompt; repeat the prompts for more."""
    responses = sample(policy, tokenizer, prompts, max_new_tokens, temperature, seed)
    return estimate(torch.tensor([reward(x, y) for x, y in zip(prompts, responses, strict=True)]))


def sampled_win_rate(rewards: Sequence[float], other_rewards: Sequence[float]) -> Estimate:
    """Share of prompts on which the first policy's sample has more reward than the second's, ties half."""
    margin = torch.tensor(rewards) - torch.tensor(other_rewards)
    return estimate((margin.sign() + 1) / 2)


@torch.no_grad()
def sampled_kl(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompts: Sequence[list[int]],
    max_new_tokens: int,
    seed: int = 0,
) -> Estimate:
    """KL[π ‖ π_ref] in nats from one sample a prompt (token ids): the mean of log π(y|x) − log π_ref(y|x), y ~ π.

    Unbiased; where ``max_new_tokens`` cuts, it is the divergence between what was said up to there.
    """
    batch = collate(prompts, sample_ids(policy, prompts, max_new_tokens, seed=seed)).to(policy.device)
    return estimate(sequence_logp(policy, batch) - sequence_logp(reference, batch))


def estimate(values: Tensor) -> Estimate:
    """The mean of independent samples (n,), n at least 2, and its standard error."""
    if len(values) < 2:
        raise ValueError("at least two samples are needed for a standard error")
    values = values.double()
    return Estimate(values.mean().item(), (values.std() / len(values) ** 0.5).item())
