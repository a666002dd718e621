"""Exercise of chapter 11: robust DPO, whose expectation over labels that are turned round is DPO's clean loss."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal, vector
from dpo_book.maths.relatives.margins import robust_loss

__all__ = ["check_robust_dpo"]


def _margins(seed: int, count: int, epsilon: float) -> tuple[Tensor, float]:
    return *normal(seed, (count,), scale=2.0), epsilon


def _dpo(margin: Tensor) -> Tensor:
    """L(m) = −log σ(m)."""
    return -F.logsigmoid(margin)


def _mixed(margin: Tensor, as_labelled: float, turned: float) -> Tensor:
    return as_labelled * _dpo(margin) + turned * _dpo(-margin)


def _robust(margin: Tensor, epsilon: float) -> Tensor:
    return _mixed(margin, 1 - epsilon, -epsilon) / (1 - 2 * epsilon)


def _noisy(margin: Tensor, epsilon: float) -> Tensor:
    """The probability of a label "winner" after the turns."""
    return (1 - epsilon) * margin.sigmoid() + epsilon * (-margin).sigmoid()


check_robust_dpo = Exercise(
    "robust_dpo",
    _robust,
    [
        _margins(120, 6, 0.1),
        _margins(121, 1, 0.3),
        in_float32(_margins(122, 4, 0.2)),
        _margins(123, 9, 0.02),
        _margins(124, 3, 0.4),
        _margins(125, 5, 0.25),
    ],
    {
        "the division is missing: by 1 − 2ε, or the expectation is too small by that factor.": (
            lambda m, e: _mixed(m, 1 - e, -e)
        ),
        "this is cDPO: the turned loss is *subtracted* in robust DPO, and all is divided by 1 − 2ε.": (
            lambda m, e: _mixed(m, 1 - e, e)
        ),
        "the turned loss is added: it is subtracted, to take out what turned labels put in.": (
            lambda m, e: _mixed(m, 1 - e, e) / (1 - 2 * e)
        ),
        "ε and 1 − ε stand in each other's place: the label as it is has the weight 1 − ε.": (
            lambda m, e: _mixed(m, e, e - 1) / (1 - 2 * e)
        ),
        "the margin has the wrong sign, or the two losses are exchanged: L(m) has the weight 1 − ε, L(−m) has −ε.": (
            lambda m, e: _robust(-m, e)
        ),
        "the difference is the wrong way round: εL(−m) is subtracted from (1 − ε)L(m).": lambda m, e: -_robust(m, e),
        "this is DPO's loss of the pair as it is labelled: nothing is taken out for labels that are turned.": (
            lambda m, e: _dpo(m)
        ),
        "this is DPO's loss of the turned pair alone: (1 − ε)L(m) − εL(−m) needs both.": lambda m, e: _dpo(-m),
        "L(−m) is no −L(m): −log σ(−m) is a loss of its own, and above zero.": lambda m, e: _dpo(m) / (1 - 2 * e),
        "the turned loss is missing: εL(−m) is subtracted.": lambda m, e: (1 - e) * _dpo(m) / (1 - 2 * e),
        "L(−m) is no 1 − L(m): probabilities sum to 1, losses do not.": (
            lambda m, e: ((1 - e) * _dpo(m) - e * (1 - _dpo(m))) / (1 - 2 * e)
        ),
        "the weight 1 − ε is missing in front of L(m).": lambda m, e: _mixed(m, 1.0, -e) / (1 - 2 * e),
        "the weight ε is missing in front of L(−m).": lambda m, e: _mixed(m, 1 - e, -1.0) / (1 - 2 * e),
        "the weight of L(m) is 1 − 2ε, which cancels: it is 1 − ε.": (
            lambda m, e: _mixed(m, 1 - 2 * e, -e) / (1 - 2 * e)
        ),
        "the weight of L(m) is 1 + ε: it is 1 − ε.": lambda m, e: _mixed(m, 1 + e, -e) / (1 - 2 * e),
        "only the second half is divided: brackets are missing around (1 − ε)L(m) − εL(−m).": (
            lambda m, e: _mixed(m, 1 - e, -e / (1 - 2 * e))
        ),
        "only the first half is divided: brackets are missing around (1 − ε)L(m) − εL(−m).": (
            lambda m, e: _mixed(m, (1 - e) / (1 - 2 * e), -e)
        ),
        "brackets are missing around 1 − 2ε: dividing by 1 leaves all as it is.": (
            lambda m, e: _mixed(m, 1 - e, -e) - 2 * e
        ),
        "it is divided by 1 − ε: by 1 − 2ε the expectation over the turns comes out right.": (
            lambda m, e: _mixed(m, 1 - e, -e) / (1 - e)
        ),
        "it is divided by 1 + 2ε: by 1 − 2ε the expectation over the turns comes out right.": (
            lambda m, e: _mixed(m, 1 - e, -e) / (1 + 2 * e)
        ),
        "it is divided by (1 − 2ε)²: once is enough.": lambda m, e: _robust(m, e) / (1 - 2 * e),
        "it is multiplied by 1 − 2ε: divide by it.": lambda m, e: _mixed(m, 1 - e, -e) * (1 - 2 * e),
        "it is divided by 1 − ε²: the 2 in 1 − 2ε is a factor, not a power.": (
            lambda m, e: _mixed(m, 1 - e, -e) / (1 - e**2)
        ),
        "it is divided by ε: by 1 − 2ε the expectation over the turns comes out right.": (
            lambda m, e: _mixed(m, 1 - e, -e) / e
        ),
        "the turned loss is added, and all is divided by 1 + 2ε: it is subtracted, and 1 − 2ε divides.": (
            lambda m, e: _mixed(m, 1 - e, e) / (1 + 2 * e)
        ),
        "logarithms are missing: L is −log σ, and not σ.": (
            lambda m, e: ((1 - e) * m.sigmoid() - e * (-m).sigmoid()) / (1 - 2 * e)
        ),
        "logarithms are missing: L is −log σ, and not 1 − σ.": (
            lambda m, e: ((1 - e) * (-m).sigmoid() - e * m.sigmoid()) / (1 - 2 * e)
        ),
        "the probabilities are mixed and then logged: robust DPO mixes the two losses.": (
            lambda m, e: -_noisy(m, e).log()
        ),
        "the noise is taken out of the probability: robust DPO takes it out of the loss.": (
            lambda m, e: -((m.sigmoid() - e) / (1 - 2 * e)).log()
        ),
        "the margin is shrunk by 1 − 2ε: robust DPO mixes two losses.": lambda m, e: _dpo((1 - 2 * e) * m),
        "the margin is stretched by 1/(1 − 2ε): robust DPO mixes two losses, and divides those.": (
            lambda m, e: _dpo(m / (1 - 2 * e))
        ),
        "the margin is mixed, (1 − ε)m − εm: robust DPO mixes the losses.": (
            lambda m, e: _dpo((1 - 2 * e) * m) / (1 - 2 * e)
        ),
        "the margin loses its sign, by an absolute value: a pair that is ranked wrong has a margin below zero.": (
            lambda m, e: _robust(m.abs(), e)
        ),
        "it is averaged already: return one value a pair.": lambda m, e: _robust(m, e).mean(),
        "it is summed already: return one value a pair.": lambda m, e: _robust(m, e).sum(),
        "it is cut off at zero: a single pair's loss may be negative, and the expectation needs that.": (
            lambda m, e: torch.relu(_robust(m, e))
        ),
        "the turned loss is missing, and the division: this is (1 − ε)L(m).": lambda m, e: (1 - e) * _dpo(m),
        "σ is taken of a margin that is one already: it comes as β(h_w − h_l), so −log σ(m) once.": (
            lambda m, e: _robust(m.sigmoid(), e)
        ),
        "this is a hinge's mix, of max(0, 1 − m) and max(0, 1 + m): L is −log σ.": (
            lambda m, e: ((1 - e) * torch.relu(1 - m) - e * torch.relu(1 + m)) / (1 - 2 * e)
        ),
        "exp(−m) stands where −log σ(m) belongs, that is log(1 + exp(−m)).": (
            lambda m, e: ((1 - e) * (-m).exp() - e * m.exp()) / (1 - 2 * e)
        ),
    },
    "Let a margin grow without end: its loss falls below any number. How can the mean over the turns have a minimum?",
    extreme=[
        (vector(1000.0, -1000.0, 30.0, -30.0, 0.0), 0.1),
        (vector(-1000.0), 0.45),
        (vector(640.0, 1000.0, -80.0), 0.01),
    ],
    trains=["margin"],
    own=[robust_loss],
)
