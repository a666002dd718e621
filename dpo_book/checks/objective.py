"""Exercises of chapter 03: the RLHF objective (eq. 3); the KL in it and its gradient have files of their own."""

import math

from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal
from dpo_book.checks.kl_to_reference import check_kl_to_reference, mean_under, policies
from dpo_book.checks.objective_gradient import check_objective_gradient
from dpo_book.maths.exact import kl_divergence
from dpo_book.maths.objective import kl_regularized_objective, log_partition

__all__ = ["check_kl_to_reference", "check_objective", "check_objective_gradient"]


def _with_reward(seed: int, prompts: int, responses: int, beta: float) -> tuple[Tensor, Tensor, Tensor, float]:
    reward = normal(seed + 10, (prompts, responses), offset=0.5)
    return *policies(seed, prompts, responses), *reward, beta


def _with_close_policies() -> tuple[Tensor, Tensor, Tensor, float]:
    """Many responses, a KL of 0.01 and almost no reward: a small number added inside the KL's logarithms shows."""
    _, _, reward, beta = _with_reward(11, 2, 30, 20.0)
    return *policies(13, 2, 30, scale=0.1), reward / 100, beta


def _with_far_reward() -> tuple[Tensor, Tensor, Tensor, float]:
    logp, ref_logp, reward, beta = _with_reward(8, 2, 4, 0.5)
    return logp, ref_logp, 1000 * reward, beta


def _with_far_policies() -> tuple[Tensor, Tensor, Tensor, float]:
    _, _, reward, beta = _with_reward(9, 3, 4, 0.5)
    return *policies(12, 3, 4, scale=60.0), reward, beta


def _objective(logp: Tensor, ref_logp: Tensor, reward: Tensor, beta: float) -> Tensor:
    return kl_regularized_objective(logp, ref_logp, reward, beta)


def _weightless(logp: Tensor, ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    """The objective with a sum over the log-ratios in the place of the KL."""
    return mean_under(logp, reward) - beta * (logp - ref).sum(-1)


check_objective = Exercise(
    "objective",
    _objective,
    [
        _with_reward(2, 3, 7, 0.1),
        _with_reward(3, 1, 4, 0.7),
        _with_reward(4, 5, 1, 2.0),
        in_float32(_with_reward(5, 2, 6, 0.3)),
        _with_reward(6, 4, 4, 1.0),
        _with_close_policies(),
    ],
    {
        "the KL is added: it is a penalty, so it is taken away.": (
            lambda logp, ref, r, beta: mean_under(logp, r) + beta * kl_divergence(logp, ref)
        ),
        "beta is missing in front of the KL.": lambda logp, ref, r, beta: _objective(logp, ref, r, 1.0),
        "the KL is missing: without it the best policy is one single response.": (
            lambda logp, ref, r, beta: mean_under(logp, r)
        ),
        "the KL is turned around: eq. 3 has KL[π‖π_ref].": (
            lambda logp, ref, r, beta: mean_under(logp, r) - beta * kl_divergence(ref, logp)
        ),
        "beta multiplies the reward: it is the price of a nat of KL.": (
            lambda logp, ref, r, beta: beta * mean_under(logp, r) - kl_divergence(logp, ref)
        ),
        "beta multiplies everything: it is the price of a nat of KL, and stands in front of that alone.": (
            lambda logp, ref, r, beta: beta * _objective(logp, ref, r, 1.0)
        ),
        "the reward has the weight 1 − beta: in eq. 3 it has the weight 1.": (
            lambda logp, ref, r, beta: _objective(logp, ref, (1 - beta) * r, beta)
        ),
        "divided by beta: the KL is multiplied by it.": (
            lambda logp, ref, r, beta: mean_under(logp, r) - kl_divergence(logp, ref) / beta
        ),
        "the rewards are averaged with equal weights: weight each with π(y|x).": (
            lambda logp, ref, r, beta: r.mean(-1) - beta * kl_divergence(logp, ref)
        ),
        "the rewards are summed without weights: weight each with π(y|x).": (
            lambda logp, ref, r, beta: r.sum(-1) - beta * kl_divergence(logp, ref)
        ),
        "the rewards are weighted by log π: exponentiate the weights first.": (
            lambda logp, ref, r, beta: (logp * r).sum(-1) - beta * kl_divergence(logp, ref)
        ),
        "the reference's reward is taken away: in eq. 3 nothing but the KL is.": (
            lambda logp, ref, r, beta: _objective(logp, ref, r, beta) - mean_under(ref, r)
        ),
        "the expectation is missing: weight with π(y|x), and sum over the responses.": (
            lambda logp, ref, r, beta: r - beta * (logp - ref)
        ),
        "the sum over the responses is missing: add up the last dimension.": (
            lambda logp, ref, r, beta: logp.exp() * (r - beta * (logp - ref))
        ),
        "summed over dimension 0, the prompts: the responses are the last dimension.": (
            lambda logp, ref, r, beta: (logp.exp() * (r - beta * (logp - ref))).sum(0)
        ),
        "the KL has no weights: its log-ratios, too, count with probability π(y|x).": _weightless,
        "the KL's log-ratios are weighted by π_ref: they, too, count with probability π(y|x).": (
            lambda logp, ref, r, beta: mean_under(logp, r) + beta * kl_divergence(ref, logp)
        ),
        "the KL is averaged over the responses: π(y|x) is the weight already, so sum.": (
            lambda logp, ref, r, beta: _objective(logp, ref, r, beta / r.shape[-1])
        ),
        "the KL is averaged over the prompts: every prompt pays for its own.": (
            lambda logp, ref, r, beta: mean_under(logp, r) - beta * kl_divergence(logp, ref).mean()
        ),
        "the KL is summed over the prompts: every prompt pays for its own.": (
            lambda logp, ref, r, beta: mean_under(logp, r) - beta * kl_divergence(logp, ref).sum()
        ),
        "the KL's logarithm is missing: this is the mean of the ratio π/π_ref itself.": (
            lambda logp, ref, r, beta: mean_under(logp, r - beta * (logp - ref).exp())
        ),
        "probabilities are subtracted in the KL: the logarithm of a ratio is a difference of log-probabilities.": (
            lambda logp, ref, r, beta: mean_under(logp, r - beta * (logp.exp() - ref.exp()))
        ),
        "log-probabilities are divided in the KL: the logarithm of a ratio is a difference.": (
            lambda logp, ref, r, beta: mean_under(logp, r - beta * logp / ref)
        ),
        "the weights are log π: exponentiate them first.": (
            lambda logp, ref, r, beta: (logp * (r - beta * (logp - ref))).sum(-1)
        ),
        "the weighted rewards are averaged over the responses: π(y|x) is the weight already, so sum.": (
            lambda logp, ref, r, beta: (logp.exp() * r).mean(-1) - beta * kl_divergence(logp, ref)
        ),
        "the entropy is taken away: minus β KL is *plus* β times the entropy, and plus β E[log π_ref].": (
            lambda logp, ref, r, beta: mean_under(logp, r + beta * logp)
        ),
        "the KL is squared: β multiplies its first power.": (
            lambda logp, ref, r, beta: mean_under(logp, r) - beta * kl_divergence(logp, ref) ** 2
        ),
        "the mean reward is taken out: eq. 3 has the rewards as they are.": (
            lambda logp, ref, r, beta: _objective(logp, ref, r - r.mean(-1, keepdim=True), beta)
        ),
        "the best reward stands in the place of the expected one.": (
            lambda logp, ref, r, beta: r.amax(-1) - beta * kl_divergence(logp, ref)
        ),
        "this is β log Z, the highest value that any policy has; this policy's own is asked for.": (
            lambda logp, ref, r, beta: beta * log_partition(ref, r, beta)
        ),
        "the KL is the mean over all P · N entries, as of `F.kl_div` without reduction='none'.": (
            lambda logp, ref, r, beta: mean_under(logp, r) - beta * (logp.exp() * (logp - ref)).mean()
        ),
        "the KL's logarithm is to base 2; nats are natural logarithms.": (
            lambda logp, ref, r, beta: _objective(logp, ref, r, beta / math.log(2))
        ),
        "the rewards are weighted by π_ref: the expectation is over the policy's responses.": (
            lambda logp, ref, r, beta: mean_under(ref, r) - beta * kl_divergence(logp, ref)
        ),
        "the reference is forgotten: minus β Σ π log π is an entropy bonus, which pulls towards uniform.": (
            lambda logp, ref, r, beta: mean_under(logp, r - beta * logp)
        ),
        "averaged over the prompts: return one value a prompt.": lambda *a: _objective(*a).mean(),
        "this is the loss, minus the objective: eq. 3 is maximised.": lambda *a: -_objective(*a),
    },
    "Add 10 to every reward. The objective grows by 10 for every policy: which policy is best then?",
    far=[_with_far_reward(), _with_far_policies()],
    trains=["logp"],
    distributions=["logp", "ref_logp"],
    own=[kl_regularized_objective],
)
