"""Exercise of chapter 04: the beta whose optimal policy spends a budget of KL."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal
from dpo_book.maths.exact import kl_divergence
from dpo_book.maths.objective import log_partition, optimal_logp

__all__ = ["check_beta_for_kl"]

LOW, HIGH = 1e-3, 1e3  # where the exercise tells the student to look for beta


def _bisect(strayed_too_far: Callable[[float], bool], halvings: int = 45) -> Tensor:
    """The beta between LOW and HIGH at which the answer turns from yes (below) to no (above)."""
    low, high = LOW, HIGH
    for _ in range(halvings):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if strayed_too_far(middle) else (low, middle)
    return torch.tensor(math.sqrt(low * high), dtype=torch.float64)


def _beta_for_kl(ref_logp: Tensor, reward: Tensor, target: float) -> Tensor:
    ref, r = ref_logp.double(), reward.double()
    return _bisect(lambda beta: kl_divergence(optimal_logp(ref, r, beta), ref) > target)


def _meets(ref: Tensor, r: Tensor, beta: float, target: float) -> bool:
    """Does the objective at its optimum, β log Z, exceed the target?"""
    return beta * log_partition(ref, r, beta) > target


def _both_ways(logp: Tensor, ref: Tensor) -> Tensor:
    return kl_divergence(logp, ref) + kl_divergence(ref, logp)


def _entropy(logp: Tensor) -> Tensor:
    return -(logp.exp() * logp).sum()


def _variance(ref: Tensor, r: Tensor) -> Tensor:
    mean = (ref.exp() * r).sum()
    return (ref.exp() * (r - mean) ** 2).sum()


def _budget(seed: int, responses: int, target: float, scale: float = 1.0) -> tuple[Tensor, Tensor, float]:
    """log π_ref and reward of all responses to one prompt, and nats; β lies between 0.04 and 600."""
    logits, reward = normal(seed, (responses,), (responses,))
    return logits.log_softmax(-1), scale * reward, target


check_beta_for_kl = Exercise(
    "beta_for_kl",
    _beta_for_kl,
    [
        _budget(2, 9, 0.5),
        _budget(3, 9, 0.12),
        _budget(8, 2, 0.05),
        in_float32(_budget(5, 5, 0.3)),
        _budget(6, 20, 0.02, scale=20.0),
        _budget(9, 6, 0.4, scale=0.08),
        _budget(10, 4, 0.03, scale=150.0),
    ],
    {
        "the search runs to one end: a smaller beta means *more* KL, so raise low when the KL is too large.": (
            lambda ref, r, target: _bisect(lambda beta: kl_divergence(optimal_logp(ref, r, beta), ref) < target)
        ),
        "this is low + high: the answer lies between them, at half of it or at (low · high) ** 0.5.": (
            lambda *a: 2 * _beta_for_kl(*a)
        ),
        "log Z meets the target, not the KL.": (
            lambda ref, r, target: _bisect(lambda beta: log_partition(ref, r, beta) > target)
        ),
        "the KL is divided by beta: the budget is for the KL alone.": (
            lambda ref, r, target: _bisect(
                lambda beta: kl_divergence(optimal_logp(ref, r, beta), ref) > target * beta
            )
        ),
        "the reference is divided by beta, too: tilt it by r/β.": (
            lambda ref, r, target: _bisect(
                lambda beta: kl_divergence(((ref + r) / beta).log_softmax(-1), ref) > target
            )
        ),
        "the search ends too early: ten halvings tell β to within 1 % or so; twice as many cost nothing.": (
            lambda ref, r, target: _bisect(
                lambda beta: kl_divergence(optimal_logp(ref, r, beta), ref) > target, halvings=10
            )
        ),
        "this is 1/β: the reward is divided by beta.": lambda *a: 1 / _beta_for_kl(*a),
        "the KL is the other way round: eq. 3 has KL(π‖π_ref), averaged over the policy.": (
            lambda ref, r, target: _bisect(lambda beta: kl_divergence(ref, optimal_logp(ref, r, beta)) > target)
        ),
        "both directions of the KL are added up: KL(π‖π_ref) alone has the budget.": (
            lambda ref, r, target: _bisect(lambda beta: _both_ways(optimal_logp(ref, r, beta), ref) > target)
        ),
        "the KL is averaged over responses: it is a sum weighted by π, with no division by N.": (
            lambda ref, r, target: _beta_for_kl(ref, r, target * len(r))
        ),
        "the KL is in bits (logarithms to base 2); the budget is in nats.": (
            lambda ref, r, target: _beta_for_kl(ref, r, target * math.log(2))
        ),
        "the reward meets the target, not the KL.": (
            lambda ref, r, target: _bisect(lambda beta: (optimal_logp(ref, r, beta).exp() * r).sum() > target)
        ),
        "the reference is left out of the policy: tilt π_ref, not a uniform distribution.": (
            lambda ref, r, target: _bisect(lambda beta: kl_divergence((r / beta).log_softmax(-1), ref) > target)
        ),
        "the policy is not normalised: subtract log Z before you take its KL.": (
            lambda ref, r, target: _bisect(lambda beta: ((ref + r / beta).exp() * r / beta).sum() > target)
        ),
        "the arguments of the policy are swapped: the reference comes first, then the reward.": (
            lambda ref, r, target: _bisect(lambda beta: kl_divergence(optimal_logp(r, ref, beta), ref) > target)
        ),
        "the objective meets the target, not the KL.": (
            lambda ref, r, target: _bisect(lambda beta: _meets(ref, r, beta, target))
        ),
        "the entropy meets the target, not the KL: the reference is missing.": (
            lambda ref, r, target: _bisect(lambda beta: _entropy(optimal_logp(ref, r, beta)) < target)
        ),
        "this is the target itself, or the KL that was reached: return the β.": lambda ref, r, target: target,
        "this is √(Var_ref[r] / (2 · target)), right only for small budgets: search.": (
            lambda ref, r, target: (_variance(ref, r) / (2 * target)) ** 0.5
        ),
        "the KL is multiplied by beta: the budget is for the KL alone.": (
            lambda ref, r, target: _bisect(
                lambda beta: beta * kl_divergence(optimal_logp(ref, r, beta), ref) > target
            )
        ),
    },
    "Which target has no answer? KL(π*‖π_ref) stays below −log π_ref of the best responses together.",
    tolerance=5e-3,  # a search may end a little early: at 1e-4 nats or 1e-4 of β
)
