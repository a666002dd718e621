"""Exercises of chapter 09: how near methods came; ``one_kl`` and ``best_of_n`` have the others."""

from torch import Tensor

from dpo_book.checks.best_of_n import check_best_of_n_kl
from dpo_book.checks.judge import Exercise, in_float32, normal
from dpo_book.checks.one_kl import check_reward_at_kl

__all__ = ["check_best_of_n_kl", "check_reward_at_kl", "check_shortfall"]


def _standing(seed: int, methods: int, strengths: int, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Reward and KL of methods at some strengths, the strengths, and log Z at each."""
    shape = (methods, strengths)
    reward, kl = normal(seed, shape, shape, offset=1.5)
    (beta,) = normal(seed + 10, (strengths,))
    (log_z,) = normal(seed + 20, (strengths,), offset=1.5, scale=2.0)
    return scale * reward, scale * kl.abs(), beta.abs() + 0.02, scale * log_z


def _objective(reward: Tensor, kl: Tensor, beta: Tensor) -> Tensor:
    return reward - beta * kl


def _shortfall(reward: Tensor, kl: Tensor, beta: Tensor, log_z: Tensor) -> Tensor:
    return beta * log_z - _objective(reward, kl, beta)


def _of_the_best(reward: Tensor, kl: Tensor, beta: Tensor, log_z: Tensor) -> Tensor:
    j = _objective(reward, kl, beta)
    return j.max(dim=0).values - j


def _of_the_largest(reward: Tensor, kl: Tensor, beta: Tensor, log_z: Tensor) -> Tensor:
    return (beta * log_z).max() - _objective(reward, kl, beta)


def _relative(reward: Tensor, kl: Tensor, beta: Tensor, log_z: Tensor) -> Tensor:
    return 1 - _objective(reward, kl, beta) / (beta * log_z)


check_shortfall = Exercise(
    "shortfall",
    _shortfall,
    [
        _standing(9, 2, 3),
        _standing(10, 3, 2),
        _standing(11, 1, 4),
        in_float32(_standing(12, 4, 2)),
        _standing(13, 3, 3),
        _standing(14, 2, 1),
        _standing(16, 1, 1),
        _standing(17, 3, 4, scale=1e-3),
    ],
    {
        "the sign is wrong: J cannot be above β log Z, so subtract J from it.": lambda *a: -_shortfall(*a),
        "the KL has the wrong sign: in J it is paid for.": (
            lambda reward, kl, beta, log_z: beta * log_z - (reward + beta * kl)
        ),
        "β is missing at log Z: the most that J can be is β log Z.": (
            lambda reward, kl, beta, log_z: log_z - (reward - beta * kl)
        ),
        "β is missing at the KL: it is the price of a nat.": (
            lambda reward, kl, beta, log_z: beta * log_z - (reward - kl)
        ),
        "the price is forgotten: two policies at different KL are not compared by their reward.": (
            lambda reward, kl, beta, log_z: beta * log_z - reward
        ),
        "log Z is forgotten: this is J itself.": lambda reward, kl, beta, log_z: reward - beta * kl,
        "log Z is a logarithm already: no other is taken.": (
            lambda reward, kl, beta, log_z: beta * log_z.log() - (reward - beta * kl)
        ),
        "β log Z is not divided: it is β times log Z.": (
            lambda reward, kl, beta, log_z: log_z / beta - (reward - beta * kl)
        ),
        "log Z belongs there as it is, not Z: no exponential is taken.": (
            lambda reward, kl, beta, log_z: beta * log_z.exp() - (reward - beta * kl)
        ),
        "this is KL[π‖π*], the shortfall divided by β: J is counted in rewards here, so nothing is divided.": (
            lambda reward, kl, beta, log_z: log_z - (reward / beta - kl)
        ),
        "the KL is divided by β: β is the price of a nat, so it multiplies.": (
            lambda reward, kl, beta, log_z: beta * log_z - (reward - kl / beta)
        ),
        "the reward is divided by β, and in J it is counted as it is.": (
            lambda reward, kl, beta, log_z: beta * log_z - (reward / beta - kl)
        ),
        "J is multiplied by β; only log Z is, and in J the KL.": (
            lambda reward, kl, beta, log_z: beta * (log_z - (reward - beta * kl))
        ),
        "β counts twice, as its square.": lambda reward, kl, beta, log_z: _shortfall(reward, kl, beta**2, log_z),
        "β belongs to the KL alone in J: the reward is not multiplied by it.": (
            lambda reward, kl, beta, log_z: beta * log_z - beta * (reward - kl)
        ),
        "measured against the best of the methods: the most that J can be is β log Z.": _of_the_best,
        "measured against the largest β log Z of all: every β has its own optimum.": _of_the_largest,
        "this is a share of β log Z: the difference is asked for.": _relative,
        "averaged over the strengths: keep one number for each, they say different things.": (
            lambda *a: _shortfall(*a).mean(dim=1)
        ),
    },
    "Divide it by β. By chapter 04 that is KL[π‖π*]: how many nats the policy is from the optimum of its β.",
    far=[_standing(15, 2, 2, scale=200.0)],
)
