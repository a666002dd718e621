"""Exercises of chapter 02: the reward-model loss (eq. 2), the Bayes ceiling, and margins under label noise."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.checks import Exercise, random_case
from dpo_book.maths.bradley_terry import preference_probability, reward_model_loss

# ------------------------------------------------------------------ ★ the loss

check_pair_loss = Exercise(
    "pair_loss",
    [random_case(seed, (6,), (6,)) for seed in (20, 21)],
    reward_model_loss,
    {
        "chosen and rejected are swapped: this loss falls when the rejected response gets more reward.": (
            lambda w, lost: reward_model_loss(lost, w)
        ),
        "the sign is wrong: this is the log-likelihood, and a loss is minus that.": (
            lambda w, lost: -reward_model_loss(w, lost)
        ),
        "this is the mean over pairs: one value a pair was asked for.": (
            lambda w, lost: reward_model_loss(w, lost).mean()
        ),
        "this is the sum: one value a pair was asked for.": lambda w, lost: reward_model_loss(w, lost).sum(),
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
        "this is the hinge max(0, 1 − margin): equation 2 is smooth, and no margin is ever quite enough.": (
            lambda w, lost: (1 - (w - lost)).clamp(min=0)
        ),
        "the logarithm is to base 2; nats are natural logarithms.": (
            lambda w, lost: reward_model_loss(w, lost) / math.log(2)
        ),
    },
    "Try rewards of −200 and 0: does yours give 200, or inf? F.logsigmoid never takes the logarithm of 0.",
)

# ------------------------------------------------------------------ ★★ the Bayes ceiling


def _ceiling(a: Tensor, b: Tensor) -> Tensor:
    p = preference_probability(a, b)
    return torch.maximum(p, 1 - p).mean()


def _of_p(formula):
    return lambda a, b: formula(preference_probability(a, b))


check_accuracy_ceiling = Exercise(
    "accuracy_ceiling",
    [random_case(seed, (8,), (8,)) for seed in (22, 23)],
    _ceiling,
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
    },
    "Multiply all rewards by 10. Where does the ceiling go, and what does that say about the judge?",
)

# ------------------------------------------------------------------ ★★★ label noise


def _flipped(margin: Tensor, noise: float) -> Tensor:
    p = margin.sigmoid()
    return (1 - noise) * p + noise * (1 - p)


def _noisy(margin: Tensor, noise: float) -> Tensor:
    return torch.logit(_flipped(margin, noise))


check_noisy_margin = Exercise(
    "noisy_margin",
    [(1.5 * random_case(24, (6,))[0], 0.1), (1.5 * random_case(25, (6,))[0], 0.3)],
    _noisy,
    {
        "this is the probability of the label: its log-odds were asked for.": _flipped,
        "this is log p, not the log-odds log(p / (1 − p)).": lambda m, e: _flipped(m, e).log(),
        "flips go both ways: a loss that is flipped becomes a win, so add ε (1 − p).": (
            lambda m, e: torch.logit((1 - e) * m.sigmoid())
        ),
        "the sign is wrong: ε is the share that is flipped, 1 − ε the share that is kept.": (
            lambda m, e: _noisy(m, 1 - e)
        ),
        "this is the slope at 0 used everywhere: probabilities mix in a straight line, log-odds do not.": (
            lambda m, e: (1 - 2 * e) * m
        ),
        "the margin itself is mixed: flips act on labels, so on probabilities; take σ first.": (
            lambda m, e: (1 - e) * m
        ),
        "half of the noisy labels are right here, as if they were thrown anew: a flipped label is always turned.": (
            lambda m, e: _noisy(m, e / 2)
        ),
        "this takes noise *out*: it is the true margin behind noisy labels, the way back.": (
            lambda m, e: torch.logit(((m.sigmoid() - e) / (1 - 2 * e)).clamp(1e-6, 1 - 1e-6))
        ),
        "the logarithm is to base 2; nats are natural logarithms.": lambda m, e: _noisy(m, e) / math.log(2),
    },
    "Let the true margin go to infinity: where does yours stop? And what does a flip rate of one half leave?",
)
