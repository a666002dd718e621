"""Exercises of chapter 03: the RLHF objective (eq. 3), its gradient, and a KL estimator."""

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


def _k3(logp: Tensor, ref: Tensor) -> Tensor:
    return (ref - logp).exp() - 1 - (ref - logp)


check_k3_estimate = Exercise(
    "k3_estimate",
    [random_case(seed, (6,), (6,), offset=-9.0) for seed in (7, 8)],
    _k3,
    {
        "the ratio is upside down: with samples from π it must be π_ref/π, whose mean is 1.": (
            lambda logp, ref: _k3(ref, logp)
        ),
        "this is k1: it may be below zero; add ρ − 1.": lambda logp, ref: logp - ref,
        "this is minus k1: the sign of the log is wrong.": lambda logp, ref: ref - logp,
        "this is k2, which is biased.": lambda logp, ref: (logp - ref) ** 2 / 2,
        "the sign of the log is wrong: k3 = ρ − 1 − log ρ.": (
            lambda logp, ref: (ref - logp).exp() - 1 + (ref - logp)
        ),
        "the −1 is missing: where π = π_ref your estimate is 1 instead of 0.": lambda logp, ref: _k3(logp, ref) + 1,
        "the log is missing: ρ − 1 has mean zero, whatever the KL is.": lambda logp, ref: (ref - logp).exp() - 1,
        "it is averaged already: return one value a sample.": lambda *a: _k3(*a).mean(),
    },
    "Where π_ref is 1,000 times likelier than π, one sample gives 992 nats. What does that do to a mean of 100?",
)


def _pieces(logits: Tensor, ref: Tensor, reward: Tensor, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    """π, A and E_π[A]."""
    logp = logits.log_softmax(-1)
    advantage = reward - beta * (logp - ref)
    return logp.exp(), advantage, (logp.exp() * advantage).sum(-1, keepdim=True)


def _gradient(logits: Tensor, ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    p, a, mean = _pieces(logits, ref, reward, beta)
    return p * (a - mean)


def _without_softmax(logits: Tensor, ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    a = reward - beta * (logits - ref)
    return logits.exp() * (a - (logits.exp() * a).sum(-1, keepdim=True))


def _without_baseline(*case: object) -> Tensor:
    p, a, _ = _pieces(*case)
    return p * a


def _plain_mean(*case: object) -> Tensor:
    p, a, _ = _pieces(*case)
    return p * (a - a.mean(-1, keepdim=True))


def _not_weighted(*case: object) -> Tensor:
    _, a, mean = _pieces(*case)
    return a - mean


def _logit_case(seed: int, beta: float) -> tuple[Tensor, Tensor, Tensor, float]:
    logits, ref_logits, reward = random_case(seed, (3, 7), (3, 7), (3, 7), offset=0.5)
    return logits, ref_logits.log_softmax(-1), reward, beta


check_objective_gradient = Exercise(
    "objective_gradient",
    [_logit_case(seed, beta) for seed, beta in ((20, 0.1), (21, 0.7), (22, 2.0))],
    _gradient,
    {
        "E[A] is not subtracted: a softmax can raise one response only at the cost of the others.": _without_baseline,
        "A is centred by its plain mean over the responses: E[A] is weighted by π(y|x).": _plain_mean,
        "the factor π(y|x) in front is missing.": _not_weighted,
        "the sign is wrong: this is the gradient of a loss, and eq. 3 is maximised.": lambda *a: -_gradient(*a),
        "beta is missing in A.": lambda logits, ref, r, beta: _gradient(logits, ref, r, 1.0),
        "the KL is missing: A is the reward minus β log(π/π_ref).": (
            lambda logits, ref, r, beta: _gradient(logits, ref, r, 0.0)
        ),
        "the KL is added: in A it is taken away.": lambda logits, ref, r, beta: _gradient(logits, ref, r, -beta),
        "the reference is forgotten: A has log(π/π_ref), not log π.": (
            lambda logits, ref, r, beta: _gradient(logits, torch.zeros_like(ref), r, beta)
        ),
        "the logits are used as if they were log-probabilities: take log_softmax first.": _without_softmax,
    },
    "Take the KL's own derivative, −β, into A as well: A − β. The gradient is the same. Why?",
)
