"""Exercise of chapter 11: the policy at IPO's minimum, π_ref tilted by the probability to win."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal, vector
from dpo_book.maths.objective import optimal_logp

__all__ = ["check_ipo_optimum"]


def _world(seed: int, responses: int, tau: float) -> tuple[Tensor, Tensor, Tensor, float]:
    """log π_ref, labels of no particular model, also in circles, a proposal's probabilities, and tau."""
    each, pairs = (responses,), (responses, responses)
    ref_logits, mu_logits, log_odds = normal(seed, each, each, pairs)
    ref_logp = ref_logits.log_softmax(-1)
    p = torch.sigmoid(log_odds - log_odds.T)
    mu = mu_logits.softmax(-1)
    return ref_logp, p, mu, tau


def _sure(mu: Tensor, tau: float) -> tuple[Tensor, Tensor, Tensor, float]:
    """Labels without doubt, every response beating all that follow, under a uniform reference."""
    responses = len(mu)
    ones = torch.ones(responses, responses, dtype=mu.dtype)
    p = ones.triu(1) + 0.5 * torch.eye(responses, dtype=mu.dtype)
    return torch.zeros_like(mu).log_softmax(-1), p, mu, tau


def _ipo_optimum(ref_logp: Tensor, p: Tensor, mu: Tensor, tau: float) -> Tensor:
    wins = p @ mu  # p(y ≻ μ)
    return optimal_logp(ref_logp, wins, tau)


def _tilted_by(tilt: Callable[[Tensor, Tensor, float], Tensor]) -> Callable[..., Tensor]:
    """The mistake of another tilt than p(y ≻ μ)/τ."""

    def mistaken(ref_logp: Tensor, p: Tensor, mu: Tensor, tau: float) -> Tensor:
        return (ref_logp + tilt(p, mu, tau)).log_softmax(-1)

    return mistaken


def _tilted(ref_logp: Tensor, p: Tensor, mu: Tensor, tau: float) -> Tensor:
    """Not normalised."""
    return ref_logp + p @ mu / tau


def _log_z(*arguments: object) -> Tensor:
    return _tilted(*arguments).logsumexp(-1)


check_ipo_optimum = Exercise(
    "ipo_optimum",
    _ipo_optimum,
    [
        _world(130, 5, 0.2),
        _world(131, 1, 0.7),
        in_float32(_world(132, 4, 0.5)),
        _world(133, 7, 0.1),
        _world(134, 3, 1.0),
        _world(135, 2, 2.0),
    ],
    {
        "not normalised: subtract log Z, or the probabilities do not sum to 1.": _tilted,
        "these are probabilities; their logarithms are asked for.": lambda *a: _ipo_optimum(*a).exp(),
        "the reference is forgotten: this is the optimum for a uniform one.": (
            lambda ref, p, mu, tau: (p @ mu / tau).log_softmax(-1)
        ),
        "tau is missing: the tilt is p(y ≻ μ) divided by τ.": _tilted_by(lambda p, mu, tau: p @ mu),
        "multiplied by tau: the tilt is divided by it, so that a small τ tilts more.": (
            _tilted_by(lambda p, mu, tau: tau * (p @ mu))
        ),
        "the tilt is divided by 2τ: 1/(2τ) is the goal of a pair's margin, and the optimum has p(y ≻ μ)/τ.": (
            _tilted_by(lambda p, mu, tau: p @ mu / (2 * tau))
        ),
        "the matrix is turned round, or the sign: row i holds the chances of y_i, so average over columns, p @ mu.": (
            _tilted_by(lambda p, mu, tau: -(p @ mu) / tau)
        ),
        "the weights of μ are forgotten: a plain mean over opponents is right for a uniform proposal alone.": (
            _tilted_by(lambda p, mu, tau: p.mean(-1) / tau)
        ),
        "the weights of μ are forgotten: this is a sum over all opponents, and a mean under μ is asked for.": (
            _tilted_by(lambda p, mu, tau: p.sum(-1) / tau)
        ),
        "a plain mean down the columns: row i holds the chances of y_i, and μ weighs its opponents y_j.": (
            _tilted_by(lambda p, mu, tau: p.mean(0) / tau)
        ),
        "divided by N once more: the weights μ sum to 1, so their sum is a mean already.": (
            _tilted_by(lambda p, mu, tau: (p * mu).mean(-1) / tau)
        ),
        "μ weighs the response itself: it weighs its opponents y_j, the columns of p.": (
            _tilted_by(lambda p, mu, tau: (mu[:, None] * p).sum(-1) / tau)
        ),
        "μ weighs the response itself as well as its opponents.": _tilted_by(lambda p, mu, tau: mu * (p @ mu) / tau),
        "the opponents come from the reference here: they come from the proposal, μ.": (
            lambda ref, p, mu, tau: (ref + p @ ref.exp() / tau).log_softmax(-1)
        ),
        "log-probabilities of the reference weigh the opponents here: μ does, and weights are probabilities.": (
            lambda ref, p, mu, tau: (ref + p @ ref / tau).log_softmax(-1)
        ),
        "μ's logarithms weigh the opponents: weights are probabilities.": (
            _tilted_by(lambda p, mu, tau: p @ mu.log() / tau)
        ),
        "the proposal is tilted: IPO's optimum tilts π_ref, and μ only says who the opponents are.": (
            lambda ref, p, mu, tau: (mu.log() + p @ mu / tau).log_softmax(-1)
        ),
        "π_ref and μ are both tilted: μ only says who the opponents are.": (
            lambda ref, p, mu, tau: (ref + mu.log() + p @ mu / tau).log_softmax(-1)
        ),
        "log-odds are averaged, a tilt by the reward as at DPO's optimum: IPO tilts by the mean chance to win.": (
            _tilted_by(lambda p, mu, tau: p.logit() @ mu / tau)
        ),
        "the log-odds of p(y ≻ μ) are the tilt here: IPO tilts by the probability itself, which is bounded.": (
            _tilted_by(lambda p, mu, tau: (p @ mu).logit() / tau)
        ),
        "the logarithm of p(y ≻ μ) is the tilt here: IPO tilts by the probability itself.": (
            _tilted_by(lambda p, mu, tau: (p @ mu).log() / tau)
        ),
        "logarithms of p are averaged: IPO tilts by the mean chance to win.": (
            _tilted_by(lambda p, mu, tau: p.log() @ mu / tau)
        ),
        "σ is taken of the chance to win, which is a probability already.": (
            _tilted_by(lambda p, mu, tau: (p @ mu).sigmoid() / tau)
        ),
        "exponentials exp(p/τ) are averaged: first the mean chance to win, then its exponential.": (
            _tilted_by(lambda p, mu, tau: ((p / tau).exp() @ mu).log())
        ),
        "the exponential is missing: π is π_ref exp(p(y ≻ μ)/τ)/Z, and not π_ref p(y ≻ μ)/(τZ).": (
            _tilted_by(lambda p, mu, tau: (p @ mu / tau).log())
        ),
        "the reference is divided by tau, too: only the chance to win is.": (
            lambda ref, p, mu, tau: ((ref + p @ mu) / tau).log_softmax(-1)
        ),
        "π_ref stands where log π_ref belongs: log_softmax takes log-probabilities, not probabilities.": (
            lambda ref, p, mu, tau: (ref.exp() + p @ mu / tau).log_softmax(-1)
        ),
        "log_softmax is given π_ref exp(p/τ): it exponentiates by itself, so give it the logarithm of that.": (
            lambda *a: _tilted(*a).exp().log_softmax(-1)
        ),
        "log_softmax is given probabilities: it exponentiates by itself, so give it logarithms.": (
            lambda *a: _ipo_optimum(*a).exp().log_softmax(-1)
        ),
        "Z is subtracted where log Z belongs: dividing by Z is subtracting its logarithm.": (
            lambda *a: _tilted(*a) - _log_z(*a).exp()
        ),
        "log Z is added: dividing by Z subtracts it.": lambda *a: _tilted(*a) + _log_z(*a),
        "divided by log Z: dividing by Z is subtracting its logarithm.": lambda *a: _tilted(*a) / _log_z(*a),
        "π_ref is missing in Z: it sums π_ref exp(p(y ≻ μ)/τ).": (
            lambda ref, p, mu, tau: _tilted(ref, p, mu, tau) - (p @ mu / tau).logsumexp(-1)
        ),
        "π_ref is in Z, but not in front: it is what is tilted.": lambda ref, *a: _ipo_optimum(ref, *a) - ref,
        "tau log Z is subtracted: log Z stands without tau.": lambda *a: _tilted(*a) - a[-1] * _log_z(*a),
        "divided by the mean of the weights: the probabilities of N responses then sum to N.": (
            lambda *a: _ipo_optimum(*a) + math.log(len(a[0]))
        ),
        "the largest value is subtracted: that is against overflow; log Z is what normalises.": (
            lambda *a: _tilted(*a) - _tilted(*a).amax()
        ),
        "the mean of the logarithms is subtracted: log Z is the logarithm of a sum of exponentials.": (
            lambda *a: _tilted(*a) - _tilted(*a).mean()
        ),
        "this is log Z: it is subtracted from log π_ref + p(y ≻ μ)/τ.": _log_z,
        "this is the tilt alone, p(y ≻ μ)/τ.": lambda ref, p, mu, tau: p @ mu / tau,
        "this is p(y ≻ μ) alone: tilt π_ref by it.": lambda ref, p, mu, tau: p @ mu,
        "every opponent has a policy of its own here: average over opponents first, with weights μ.": (
            lambda ref, p, mu, tau: (ref[:, None] + p / tau).log_softmax(0)
        ),
        "the strongest opponent alone counts: p(y ≻ μ) is a mean over opponents.": (
            _tilted_by(lambda p, mu, tau: p.amin(-1) / tau)
        ),
        "the weakest opponent alone counts: p(y ≻ μ) is a mean over opponents.": (
            _tilted_by(lambda p, mu, tau: p.amax(-1) / tau)
        ),
        "wins are counted, p above one half: p(y ≻ μ) is a mean of probabilities.": (
            _tilted_by(lambda p, mu, tau: (p > 0.5).to(p.dtype) @ mu / tau)
        ),
        "a response does not meet itself here: μ draws it, too, and then p is one half.": (
            _tilted_by(lambda p, mu, tau: (p - torch.diag(p.diag())) @ mu / tau)
        ),
        "the chances to lose are taken off, p − (1 − p): that tilts twice as much.": (
            _tilted_by(lambda p, mu, tau: (2 * p - 1) @ mu / tau)
        ),
    },
    "Make every label sure: how far from π_ref can the policy go, and how far would DPO's go on the same labels?",
    # p(y ≻ μ)/τ from 31 to 969, and from softer labels
    extreme=[
        _sure(vector(0.0625, 0.0625, 0.75, 0.0625, 0.0625), 0.001),
        _sure(vector(0.25, 0.5, 0.25), 0.0025),
        (*_world(139, 3, 1.0)[:3], 0.001),
    ],
    own=[optimal_logp],
)
