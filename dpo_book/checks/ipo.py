"""Exercise of chapter 11: IPO's loss, a square where DPO has −log σ."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal, vector
from dpo_book.maths.relatives.margins import ipo_loss

__all__ = ["check_ipo"]


def _pairs(seed: int, count: int, tau: float) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """Four log-probabilities of some pairs, as sums over some ten tokens are, and tau."""
    return *normal(seed, *[(count,)] * 4, offset=-9.0), tau


def _rho(logp_w: Tensor, logp_l: Tensor, ref_logp_w: Tensor, ref_logp_l: Tensor, _tau: float = 1.0) -> Tensor:
    """ρ = h_w − h_l."""
    return (logp_w - ref_logp_w) - (logp_l - ref_logp_l)


def _goal(tau: float) -> float:
    return 1 / (2 * tau)


def _ipo(logp_w: Tensor, logp_l: Tensor, ref_logp_w: Tensor, ref_logp_l: Tensor, tau: float) -> Tensor:
    return (_rho(logp_w, logp_l, ref_logp_w, ref_logp_l) - _goal(tau)) ** 2


# ρ of −320, 75 and 0, far from a goal of 2 and 50 nats: a clamp shows.
FAR = (
    vector(-400.0, -20.0, -30.0),
    vector(-40.0, -90.0, -11.0),
    vector(-90.0, -25.0, -31.0),
    vector(-50.0, -20.0, -12.0),
)

check_ipo = Exercise(
    "ipo",
    _ipo,
    [
        _pairs(110, 5, 0.1),
        _pairs(111, 1, 0.7),
        _pairs(112, 8, 2.0),
        in_float32(_pairs(113, 3, 0.3)),
        _pairs(114, 2, 1.0),
        _pairs(115, 4, 0.5),
    ],
    {
        "chosen and rejected are swapped, or policy and reference, or 1/(2τ) is added: it is (ρ − 1/(2τ))².": (
            lambda *a: (_rho(*a) + _goal(a[-1])) ** 2
        ),
        "the square is missing: this grows with ρ, so the least loss would be the worst order.": (
            lambda *a: _rho(*a) - _goal(a[-1])
        ),
        "the square is missing: this is 1/(2τ) − ρ, which falls for ever as ρ grows.": (
            lambda *a: _goal(a[-1]) - _rho(*a)
        ),
        "an absolute value stands where the square belongs.": lambda *a: (_rho(*a) - _goal(a[-1])).abs(),
        "the sign is wrong: a square is not below zero, and this would push ρ away from 1/(2τ).": lambda *a: (
            -_ipo(*a)
        ),
        "the goal 1/(2τ) is missing, or cancels: this is ρ², which holds the policy at its reference.": lambda *a: (
            _rho(*a) ** 2
        ),
        "the goal is twice too far: it is 1/(2τ), and not 1/τ.": lambda *a: (_rho(*a) - 1 / a[-1]) ** 2,
        "the goal is τ/2 here: brackets are missing around 2τ in 1/(2τ).": (lambda *a: (_rho(*a) - a[-1] / 2) ** 2),
        "the goal is 2τ here: it is 1/(2τ), so a small τ lets the policy go far.": (
            lambda *a: (_rho(*a) - 2 * a[-1]) ** 2
        ),
        "the goal is τ here: it is 1/(2τ), so a small τ lets the policy go far.": lambda *a: (_rho(*a) - a[-1]) ** 2,
        "tau is missing in the goal, which is ½ whatever tau is: it is 1/(2τ).": lambda *a: (_rho(*a) - 0.5) ** 2,
        "tau is missing, and the goal is 1 whatever tau is: it is 1/(2τ).": lambda *a: (_rho(*a) - 1) ** 2,
        "tau multiplies the margin, too, as β does in DPO: in IPO it stands in 1/(2τ) alone.": (
            lambda *a: (a[-1] * _rho(*a) - _goal(a[-1])) ** 2
        ),
        "tau multiplies the margin and the goal is ½: that is τ² times the loss, which has ρ and 1/(2τ).": (
            lambda *a: (a[-1] * _rho(*a) - 0.5) ** 2
        ),
        "the margin is divided by tau, too: tau stands in 1/(2τ) alone.": (
            lambda *a: (_rho(*a) / a[-1] - _goal(a[-1])) ** 2
        ),
        "tau multiplies the margin and the goal is 1: IPO has (ρ − 1/(2τ))².": lambda *a: (a[-1] * _rho(*a) - 1) ** 2,
        "the square is of ρ alone: it is of the whole difference ρ − 1/(2τ).": (
            lambda *a: _rho(*a) ** 2 - _goal(a[-1])
        ),
        "this is a difference of squares, ρ² − 1/(2τ)²: it is the square of the difference.": (
            lambda *a: _rho(*a) ** 2 - _goal(a[-1]) ** 2
        ),
        "the product is missing from the square: (a − b)² is a² − 2ab + b².": (
            lambda *a: _rho(*a) ** 2 + _goal(a[-1]) ** 2
        ),
        "it is averaged already: return one value a pair.": lambda *a: _ipo(*a).mean(),
        "it is summed already: return one value a pair.": lambda *a: _ipo(*a).sum(),
        "the reference is forgotten: ρ is a difference of log-ratios, log π − log π_ref.": (
            lambda lw, ll, rw, rl, tau: (lw - ll - _goal(tau)) ** 2
        ),
        "the policy is missing: this is the loss of π_ref alone.": (
            lambda lw, ll, rw, rl, tau: (rw - rl - _goal(tau)) ** 2
        ),
        "the reference is added or crossed over: each response's own log π_ref is subtracted from its log π.": (
            lambda lw, ll, rw, rl, tau: (lw + rw - ll - rl - _goal(tau)) ** 2
        ),
        "the log-ratios are added: ρ is h_w − h_l.": (
            lambda lw, ll, rw, rl, tau: ((lw - rw) + (ll - rl) - _goal(tau)) ** 2
        ),
        "the loser is missing: ρ is h_w − h_l.": lambda lw, ll, rw, rl, tau: (lw - rw - _goal(tau)) ** 2,
        "each log-ratio has a square of its own: IPO has one square, of their difference.": (
            lambda lw, ll, rw, rl, tau: (lw - rw - _goal(tau)) ** 2 + (ll - rl + _goal(tau)) ** 2
        ),
        "each log-ratio has a square of its own, one less the other: IPO has one square, of their difference.": (
            lambda lw, ll, rw, rl, tau: (lw - rw - _goal(tau)) ** 2 - (ll - rl - _goal(tau)) ** 2
        ),
        "the winner's log-ratio alone has a goal, and the loser's stays at 0: 1/(2τ) is the goal of h_w − h_l.": (
            lambda lw, ll, rw, rl, tau: (lw - rw - _goal(tau)) ** 2 + (ll - rl) ** 2
        ),
        "log-probabilities are divided: the logarithm of a ratio is their difference.": (
            lambda lw, ll, rw, rl, tau: (lw / rw - ll / rl - _goal(tau)) ** 2
        ),
        "the ratios are not logged: h is the *logarithm* of π/π_ref.": (
            lambda lw, ll, rw, rl, tau: ((lw - rw).exp() - (ll - rl).exp() - _goal(tau)) ** 2
        ),
        "probabilities stand where log-probabilities belong: there is an `exp` too many.": (
            lambda lw, ll, rw, rl, tau: (_rho(lw.exp(), ll.exp(), rw.exp(), rl.exp()) - _goal(tau)) ** 2
        ),
        "the margin loses its sign, by an absolute value: a pair that is ranked wrong has ρ below zero.": (
            lambda *a: (_rho(*a).abs() - _goal(a[-1])) ** 2
        ),
        "this is DPO's −log σ(βρ), with τ for β: IPO has a square.": lambda *a: -F.logsigmoid(a[-1] * _rho(*a)),
        "σ is taken of the margin: IPO takes ρ as it is.": lambda *a: (_rho(*a).sigmoid() - _goal(a[-1])) ** 2,
        "this is the squared error of a probability, (1 − σ(τρ))²: IPO has ρ itself and its goal.": (
            lambda *a: torch.sigmoid(-a[-1] * _rho(*a)) ** 2
        ),
        "this is a hinge, max(0, 1 − τρ): IPO has a square, which grows beyond its goal as well.": (
            lambda *a: torch.relu(1 - a[-1] * _rho(*a))
        ),
        "this is a hinge, max(0, 1/(2τ) − ρ): IPO has a square, which grows beyond its goal as well.": (
            lambda *a: torch.relu(_goal(a[-1]) - _rho(*a))
        ),
        "this is zero beyond the goal, a squared hinge: IPO pulls a margin that is too large back.": (
            lambda *a: torch.relu(_goal(a[-1]) - _rho(*a)) ** 2
        ),
        "this is Huber's loss, a straight line far from the goal: IPO has a square everywhere.": (
            lambda *a: F.smooth_l1_loss(_rho(*a), torch.full_like(a[0], _goal(a[-1])), reduction="none")
        ),
    },
    "Beyond ρ = 1/(2τ) the loss rises again. What does a step do to a pair that is told apart too well, and DPO's?",
    far=[(*FAR, 0.25), (*FAR, 0.01)],
    trains=["logp_w", "logp_l"],
    own=[ipo_loss],
)
