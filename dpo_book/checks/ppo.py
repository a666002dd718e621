"""Exercises of chapter 08: the reward after its price, and a KL estimator; ``advantages`` and ``clipping`` follow."""

import math

from torch import Tensor

from dpo_book.checks.advantages import check_token_advantages
from dpo_book.checks.clipping import check_clipped_loss
from dpo_book.checks.judge import Exercise, in_float32, normal, vector
from dpo_book.training.ppo import penalized_rewards

__all__ = ["check_clipped_loss", "check_k3_estimate", "check_penalized_reward", "check_token_advantages"]


def _responses(seed: int, count: int, beta: float) -> tuple[Tensor, Tensor, Tensor, float]:
    """A reward and two log-probabilities of some responses, and beta."""
    return *normal(seed, (count,)), *normal(seed + 10, (count,), (count,), offset=-4.0), beta


def _penalized(reward: Tensor, logp: Tensor, ref_logp: Tensor, beta: float) -> Tensor:
    return reward - beta * (logp - ref_logp)


def _k3(logp: Tensor, ref_logp: Tensor) -> Tensor:
    return (ref_logp - logp).exp() - 1 - (ref_logp - logp)


check_penalized_reward = Exercise(
    "penalized_reward",
    _penalized,
    [
        _responses(0, 5, 0.1),
        _responses(1, 1, 0.7),
        _responses(2, 8, 2.0),
        in_float32(_responses(3, 3, 0.3)),
        _responses(4, 2, 1.0),
    ],
    {
        "the sign of the KL is wrong: straying is paid for, so it is subtracted.": (
            lambda reward, logp, ref, beta: reward + beta * (logp - ref)
        ),
        "the whole has the wrong sign: this is what equation 3 maximises, not a loss.": (lambda *a: -_penalized(*a)),
        "beta is missing: it is the price of a nat.": lambda reward, logp, ref, beta: reward - (logp - ref),
        "beta stands at the reward: in equation 3 it multiplies the KL.": (
            lambda reward, logp, ref, beta: beta * reward - (logp - ref)
        ),
        "beta multiplies all of it: the reward keeps its scale.": (
            lambda reward, logp, ref, beta: beta * (reward - (logp - ref))
        ),
        "divided by beta: that is equation 4's exponent, here beta multiplies the log-ratio.": (
            lambda reward, logp, ref, beta: reward - (logp - ref) / beta
        ),
        "the reference is forgotten: without it this is an entropy bonus, and nothing holds the policy.": (
            lambda reward, logp, ref, beta: reward - beta * logp
        ),
        "the ratio itself is subtracted: KL is the mean of its logarithm.": (
            lambda reward, logp, ref, beta: reward - beta * (logp - ref).exp()
        ),
        "the penalty is averaged over the batch: every response pays for itself.": (
            lambda reward, logp, ref, beta: reward - beta * (logp - ref).mean()
        ),
        "averaged already: return one value a response.": lambda *a: _penalized(*a).mean(),
        "the reward is divided by beta: in equation 3 beta multiplies the KL.": (
            lambda reward, logp, ref, beta: reward / beta - (logp - ref)
        ),
        "beta multiplies only log π: it is the price of the whole log-ratio.": (
            lambda reward, logp, ref, beta: reward - beta * logp + ref
        ),
        "beta multiplies only log π, and log π_ref has the wrong sign: mind the brackets.": (
            lambda reward, logp, ref, beta: reward - beta * logp - ref
        ),
        "beta multiplies only log π_ref: it is the price of the whole log-ratio.": (
            lambda reward, logp, ref, beta: reward - logp + beta * ref
        ),
        "log-probabilities are divided: the logarithm of a ratio is their difference.": (
            lambda reward, logp, ref, beta: reward - beta * logp / ref
        ),
        "probabilities are subtracted: the KL has logarithms.": (
            lambda reward, logp, ref, beta: reward - beta * (logp.exp() - ref.exp())
        ),
        "the log-ratio is weighted by π: a sample stands for that weight by being drawn.": (
            lambda reward, logp, ref, beta: reward - beta * logp.exp() * (logp - ref)
        ),
        "an absolute value of the log-ratio is subtracted: below zero it is a bonus, which makes its mean the KL.": (
            lambda reward, logp, ref, beta: reward - beta * (logp - ref).abs()
        ),
        "the log-ratio is cut off at zero: below it is a bonus, which makes its mean the KL.": (
            lambda reward, logp, ref, beta: reward - beta * (logp - ref).relu()
        ),
        "k3 stands where the log-ratio, k1, belongs.": (
            lambda reward, logp, ref, beta: reward - beta * _k3(logp, ref)
        ),
        "k2 stands where the log-ratio, k1, belongs.": (
            lambda reward, logp, ref, beta: reward - beta * (logp - ref) ** 2 / 2
        ),
        "the square of the log-ratio stands where it itself belongs.": (
            lambda reward, logp, ref, beta: reward - beta * (logp - ref) ** 2
        ),
        "log π is missing: the price is of the whole log-ratio.": lambda reward, logp, ref, beta: reward - beta * ref,
        "the reference is forgotten, and the sign of the KL is wrong.": (
            lambda reward, logp, ref, beta: reward + beta * logp
        ),
        "beta is missing, and the sign of the KL is wrong.": lambda reward, logp, ref, beta: reward + (logp - ref),
        "1 − beta stands at the reward, which keeps its scale.": (
            lambda reward, logp, ref, beta: (1 - beta) * reward - beta * (logp - ref)
        ),
        "the mean reward is subtracted: that is a baseline, and not part of R(y).": (
            lambda reward, logp, ref, beta: reward - reward.mean() - beta * (logp - ref)
        ),
        "weighted by π_ref: a sample of π stands for its weight by being drawn.": (
            lambda reward, logp, ref, beta: reward - beta * ref.exp() * (ref - logp)
        ),
        "the logarithm of the ratio is to base 10; nats are natural logarithms.": (
            lambda reward, logp, ref, beta: reward - beta / math.log(10) * (logp - ref)
        ),
        "R(y) is rounded off to whole numbers.": lambda *a: _penalized(*a).trunc(),
        "the penalty is summed over the batch: every response pays for itself.": (
            lambda reward, logp, ref, beta: reward - beta * (logp - ref).sum()
        ),
        "the logarithm of the ratio is to base 2; nats are natural logarithms.": (
            lambda reward, logp, ref, beta: reward - beta / math.log(2) * (logp - ref)
        ),
        "the reward is left out: this is the price alone.": lambda reward, logp, ref, beta: beta * (logp - ref),
    },
    "Where a response is likelier under π_ref than under π, the penalty is a bonus. Why is its mean never one?",
    far=[(vector(1000.0, -7.0, 0.5), vector(-3000.0, -20.0, -9.0), vector(-200.0, -2500.0, -8.0), 0.5)],
    own=[penalized_rewards],
)


check_k3_estimate = Exercise(
    "k3_estimate",
    _k3,
    [
        normal(7, (6,), (6,), offset=-9.0),
        normal(8, (1,), (1,), offset=-9.0),
        in_float32(normal(9, (4,), (4,), offset=-5.0)),
        normal(10, (9,), (9,), offset=-20.0, scale=2.0),
    ],
    {
        "the ratio is upside down: with samples from π it must be π_ref/π, whose mean is 1.": (
            lambda logp, ref: _k3(ref, logp)
        ),
        "this is k1: it may be below zero; add u − 1.": lambda logp, ref: logp - ref,
        "this is minus k1: the sign of the log is wrong.": lambda logp, ref: ref - logp,
        "this is k2, which is biased.": lambda logp, ref: (logp - ref) ** 2 / 2,
        "the sign of the log is wrong: k3 = u − 1 − log u.": (
            lambda logp, ref: (ref - logp).exp() - 1 + (ref - logp)
        ),
        "the −1 is missing: where π = π_ref your estimate is 1 instead of 0.": lambda logp, ref: _k3(logp, ref) + 1,
        "the log is missing: u − 1 has mean zero, whatever the KL is.": lambda logp, ref: (ref - logp).exp() - 1,
        "it is averaged already: return one value a sample.": lambda *a: _k3(*a).mean(),
        "1 is added: k3 = u − 1 − log u.": lambda logp, ref: _k3(logp, ref) + 2,
        "the square lacks its half, and would be k2, which is biased; k3 = u − 1 − log u.": (
            lambda logp, ref: (logp - ref) ** 2
        ),
        "only u is there: k3 = u − 1 − log u.": lambda logp, ref: (ref - logp).exp(),
        "this is u log u; k3 = u − 1 − log u.": lambda logp, ref: (ref - logp).exp() * (ref - logp),
        "this is a square of u − 1; k3 = u − 1 − log u.": lambda logp, ref: ((ref - logp).exp() - 1) ** 2,
        "this is half the square of u − 1, near k3 only where u is near 1.": (
            lambda logp, ref: ((ref - logp).exp() - 1) ** 2 / 2
        ),
        "this is π_ref log(π_ref/π), a term of the other KL, and no estimate from a sample.": (
            lambda logp, ref: ref.exp() * (ref - logp)
        ),
        "this is u log u − (u − 1), for samples of π_ref; k3 = u − 1 − log u is for samples of π.": (
            lambda logp, ref: (ref - logp).exp() * (ref - logp) - (ref - logp).exp() + 1
        ),
        "in u the ratio is upside down, and not in the logarithm: u = π_ref/π in both.": (
            lambda logp, ref: (logp - ref).exp() - 1 - (ref - logp)
        ),
        "the −1 is inside of exp: k3 = exp(log u) − 1 − log u.": (
            lambda logp, ref: (ref - logp - 1).exp() - (ref - logp)
        ),
        "log-probabilities are divided: u = exp(ref_logp − logp).": (
            lambda logp, ref: ref / logp - 1 - (ref / logp).log()
        ),
        "u is not exponentiated: ref_logp − logp is its logarithm.": (
            lambda logp, ref: (ref - logp) - 1 - (ref - logp).log()
        ),
        "u is not exponentiated, and its logarithm is taken of its size: ref_logp − logp is log u.": (
            lambda logp, ref: (ref - logp) - 1 - (ref - logp).abs().log()
        ),
        "the logarithm is to base 2; nats are natural logarithms.": (
            lambda logp, ref: (ref - logp).exp() - 1 - (ref - logp) / math.log(2)
        ),
        "the logarithm is to base 10; nats are natural logarithms.": (
            lambda logp, ref: (ref - logp).exp() - 1 - (ref - logp) / math.log(10)
        ),
        "weighted by π: a sample stands for that weight by being drawn.": (
            lambda logp, ref: logp.exp() * _k3(logp, ref)
        ),
        "this is the exact KL's term, π log(π/π_ref), and no estimate from a sample.": (
            lambda logp, ref: logp.exp() * (logp - ref)
        ),
        "this is an absolute value of k1; k3 = u − 1 − log u.": lambda logp, ref: (logp - ref).abs(),
        "the reference is missing: u = π_ref/π.": lambda logp, ref: (-logp).exp() - 1 + logp,
    },
    "Where π_ref is 1,000 times likelier than π, one sample gives 992 nats. What does that do to a mean of 100?",
    far=[(vector(-60.0, -10.0, -30.0, -400.0, -100.0), vector(-40.0, -35.0, -22.0, -100.0, -400.0))],
    on_the_page=["estimators"],
)
