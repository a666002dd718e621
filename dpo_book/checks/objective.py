"""Exercises of chapter 03: the KL to the reference, the RLHF objective (eq. 3) and its gradient."""

import math

import torch
from torch import Tensor

from dpo_book.checks import Exercise, random_case
from dpo_book.maths.exact import kl_divergence
from dpo_book.maths.objective import kl_regularized_objective


def _policies(seed: int) -> tuple[Tensor, Tensor]:
    """log π and log π_ref of 3 prompts with 7 responses each."""
    logits, ref_logits = random_case(seed, (3, 7), (3, 7))
    return logits.log_softmax(-1), ref_logits.log_softmax(-1)


def _with_reward(seed: int, beta: float) -> tuple[Tensor, Tensor, Tensor, float]:
    return (*_policies(seed), *random_case(seed + 10, (3, 7), offset=0.5), beta)


POLICIES = [_policies(seed) for seed in (0, 1)]
WITH_REWARD = [_with_reward(seed, beta) for seed, beta in ((2, 0.1), (3, 0.7), (4, 2.0))]

check_kl_to_reference = Exercise(
    "kl_to_reference",
    POLICIES,
    kl_divergence,
    {
        "the direction is turned around: this is KL[π_ref‖π], an average over the reference's responses.": (
            lambda logp, ref: kl_divergence(ref, logp)
        ),
        "the sign is wrong: a divergence is never below zero, so the ratio is π/π_ref.": (
            lambda logp, ref: -kl_divergence(logp, ref)
        ),
        "weighted by π_ref: the responses are π's own, so each log-ratio counts with probability π(y|x).": (
            lambda logp, ref: -kl_divergence(ref, logp)
        ),
        "the weights are missing: a sum over all responses is an expectation only with π(y|x) in front.": (
            lambda logp, ref: (logp - ref).sum(-1)
        ),
        "weighted by log π instead of π: exponentiate the weights first.": (
            lambda logp, ref: (logp * (logp - ref)).sum(-1)
        ),
        "averaged over the responses: π(y|x) is the weight already, so sum.": (
            lambda logp, ref: kl_divergence(logp, ref) / logp.shape[-1]
        ),
        "the reference is forgotten: this is minus the entropy of π.": (
            lambda logp, ref: (logp.exp() * logp).sum(-1)
        ),
        "summed over the prompts too: return one value a prompt.": lambda logp, ref: kl_divergence(logp, ref).sum(),
        "averaged over the prompts: return one value a prompt.": lambda logp, ref: kl_divergence(logp, ref).mean(),
        "the logarithm is to base 2; nats are natural logarithms.": (
            lambda logp, ref: kl_divergence(logp, ref) / math.log(2)
        ),
    },
    "If π gives a response probability 0, its log is −inf and 0 · (−inf) is NaN. What should such a response add?",
)


def _objective(logp: Tensor, ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    return kl_regularized_objective(logp, ref, reward, beta)


def _reward(logp: Tensor, reward: Tensor) -> Tensor:
    return (logp.exp() * reward).sum(-1)


check_objective = Exercise(
    "objective",
    WITH_REWARD,
    _objective,
    {
        "the KL is added: it is a penalty, so it is taken away.": (
            lambda logp, ref, r, beta: _reward(logp, r) + beta * kl_divergence(logp, ref)
        ),
        "beta is missing in front of the KL.": lambda logp, ref, r, beta: _objective(logp, ref, r, 1.0),
        "the KL is missing: without it the best policy is one single response.": (
            lambda logp, ref, r, beta: _reward(logp, r)
        ),
        "the KL is turned around: eq. 3 has KL[π‖π_ref].": (
            lambda logp, ref, r, beta: _reward(logp, r) - beta * kl_divergence(ref, logp)
        ),
        "beta multiplies the reward: it is the price of a nat of KL.": (
            lambda logp, ref, r, beta: beta * _reward(logp, r) - kl_divergence(logp, ref)
        ),
        "divided by beta: the KL is multiplied by it.": (
            lambda logp, ref, r, beta: _reward(logp, r) - kl_divergence(logp, ref) / beta
        ),
        "the rewards are averaged with equal weights: weight each with π(y|x).": (
            lambda logp, ref, r, beta: r.mean(-1) - beta * kl_divergence(logp, ref)
        ),
        "the rewards are weighted by π_ref: the expectation is over the policy's responses.": (
            lambda logp, ref, r, beta: _reward(ref, r) - beta * kl_divergence(logp, ref)
        ),
        "the reference is forgotten: minus β Σ π log π is an entropy bonus, which pulls towards uniform.": (
            lambda logp, ref, r, beta: _reward(logp, r) - beta * (logp.exp() * logp).sum(-1)
        ),
        "averaged over the prompts: return one value a prompt.": lambda *a: _objective(*a).mean(),
        "this is the loss, minus the objective: eq. 3 is maximised.": lambda *a: -_objective(*a),
    },
    "Add 10 to every reward. The objective grows by 10 for every policy: which policy is best then?",
)


def _pieces(logits: Tensor, ref: Tensor, reward: Tensor, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    """π, R and E_π[R]: R is the reward after its price."""
    logp = logits.log_softmax(-1)
    priced = reward - beta * (logp - ref)
    return logp.exp(), priced, (logp.exp() * priced).sum(-1, keepdim=True)


def _gradient(logits: Tensor, ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    p, priced, mean = _pieces(logits, ref, reward, beta)
    return p * (priced - mean)


def _without_softmax(logits: Tensor, ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    priced = reward - beta * (logits - ref)
    return logits.exp() * (priced - (logits.exp() * priced).sum(-1, keepdim=True))


def _without_baseline(*case: object) -> Tensor:
    p, priced, _ = _pieces(*case)
    return p * priced


def _plain_mean(*case: object) -> Tensor:
    p, priced, _ = _pieces(*case)
    return p * (priced - priced.mean(-1, keepdim=True))


def _not_weighted(*case: object) -> Tensor:
    _, priced, mean = _pieces(*case)
    return priced - mean


def _logit_case(seed: int, beta: float) -> tuple[Tensor, Tensor, Tensor, float]:
    logits, ref_logits, reward = random_case(seed, (3, 7), (3, 7), (3, 7), offset=0.5)
    return logits, ref_logits.log_softmax(-1), reward, beta


check_objective_gradient = Exercise(
    "objective_gradient",
    [_logit_case(seed, beta) for seed, beta in ((20, 0.1), (21, 0.7), (22, 2.0))],
    _gradient,
    {
        "E[R] is not subtracted: a softmax can raise one response only at the cost of the others.": _without_baseline,
        "R is centred by its plain mean over the responses: E[R] is weighted by π(y|x).": _plain_mean,
        "the factor π(y|x) in front is missing.": _not_weighted,
        "the sign is wrong: this is the gradient of a loss, and eq. 3 is maximised.": lambda *a: -_gradient(*a),
        "beta is missing in R.": lambda logits, ref, r, beta: _gradient(logits, ref, r, 1.0),
        "the KL is missing: R is the reward minus β log(π/π_ref).": (
            lambda logits, ref, r, beta: _gradient(logits, ref, r, 0.0)
        ),
        "the KL is added: in R it is taken away.": lambda logits, ref, r, beta: _gradient(logits, ref, r, -beta),
        "the reference is forgotten: R has log(π/π_ref), not log π.": (
            lambda logits, ref, r, beta: _gradient(logits, torch.zeros_like(ref), r, beta)
        ),
        "the logits are used as if they were log-probabilities: take log_softmax first.": _without_softmax,
    },
    "Take the KL's own derivative, −β, into R as well: R − β. The gradient is the same. Why?",
)
