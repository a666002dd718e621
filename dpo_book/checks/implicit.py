"""Exercises of chapter 05: the reward inside a policy (eq. 5), and preferences from it (eq. 6)."""

import math

import torch
from torch import Tensor

from dpo_book.checks.canonical_reward import check_canonical_reward
from dpo_book.checks.judge import Exercise, in_float32, normal, vector
from dpo_book.maths.objective import implicit_reward, policy_preference_probability

__all__ = ["check_canonical_reward", "check_preference_of_policy", "check_reward_of_policy"]


def _policy(seed: int, responses: int, beta: float) -> tuple[Tensor, Tensor, float]:
    """log π and log π_ref of some responses, and beta."""
    return *normal(seed, (responses,), (responses,), offset=-6.0), beta


def _reward_of_policy(logp: Tensor, ref_logp: Tensor, beta: float) -> Tensor:
    return implicit_reward(logp, ref_logp, beta)


check_reward_of_policy = Exercise(
    "reward_of_policy",
    _reward_of_policy,
    [
        _policy(20, 5, 0.1),
        _policy(21, 1, 0.7),
        _policy(22, 8, 2.0),
        in_float32(_policy(23, 4, 0.3)),
        _policy(24, 3, 1.0),
    ],
    {
        "β is missing: the log-ratio alone is r/β − log Z, in the wrong unit.": lambda logp, ref, beta: logp - ref,
        "the sign is wrong: a response that the policy made likelier has the higher reward.": (
            lambda logp, ref, beta: beta * (ref - logp)
        ),
        "the reference is forgotten: log π says what is likely, not what became likelier.": (
            lambda logp, ref, beta: beta * logp
        ),
        "divided by β: equation 4 divides the reward by β, so turning it around multiplies.": (
            lambda logp, ref, beta: (logp - ref) / beta
        ),
        "log-probabilities are divided: the logarithm of a ratio is a difference.": (
            lambda logp, ref, beta: beta * logp / ref
        ),
        "the logarithm is missing: this is β times the ratio itself.": (
            lambda logp, ref, beta: beta * (logp - ref).exp()
        ),
        "logarithms are taken of what are log-probabilities already: subtract them.": (
            lambda logp, ref, beta: beta * (logp / ref).log()
        ),
        "probabilities are subtracted: the logarithm of a ratio is a difference of log-probabilities.": (
            lambda logp, ref, beta: beta * (logp.exp() - ref.exp())
        ),
        "β stands in front of log π alone: it multiplies the whole log-ratio.": (
            lambda logp, ref, beta: beta * logp - ref
        ),
        "β stands in front of log π_ref alone: it multiplies the whole log-ratio.": (
            lambda logp, ref, beta: logp - beta * ref
        ),
        "normalised once more: these are log-probabilities already, of some responses among many.": (
            lambda logp, ref, beta: beta * (logp.log_softmax(-1) - ref.log_softmax(-1))
        ),
        "weighted by π: those are the terms of a KL; every response's own reward is asked for.": (
            lambda logp, ref, beta: beta * logp.exp() * (logp - ref)
        ),
        "β is added: it multiplies the log-ratio.": lambda logp, ref, beta: beta + logp - ref,
        "β is subtracted: it multiplies the log-ratio.": lambda logp, ref, beta: logp - ref - beta,
        "the mean is subtracted: the implicit reward itself is asked for.": (
            lambda logp, ref, beta: beta * (logp - ref - (logp - ref).mean())
        ),
        "the logarithm is to base 2; nats are natural logarithms.": (
            lambda logp, ref, beta: beta * (logp - ref) / math.log(2)
        ),
    },
    "Where the policy is the reference, what reward does it carry, and which class of rewards is that?",
    far=[(vector(-500.0, -20.0, -300.0), vector(-400.0, -150.0, -300.5), 0.5)],
    own=[implicit_reward],
)


def _pairs(seed: int, count: int, beta: float) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """log π of a and b, log π_ref of a and b for some pairs, and beta."""
    return *normal(seed, *[(count,)] * 4, offset=-6.0), beta


def _margin(a: Tensor, b: Tensor, ref_a: Tensor, ref_b: Tensor, beta: float) -> Tensor:
    return beta * ((a - ref_a) - (b - ref_b))


def _preference(logp_a: Tensor, logp_b: Tensor, ref_logp_a: Tensor, ref_logp_b: Tensor, beta: float) -> Tensor:
    return policy_preference_probability(logp_a, logp_b, ref_logp_a, ref_logp_b, beta)


check_preference_of_policy = Exercise(
    "preference_of_policy",
    _preference,
    [
        _pairs(25, 4, 0.1),
        _pairs(26, 1, 0.7),
        _pairs(27, 7, 2.0),
        in_float32(_pairs(28, 3, 0.3)),
        _pairs(29, 2, 1.0),
    ],
    {
        "a and b are swapped: this is the probability that b is preferred.": lambda *a: torch.sigmoid(-_margin(*a)),
        "β is missing: without it the policy's preferences are those of the reward r/β.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(_margin(a, b, ref_a, ref_b, 1.0))
        ),
        "the reference is forgotten: what is likely is not what is preferred.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(beta * (a - b))
        ),
        "the reference has the wrong sign, or its a and b are swapped: log(π/π_ref) is a difference.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(beta * ((a + ref_a) - (b + ref_b)))
        ),
        "this is the margin: the logistic function that makes it a probability is missing.": _margin,
        "this is the logarithm of the probability.": lambda *a: torch.sigmoid(_margin(*a)).log(),
        "the logistic function has base 2 here: equation 6 has natural exponentials.": (
            lambda *a: torch.sigmoid(_margin(*a) * math.log(2))
        ),
        "the logistic function has base 10 here: equation 6 has natural exponentials.": (
            lambda *a: torch.sigmoid(_margin(*a) * math.log(10))
        ),
        "this is tanh, from −1 to 1; equation 6 has the logistic function, from 0 to 1.": (
            lambda *a: torch.tanh(_margin(*a))
        ),
        "response a is left out: a preference compares two rewards.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(beta * (ref_b - b))
        ),
        "response b stands alone: a preference compares two rewards, a's minus b's.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(beta * (b - ref_b))
        ),
        "log-probabilities are divided: the logarithm of a ratio is a difference.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(beta * (a / ref_a - b / ref_b))
        ),
        "logarithms are taken of what are log-probabilities already: subtract them.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(beta * ((a / ref_a).log() - (b / ref_b).log()))
        ),
        "the logarithm is missing: the ratios π/π_ref themselves are compared.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(beta * ((a - ref_a).exp() - (b - ref_b).exp()))
        ),
        "probabilities are subtracted: the logarithm of a ratio is a difference of log-probabilities.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(beta * (a.exp() - ref_a.exp() - b.exp() + ref_b.exp()))
        ),
        "β stands in front of the policy's part alone: it multiplies the whole log-ratios.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(beta * (a - b) - (ref_a - ref_b))
        ),
        "β stands in front of the reference's part alone: it multiplies the whole log-ratios.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(a - b - beta * (ref_a - ref_b))
        ),
        "σ is taken of each reward: it belongs around their difference.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(beta * (a - ref_a)) - torch.sigmoid(beta * (b - ref_b))
        ),
        "these are the odds, p / (1 − p); the probability is asked for.": lambda *a: _margin(*a).exp(),
        "this is a's share of π in the pair: what is likely is not what is preferred.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(a - b)
        ),
        "response b is left out: a preference compares two rewards.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(beta * (a - ref_a))
        ),
        "the rewards are added: a preference depends on their difference.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(beta * (a - ref_a + b - ref_b))
        ),
        "the policy is left out: this is what the reference alone says.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(beta * (ref_a - ref_b))
        ),
        "β stands outside σ: it multiplies the log-ratios.": (
            lambda a, b, ref_a, ref_b, beta: beta * torch.sigmoid(_margin(a, b, ref_a, ref_b, 1.0))
        ),
        "these are a yes or no, not a probability: the margin's sign alone counts.": lambda *a: _margin(*a) > 0,
        "this is the normal distribution's function Φ; equation 6 has the logistic one, σ.": (
            lambda *a: torch.special.ndtr(_margin(*a))
        ),
        "this is a softmax over the pairs: every pair has a probability of its own.": (
            lambda *a: _margin(*a).softmax(0)
        ),
        "the implicit rewards' share: equation 1 has their exponentials.": (
            lambda a, b, ref_a, ref_b, beta: (a - ref_a) / (a - ref_a + b - ref_b)
        ),
    },
    "How many sums over all responses did you write? That is how often Z(x) is needed.",
    far=[(vector(-90.0, -40.0), vector(-70.0, -48.0), vector(-75.0, -39.0), vector(-72.0, -60.0), 0.9)],
    own=[policy_preference_probability],
)
