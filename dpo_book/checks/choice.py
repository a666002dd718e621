"""An exercise of chapter 12: which run of a sweep a rule takes, that was written down before."""

from collections.abc import Callable

import torch
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal, vector

__all__ = ["check_choose"]

# Held-out loss of some runs, its standard error, and their KL from the reference.
SWEEPS = [
    (
        vector(0.640, 0.655, 0.648, 0.690, 0.700, 0.652),
        vector(0.010, 0.012, 0.011, 0.013, 0.080, 0.014),
        vector(4.00, 0.50, 2.50, 0.10, 0.20, 9.00),
    ),
    (
        vector(0.675, 0.630, 0.618, 0.610, 0.622),
        vector(0.009, 0.010, 0.012, 0.015, 0.030),
        vector(0.30, 0.90, 3.00, 6.00, 8.00),
    ),
    (vector(0.69), vector(0.01), vector(2.0)),
    (vector(0.60, 0.70, 0.65), vector(0.02, 0.09, 0.01), vector(5.0, 0.1, 1.0)),
    (vector(0.66, 0.61, 0.64, 0.62), vector(0.010, 0.040, 0.012, 0.011), vector(0.2, 7.0, 1.5, 3.0)),
    # The run of the least KL is exactly at the bound, in numbers that are exact in base 2.
    (vector(0.875, 0.5, 0.75, 0.625), vector(0.5, 0.25, 0.125, 0.0625), vector(0.25, 4.0, 1.0, 2.0)),
]


def _sweep(seed: int, runs: int, scale: float = 0.02) -> tuple[Tensor, Tensor, Tensor]:
    """Some runs in no order, of which a good share is allowed. scale: of the losses' differences and errors."""
    loss, error, kl = normal(seed, (runs,), (runs,), (runs,))
    return 0.64 + scale * loss, scale * (0.5 + error.abs()), 0.05 + 3 * kl.abs()


SWEEPS += [_sweep(seed, runs) for seed, runs in enumerate([12, 9, 2, 7, 15, 10], start=30)]
SWEEPS += [in_float32(_sweep(40, 11)), _sweep(41, 20), _sweep(42, 25, scale=0.5), _sweep(43, 8, scale=2.0)]


def _least_among(allowed: Tensor, kl: Tensor) -> Tensor:
    return kl.where(allowed, torch.inf).argmin().double()


def _choose(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    best = loss.argmin()
    return _least_among(loss <= loss[best] + error[best], kl)


def _lowest_loss(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return loss.argmin().double()


def _lowest_kl(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return kl.argmin().double()


def _own_errors(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return _least_among(loss - error <= loss.min(), kl)


def _farthest(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    best = loss.argmin()
    return kl.where(loss <= loss[best] + error[best], -torch.inf).argmax().double()


def _counted_from_one(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return _choose(loss, error, kl) + 1


def _by_bound(bound: Callable[[Tensor, Tensor, int], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The rule with another bound, which may depend on the run; it is given loss, error and the best's place."""

    def choose(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
        return _least_among(loss <= bound(loss, error, int(loss.argmin())), kl)

    return choose


def _of_largest_error(loss: Tensor, error: Tensor, best: int) -> Tensor:
    return loss[best] + error.max()


def _of_least_error(loss: Tensor, error: Tensor, best: int) -> Tensor:
    return loss[best] + error.min()


def _of_mean_error(loss: Tensor, error: Tensor, best: int) -> Tensor:
    return loss[best] + error.mean()


def _of_both_errors(loss: Tensor, error: Tensor, best: int) -> Tensor:
    return loss[best] + error[best] + error


def _of_squares(loss: Tensor, error: Tensor, best: int) -> Tensor:
    return loss[best] + (error[best] ** 2 + error**2).sqrt()


def _of_two_errors(loss: Tensor, error: Tensor, best: int) -> Tensor:
    return loss[best] + 2 * error[best]


def _of_half_an_error(loss: Tensor, error: Tensor, best: int) -> Tensor:
    return loss[best] + error[best] / 2


def _of_squared_error(loss: Tensor, error: Tensor, best: int) -> Tensor:
    return loss[best] + error[best] ** 2


def _with_own_error_above(loss: Tensor, error: Tensor, best: int) -> Tensor:
    return loss[best] + error[best] - error


def _relative(loss: Tensor, error: Tensor, best: int) -> Tensor:
    return loss[best] * (1 + error[best])


def _below_the_bound(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    best = loss.argmin()
    return _least_among(loss < loss[best] + error[best], kl)


def _allowed(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    best = loss.argmin()
    return (loss <= loss[best] + error[best]).double()


def _places_allowed(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return _allowed(loss, error, kl).nonzero().flatten().double()


def _set_to_nothing(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return (kl * _allowed(loss, error, kl)).argmin().double()


def _first_allowed(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return _allowed(loss, error, kl).argmax().double()


def _last_allowed(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return _allowed(loss, error, kl).nonzero().max().double()


def _among_the_allowed(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return kl[_allowed(loss, error, kl) > 0].argmin().double()


def _its_kl(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return kl[_choose(loss, error, kl).int()]


def _its_loss(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return loss[_choose(loss, error, kl).int()]


def _highest_loss(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return _least_among(loss >= loss.max() - error[loss.argmax()], kl)


def _surest(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    best = (loss - error).argmin()
    return _least_among(loss <= loss[best] + error[best], kl)


def _most_careful(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    best = (loss + error).argmin()
    return _least_among(loss <= loss[best] + error[best], kl)


def _lowest_sum(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return (loss + error).argmin().double()


def _lowest_difference(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return (loss - error).argmin().double()


def _from_the_least_error(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    start = error.argmin()
    return _least_among(loss <= loss[start] + error[start], kl)


def _above_the_bound(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return _least_among(1 - _allowed(loss, error, kl) > 0, kl)


def _without_the_best(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    allowed = _allowed(loss, error, kl)
    allowed[loss.argmin()] = 0
    return _least_among(allowed > 0, kl)


def _in_two_orders(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    """The mask of runs as they stand, on runs by rising KL."""
    return kl.argsort()[_allowed(loss, error, kl) > 0][0].double()


def _rank(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return (kl < _its_kl(loss, error, kl)).sum().double()


def _with_a_penalty(loss: Tensor, error: Tensor, kl: Tensor) -> Tensor:
    return (loss + kl).argmin().double()


check_choose = Exercise(
    "choose",
    _choose,
    SWEEPS,
    {
        "this is the run with the lowest loss; one within its standard error strays less.": _lowest_loss,
        "this is the run that strays least of all, whatever its loss.": _lowest_kl,
        "every run is measured by its own error here, so that a noisy one gets in: use the best's.": _own_errors,
        "among the runs allowed this takes the one with the largest KL; nothing is gained by straying.": _farthest,
        "runs are counted from 0, as in Python.": _counted_from_one,
        "at most the bound: a run that is exactly there is allowed, too.": _below_the_bound,
        "this is a place among the allowed runs alone; give its place among all.": _among_the_allowed,
        "the first of the allowed runs; the one with the least KL is asked for.": _first_allowed,
        "the last of the allowed runs; the one with the least KL is asked for.": _last_allowed,
        "this says of every run if it is allowed; the place of one of them is asked for.": _allowed,
        "these are the places of all allowed runs; the one with the least KL is asked for.": _places_allowed,
        "the KL of runs that are not allowed becomes 0 here, which is the least: make it infinite.": _set_to_nothing,
        "this is the run's KL; its place is asked for.": _its_kl,
        "this is the run's loss; its place is asked for.": _its_loss,
        "the bound takes the largest error of all; use that of the run with the lowest loss.": (
            _by_bound(_of_largest_error)
        ),
        "the bound takes the smallest error of all; use that of the run with the lowest loss.": (
            _by_bound(_of_least_error)
        ),
        "the bound takes the mean error; use that of the run with the lowest loss.": _by_bound(_of_mean_error),
        "both runs' errors are added here; use that of the run with the lowest loss alone.": (
            _by_bound(_of_both_errors)
        ),
        "the root of both squared errors is used here; use that of the run with the lowest loss alone.": (
            _by_bound(_of_squares)
        ),
        "half a standard error; the rule takes a whole one.": _by_bound(_of_half_an_error),
        "the error is squared here; the bound is the lowest loss plus the error.": _by_bound(_of_squared_error),
        "every run's own error is added to its loss; only the bound has an error.": _by_bound(_with_own_error_above),
        "this is the run with the lowest loss + error; of those below the bound take the one with the least KL.": (
            _lowest_sum
        ),
        "this is the run with the lowest loss − error; of those below the bound take the one with the least KL.": (
            _lowest_difference
        ),
        "the bound starts from the run with the least error; it starts from that with the lowest loss.": (
            _from_the_least_error
        ),
        "these runs are above the bound: a loss has to be at most that.": _above_the_bound,
        "the run with the lowest loss is one of those allowed: keep it in.": _without_the_best,
        "which runs are allowed is in their own order, and it is used on runs sorted by KL: use one order.": (
            _in_two_orders
        ),
        "this is the run's rank by KL; its place is asked for.": _rank,
        "two standard errors, or 1.96; the rule takes one.": _by_bound(_of_two_errors),
        "the error is no share of the loss: add it.": _by_bound(_relative),
        "the lowest loss is the best one, and this starts from the highest.": _highest_loss,
        "the best is the run with the lowest loss, not that with the lowest loss − error.": _surest,
        "the best is the run with the lowest loss, not that with the lowest loss + error.": _most_careful,
        "loss and KL are added here; the rule compares KL among the runs of nearly the lowest loss.": _with_a_penalty,
    },
    "The losses share their held-out pairs. Is the error of a *difference* between two of them larger or smaller?",
)
