"""Exercises of chapter 05: the reward inside a policy (eq. 5), preferences from it (eq. 6), and the one
representative of a class of rewards."""

import math

import torch
from torch import Tensor

from dpo_book.checks import Exercise, random_case
from dpo_book.maths.objective import implicit_reward, log_partition, optimal_logp, policy_preference_probability

__all__ = ["check_canonical_reward", "check_preference_of_policy", "check_reward_of_policy"]

# log π and log π_ref of five responses, and beta.
POLICIES = [(*random_case(seed, (5,), (5,), offset=-6.0), beta) for seed, beta in ((20, 0.1), (21, 0.7), (22, 2.0))]

check_reward_of_policy = Exercise(
    "reward_of_policy",
    POLICIES,
    implicit_reward,
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
        "the logarithm is to base 2; nats are natural logarithms.": (
            lambda logp, ref, beta: beta * (logp - ref) / math.log(2)
        ),
    },
    "Where the policy is the reference, what reward does it carry, and which class of rewards is that?",
)

# log π of a and b, log π_ref of a and b for four pairs, and beta.
PAIRS = [(*random_case(seed, *[(4,)] * 4, offset=-6.0), beta) for seed, beta in ((23, 0.1), (24, 0.7), (25, 2.0))]


def _margin(a: Tensor, b: Tensor, ref_a: Tensor, ref_b: Tensor, beta: float) -> Tensor:
    return beta * ((a - ref_a) - (b - ref_b))


check_preference_of_policy = Exercise(
    "preference_of_policy",
    PAIRS,
    policy_preference_probability,
    {
        "a and b are swapped: this is the probability that b is preferred.": lambda *a: torch.sigmoid(-_margin(*a)),
        "β is missing: without it the policy's preferences are those of the reward r/β.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(_margin(a, b, ref_a, ref_b, 1.0))
        ),
        "the reference is forgotten: what is likely is not what is preferred.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(beta * (a - b))
        ),
        "the reference has the wrong sign: log(π/π_ref) is a difference.": (
            lambda a, b, ref_a, ref_b, beta: torch.sigmoid(beta * ((a + ref_a) - (b + ref_b)))
        ),
        "this is the margin: the logistic function that makes it a probability is missing.": _margin,
        "this is the logarithm of the probability.": lambda *a: torch.sigmoid(_margin(*a)).log(),
    },
    "How many sums over all responses did you write? That is how often Z(x) is needed.",
)


def _worlds() -> list[tuple]:
    """Rewards (3, 6), log-probabilities of a reference over six responses to each of three prompts, and beta."""
    cases = []
    for seed, beta in ((26, 0.3), (27, 0.8), (28, 2.0)):
        reward, logits = random_case(seed, (3, 6), (3, 6))
        cases.append((reward, logits.log_softmax(dim=-1), beta))
    return cases


def _log_z(reward: Tensor, ref_logp: Tensor, beta: float) -> Tensor:
    return log_partition(ref_logp, reward, beta).unsqueeze(-1)


check_canonical_reward = Exercise(
    "canonical_reward",
    _worlds(),
    lambda reward, ref_logp, beta: reward - beta * _log_z(reward, ref_logp, beta),
    {
        "β in front of log Z is missing: by equation 5 the constant is β log Z(x).": (
            lambda reward, ref_logp, beta: reward - _log_z(reward, ref_logp, beta)
        ),
        "β log Z(x) is added: that leads away from Z(x) = 1, to Z(x)².": (
            lambda reward, ref_logp, beta: reward + beta * _log_z(reward, ref_logp, beta)
        ),
        "the logarithm is missing: the constant is β log Z(x), not β Z(x).": (
            lambda reward, ref_logp, beta: reward - beta * _log_z(reward, ref_logp, beta).exp()
        ),
        "one Z for all prompts: Z(x) is a sum over the responses to one prompt, so sum over the last dimension.": (
            lambda reward, ref_logp, beta: reward - beta * (ref_logp + reward / beta).flatten().logsumexp(0)
        ),
        "Z(x) without π_ref: every response counts in it by its probability under the reference.": (
            lambda reward, ref_logp, beta: reward - beta * (reward / beta).logsumexp(-1, keepdim=True)
        ),
        "the reward inside Z(x) is not divided by β.": (
            lambda reward, ref_logp, beta: reward - beta * _log_z(reward, ref_logp, 1.0)
        ),
        "the mean is subtracted: that is a member of the class too, but not the one of the form β log(π/π_ref).": (
            lambda reward, ref_logp, beta: reward - reward.mean(dim=-1, keepdim=True)
        ),
        "the mean under π_ref is subtracted: that is a member of the class, and the right one only as β → ∞.": (
            lambda reward, ref_logp, beta: reward - (ref_logp.exp() * reward).sum(dim=-1, keepdim=True)
        ),
        "this is log π*, the optimal policy; the reward is β times its log-ratio to π_ref.": (
            lambda reward, ref_logp, beta: optimal_logp(ref_logp, reward, beta)
        ),
    },
    "Apply your function to its own result. What changes, and which number is log Z(x) by then?",
)
