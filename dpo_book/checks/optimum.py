"""Exercises of chapter 04: log Z, the optimal policy (eq. 4), and the beta that spends a budget of KL."""

import math

import torch
from torch import Tensor

from dpo_book.checks import Exercise, random_case
from dpo_book.maths.exact import kl_divergence
from dpo_book.maths.objective import log_partition, optimal_logp


def _case(seed: int, beta: float) -> tuple[Tensor, Tensor, float]:
    """log π_ref (3, 7), reward (3, 7), beta: three prompts, seven responses each."""
    logits, reward = random_case(seed, (3, 7), (3, 7))
    return logits.log_softmax(-1), reward, beta


PROMPTS = [_case(0, 0.4), _case(1, 1.7)]

check_log_partition = Exercise(
    "log_partition",
    PROMPTS,
    log_partition,
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
    "Try beta = 0.001 in float32: does yours stay finite? torch.logsumexp does; log of a sum of exp gives inf.",
)


def _tilted(ref: Tensor, r: Tensor, beta: float) -> Tensor:
    return ref + r / beta


check_optimal_logp = Exercise(
    "optimal_logp",
    PROMPTS,
    optimal_logp,
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
        "normalised over prompts: every prompt's own responses must sum to 1, over the last dimension.": (
            lambda ref, r, beta: _tilted(ref, r, beta).log_softmax(0)
        ),
        "one Z for all prompts: every prompt has its own.": (
            lambda ref, r, beta: _tilted(ref, r, beta) - _tilted(ref, r, beta).logsumexp((0, 1))
        ),
    },
    "Add 100 to every reward of one prompt. What changes in π*, and what in log Z? Chapter 05 lives on the answer.",
)

LOW, HIGH = 1e-3, 1e3  # where the exercise tells the student to look for beta


def _bisect(strayed_too_far, ref: Tensor) -> Tensor:
    """The beta between LOW and HIGH at which the answer turns from yes (below) to no (above)."""
    low, high = LOW, HIGH
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if strayed_too_far(middle) else (low, middle)
    return torch.tensor(math.sqrt(low * high), dtype=torch.float64)


def _beta_for_kl(ref: Tensor, r: Tensor, target: float) -> Tensor:
    ref, r = ref.double(), r.double()
    return _bisect(lambda beta: kl_divergence(optimal_logp(ref, r, beta), ref) > target, ref)


def _budget(seed: int, target: float) -> tuple[Tensor, Tensor, float]:
    logits, reward = random_case(seed, (9,), (9,))
    return logits.log_softmax(-1), reward, target


check_beta_for_kl = Exercise(
    "beta_for_kl",
    [_budget(2, 0.5), _budget(3, 0.12)],
    _beta_for_kl,
    {
        "the search runs to one end: a smaller beta means *more* KL, so raise low when the KL is too large.": (
            lambda ref, r, target: _bisect(lambda beta: kl_divergence(optimal_logp(ref, r, beta), ref) < target, ref)
        ),
        "this is 1/β: the reward is divided by beta.": lambda *a: 1 / _beta_for_kl(*a),
        "the KL is the other way round: eq. 3 has KL(π‖π_ref), averaged over the policy.": (
            lambda ref, r, target: _bisect(lambda beta: kl_divergence(ref, optimal_logp(ref, r, beta)) > target, ref)
        ),
        "the KL is averaged over responses: it is a sum weighted by π, with no division by N.": (
            lambda ref, r, target: _beta_for_kl(ref, r, target * len(r))
        ),
        "the KL is in bits (logarithms to base 2); the budget is in nats.": (
            lambda ref, r, target: _beta_for_kl(ref, r, target * math.log(2))
        ),
        "the reward meets the target, not the KL.": (
            lambda ref, r, target: _bisect(lambda beta: (optimal_logp(ref, r, beta).exp() * r).sum() > target, ref)
        ),
        "the reference is left out of the policy: tilt π_ref, not a uniform distribution.": (
            lambda ref, r, target: _bisect(lambda beta: kl_divergence((r / beta).log_softmax(-1), ref) > target, ref)
        ),
        "the KL is multiplied by beta: the budget is for the KL alone.": (
            lambda ref, r, target: _bisect(
                lambda beta: beta * kl_divergence(optimal_logp(ref, r, beta), ref) > target, ref
            )
        ),
    },
    "Which target has no answer? KL(π*‖π_ref) cannot exceed −log π_ref of the best response, however small beta is.",
)
