"""Exercises of chapter 08: the reward after its price, a KL estimator, and PPO's advantages and clipped loss."""

import torch
from torch import Tensor

from dpo_book.checks import Exercise, random_case
from dpo_book.training.ppo import clipped_objective, generalized_advantages

# A reward and two log-probabilities of five responses, and beta.
RESPONSES = [
    (*random_case(seed, (5,)), *random_case(seed + 10, (5,), (5,), offset=-1.0), beta)
    for seed, beta in ((0, 0.1), (1, 0.7), (2, 2.0))
]
# Rewards and values of four responses of six tokens, and λ.
TOKENS = [(*random_case(seed, (4, 6), (4, 6)), gae_lambda) for seed, gae_lambda in ((3, 0.95), (4, 0.5), (5, 0.8))]


def _clip_cases() -> list[tuple]:
    """log-probabilities (4, 6) of two policies that differ by up to some 60 %, advantages (4, 6), and ε."""
    cases = []
    for seed, clip in ((6, 0.2), (7, 0.1), (8, 0.3)):
        moved, old, advantages = random_case(seed, (4, 6), (4, 6), (4, 6))
        cases.append((old - 3 + 0.3 * moved, old - 3, advantages, clip))
    return cases


def _penalized(reward: Tensor, logp: Tensor, ref_logp: Tensor, beta: float) -> Tensor:
    return reward - beta * (logp - ref_logp)


check_penalized_reward = Exercise(
    "penalized_reward",
    RESPONSES,
    _penalized,
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
    },
    "Where a response is likelier under π_ref than under π, the penalty is a bonus. Why is its mean never one?",
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
        "this is k1: it may be below zero; add u − 1.": lambda logp, ref: logp - ref,
        "this is minus k1: the sign of the log is wrong.": lambda logp, ref: ref - logp,
        "this is k2, which is biased.": lambda logp, ref: (logp - ref) ** 2 / 2,
        "the sign of the log is wrong: k3 = u − 1 − log u.": (
            lambda logp, ref: (ref - logp).exp() - 1 + (ref - logp)
        ),
        "the −1 is missing: where π = π_ref your estimate is 1 instead of 0.": lambda logp, ref: _k3(logp, ref) + 1,
        "the log is missing: u − 1 has mean zero, whatever the KL is.": lambda logp, ref: (ref - logp).exp() - 1,
        "it is averaged already: return one value a sample.": lambda *a: _k3(*a).mean(),
    },
    "Where π_ref is 1,000 times likelier than π, one sample gives 992 nats. What does that do to a mean of 100?",
)


def _deltas(rewards: Tensor, values: Tensor) -> Tensor:
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    return rewards + following - values


def _summed(deltas: Tensor, decay: float) -> Tensor:
    """Σ_l decay^l δ_{t+l}."""
    nothing = torch.zeros_like(deltas)
    return generalized_advantages(deltas, nothing, torch.ones_like(deltas, dtype=torch.bool), decay)


def _advantages(rewards: Tensor, values: Tensor, gae_lambda: float) -> Tensor:
    return _summed(_deltas(rewards, values), gae_lambda)


check_advantages = Exercise(
    "advantages",
    TOKENS,
    _advantages,
    {
        "summed from the start: what a token did shows in what comes after it, so sum from the end.": (
            lambda r, v, lam: _summed(_deltas(r, v).flip(1), lam).flip(1)
        ),
        "the bootstrap is forgotten: δ_t = R_t + V_{t+1} − V_t, and what is expected next belongs to it.": (
            lambda r, v, lam: _summed(r - v, lam)
        ),
        "V_t is not subtracted: an advantage is more than what was expected.": (
            lambda r, v, lam: _summed(_deltas(r, v) + v, lam)
        ),
        "the values are forgotten: these are (decayed) returns.": lambda r, v, lam: _summed(r, lam),
        "λ is missing: this is λ = 1, the return minus V_t.": lambda r, v, lam: _summed(_deltas(r, v), 1.0),
        "only δ_t: this is λ = 0, which trusts the values blindly.": lambda r, v, lam: _deltas(r, v),
        "λ multiplies V_{t+1} as a discount would: it decays the sum of the δ, not the values in them.": (
            lambda r, v, lam: _summed(r + lam * (_deltas(r, v) - r + v) - v, lam)
        ),
        "V_t and V_{t+1} are swapped: what was expected is subtracted, what is expected next is added.": (
            lambda r, v, lam: _summed(2 * r - _deltas(r, v), lam)
        ),
        "the value after the last token is not 0: nothing comes after the end.": (
            lambda r, v, lam: _summed(r + torch.cat([v[:, 1:], v[:, -1:]], dim=1) - v, lam)
        ),
        "summed along the batch: time runs along dimension 1.": (lambda r, v, lam: _summed(_deltas(r, v).T, lam).T),
    },
    "With λ = 1 every V but V_t cancels out of the sum. What are the advantages then, and why have they no bias?",
)


def _clipped_loss(logp: Tensor, old_logp: Tensor, advantages: Tensor, clip: float) -> Tensor:
    return -clipped_objective(logp, old_logp, advantages, clip).mean()


def _pieces(logp: Tensor, old_logp: Tensor, advantages: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """ρA and clip(ρ)A."""
    ratio = (logp - old_logp).exp()
    return ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages


check_clipped_loss = Exercise(
    "clipped_loss",
    _clip_cases(),
    _clipped_loss,
    {
        "the sign is wrong: a loss is minimised, so it is *minus* the objective.": lambda *a: -_clipped_loss(*a),
        "clipped, but without the min: where the policy moved the wrong way the gradient must not vanish.": (
            lambda *a: -_pieces(*a)[1].mean()
        ),
        "not clipped: this is the plain ratio times the advantage.": lambda *a: -_pieces(*a)[0].mean(),
        "the larger of the two (was the sign turned before the min?): the clip must promise less, never more.": (
            lambda *a: -torch.maximum(*_pieces(*a)).mean()
        ),
        "the ratio is upside down: ρ = π/π_old, the new policy above.": (
            lambda logp, old, *a: _clipped_loss(old, logp, *a)
        ),
        "the ratio is not exponentiated: logp − old_logp is its logarithm, 0 where nothing has moved.": (
            lambda logp, old, advantages, clip: (
                -torch.minimum((logp - old) * advantages, (logp - old).clamp(1 - clip, 1 + clip) * advantages).mean()
            )
        ),
        "the min is over the ratios, before the advantage is multiplied: for A < 0 that is the wrong one.": (
            lambda logp, old, advantages, clip: -((logp - old).exp().clamp(max=1 + clip) * advantages).mean()
        ),
        "clipped to ±ε: the ratio's home is 1, so clip to 1 ± ε.": (
            lambda logp, old, advantages, clip: (
                -torch.minimum(
                    (logp - old).exp() * advantages, (logp - old).exp().clamp(-clip, clip) * advantages
                ).mean()
            )
        ),
        "one value a token: a loss is their mean.": lambda *a: -torch.minimum(*_pieces(*a)),
    },
    "In the first update of a batch every ρ is 1 and nothing is clipped. When does the clip begin to matter?",
)
