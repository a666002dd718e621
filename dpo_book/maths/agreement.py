"""How far do judges agree, and how far could they? Verdicts on the same comparisons, and chances of verdicts."""

import math

import torch
from torch import Tensor

from dpo_book.maths.estimates import Estimate, Interval, share_interval
from dpo_book.maths.shapes import require_outcomes, require_verdicts

VERDICTS = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)  # a loses, ties, wins


def agreement(verdicts: Tensor, other_verdicts: Tensor) -> Interval:
    """The share of comparisons on which two judges say the same, with Wilson's interval.

    Both (n,): 1 where a wins, 0 where it loses, 0.5 for a tie, which agrees with a tie alone.
    """
    require_verdicts(verdicts=verdicts, other_verdicts=other_verdicts)
    same = (verdicts == other_verdicts).double().mean().item()
    return share_interval(same, len(verdicts))


def cohen_kappa(verdicts: Tensor, other_verdicts: Tensor) -> Estimate:
    """Cohen's κ (1960): the agreement beyond chance, over the most that there could be beyond chance.

    κ = (p_o − p_e) / (1 − p_e), p_o being the share of equal verdicts and p_e = Σ_v p(v) q(v) what two judges with
    these frequencies of verdicts share by chance. The standard error follows every comparison's part in κ to first
    order (the delta method). ValueError for fewer than two comparisons, and where a judge
    always says the same: then κ is 0 whatever the other says, and no error tells how sure that is.
    """
    require_verdicts(verdicts=verdicts, other_verdicts=other_verdicts)
    said = (verdicts.cpu().double()[:, None] == VERDICTS).double()  # (n, 3), one 1 a row
    other_said = (other_verdicts.cpu().double()[:, None] == VERDICTS).double()
    p, q = said.mean(dim=0), other_said.mean(dim=0)
    same = (said * other_said).sum(dim=1)  # (n,)
    observed, by_chance = same.mean(), p @ q
    if len(verdicts) < 2 or p.max() == 1 or q.max() == 1:
        raise ValueError("κ needs two comparisons or more, and judges who do not say the same thing everywhere")
    kappa = (observed - by_chance) / (1 - by_chance)
    part_in_chance = said @ q + other_said @ p - 2 * by_chance
    part = ((same - observed) - (1 - kappa) * part_in_chance) / (1 - by_chance)
    return Estimate(kappa.item(), part.square().mean().sqrt().item() / len(verdicts) ** 0.5)


def expected_agreement(probability: Tensor, other_probability: Tensor) -> float:
    """How often two independent draws of a verdict agree, on average: the mean of p q + (1 − p)(1 − q).

    Both (n,): the chance that a is said to win, comparison by comparison; no ties. Two draws of one noisy judge,
    q = p, agree in p² + (1 − p)². A judge and the truth: q is 1 where a is better and 0 where b is.
    """
    require_outcomes(probability=probability, other_probability=other_probability)
    p, q = probability.double(), other_probability.double()
    both = p * q + (1 - p) * (1 - q)
    return both.mean().item()


def best_agreement(probability: Tensor) -> float:
    """The most that any judge agrees with one draw of a noisy one: the mean of max(p, 1 − p), p of shape (n,).

    Who reaches it always says what the noisy judge is likelier to say.
    """
    require_outcomes(probability=probability)
    p = probability.double()
    return torch.maximum(p, 1 - p).mean().item()


def agreement_ceiling(consistent: Interval) -> Interval:
    """The most that a judge agrees with a truth without noise, by how often it agrees with itself; and its interval.

    Assumed: of each of its verdicts chance turns over a share e, independently, and no verdict is a tie. Asked the
    same twice it agrees with itself in s = (1 − e)² + e², and so with the truth, if it would tell it but for chance,
    in 1 − e = (1 + √(2s − 1)) / 2. If e is not the same for all comparisons, the mean of 1 − e is less than that:
    (2s − 1) is the mean of (1 − 2e)², which is at least the square of the mean.

    consistent: s, the share of comparisons with one verdict both times. ValueError below 1/2, where no e leads: then
    something other than independent chance is at work, such as a bias for a place. An end of the interval below 1/2
    counts as 1/2.
    """
    if not 0.5 <= consistent.value <= 1:  # written so that NaN fails too
        raise ValueError(
            f"the share of equal verdicts must be from 1/2 to 1, got {consistent.value:.4g}: chance alone leaves 1/2"
        )
    ends = [(1 + math.sqrt(max(0.0, 2 * share - 1))) / 2 for share in consistent]
    return Interval(*ends)
