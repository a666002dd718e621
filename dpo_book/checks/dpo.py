"""Exercises of chapter 06: the DPO loss (eq. 7) and its gradient; ``completion`` has what goes into it."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.checks.completion import check_completion_logp
from dpo_book.checks.judge import Exercise, in_float32, normal, vector
from dpo_book.maths.dpo import dpo_loss, soft_dpo_loss

__all__ = ["check_completion_logp", "check_dpo_loss", "check_gradient_weight"]


def _pairs(seed: int, count: int, beta: float) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """Four log-probabilities of some pairs, as sums over some ten tokens are, and beta."""
    return *normal(seed, *[(count,)] * 4, offset=-9.0), beta


PAIRS = [_pairs(0, 5, 0.1), _pairs(1, 1, 0.7), _pairs(2, 8, 2.0), in_float32(_pairs(3, 3, 0.3)), _pairs(4, 2, 1.0)]
# Margins from −95, where `F.binary_cross_entropy` still gives the right loss (it ends at 100), to 20.
FAR = [
    (
        vector(-97.5, -20.0, -30.0),
        vector(-40.0, -29.0, -11.0),
        vector(-70.0, -31.0, -20.0),
        vector(-60.0, -28.0, -13.0),
        2.0,
    )
]
# Margins of ±31.25, times a weight's factor of 1000: a clamp at ±20 shows in the sixth decimal.
STEEP = [(vector(-8.0, -8.0), vector(-8.03125, -7.96875), vector(-8.0, -8.0), vector(-8.0, -8.0), 1000.0)]


def _margin(pw: Tensor, pl: Tensor, rw: Tensor, rl: Tensor, beta: float) -> Tensor:
    return beta * ((pw - rw) - (pl - rl))


def _loss(pi_w: Tensor, pi_l: Tensor, ref_w: Tensor, ref_l: Tensor, beta: float) -> Tensor:
    return dpo_loss(pi_w, pi_l, ref_w, ref_l, beta)[0]


def _weight(pi_w: Tensor, pi_l: Tensor, ref_w: Tensor, ref_l: Tensor, beta: float) -> Tensor:
    return beta * torch.sigmoid(-_margin(pi_w, pi_l, ref_w, ref_l, beta))


check_dpo_loss = Exercise(
    "my_dpo_loss",
    _loss,
    PAIRS,
    {
        "chosen and rejected are swapped, or policy and reference: the margin has the wrong sign.": (
            lambda pw, pl, rw, rl, beta: _loss(pl, pw, rl, rw, beta)
        ),
        "the sign is wrong: the loss is *minus* log σ, above zero.": lambda *a: -_loss(*a),
        "it is averaged already: return one value a pair.": lambda *a: _loss(*a).mean(),
        "the reference is forgotten.": lambda pw, pl, rw, rl, beta: -F.logsigmoid(beta * (pw - pl)),
        "beta is missing.": lambda pw, pl, rw, rl, beta: _loss(pw, pl, rw, rl, 1.0),
        "beta stands outside of log σ: there it would only scale the loss.": (
            lambda pw, pl, rw, rl, beta: beta * _loss(pw, pl, rw, rl, 1.0)
        ),
        "the logarithm is missing: this is 1 − σ of the margin, not −log σ of it.": (
            lambda *a: torch.sigmoid(-_margin(*a))
        ),
        "the logarithm is missing: this is −σ of the margin, not −log σ of it.": (
            lambda *a: -torch.sigmoid(_margin(*a))
        ),
        "the logarithm is to base 10; nats are natural logarithms.": lambda *a: _loss(*a) / math.log(10),
        "the logarithm is to base 2; nats are natural logarithms.": lambda *a: _loss(*a) / math.log(2),
        "the reference is added or crossed over: each response's own log π_ref is subtracted from its log π.": (
            lambda pw, pl, rw, rl, beta: -F.logsigmoid(beta * ((pw + rw) - (pl + rl)))
        ),
        "beta multiplies only the winner's log-ratio: it belongs to both.": (
            lambda pw, pl, rw, rl, beta: -F.logsigmoid(beta * (pw - rw) - (pl - rl))
        ),
        "beta multiplies only the loser's log-ratio: it belongs to both.": (
            lambda pw, pl, rw, rl, beta: -F.logsigmoid((pw - rw) - beta * (pl - rl))
        ),
        "beta does not multiply the reference's half: it belongs to the whole log-ratio.": (
            lambda pw, pl, rw, rl, beta: -F.logsigmoid(beta * (pw - pl) - (rw - rl))
        ),
        "beta multiplies only the reference's half: it belongs to the whole log-ratio.": (
            lambda pw, pl, rw, rl, beta: -F.logsigmoid((pw - pl) - beta * (rw - rl))
        ),
        "the two log-ratios are added, or the loser's is turned over: it is subtracted from the winner's.": (
            lambda pw, pl, rw, rl, beta: -F.logsigmoid(beta * ((pw - rw) + (pl - rl)))
        ),
        "the loser is missing: eq. 7 compares two implicit rewards.": (
            lambda pw, pl, rw, rl, beta: -F.logsigmoid(beta * (pw - rw))
        ),
        "log-probabilities are divided: the logarithm of a ratio is their difference.": (
            lambda pw, pl, rw, rl, beta: -F.logsigmoid(beta * (pw / rw - pl / rl))
        ),
        "logarithms are taken of what are log-probabilities already: subtract them.": (
            lambda pw, pl, rw, rl, beta: -F.logsigmoid(beta * ((pw / rw).log() - (pl / rl).log()))
        ),
        "the ratios are not logged: the implicit reward is beta times the *logarithm* of π/π_ref.": (
            lambda pw, pl, rw, rl, beta: -F.logsigmoid(beta * ((pw - rw).exp() - (pl - rl).exp()))
        ),
        "probabilities stand where log-probabilities belong: there is an `exp` too many.": (
            lambda pw, pl, rw, rl, beta: -F.logsigmoid(_margin(pw.exp(), pl.exp(), rw.exp(), rl.exp(), beta))
        ),
        "σ is taken of each reward: eq. 7 takes it once, of their difference.": (
            lambda pw, pl, rw, rl, beta: F.logsigmoid(beta * (pl - rl)) - F.logsigmoid(beta * (pw - rw))
        ),
        "a σ of each reward, added: eq. 7 takes one σ, of their difference.": (
            lambda pw, pl, rw, rl, beta: -F.logsigmoid(beta * (pw - rw)) - F.logsigmoid(-beta * (pl - rl))
        ),
        "log σ is missing: this is minus the margin.": lambda *a: -_margin(*a),
        "the policy is missing: this is the loss of π_ref alone.": (
            lambda pw, pl, rw, rl, beta: -F.logsigmoid(beta * (rw - rl))
        ),
        "the reference's own loss is subtracted: eq. 7 has the reference inside of σ.": (
            lambda pw, pl, rw, rl, beta: F.logsigmoid(beta * (rw - rl)) - F.logsigmoid(beta * (pw - pl))
        ),
        "the margin loses its sign, by an absolute value: a pair that is ranked wrong has a margin below zero.": (
            lambda *a: -F.logsigmoid(_margin(*a).abs())
        ),
        "this is exp(−margin); eq. 7 has −log σ(margin), that is log(1 + exp(−margin)).": lambda *a: (
            -_margin(*a)
        ).exp(),
        "log σ is missing: this is the margin.": lambda *a: _margin(*a),
        "this is σ of the margin: take minus its logarithm.": lambda *a: torch.sigmoid(_margin(*a)),
        "this is a hinge, max(0, −margin); eq. 7 has −log σ.": lambda *a: torch.relu(-_margin(*a)),
        "this is a hinge, max(0, 1 − margin); eq. 7 has −log σ.": lambda *a: torch.relu(1 - _margin(*a)),
        "this is IPO's square; eq. 7 has −log σ.": (lambda *a: (_margin(*a[:4], 1.0) - 1 / (2 * a[-1])) ** 2),
        "the softmax runs over the pairs: every pair is a comparison of its own, of its two responses.": (
            lambda *a: -_margin(*a).log_softmax(0)
        ),
        "this is the weight σ(−margin) of the gradient times beta, not the loss.": _weight,
    },
    "Try a margin of −1000 in float32: does yours still give 1000? `F.logsigmoid` does; log(sigmoid(·)) gives inf.",
    far=FAR,
    trains=["pi_w", "pi_l"],
    own=[dpo_loss, soft_dpo_loss],
)

check_gradient_weight = Exercise(
    "gradient_weight",
    _weight,
    PAIRS,
    {
        "the weight is upside down: a pair that is ranked *wrong* must weigh more.": (
            lambda *a: a[-1] * torch.sigmoid(_margin(*a))
        ),
        "the factor beta in front is missing.": lambda *a: torch.sigmoid(-_margin(*a)),
        "beta is missing inside σ.": lambda *a: a[-1] * torch.sigmoid(-_margin(*a[:4], 1.0)),
        "the sign is wrong: the weight is positive, the minus stands in front of the expectation.": (
            lambda *a: -a[-1] * torch.sigmoid(-_margin(*a))
        ),
        "this is −β σ(margin): the weight is β (1 − σ(margin)), which is β σ(−margin).": (
            lambda *a: -a[-1] * torch.sigmoid(_margin(*a))
        ),
        "this is the derivative of σ, not of −log σ.": (
            lambda *a: a[-1] * torch.sigmoid(_margin(*a)) * torch.sigmoid(-_margin(*a))
        ),
        "this is the loss itself.": _loss,
        "this is minus the loss.": lambda *a: -_loss(*a),
        "beta counts twice inside σ.": lambda *a: a[-1] * torch.sigmoid(-a[-1] * _margin(*a)),
        "beta is missing inside σ, and the weight is upside down.": lambda *a: (
            a[-1] * torch.sigmoid(_margin(*a[:4], 1.0))
        ),
        "σ(−m) is 1 / (1 + exp(m)), and not exp(−m).": lambda *a: a[-1] * (-_margin(*a)).exp(),
        "every pair weighs the same here, beta: that is the gradient without its σ.": (
            lambda *a: torch.full_like(a[0], a[-1])
        ),
        "every pair weighs the same here, β/2: so it is at the start alone, where the policy is the reference.": (
            lambda *a: torch.full_like(a[0], a[-1] / 2)
        ),
        "a softmax over the pairs stands where σ belongs: each pair has its own weight.": (
            lambda *a: a[-1] * (-_margin(*a)).softmax(0)
        ),
        "the reference is forgotten: σ is of the difference of implicit rewards.": (
            lambda pw, pl, rw, rl, beta: beta * torch.sigmoid(beta * (pl - pw))
        ),
        "the reference is added or crossed over: each response's own log π_ref is subtracted from its log π.": (
            lambda pw, pl, rw, rl, beta: beta * torch.sigmoid(beta * ((pl + rl) - (pw + rw)))
        ),
        "logarithms are taken of what are log-probabilities already: subtract them.": (
            lambda pw, pl, rw, rl, beta: beta * torch.sigmoid(beta * ((pl / rl).log() - (pw / rw).log()))
        ),
        "divided by beta inside σ: the implicit rewards are beta *times* the log-ratios.": (
            lambda *a: a[-1] * torch.sigmoid(-_margin(*a[:4], 1 / a[-1]))
        ),
        "beta multiplies only the winner's log-ratio in σ: it belongs to both.": (
            lambda pw, pl, rw, rl, beta: beta * torch.sigmoid((pl - rl) - beta * (pw - rw))
        ),
        "beta multiplies only the loser's log-ratio in σ: it belongs to both.": (
            lambda pw, pl, rw, rl, beta: beta * torch.sigmoid(beta * (pl - rl) - (pw - rw))
        ),
        "σ is missing: this is beta times the difference of the implicit rewards.": (lambda *a: a[-1] * _margin(*a)),
        "σ is missing: this is beta times the difference of the implicit rewards, loser minus winner.": (
            lambda *a: -a[-1] * _margin(*a)
        ),
        "log σ stands where σ belongs.": lambda *a: a[-1] * F.logsigmoid(-_margin(*a)),
        "log σ stands where σ belongs: this is beta times the loss.": lambda *a: a[-1] * _loss(*a),
        "the margin multiplies σ: what stands in the bracket are gradients, no part of the weight.": (
            lambda *a: _weight(*a) * _margin(*a[:4], 1.0)
        ),
        "the weights are normalised over the batch: each pair has its own, whatever the others have.": (
            lambda *a: _weight(*a) / torch.sigmoid(-_margin(*a)).sum()
        ),
        "the weights are normalised to sum to 1: each pair has its own, whatever the others have.": (
            lambda *a: _weight(*a) / _weight(*a).sum()
        ),
        "this is a step, which asks only whether the pair is ranked wrong: σ says by how much.": (
            lambda *a: a[-1] * (_margin(*a) < 0)
        ),
        "this is the hinge's weight, the margin where it is wrong: σ goes smoothly.": (
            lambda *a: a[-1] * torch.relu(-_margin(*a))
        ),
        "σ is taken of each reward: it is of their difference.": (
            lambda pw, pl, rw, rl, beta: beta * (torch.sigmoid(beta * (pl - rl)) - torch.sigmoid(beta * (pw - rw)))
        ),
    },
    "A pair with a hugely wrong label has the largest weight of all. What does that mean for noisy data?",
    far=FAR + STEEP,
)
