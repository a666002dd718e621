"""Exercise of chapter 08: PPO's clipped loss."""

import math

import torch
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal
from dpo_book.training.ppo import clipped_objective

__all__ = ["check_clipped_loss"]


def _moved(seed: int, responses: int, tokens: int, clip: float, by: float = 0.3) -> tuple:
    """Log-probabilities of tokens under two policies that differ by some ``by`` nats, advantages, and ε."""
    shape = (responses, tokens)
    step, old_logp, advantages = normal(seed, shape, shape, shape)
    return old_logp - 6 + by * step, old_logp - 6, advantages, clip


def whitened(values: Tensor, correction: int) -> Tensor:
    """With mean 0 and deviation 1; ``correction`` 0 divides by n, 1 by n − 1."""
    return (values - values.mean()) / values.std(correction=correction)


def _clipped_loss(logp: Tensor, old_logp: Tensor, advantages: Tensor, clip: float) -> Tensor:
    return -clipped_objective(logp, old_logp, advantages, clip).mean()


def _pieces(logp: Tensor, old_logp: Tensor, advantages: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """ρA and clip(ρ)A."""
    ratio = _ratio(logp, old_logp)
    return ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages


def _ratio(logp: Tensor, old_logp: Tensor) -> Tensor:
    return (logp - old_logp).exp()


def _lesser(ratio: Tensor, clipped: Tensor, advantages: Tensor) -> Tensor:
    return torch.minimum(ratio * advantages, clipped * advantages)


def _product_clipped(logp: Tensor, old_logp: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """A mistake: clip(ρA)."""
    return (_ratio(logp, old_logp) * advantages).clamp(1 - clip, 1 + clip)


check_clipped_loss = Exercise(
    "clipped_loss",
    _clipped_loss,
    [
        _moved(6, 4, 6, 0.2),
        _moved(7, 1, 5, 0.1),
        _moved(8, 3, 1, 0.3),
        in_float32(_moved(9, 2, 7, 0.2)),
        _moved(10, 5, 5, 0.4, by=1.0),
    ],
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
        "one value a response: average over all tokens of all responses.": (
            lambda *a: -torch.minimum(*_pieces(*a)).mean(dim=1)
        ),
        "one value a place: average over all tokens of all responses.": (
            lambda *a: -torch.minimum(*_pieces(*a)).mean(dim=0)
        ),
        "this is a sum over the tokens: average over them.": lambda *a: -torch.minimum(*_pieces(*a)).sum(),
        "the sum over each response is averaged: average over all tokens.": (
            lambda *a: -torch.minimum(*_pieces(*a)).sum(dim=1).mean()
        ),
        "the min is of two means: take it token by token, then average.": (
            lambda *a: -torch.minimum(*(piece.mean() for piece in _pieces(*a)))
        ),
        "the ratio is clipped only from above: for A < 0 it is the lower end, 1 − ε, that counts.": (
            lambda logp, old, advantages, clip: (
                -_lesser(_ratio(logp, old), _ratio(logp, old).clamp(max=1 + clip), advantages).mean()
            )
        ),
        "the ratio is clipped only from below: for A > 0 it is the upper end, 1 + ε, that counts.": (
            lambda logp, old, advantages, clip: (
                -_lesser(_ratio(logp, old), _ratio(logp, old).clamp(min=1 - clip), advantages).mean()
            )
        ),
        "the logarithm is clipped to ±ε: clip the ratio itself to 1 ± ε.": (
            lambda logp, old, advantages, clip: (
                -_lesser(_ratio(logp, old), (logp - old).clamp(-clip, clip).exp(), advantages).mean()
            )
        ),
        "the bounds of the clip are exchanged: the lower one, 1 − ε, comes first.": (
            lambda logp, old, advantages, clip: (
                -_lesser(_ratio(logp, old), torch.full_like(logp, 1 - clip), advantages).mean()
            )
        ),
        "the advantage is clipped: it is the ratio that is.": (
            lambda logp, old, advantages, clip: (
                -_lesser(advantages, advantages.clamp(-clip, clip), _ratio(logp, old)).mean()
            )
        ),
        "the product ρA is clipped: clip the ratio, then multiply.": (
            lambda logp, old, advantages, clip: (
                -torch.minimum(_pieces(logp, old, advantages, clip)[0], _product_clipped(logp, old, advantages, clip))
            ).mean()
        ),
        "the product ρA is clipped, and nothing else is left: clip the ratio, then multiply, then take the min.": (
            lambda *a: -_product_clipped(*a).mean()
        ),
        "the clipped ratio lacks its advantage: the min is of ρA and clip(ρ)A.": (
            lambda logp, old, advantages, clip: (
                -torch.minimum(_ratio(logp, old) * advantages, _ratio(logp, old).clamp(1 - clip, 1 + clip)).mean()
            )
        ),
        "the advantages are multiplied after the mean: every token has its own.": (
            lambda logp, old, advantages, clip: -_ratio(logp, old).clamp(max=1 + clip).mean() * advantages.mean()
        ),
        "tokens beyond the clip count as 0: they keep clip(ρ)A, where that is the lesser.": (
            lambda logp, old, advantages, clip: (
                -(_ratio(logp, old) * advantages * ((_ratio(logp, old) - 1).abs() <= clip)).mean()
            )
        ),
        "the ratio is clipped at 1, and not at 1 + ε.": (
            lambda logp, old, advantages, clip: (
                -_lesser(_ratio(logp, old), _ratio(logp, old).clamp(max=1), advantages).mean()
            )
        ),
        "the ratio is 1 whatever the policies are: is the old policy's log-probability the new one's?": (
            lambda logp, old, advantages, clip: -advantages.mean()
        ),
        "a difference of probabilities stands where their ratio belongs.": (
            lambda logp, old, advantages, clip: (
                -_lesser(
                    logp.exp() - old.exp(), (logp.exp() - old.exp()).clamp(1 - clip, 1 + clip), advantages
                ).mean()
            )
        ),
        "one ratio a response, of means over its tokens: step 18 has one a token.": (
            lambda logp, old, advantages, clip: _clipped_loss(
                (logp - old).mean(dim=1, keepdim=True), torch.zeros_like(old[:, :1]), advantages, clip
            )
        ),
        "the ratio is a power of 2: log-probabilities are natural logarithms, so take `exp`.": (
            lambda logp, old, advantages, clip: _clipped_loss(logp * math.log(2), old * math.log(2), advantages, clip)
        ),
        "the mean of the advantages is subtracted: take them as they are.": (
            lambda logp, old, advantages, clip: _clipped_loss(logp, old, advantages - advantages.mean(), clip)
        ),
        "the lower bound of the clip is 1 / (1 + ε): it is 1 − ε.": (
            lambda logp, old, advantages, clip: (
                -_lesser(_ratio(logp, old), _ratio(logp, old).clamp(1 / (1 + clip), 1 + clip), advantages).mean()
            )
        ),
        "the clip is 0.2 whatever `clip` says.": lambda logp, old, advantages, _: _clipped_loss(
            logp, old, advantages, 0.2
        ),
        "the clip is 0.1 whatever `clip` says.": lambda logp, old, advantages, _: _clipped_loss(
            logp, old, advantages, 0.1
        ),
        "log-probabilities are divided: the ratio is the exponential of their difference.": (
            lambda logp, old, advantages, clip: _clipped_loss((logp / old).log(), 0 * old, advantages, clip)
        ),
        "the old policy is missing: ρ = π/π_old.": (
            lambda logp, old, advantages, clip: _clipped_loss(logp, 0 * old, advantages, clip)
        ),
        "one ratio a response: step 18 has one a token.": (
            lambda logp, old, advantages, clip: _clipped_loss(
                (logp - old).sum(dim=1, keepdim=True), torch.zeros_like(old[:, :1]), advantages, clip
            )
        ),
        "this is the plain policy gradient's loss, −log π A: no ratio, no clip.": (
            lambda logp, old, advantages, clip: -(logp * advantages).mean()
        ),
        "the log-ratio times the advantage: no exponential, no clip.": (
            lambda logp, old, advantages, clip: -((logp - old) * advantages).mean()
        ),
        "the advantages are whitened: take them as they are.": (
            lambda logp, old, advantages, clip: _clipped_loss(logp, old, whitened(advantages, 1), clip)
        ),
        "the advantages are whitened (by 1/n): take them as they are.": (
            lambda logp, old, advantages, clip: _clipped_loss(logp, old, whitened(advantages, 0), clip)
        ),
    },
    "In the first update of a batch every ρ is 1 and nothing is clipped. When does the clip begin to matter?",
    far=[_moved(11, 3, 4, 0.2, by=8.0)],
    trains=["logp"],
    own=[clipped_objective],
)
