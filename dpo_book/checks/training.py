"""Exercises of chapters 00 and 07: the loss of one pair, soft labels; ``proposals`` and ``shift`` follow."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal, vector
from dpo_book.checks.proposals import check_unseen_mass
from dpo_book.checks.shift import check_shift_at_optimum
from dpo_book.maths.dpo import dpo_loss, soft_dpo_loss

__all__ = ["check_loss_of_ratios", "check_shift_at_optimum", "check_soft_loss", "check_unseen_mass"]


def _ratios(seed: int, count: int, beta: float) -> tuple[Tensor, Tensor, float]:
    """Ratios π/π_ref of some winners and losers, and beta."""
    chosen, rejected = normal(seed, (count,), (count,))
    return chosen.exp(), rejected.exp(), beta


def _soft(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Margins of some pairs, and the probabilities that their winners win."""
    margin, log_odds = normal(seed, (count,), (count,))
    return 2 * margin, log_odds.sigmoid()


def _loss(chosen_ratio: Tensor, rejected_ratio: Tensor, beta: float) -> Tensor:
    return -F.logsigmoid(beta * chosen_ratio.log() - beta * rejected_ratio.log())


def _soft_loss(margin: Tensor, p: Tensor) -> Tensor:
    return -p * F.logsigmoid(margin) - (1 - p) * F.logsigmoid(-margin)


def _entropy(p: Tensor) -> Tensor:
    """Of a label that falls one way with probability p, in nats."""
    return -p * p.log() - (1 - p) * (1 - p).log()


check_loss_of_ratios = Exercise(
    "loss_of_ratios",
    _loss,
    [
        _ratios(0, 5, 0.3),
        _ratios(1, 1, 2.0),
        _ratios(2, 8, 0.1),
        in_float32(_ratios(3, 3, 0.7)),
        _ratios(4, 2, 1.0),
        _ratios(18, 4, 5.0),
    ],
    {
        "winner and loser are swapped.": lambda c, r, beta: _loss(r, c, beta),
        "beta is missing, or it cancels: it multiplies the difference of the logarithms, not what they are of.": (
            lambda c, r, beta: _loss(c, r, 1.0)
        ),
        "beta stands outside of log σ: it multiplies the margin, inside of σ.": (
            lambda c, r, beta: beta * _loss(c, r, 1.0)
        ),
        "beta belongs to both logarithms: brackets are missing around their difference.": (
            lambda c, r, beta: _loss(c**beta, r, 1.0)
        ),
        "the ratios are not logged: the implicit reward is beta times the *logarithm* of the ratio.": (
            lambda c, r, beta: -F.logsigmoid(beta * (c - r))
        ),
        "the ratios are not logged, and beta is missing: the implicit reward is beta times the ratio's logarithm.": (
            lambda c, r, beta: -F.logsigmoid(c - r)
        ),
        "the quotient of the two ratios is not logged: the margin is beta times its *logarithm*.": (
            lambda c, r, beta: -F.logsigmoid(beta * (c / r))
        ),
        "the quotient of the two ratios is not logged: beta times its logarithm is the margin, not its power.": (
            lambda c, r, beta: -F.logsigmoid((c / r) ** beta)
        ),
        "the two logarithms are added: the loser's counts with a minus.": lambda c, r, beta: _loss(c, 1 / r, beta),
        "the sign is wrong: a loss is minus log σ, above zero.": lambda c, r, beta: -_loss(c, r, beta),
        "the logarithm around σ is missing: this is 1 − σ of the margin, not −log σ of it.": (
            lambda c, r, beta: torch.sigmoid(beta * (r.log() - c.log()))
        ),
        "the logarithm around σ is missing: this is −σ of the margin, not −log σ of it.": (
            lambda c, r, beta: -torch.sigmoid(beta * (c.log() - r.log()))
        ),
        "the logarithm around σ is missing, and the minus: this is σ of the margin.": (
            lambda c, r, beta: torch.sigmoid(beta * (c.log() - r.log()))
        ),
        "this is the margin itself: the loss is minus log σ of it.": lambda c, r, beta: beta * (c.log() - r.log()),
        "σ is missing: this is minus the margin, which would fall for ever.": (
            lambda c, r, beta: beta * (r.log() - c.log())
        ),
        "this is a hinge, max(0, 1 − margin): the loss is smooth, −log σ of the margin.": (
            lambda c, r, beta: (1 - beta * (c.log() - r.log())).clamp(min=0)
        ),
        "the logarithm of the ratio is to base 2; nats are natural logarithms.": (
            lambda c, r, beta: _loss(c, r, beta / math.log(2))
        ),
        "the logarithm of the ratio is to base 10; nats are natural logarithms.": (
            lambda c, r, beta: _loss(c, r, beta / math.log(10))
        ),
    },
    "What does it give for a pair whose two ratios are equal? Does β matter there?",
    # β log(c/r) reaches −83 there, and both ratios of a pair can be tiny: no clamp, no small number added, fits all
    far=[
        (vector(1e-30, 1e6, 3.0, 1e-14), vector(1e10, 1e4, 1e7, 1e-12), 0.9),
        (vector(1e-9, 1e6), vector(1e8, 1e-9), 1.5),
    ],
    trains=["chosen_ratio", "rejected_ratio"],
    own=[dpo_loss],
)

check_soft_loss = Exercise(
    "soft_loss",
    _soft_loss,
    [_soft(2, 5), _soft(3, 1), in_float32(_soft(4, 8)), _soft(5, 3)],
    {
        "only the winner's half is there: the label falls the other way with probability 1 − p.": (
            lambda m, p: -p * F.logsigmoid(m)
        ),
        "p and 1 − p are swapped.": lambda m, p: -(1 - p) * F.logsigmoid(m) - p * F.logsigmoid(-m),
        "the second half needs the margin of the swapped pair, −m.": lambda m, p: -F.logsigmoid(m),
        "p is ignored: this is the loss of a hard label that falls the other way.": lambda m, p: -F.logsigmoid(-m),
        "the mean is taken inside: σ of p·m is not the mean of two losses.": lambda m, p: (
            -F.logsigmoid((2 * p - 1) * m)
        ),
        "the sign is wrong: a loss is minus log σ.": lambda m, p: p * F.logsigmoid(m) + (1 - p) * F.logsigmoid(-m),
        'only the loser\'s half is there: the label falls "winner" with probability p.': (
            lambda m, p: -(1 - p) * F.logsigmoid(-m)
        ),
        "the second half has the wrong sign: both are minus a probability times log σ.": (
            lambda m, p: -p * F.logsigmoid(m) + (1 - p) * F.logsigmoid(-m)
        ),
        "1 − log σ(m) stands where log(1 − σ(m)) belongs, which is log σ(−m).": (
            lambda m, p: -p * F.logsigmoid(m) - (1 - p) * (1 - F.logsigmoid(m))
        ),
        "the probability is taken inside: σ of p·m is not p times a loss.": lambda m, p: -F.logsigmoid(p * m),
        "p stands where 1 − p belongs: the second half has p, too.": (
            lambda m, p: -p * F.logsigmoid(m) - p * F.logsigmoid(-m)
        ),
        "p is missing: the two losses are added, each with weight 1.": (
            lambda m, p: -F.logsigmoid(m) - F.logsigmoid(-m)
        ),
        "1 − m stands where −m belongs in the second half.": (
            lambda m, p: -p * F.logsigmoid(m) - (1 - p) * F.logsigmoid(1 - m)
        ),
        "σ is taken of p, which is a probability already.": lambda m, p: _soft_loss(m, p.sigmoid()),
        "this is the squared distance of the margin from the log-odds of p: they have one minimum, not one value.": (
            lambda m, p: (m - p.logit()) ** 2
        ),
        "p is ignored: this is the mean of the two losses, as if p were 1/2.": (
            lambda m, p: -(F.logsigmoid(m) + F.logsigmoid(-m)) / 2
        ),
        "the soft label is rounded to a hard one: p itself is the weight.": lambda m, p: _soft_loss(m, p.round()),
        "σ is taken twice: the margin is a logit, and log σ takes it as it is.": (
            lambda m, p: _soft_loss(m.sigmoid(), p)
        ),
        "this is a squared error; ℓ(m) has logarithms.": lambda m, p: (m.sigmoid() - p) ** 2,
        "the logarithm is missing: this has 1 − σ where −log σ belongs.": (
            lambda m, p: p * (-m).sigmoid() + (1 - p) * m.sigmoid()
        ),
        "the logarithm is missing: this has −σ where −log σ belongs.": (
            lambda m, p: -p * m.sigmoid() - (1 - p) * (-m).sigmoid()
        ),
        "the logarithm of the mean: it is the mean of two logarithms.": (
            lambda m, p: -(p * m.sigmoid() + (1 - p) * (-m).sigmoid()).log()
        ),
        "the label's entropy is subtracted: that is a KL, whose minimum is 0, and not ℓ(m).": (
            lambda m, p: _soft_loss(m, p) - _entropy(p)
        ),
        "the roles are turned: this is −σ log p − (1 − σ) log(1 − p), and the label is the weight.": (
            lambda m, p: -m.sigmoid() * p.log() - (-m).sigmoid() * (1 - p).log()
        ),
        "p is missing in the first half, which has weight 1 here.": (
            lambda m, p: -F.logsigmoid(m) - (1 - p) * F.logsigmoid(-m)
        ),
    },
    "At the best margin this loss is the entropy of the label. For which p is that zero?",
    # Hard labels among them, and margins at which `F.binary_cross_entropy` and log(1 − σ) are still right.
    far=[(vector(-95.0, 15.0, -9.0, -20.0, 15.0, 15.0, -20.0), vector(0.7, 0.2, 0.95, 1.0, 0.0, 1.0, 0.0))],
    trains=["margin"],
    own=[soft_dpo_loss],
)
