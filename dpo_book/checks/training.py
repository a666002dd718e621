"""Exercises of chapters 00 and 07: the loss of one pair, soft labels, what a proposal misses, π*'s shift."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.checks import Exercise, random_case
from dpo_book.maths.objective import log_partition, optimal_logp

__all__ = ["check_loss_of_ratios", "check_shift_at_optimum", "check_soft_loss", "check_unseen_mass"]

# Ratios π/π_ref of five winners and five losers, and beta.
RATIOS = [(*(t.exp() for t in random_case(seed, (5,), (5,))), beta) for seed, beta in ((0, 0.3), (1, 2.0))]
# Margins of five pairs, and the probabilities that their winners win.
SOFT = [(m, torch.sigmoid(z)) for m, z in (random_case(seed, (5,), (5,)) for seed in (2, 3))]
# log π* and a proposal's probabilities of seven responses to each of two prompts, and how many are drawn.
UNSEEN = [
    (star.log_softmax(-1), proposal.softmax(-1), draws)
    for (star, proposal), draws in ((random_case(2, (2, 7), (2, 7)), 5), (random_case(3, (2, 7), (2, 7)), 12))
]
# log π_ref and reward of seven responses to each of two prompts, and beta.
OPTIMA = [
    (ref.log_softmax(-1), reward, beta)
    for (ref, reward), beta in ((random_case(4, (2, 7), (2, 7)), 0.5), (random_case(5, (2, 7), (2, 7)), 2.0))
]


def _unseen_mass(star: Tensor, proposal: Tensor, draws: int) -> Tensor:
    return (star.exp() * (1 - proposal) ** draws).sum(-1)


def _loss(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    return -F.logsigmoid(beta * chosen.log() - beta * rejected.log())


check_loss_of_ratios = Exercise(
    "loss_of_ratios",
    RATIOS,
    _loss,
    {
        "winner and loser are swapped.": lambda c, r, beta: _loss(r, c, beta),
        "beta is missing.": lambda c, r, beta: _loss(c, r, 1.0),
        "the ratios are not logged: the implicit reward is beta times the *logarithm* of the ratio.": (
            lambda c, r, beta: -F.logsigmoid(beta * (c - r))
        ),
        "the sign is wrong: a loss is minus log σ, above zero.": lambda c, r, beta: -_loss(c, r, beta),
        "the logarithm around σ is missing: this is 1 − σ.": lambda c, r, beta: torch.sigmoid(
            beta * (r.log() - c.log())
        ),
        "the logarithm of the ratio is to base 2; nats are natural logarithms.": (
            lambda c, r, beta: _loss(c, r, beta / math.log(2))
        ),
    },
    "What does it give for a pair whose two ratios are equal? Does beta matter there?",
)

check_soft_loss = Exercise(
    "soft_loss",
    SOFT,
    lambda m, p: -p * F.logsigmoid(m) - (1 - p) * F.logsigmoid(-m),
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
    },
    "At the best margin this loss is the entropy of the label. For which p is that zero?",
)

check_unseen_mass = Exercise(
    "unseen_mass",
    UNSEEN,
    _unseen_mass,
    {
        "(1 − q) lacks its power: this is the chance that one draw misses a response, and there are many draws.": (
            lambda star, q, draws: (star.exp() * (1 - q)).sum(-1)
        ),
        "this is the mass that is seen: subtract it from 1.": lambda star, q, draws: 1 - _unseen_mass(star, q, draws),
        "log π* stands where π* belongs: exponentiate it.": (
            lambda star, q, draws: (star * (1 - q) ** draws).sum(-1)
        ),
        "every response counts alike here; what is asked for is how much π* loses with it.": (
            lambda star, q, draws: ((1 - q) ** draws).mean(-1)
        ),
        "this is the mass of the proposal, not of π*.": lambda star, q, draws: (q * (1 - q) ** draws).sum(-1),
        "the chance to miss in n draws is not 1 − n q, which falls below zero; it is (1 − q) to the power of n.": (
            lambda star, q, draws: (star.exp() * (1 - draws * q)).sum(-1)
        ),
        "summed over prompts: every prompt has responses of its own, so sum over the last dimension.": (
            lambda star, q, draws: (star.exp() * (1 - q) ** draws).sum(0)
        ),
    },
    "A proposal that equals π* still misses some of it. Which responses, and does it matter?",
)

check_shift_at_optimum = Exercise(
    "shift_at_optimum",
    OPTIMA,
    lambda ref, reward, beta: optimal_logp(ref, reward, beta) - ref,
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
    },
    "Where it is below zero, the response gets less likely, though it may have won its comparison.",
)
