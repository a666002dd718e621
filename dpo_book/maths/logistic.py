"""Logistic regression by Newton's method: outcomes of comparisons explained by what is known of each."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.maths.estimates import Estimate
from dpo_book.maths.shapes import require_outcomes, require_tensors

# Where no finite fit exists, every step moves the predictions on by about 1 nat. At 37 nats, p is 1 to float64 and
# the gradient nothing, which would look like a fit. One that exists was there after at most 18 steps in 1,100 tries.
MOST_STEPS = 30
SETTLED = 1e-9  # nats by which no prediction moves any more
ROUNDING = 1e-12  # of a sum of losses


class SeparationError(ValueError):
    """The outcomes can be told from the features without a mistake, so that no finite coefficients fit best.

    Fits beyond some 25 nats count as none.
    """


class LogisticFit(NamedTuple):
    """Coefficients w (K,), in nats per unit of their feature, and their covariance (K, K); float64."""

    coefficients: Tensor
    covariance: Tensor

    def estimate(self, k: int) -> Estimate:
        """Coefficient k and its standard error."""
        return Estimate(self.coefficients[k].item(), self.covariance[k, k].sqrt().item())


def logistic_regression(features: Tensor, outcomes: Tensor, prior_deviation: float = math.inf) -> LogisticFit:
    """Maximum likelihood of P(outcome = 1) = σ(features · w), or with a prior the likeliest w after the outcomes.

    features (n, K), with a column of ones if an intercept is wanted; outcomes (n,) in [0, 1], a tie 1/2. With
    p = σ(Xw), the log-likelihood has the gradient Xᵀ(y − p) and the information matrix Xᵀ diag(p (1 − p)) X. Newton's
    step is the one solved for the other, halved while the likelihood falls; the inverse of the information at the
    end is the covariance. With ties that is a little too large.

    prior_deviation s: before any outcome, each coefficient is N(0, s²), in nats per unit of its feature. That adds
    −w/s² to the gradient and 1/s² to the information's diagonal (ridge regression), and the covariance is that of
    the normal distribution that fits at the maximum (Laplace's). There is always exactly one maximum.

    Without a prior: ValueError if a feature follows from the others. SeparationError if there is no finite maximum:
    then some direction of w tells every win from every loss, and Newton goes along it for ever (Albert and Anderson
    1984).
    """
    require_tensors(features=features)
    require_outcomes(outcomes=outcomes)
    if features.ndim != 2 or len(features) != len(outcomes):
        shapes = f"{tuple(features.shape)} for {len(outcomes)} outcomes"
        raise ValueError(f"features must be of shape (n, K), one row an outcome; got {shapes}")
    x, y = features.cpu().double(), outcomes.cpu().double()
    if not x.isfinite().all():
        raise ValueError("features must be finite numbers")
    if not prior_deviation > 0:
        raise ValueError(f"prior_deviation must be above 0, got {prior_deviation!r}")
    if prior_deviation == math.inf:
        _require_independent(x)
    precision = prior_deviation**-2

    w = torch.zeros(x.shape[1], dtype=torch.float64)
    for _ in range(MOST_STEPS):
        p = torch.sigmoid(x @ w)
        gradient = x.T @ (y - p) - precision * w
        information = _information(x, w) + precision * torch.eye(len(w), dtype=torch.float64)
        factor, failed = torch.linalg.cholesky_ex(information)
        if failed:
            break
        step = torch.cholesky_solve(gradient[:, None], factor).squeeze(1)
        if (x @ step).abs().max() < SETTLED:
            return LogisticFit(w, torch.cholesky_inverse(factor))
        while _loss(x, y, w + step, precision) > _loss(x, y, w, precision) * (1 + ROUNDING):
            step = step / 2
        w = w + step
    raise SeparationError(
        "no finite coefficients fit best: the features tell all wins from all losses. "
        "Add comparisons, or leave a feature out."
    )


def _information(x: Tensor, w: Tensor) -> Tensor:
    p = torch.sigmoid(x @ w)
    weight = p * (1 - p)
    return x.T @ (weight[:, None] * x)


def _loss(x: Tensor, y: Tensor, w: Tensor, precision: float) -> Tensor:
    """The negative log-likelihood, −Σ (y log p + (1 − y) log (1 − p)), and the prior's |w|² / 2s²."""
    return F.binary_cross_entropy_with_logits(x @ w, y, reduction="sum") + precision / 2 * w.square().sum()


def _require_independent(x: Tensor) -> None:
    sizes = x.abs().amax(dim=0)
    if (sizes == 0).any():
        raise ValueError(f"feature {int((sizes == 0).nonzero()[0])} is zero in every comparison: it explains nothing")
    if torch.linalg.matrix_rank(x / sizes) < x.shape[1]:
        raise ValueError(f"the {x.shape[1]} features must not follow from each other in these {len(x)} comparisons")
