"""Exercises of chapter 02: the reward-model loss (eq. 2), and the Bayes ceiling; label noise stands beside."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal, vector
from dpo_book.checks.label_noise import check_noisy_margin
from dpo_book.maths.bradley_terry import preference_probability, reward_model_loss

__all__ = ["check_accuracy_ceiling", "check_noisy_margin", "check_pair_loss"]

# ------------------------------------------------------------------ ★ the loss


def _pair_loss(reward_chosen: Tensor, reward_rejected: Tensor) -> Tensor:
    return reward_model_loss(reward_chosen, reward_rejected)


def _entropy(reward_chosen: Tensor, reward_rejected: Tensor) -> Tensor:
    p = preference_probability(reward_chosen, reward_rejected)
    return -(p * p.log() + (1 - p) * (1 - p).log())


check_pair_loss = Exercise(
    "pair_loss",
    _pair_loss,
    [
        normal(20, (6,), (6,)),
        normal(21, (1,), (1,)),
        in_float32(normal(22, (9,), (9,))),
        normal(23, (4,), (4,), scale=4.0),
    ],
    {
        "chosen and rejected are swapped: this loss falls when the rejected response gets more reward.": (
            lambda w, lost: reward_model_loss(lost, w)
        ),
        "the sign is wrong: this is the log-likelihood, and a loss is minus that.": (
            lambda w, lost: -reward_model_loss(w, lost)
        ),
        "this is the probability that the winner wins: its logarithm is missing, and the minus.": (
            preference_probability
        ),
        "the logarithm is missing: 1 − p never exceeds 1, so a confident mistake would cost little.": (
            lambda w, lost: preference_probability(lost, w)
        ),
        "the σ is missing: a bare difference has no lowest point, the loss would fall for ever at full speed.": (
            lambda w, lost: lost - w
        ),
        "the rewards are added: only their difference counts.": lambda w, lost: -F.logsigmoid(w + lost),
        "the rejected reward is forgotten: no response is good or bad on its own, only better than another.": (
            lambda w, lost: -F.logsigmoid(w)
        ),
        "each response is judged alone here: data say that y_w beats y_l, not that y_w is good and y_l bad.": (
            lambda w, lost: -F.logsigmoid(w) - F.logsigmoid(-lost)
        ),
        "σ is taken of each reward, and cancels nothing: take the difference first, then σ of that.": (
            lambda w, lost: F.logsigmoid(lost) - F.logsigmoid(w)
        ),
        "this is the hinge max(0, 1 − margin): equation 2 is smooth, and no margin is ever quite enough.": (
            lambda w, lost: (1 - (w - lost)).clamp(min=0)
        ),
        "this is a hinge, max(0, −margin): equation 2 is smooth, and a right order alone is not enough.": (
            lambda w, lost: (lost - w).clamp(min=0)
        ),
        "this is the exponential loss of boosting: equation 2 is log(1 + that).": lambda w, lost: (lost - w).exp(),
        "this is a squared error, (1 − p)²: maximum likelihood asks for −log p.": (
            lambda w, lost: preference_probability(lost, w) ** 2
        ),
        "this is the entropy of a comparison: the winner is known, so −log p of the winner alone.": _entropy,
        "σ and its logarithm are missing: this is the margin itself.": lambda w, lost: w - lost,
        "the margin loses its sign: a pair in the wrong order must cost more than one in the right order.": (
            lambda w, lost: -F.logsigmoid((w - lost).abs())
        ),
        "the logarithm of p is missing: this is −p.": lambda w, lost: -preference_probability(w, lost),
    },
    "Try rewards of −1000 and 0: does yours give 1000, or inf? `F.logsigmoid` never takes the logarithm of 0.",
    # margins to −95, where every usual formula still holds, torch's cross entropy of probabilities ends at 100
    far=[(vector(-50.0, 20.0, 8.0, 600.0, -300.0), vector(45.0, 0.0, 20.0, 640.0, -301.0))],
    trains=["reward_chosen", "reward_rejected"],
    own=[reward_model_loss],
)

# ------------------------------------------------------------------ ★★ the Bayes ceiling


def _ceiling(reward_a: Tensor, reward_b: Tensor) -> Tensor:
    p = preference_probability(reward_a, reward_b)
    return torch.maximum(p, 1 - p).mean()


def _of_p(formula):
    return lambda a, b: formula(preference_probability(a, b))


check_accuracy_ceiling = Exercise(
    "accuracy_ceiling",
    _ceiling,
    [
        normal(24, (8,), (8,)),
        normal(25, (1,), (1,)),
        in_float32(normal(26, (5,), (5,))),
        normal(27, (13,), (13,), scale=3.0),
    ],
    {
        "one value a pair: the ceiling is their mean.": _of_p(lambda p: torch.maximum(p, 1 - p)),
        "this is how often a wins: one may guess b, so take the larger of p and 1 − p.": _of_p(lambda p: p.mean()),
        "the mean came first: one guesses anew for every pair, so take the larger for each pair, then the mean.": (
            _of_p(lambda p: torch.maximum(p.mean(), 1 - p.mean()))
        ),
        "this is the share of errors: take the larger of p and 1 − p, not the smaller.": (
            _of_p(lambda p: torch.minimum(p, 1 - p).mean())
        ),
        "this is 1: even the true rewards miss when the judge prefers the worse response.": (
            lambda a, b: torch.ones((), dtype=a.dtype)
        ),
        "this is how often a has more reward: that says what to guess, not how often the guess is right.": (
            lambda a, b: (a > b).to(a.dtype).mean()
        ),
        "this guesses by lot, a with chance p: always guessing the likelier one is right more often.": (
            _of_p(lambda p: (p**2 + (1 - p) ** 2).mean())
        ),
        "this is |2p − 1|, by how much the guess beats its opposite: the accuracy is (1 + that) / 2.": (
            _of_p(lambda p: (2 * p - 1).abs().mean())
        ),
        "the σ is missing: rewards are no probabilities; equation 1 makes them so.": (
            lambda a, b: torch.maximum(a, b).mean()
        ),
        "the mean of the differences came first: take σ for each pair, then the mean.": (
            lambda a, b: (a - b).abs().mean().sigmoid()
        ),
        "the mean of the differences came first, and wins of a and b cancel: take σ of each pair, then the mean.": (
            lambda a, b: (a - b).mean().abs().sigmoid()
        ),
        "the rewards are added: only their difference counts.": (lambda a, b: (a + b).abs().sigmoid().mean()),
        "where b has more reward one guesses b, and is right with chance 1 − p: add those pairs.": (
            lambda a, b: (preference_probability(a, b) * (a > b)).mean()
        ),
        "this is the mean over the pairs in which a has more reward: the others count, too, with 1 − p.": (
            lambda a, b: preference_probability(a, b)[a > b].mean()
        ),
        "this is the mean entropy, the floor of the loss: an accuracy is a mean of probabilities.": (
            lambda a, b: _entropy(a, b).mean()
        ),
        "this is one half, what a coin gets: who knows the rewards guesses the likelier one.": (
            lambda a, b: torch.full((), 0.5, dtype=a.dtype)
        ),
        "σ is taken of each reward alone: only differences tell who wins.": (
            lambda a, b: torch.maximum(a.sigmoid(), b.sigmoid()).mean()
        ),
        "this is the largest of the chances: the ceiling is their mean.": lambda a, b: (a - b).abs().sigmoid().max(),
        "this is the median over pairs: the expected accuracy is the mean.": (
            lambda a, b: (a - b).abs().sigmoid().median()
        ),
        "this is a mean of logarithms: an accuracy is a mean of probabilities.": (
            lambda a, b: F.logsigmoid((a - b).abs()).mean()
        ),
        "every a meets every b here: the pairs are given, a and b of the same place.": (
            lambda a, b: (a[:, None] - b).abs().sigmoid().mean()
        ),
        "the sum is divided by 8, whatever the length of the list: divide by the number of pairs.": (
            lambda a, b: (a - b).abs().sigmoid().sum() / 8
        ),
    },
    "Multiply all rewards by 10. Where does the ceiling go, and what does that say about the judge?",
    far=[
        (vector(9.0, -300.0), vector(1.0, 20.0)),
        (vector(7.0), vector(19.0)),
        (vector(600.0, -40.0, -300.0), vector(599.0, -41.5, -300.5)),
    ],
)
