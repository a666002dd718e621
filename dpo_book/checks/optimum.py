"""Exercises of chapter 04: log Z and the optimal policy (eq. 4); the beta for a budget of KL has its own file."""

import math

import torch
from torch import Tensor

from dpo_book.checks.beta_for_kl import check_beta_for_kl
from dpo_book.checks.judge import Exercise, in_float32, normal
from dpo_book.maths.objective import log_partition, optimal_logp

__all__ = ["check_beta_for_kl", "check_log_partition", "check_optimal_logp"]


def _prompts(
    seed: int, prompts: int, responses: int, beta: float, scale: float = 1.0
) -> tuple[Tensor, Tensor, float]:
    """log π_ref and reward, (P, N) each, and beta."""
    logits, reward = normal(seed, (prompts, responses), (prompts, responses))
    return logits.log_softmax(-1), scale * reward, beta


def _poor_prompts() -> tuple[Tensor, Tensor, float]:
    """Rewards about −30 at β = 0.5: a Z near e^−60, in which a small number added would show."""
    ref_logp, reward, beta = _prompts(8, 3, 4, 0.5, scale=5.0)
    return ref_logp, reward - 30, beta


PROMPTS = [
    _prompts(0, 3, 7, 0.4),
    _prompts(1, 1, 5, 1.7),
    _prompts(2, 4, 1, 0.8),
    in_float32(_prompts(3, 2, 6, 0.5)),
    _prompts(4, 3, 3, 1.0),
    _prompts(5, 5, 2, 0.1),
]
FAR = [_prompts(6, 2, 4, 0.5, scale=50.0), _prompts(7, 2, 4, 0.001)]


def _log_partition(ref_logp: Tensor, reward: Tensor, beta: float) -> Tensor:
    return log_partition(ref_logp, reward, beta)


def _optimal_logp(ref_logp: Tensor, reward: Tensor, beta: float) -> Tensor:
    return optimal_logp(ref_logp, reward, beta)


def _tilted(ref: Tensor, r: Tensor, beta: float) -> Tensor:
    return ref + r / beta


check_log_partition = Exercise(
    "my_log_partition",
    _log_partition,
    PROMPTS,
    {
        "this is Z, not log Z: the logarithm is missing.": lambda *a: log_partition(*a).exp(),
        "the reference is forgotten: every weight exp(r/β) counts as often as π_ref says.": (
            lambda ref, r, beta: torch.logsumexp(r / beta, -1)
        ),
        "beta is missing: without it every price of straying would have the same optimum.": (
            lambda ref, r, beta: log_partition(ref, r, 1.0)
        ),
        "multiplied by beta: the reward is divided by it, so that a small beta tilts more.": (
            lambda ref, r, beta: log_partition(ref, r, 1 / beta)
        ),
        "this is β log Z, the objective at the optimum; log Z alone is asked for.": (
            lambda ref, r, beta: beta * log_partition(ref, r, beta)
        ),
        "the logarithm went inside the average: this is E_ref[r]/β, and log of a mean is not the mean of logs.": (
            lambda ref, r, beta: (ref.exp() * r / beta).sum(-1)
        ),
        "divided by N once more: Z is a sum over responses, the weights π_ref already make it an average.": (
            lambda ref, r, beta: log_partition(ref, r, beta) - math.log(r.shape[-1])
        ),
        "log-probabilities stand where probabilities belong: exponentiate log π_ref, or add it inside the exp.": (
            lambda ref, r, beta: torch.logsumexp(ref.exp() + r / beta, -1)
        ),
        "the logarithms are summed: Z is a sum of exponentials, and log Z not the sum of logarithms.": (
            lambda ref, r, beta: (ref + r / beta).sum(-1)
        ),
        "the sum over the responses is missing: these are the logarithms of its terms.": _tilted,
        "1 is added to Z: its logarithm alone is asked for.": lambda *a: log_partition(*a).exp().log1p(),
        "π_ref and exp(r/β) are added: Z sums their products.": (
            lambda ref, r, beta: (ref.exp() + (r / beta).exp()).sum(-1).log()
        ),
        "exponentiated twice: logsumexp does it itself, so give it log π_ref + r/β.": (
            lambda ref, r, beta: torch.logsumexp(_tilted(ref, r, beta).exp(), -1)
        ),
        "the largest reward, taken out against overflow, is not added back.": (
            lambda ref, r, beta: log_partition(ref, r - r.amax(-1, keepdim=True), beta)
        ),
        "the mean reward is taken out: log Z grows with every reward.": (
            lambda ref, r, beta: log_partition(ref, r - r.mean(-1, keepdim=True), beta)
        ),
        "the largest term alone is taken: log Z comes near it only as β → 0.": (
            lambda ref, r, beta: (ref + r / beta).amax(-1)
        ),
        "the reference is divided by beta, too: in the exponential of equation 4 r/β stands alone.": (
            lambda ref, r, beta: torch.logsumexp((ref + r) / beta, -1)
        ),
        "π_ref went into the exponential as a factor of r/β: it belongs outside the exponential.": (
            lambda ref, r, beta: torch.logsumexp(ref.exp() * r / beta, -1)
        ),
        "log π_ref is multiplied by r/β: a product's logarithm is the sum of its factors' logarithms.": (
            lambda ref, r, beta: torch.logsumexp(ref * r / beta, -1)
        ),
        "log π_ref is the weight: every term counts with π_ref itself, so exponentiate it.": (
            lambda ref, r, beta: (ref * (r / beta).exp()).sum(-1).log()
        ),
        "the exponential is missing: Z averages exp(r/β), not r/β.": (
            lambda ref, r, beta: (ref.exp() * r / beta).sum(-1).log()
        ),
        "the reference is forgotten: a plain mean of exp(r/β) would be right for a uniform one.": (
            lambda ref, r, beta: torch.logsumexp(r / beta, -1) - math.log(r.shape[-1])
        ),
        "summed over prompts: every prompt has a Z of its own, so sum over the last dimension.": (
            lambda ref, r, beta: torch.logsumexp(ref + r / beta, 0)
        ),
        "one number for all prompts: every prompt has a Z of its own.": (
            lambda ref, r, beta: torch.logsumexp(ref + r / beta, (0, 1))
        ),
        "the logarithm is to base 10; nats are natural logarithms.": (
            lambda ref, r, beta: log_partition(ref, r, beta) / math.log(10)
        ),
    },
    "Try beta = 0.001: does yours stay finite? `torch.logsumexp` does; the log of a sum of exponentials gives inf.",
    far=[*FAR, _poor_prompts()],
    own=[log_partition],
)


check_optimal_logp = Exercise(
    "my_optimal_logp",
    _optimal_logp,
    PROMPTS,
    {
        "not normalised: subtract log Z, or the probabilities do not sum to 1.": _tilted,
        "these are probabilities; their logarithms are asked for.": lambda *a: optimal_logp(*a).exp(),
        "the reference is forgotten: this is the optimum for a uniform one.": (
            lambda ref, r, beta: (r / beta).log_softmax(-1)
        ),
        "beta is missing: without it every price of straying would have the same optimum.": (
            lambda ref, r, beta: optimal_logp(ref, r, 1.0)
        ),
        "multiplied by beta: the reward is divided by it, so that a small beta tilts more.": (
            lambda ref, r, beta: optimal_logp(ref, r, 1 / beta)
        ),
        "the reward has the wrong sign: this policy prefers the worst responses.": (
            lambda ref, r, beta: optimal_logp(ref, -r, beta)
        ),
        "Z is subtracted where log Z belongs: dividing by Z is subtracting its logarithm.": (
            lambda ref, r, beta: _tilted(ref, r, beta) - log_partition(ref, r, beta).exp().unsqueeze(-1)
        ),
        "log Z is added: dividing by Z subtracts it.": (
            lambda ref, r, beta: _tilted(ref, r, beta) + log_partition(ref, r, beta).unsqueeze(-1)
        ),
        "β log Z is subtracted: in the logarithm of equation 4 log Z stands without beta.": (
            lambda ref, r, beta: _tilted(ref, r, beta) - beta * log_partition(ref, r, beta).unsqueeze(-1)
        ),
        "the reference is divided by beta, too: equation 4 divides the reward alone.": (
            lambda ref, r, beta: ((ref + r) / beta).log_softmax(-1)
        ),
        "π_ref stands where log π_ref belongs: log_softmax takes log-probabilities, not probabilities.": (
            lambda ref, r, beta: (ref.exp() + r / beta).log_softmax(-1)
        ),
        "one Z for all prompts, the mean of their log Z: every prompt has its own.": (
            lambda ref, r, beta: _tilted(ref, r, beta) - log_partition(ref, r, beta).mean()
        ),
        "log_softmax is given π_ref exp(r/β): it exponentiates by itself, so give it the logarithm of that.": (
            lambda ref, r, beta: _tilted(ref, r, beta).exp().log_softmax(-1)
        ),
        "divided by the mean of the weights: the probabilities of N responses then sum to N.": (
            lambda ref, r, beta: optimal_logp(ref, r, beta) + math.log(r.shape[-1])
        ),
        "the largest value is subtracted: that is against overflow; log Z is what normalises.": (
            lambda ref, r, beta: _tilted(ref, r, beta) - _tilted(ref, r, beta).amax(-1, keepdim=True)
        ),
        "divided by the sum of logarithms: normalise by subtracting log Z.": (
            lambda ref, r, beta: _tilted(ref, r, beta) / _tilted(ref, r, beta).sum(-1, keepdim=True)
        ),
        "the mean of the logarithms is subtracted: log Z is the logarithm of a sum of exponentials.": (
            lambda ref, r, beta: _tilted(ref, r, beta) - _tilted(ref, r, beta).mean(-1, keepdim=True)
        ),
        "the sum of the logarithms is subtracted: log Z is the logarithm of a sum of exponentials.": (
            lambda ref, r, beta: _tilted(ref, r, beta) - _tilted(ref, r, beta).sum(-1, keepdim=True)
        ),
        "the mean reward is subtracted: E_ref[r]/β is less than log Z.": (
            lambda ref, r, beta: ref + (r - (ref.exp() * r).sum(-1, keepdim=True)) / beta
        ),
        "π_ref is missing in Z: it sums π_ref exp(r/β).": (
            lambda ref, r, beta: _tilted(ref, r, beta) - torch.logsumexp(r / beta, -1, keepdim=True)
        ),
        "β is missing in front: the same r/β stands there as in Z.": (
            lambda ref, r, beta: ref + r - log_partition(ref, r, beta).unsqueeze(-1)
        ),
        "log Z is to base 10; nats are natural logarithms.": (
            lambda ref, r, beta: _tilted(ref, r, beta) - log_partition(ref, r, beta).unsqueeze(-1) / math.log(10)
        ),
        "log Z is to base 2; nats are natural logarithms.": (
            lambda ref, r, beta: _tilted(ref, r, beta) - log_partition(ref, r, beta).unsqueeze(-1) / math.log(2)
        ),
        "π_ref is in Z, but not in front: equation 4 tilts it.": lambda ref, r, beta: (
            optimal_logp(ref, r, beta) - ref
        ),
        "β is missing in Z: the same r/β stands there as in front.": (
            lambda ref, r, beta: _tilted(ref, r, beta) - log_partition(ref, r, 1.0).unsqueeze(-1)
        ),
        "normalised over prompts: every prompt's own responses must sum to 1, over the last dimension.": (
            lambda ref, r, beta: _tilted(ref, r, beta).log_softmax(0)
        ),
        "one Z for all prompts: every prompt has its own.": (
            lambda ref, r, beta: _tilted(ref, r, beta) - _tilted(ref, r, beta).logsumexp((0, 1))
        ),
    },
    "Add 100 to every reward of one prompt. What changes in π*, and what in log Z? Chapter 05 lives on the answer.",
    far=FAR,
    own=[optimal_logp],
)
