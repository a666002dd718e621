"""Exercise of chapter 05: the one representative of a class of rewards, β log(π/π_ref)."""

import math

import torch
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal, vector
from dpo_book.maths.objective import kl_regularized_objective, log_partition, optimal_logp

__all__ = ["check_canonical_reward"]


def _world(seed: int, prompts: int, responses: int, beta: float) -> tuple[Tensor, Tensor, float]:
    """Rewards and log π_ref of all responses to each prompt, and beta."""
    reward, logits = normal(seed, (prompts, responses), (prompts, responses))
    return reward, logits.log_softmax(dim=-1), beta


def _extreme_world(beta: float) -> tuple[Tensor, Tensor, float]:
    """One prompt with rewards of +1000 and others, one with −1000 alone."""
    _, ref_logp, _ = _world(35, 2, 3, beta)
    return torch.stack([vector(1000.0, 950.0, -1000.0), vector(-1000.0, -1050.0, -970.0)]), ref_logp, beta


def _canonical(reward: Tensor, ref_logp: Tensor, beta: float) -> Tensor:
    return reward.double() - beta * _log_z(reward.double(), ref_logp.double(), beta)


def _log_z(reward: Tensor, ref_logp: Tensor, beta: float) -> Tensor:
    return log_partition(ref_logp, reward, beta).unsqueeze(-1)


check_canonical_reward = Exercise(
    "canonical_reward",
    _canonical,
    [
        _world(30, 3, 6, 0.3),
        _world(31, 1, 4, 0.8),
        _world(32, 4, 1, 2.0),
        in_float32(_world(33, 2, 5, 0.5)),
        _world(34, 3, 3, 1.0),
    ],
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
        "log π_ref is divided by β, too: in Z(x) the reward alone is.": (
            lambda reward, ref_logp, beta: reward - beta * ((ref_logp + reward) / beta).logsumexp(-1, keepdim=True)
        ),
        "the sum over the prompts stands in Z(x): its sum is over the responses, the last dimension.": (
            lambda reward, ref_logp, beta: reward - beta * (ref_logp + reward / beta).logsumexp(0)
        ),
        "this is β log Z(x), the constant: subtract it from the reward.": (
            lambda reward, ref_logp, beta: beta * _log_z(reward, ref_logp, beta).squeeze(-1)
        ),
        "this is β log Z(x) alone: subtract it from the reward.": (
            lambda reward, ref_logp, beta: beta * _log_z(reward, ref_logp, beta)
        ),
        "β counts twice in front of log Z(x): by equation 5 the constant is β log Z(x).": (
            lambda reward, ref_logp, beta: reward - beta**2 * _log_z(reward, ref_logp, beta)
        ),
        "the reward has the wrong sign in Z(x): it sums π_ref exp(r/β).": (
            lambda reward, ref_logp, beta: reward - beta * _log_z(-reward, ref_logp, beta)
        ),
        "the reward inside Z(x) is multiplied by β: it is divided by it.": (
            lambda reward, ref_logp, beta: reward - beta * _log_z(reward, ref_logp, 1 / beta)
        ),
        "π* has no π_ref in it: this is β times the log-ratio of softmax(r/β) to π_ref.": (
            lambda reward, ref_logp, beta: beta * ((reward / beta).log_softmax(-1) - ref_logp)
        ),
        "the largest reward, taken out against overflow, is not added back.": (
            lambda reward, ref_logp, beta: _canonical(reward, ref_logp, beta) + reward.amax(-1, keepdim=True)
        ),
        "the mean under π* is subtracted: that is a member of the class too, but not β log(π/π_ref).": (
            lambda reward, ref_logp, beta: (
                reward - (optimal_logp(ref_logp, reward, beta).exp() * reward).sum(-1, keepdim=True)
            )
        ),
        "the logarithm is to base 10; β log Z(x) has a natural one.": (
            lambda reward, ref_logp, beta: reward - beta * _log_z(reward, ref_logp, beta) / math.log(10)
        ),
        "the logarithm is to base 2; β log Z(x) has a natural one.": (
            lambda reward, ref_logp, beta: reward - beta * _log_z(reward, ref_logp, beta) / math.log(2)
        ),
        "log Z(x) is divided by β: by equation 5 the constant is β log Z(x).": (
            lambda reward, ref_logp, beta: reward - _log_z(reward, ref_logp, beta) / beta
        ),
        "divided by N once more: Z(x) is a sum over responses, the weights π_ref already make it an average.": (
            lambda reward, ref_logp, beta: _canonical(reward, ref_logp, beta) + beta * math.log(reward.shape[-1])
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
        "the largest reward is subtracted: that is a member of the class too, but not β log(π/π_ref).": (
            lambda reward, ref_logp, beta: reward - reward.amax(-1, keepdim=True)
        ),
        "divided by β: equation 5 multiplies the log-ratio by it.": (
            lambda reward, ref_logp, beta: _canonical(reward, ref_logp, beta) / beta**2
        ),
        "β and π_ref are missing in the constant: it is β log Z(x), and Z(x) = Σ π_ref exp(r/β).": (
            lambda reward, ref_logp, beta: reward - reward.logsumexp(-1, keepdim=True)
        ),
        "this is β log π*: the log-ratio to π_ref is asked for.": (
            lambda reward, ref_logp, beta: beta * optimal_logp(ref_logp, reward, beta)
        ),
        "this is log π*, the optimal policy; the reward is β times its log-ratio to π_ref.": (
            lambda reward, ref_logp, beta: optimal_logp(ref_logp, reward, beta)
        ),
    },
    "Apply your function to its own result. What changes, and which number is log Z(x) by then?",
    # float32 keeps 1000 to 6e-5. At β = 10 the answer is large beside that, and exp(r/β) still too large for float32.
    extreme=[_extreme_world(0.5), in_float32(_extreme_world(10.0))],
    own=[optimal_logp, log_partition, kl_regularized_objective],
)
