"""Chapter 02's exercise on label noise: the margin that fits labels of which some are flipped."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, vector

__all__ = ["check_noisy_margin"]


def _flipped(margin: Tensor, noise: float) -> Tensor:
    p = margin.sigmoid()
    return (1 - noise) * p + noise * (1 - p)


def _end(noise: float) -> float:
    """Where the best margin of a certain winner ends."""
    return math.log((1 - noise) / noise)


def _noisy(margin: Tensor, noise: float) -> Tensor:
    return torch.logit(_flipped(margin, noise))


check_noisy_margin = Exercise(
    "noisy_margin",
    _noisy,
    [
        (vector(1.7, -0.9, 3.1, -2.4, 0.8, -4.6), 0.1),
        (vector(-1.3), 0.3),
        in_float32((vector(2.2, -1.9, 1.1, 4.0), 0.2)),
        (vector(5.7, -7.3, 2.6, -1.2, 0.7, 8.4, -3.3, 4.4, -0.5), 0.02),
        (vector(2.9, -3.8, 1.6), 0.4),
        (vector(-2.1, 1.4), 0.005),
    ],
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
            lambda m, e: torch.logit((m.sigmoid() - e) / (1 - 2 * e))
        ),
        "this takes noise *out*, and cuts off what has no way back: put it in instead.": (
            lambda m, e: torch.logit(((m.sigmoid() - e) / (1 - 2 * e)).clamp(1e-6, 1 - 1e-6))
        ),
        "every flipped label counts as a win: a flipped win is a loss, so add ε (1 − p), not ε.": (
            lambda m, e: torch.logit((1 - e) * m.sigmoid() + e)
        ),
        "this divides by the slope at 0: noise makes margins smaller, and log-odds do not mix in a straight line.": (
            lambda m, e: m / (1 - 2 * e)
        ),
        "the noise is added to p: flips turn wins into losses as well, so p becomes (1 − ε) p + ε (1 − p).": (
            lambda m, e: torch.logit(m.sigmoid() + e)
        ),
        "the noise is subtracted from p: flips turn losses into wins as well, so p becomes (1 − ε) p + ε (1 − p).": (
            lambda m, e: torch.logit(m.sigmoid() - e)
        ),
        "(1 − 2ε) p lacks a summand: what is flipped adds ε, so p becomes ε + (1 − 2ε) p.": (
            lambda m, e: torch.logit((1 - 2 * e) * m.sigmoid())
        ),
        "the logarithms are mixed: flips mix the probabilities; take the logarithms of those.": (
            lambda m, e: (1 - e) * F.logsigmoid(m) + e * F.logsigmoid(-m)
        ),
        "this is the expected loss at the true margin: what is asked for is the margin that makes it smallest.": (
            lambda m, e: -(1 - e) * F.logsigmoid(m) - e * F.logsigmoid(-m)
        ),
        "brackets are missing around 1 − p: log(p / 1 − p) is the logarithm of zero.": (
            lambda m, e: (_flipped(m, e) / 1 - _flipped(m, e)).log()
        ),
        "the noise is subtracted from the margin: flips act on labels, so on probabilities; take σ first.": (
            lambda m, e: m - e
        ),
        "the odds of a flip are an offset here: noise pulls margins of either sign towards 0.": (
            lambda m, e: m + _end(e)
        ),
        "the odds of a flip are an offset here, with a minus: noise pulls margins of either sign towards 0.": (
            lambda m, e: m - _end(e)
        ),
        "the margin is cut off at the ends that noise leaves: it nears them smoothly, from 0 on.": (
            lambda m, e: m.clamp(-_end(e), _end(e))
        ),
    },
    "Let the true margin go to infinity: where does yours stop? And what does a flip rate of one half leave?",
    # with so little noise that a clamp of p, or a small number added to it, shows
    far=[(vector(60.0, -8.0, 20.0), 0.1), (vector(20.0, -14.0, 30.0, -25.0), 1e-8)],
    on_the_page=["with_flips"],
    tolerance=5e-4,  # a search that ends at 1e-4 is right, too; the answers above are 0.2 and larger
)
