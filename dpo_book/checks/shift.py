"""Exercise of chapter 07: by how much π* moves the log-probability of every response."""

import math

from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal
from dpo_book.maths.objective import log_partition, optimal_logp

__all__ = ["check_shift_at_optimum"]


def _world(
    seed: int, prompts: int, responses: int, beta: float, offset: float = 0.0, scale: float = 1.0
) -> tuple[Tensor, Tensor, float]:
    """log π_ref and reward of all responses to each prompt, and beta."""
    ref_logits, reward = normal(seed, (prompts, responses), (prompts, responses))
    return ref_logits.log_softmax(-1), offset + scale * reward, beta


def _shift(ref_logp: Tensor, reward: Tensor, beta: float) -> Tensor:
    return optimal_logp(ref_logp, reward, beta) - ref_logp


check_shift_at_optimum = Exercise(
    "shift_at_optimum",
    _shift,
    [
        _world(4, 2, 7, 0.5),
        _world(5, 1, 5, 2.0),
        _world(6, 4, 1, 0.8),
        in_float32(_world(7, 3, 6, 0.3)),
        _world(8, 3, 3, 1.0),
    ],
    {
        "log Z is missing: without it π* does not sum to 1.": lambda ref, reward, beta: reward / beta,
        "this is β times the shift, the implicit reward.": (
            lambda ref, reward, beta: beta * (optimal_logp(ref, reward, beta) - ref)
        ),
        "this is log π* itself; subtract log π_ref.": optimal_logp,
        "the reward is multiplied by beta instead of divided by it.": (
            lambda ref, reward, beta: optimal_logp(ref, reward, 1 / beta) - ref
        ),
        "beta is missing.": lambda ref, reward, beta: optimal_logp(ref, reward, 1.0) - ref,
        "the sign of log Z is wrong: it is subtracted.": (
            lambda ref, reward, beta: reward / beta + log_partition(ref, reward, beta).unsqueeze(-1)
        ),
        "the sign is wrong: it is log π* − log π_ref.": lambda *a: -_shift(*a),
        "Z is not weighted by π_ref: Z = Σ π_ref exp(r/β).": (
            lambda ref, reward, beta: (reward / beta).log_softmax(-1)
        ),
        "π_ref is missing in π*, which is π_ref exp(r/β) / Z.": (
            lambda ref, reward, beta: (reward / beta).log_softmax(-1) - ref
        ),
        "this is a difference of probabilities: it is one of log-probabilities.": (
            lambda ref, reward, beta: optimal_logp(ref, reward, beta).exp() - ref.exp()
        ),
        "log-probabilities are divided: the logarithm of a ratio is their difference.": (
            lambda ref, reward, beta: optimal_logp(ref, reward, beta) / ref
        ),
        "log-probabilities are added: the logarithm of a ratio is their difference.": (
            lambda ref, reward, beta: optimal_logp(ref, reward, beta) + ref
        ),
        "normalised over the prompts: every prompt has its own Z, over the last dimension.": (
            lambda ref, reward, beta: (ref + reward / beta).log_softmax(0) - ref
        ),
        "one Z for all prompts: every prompt has its own.": (
            lambda ref, reward, beta: reward / beta - (ref + reward / beta).flatten().logsumexp(0)
        ),
        "Z stands where log Z belongs.": (
            lambda ref, reward, beta: reward / beta - log_partition(ref, reward, beta).exp().unsqueeze(-1)
        ),
        "divided by log Z: r/β *minus* log Z.": (
            lambda ref, reward, beta: reward / beta / log_partition(ref, reward, beta).unsqueeze(-1)
        ),
        "the mean reward stands where log Z belongs: Z is the mean of exp(r/β).": (
            lambda ref, reward, beta: (reward - (ref.exp() * reward).sum(-1, keepdim=True)) / beta
        ),
        "there is a mean in Z: it is a sum over the responses, weighted by π_ref.": (
            lambda ref, reward, beta: _shift(ref, reward, beta) + math.log(reward.shape[-1])
        ),
        "the reward is not divided by beta beside log Z.": (
            lambda ref, reward, beta: reward - log_partition(ref, reward, beta).unsqueeze(-1)
        ),
        "log Z is multiplied by beta: that belongs to the reward of eq. 5.": (
            lambda ref, reward, beta: reward / beta - beta * log_partition(ref, reward, beta).unsqueeze(-1)
        ),
        "log π_ref is subtracted twice: r/β − log Z has none left.": (
            lambda ref, reward, beta: _shift(ref, reward, beta) - ref
        ),
        "the plain mean of the rewards stands where log Z belongs: Z is the mean of exp(r/β) under π_ref.": (
            lambda ref, reward, beta: (reward - reward.mean(-1, keepdim=True)) / beta
        ),
        "π* itself stands where log π* belongs.": (
            lambda ref, reward, beta: optimal_logp(ref, reward, beta).exp() - ref
        ),
        "weighted by π*: that is a term of a KL, and the shift alone is asked for.": (
            lambda ref, reward, beta: optimal_logp(ref, reward, beta).exp() * _shift(ref, reward, beta)
        ),
        "this is the KL of a prompt: one shift for every response.": (
            lambda ref, reward, beta: (optimal_logp(ref, reward, beta).exp() * _shift(ref, reward, beta)).sum(-1)
        ),
        "this is log Z alone: subtract it from r/β.": (
            lambda ref, reward, beta: log_partition(ref, reward, beta).unsqueeze(-1).expand(reward.shape)
        ),
    },
    "Where it is below zero, the response gets less likely, though it may have won its comparison.",
    # r/β around 100, which cancels, and a response of 1e-11: a clamp shows, and `Categorical(probs=...)` is right.
    far=[_world(9, 2, 4, 0.5, offset=50.0, scale=6.0)],
)
