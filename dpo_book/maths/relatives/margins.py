"""Another function of DPO's margin ρ = h_w − h_l, where h = log(π/π_ref): IPO, cDPO, robust DPO, hinge.

DPO's own is −log σ(βρ), which falls for ever: with a sure label no finite margin is best. IPO, cDPO and the hinge
answer that. Robust DPO answers labels that were turned round.
"""

import torch.nn.functional as F
from torch import Tensor

from dpo_book.maths.dpo import weighted
from dpo_book.maths.relatives.pairs import PairLogps, PairLoss, checked, with_rewards
from dpo_book.maths.relatives.settings import require_label_smoothing


def ipo_loss(logps: PairLogps, beta: float) -> PairLoss:
    """IPO (arXiv 2310.12036, eq. 17): (ρ − 1/(2τ))², with τ = ``beta``. In nats².

    Over pairs from a proposal μ with labels p(y ≻ y'), an unrestricted policy's minimum is
    π_ref exp(p(y ≻ μ)/τ)/Z: the tilt is bounded by 1/τ however sure the labels are. TRL averages h over a
    completion's tokens first, as IPO's authors advise; here it is the paper's sum.
    """
    checked(logps, beta)
    chosen, rejected = logps.log_ratios()
    losses = (chosen - rejected - 1 / (2 * beta)) ** 2
    return with_rewards(losses, beta * chosen, beta * rejected)


def cdpo_loss(logps: PairLogps, beta: float, label_smoothing: float) -> PairLoss:
    """Conservative DPO (Mitchell 2023): −(1 − ε) log σ(βρ) − ε log σ(−βρ), ε being ``label_smoothing``.

    The cross-entropy with labels that are wrong with probability ε. A pair's loss is smallest where
    βρ = logit(1 − ε), a finite margin, the same for every pair.
    """
    require_label_smoothing(label_smoothing)
    as_labelled, flipped, chosen, rejected = _both_ways(logps, beta)
    epsilon = as_labelled.new_tensor(label_smoothing)
    losses = weighted(1 - epsilon, as_labelled) + weighted(epsilon, flipped)
    return with_rewards(losses, chosen, rejected)


def robust_loss(logps: PairLogps, beta: float, label_smoothing: float) -> PairLoss:
    """Robust DPO (arXiv 2403.00409): ((1 − ε) L(βρ) − ε L(−βρ)) / (1 − 2ε), L being DPO's −log σ.

    Where labels were flipped with probability ε = ``label_smoothing``, its expectation over the flips is the loss of
    the unflipped pair. A single pair's may be negative, and falls for ever.
    """
    require_label_smoothing(label_smoothing)
    as_labelled, flipped, chosen, rejected = _both_ways(logps, beta)
    epsilon = as_labelled.new_tensor(label_smoothing)
    losses = (weighted(1 - epsilon, as_labelled) - weighted(epsilon, flipped)) / (1 - 2 * epsilon)
    return with_rewards(losses, chosen, rejected)


def hinge_loss(logps: PairLogps, beta: float) -> PairLoss:
    """The hinge of SLiC (arXiv 2305.10425) on DPO's margin, as in RSO (arXiv 2309.06657): max(0, 1 − βρ).

    Flat beyond βρ = 1: a pair that is told apart by so much teaches nothing more.
    """
    checked(logps, beta)
    chosen, rejected = logps.log_ratios()
    losses = F.relu(1 - beta * (chosen - rejected))
    return with_rewards(losses, beta * chosen, beta * rejected)


def _both_ways(logps: PairLogps, beta: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """DPO's loss of the pairs as they are labelled and turned round, and βh of both completions."""
    checked(logps, beta)
    chosen, rejected = logps.log_ratios()
    margin = beta * (chosen - rejected)
    return -F.logsigmoid(margin), -F.logsigmoid(-margin), beta * chosen, beta * rejected
