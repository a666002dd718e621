"""Exercise of chapter 10: win rate, its error and the position bias of comparisons judged in both orders."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32
from dpo_book.maths.swaps import swap_test

__all__ = ["check_both_orders"]


def _verdicts(seed: int, n: int) -> tuple[Tensor, Tensor]:
    """What a got, shown first and shown second, of a judge that has a taste for the first place, and ties."""
    generator = torch.Generator().manual_seed(seed)
    chances = torch.tensor([[0.2, 0.15, 0.65], [0.4, 0.2, 0.4]], dtype=torch.float64)  # of 0, 0.5 and 1, each time
    drawn = torch.multinomial(chances, n, replacement=True, generator=generator)
    first, second = drawn.double() / 2
    return first, second


def _outcome(first: Tensor, second: Tensor) -> Tensor:
    """Of each comparison, (n,)."""
    return (first + second) / 2


def _standard_error(values: Tensor) -> Tensor:
    """s/√n, by the variance of a sample; nan, without a warning, for one value."""
    n = len(values)
    variance = (values - values.mean()).square().sum() / (n - 1)
    return (variance / n).sqrt()


def _bias(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).mean() / 2


def _both_orders(first: Tensor, second: Tensor) -> Tensor:
    outcome = _outcome(first, second)
    return torch.stack([outcome.mean(), _standard_error(outcome), _bias(first, second)])


def _solution(shown_first: Tensor, shown_second: Tensor) -> Tensor:
    return _both_orders(shown_first, shown_second)


Number = Callable[[Tensor, Tensor], Tensor]


def _replaced(place: int, number: Number) -> Number:
    """The mistake of another number at that place, beside two right ones."""

    def mistaken(first: Tensor, second: Tensor) -> Tensor:
        numbers = _both_orders(first, second)
        numbers[place] = number(first, second)
        return numbers

    return mistaken


def _rate(number: Number) -> Number:
    return _replaced(0, number)


def _error(number: Number) -> Number:
    return _replaced(1, number)


def _bias_of(number: Number) -> Number:
    return _replaced(2, number)


def _of_outcomes(outcome: Number) -> Number:
    """The mistake of other outcomes of the comparisons: it shows in the win rate and in its error."""

    def mistaken(first: Tensor, second: Tensor) -> Tensor:
        wrong = outcome(first, second)
        return torch.stack([wrong.mean(), _standard_error(wrong), _bias(first, second)])

    return mistaken


def _consistent(first: Tensor, second: Tensor) -> Tensor:
    """The outcomes of comparisons with one verdict in both orders."""
    return first[first == second]


def _agreed_or_tie(first: Tensor, second: Tensor) -> Tensor:
    return torch.where(first == second, first, 0.5)


def _all_verdicts(first: Tensor, second: Tensor) -> Tensor:
    """(2n,)."""
    return torch.cat([first, second])


def _decided(first: Tensor, second: Tensor) -> Tensor:
    """All verdicts but ties."""
    verdicts = _all_verdicts(first, second)
    return verdicts[verdicts != 0.5]


def _binomial_error(count: int) -> Number:
    """√(w (1 − w) / (count · n))."""

    def error(first: Tensor, second: Tensor) -> Tensor:
        win_rate = _outcome(first, second).mean()
        return (win_rate * (1 - win_rate) / (count * len(first))).sqrt()

    return error


def _independent_rounds(first: Tensor, second: Tensor) -> Tensor:
    return torch.hypot(_standard_error(first), _standard_error(second)) / 2


def _naive(first: Tensor, second: Tensor) -> Tensor:
    """2n outcomes, and a difference of rates."""
    verdicts = _all_verdicts(first, second)
    return torch.stack([verdicts.mean(), _standard_error(verdicts), first.mean() - second.mean()])


def _bias_in_nats(first: Tensor, second: Tensor) -> Tensor:
    both_first = (first > second).double().sum()
    both_second = (first < second).double().sum()
    return (both_first / both_second).log() / 2


def _among_swayed(first: Tensor, second: Tensor) -> Tensor:
    swayed = first != second
    return (first > second).double().sum() / swayed.sum() - 0.5


check_both_orders = Exercise(
    "both_orders",
    _solution,
    [
        _verdicts(140, 12),
        _verdicts(141, 3),
        _verdicts(142, 40),
        in_float32(_verdicts(143, 7)),
        _verdicts(144, 25)[::-1],  # of a judge that favours the second place
        _verdicts(147, 2),
    ],
    {
        "the second round is ignored: the win rate is the mean of both orders.": _of_outcomes(lambda f, s: f),
        "the first round is ignored: the win rate is the mean of both orders.": _of_outcomes(lambda f, s: s),
        "the second round is turned: `shown_second` says already what a got, and needs no 1 − s in the win rate.": (
            _of_outcomes(lambda f, s: (f + 1 - s) / 2)
        ),
        "the first round is turned: this is the win rate of b in one round, and of a in the other.": (
            _of_outcomes(lambda f, s: (1 - f + s) / 2)
        ),
        "this is the win rate of b.": _of_outcomes(lambda f, s: 1 - _outcome(f, s)),
        "both verdicts are added, where their mean is the outcome of a comparison.": _of_outcomes(lambda f, s: f + s),
        "a comparison counts as won only if both orders say so: a split verdict is half a win.": (
            _of_outcomes(lambda f, s: ((f == 1) & (s == 1)).to(f.dtype))
        ),
        "a comparison counts as won if one order says so: a split verdict is half a win.": (
            _of_outcomes(torch.maximum)
        ),
        "two different verdicts count as a tie: a win and a tie are three quarters of a win.": (
            _of_outcomes(_agreed_or_tie)
        ),
        "only consistent comparisons count here: leaving the others out moves the rate.": (_of_outcomes(_consistent)),
        "only consistent comparisons count in the win rate: leaving the others out moves it.": (
            _rate(lambda f, s: _consistent(f, s).mean())
        ),
        "ties are left out of the win rate: each is half a win.": _rate(lambda f, s: _decided(f, s).mean()),
        "a tie counts as a loss in the win rate: it is half a win.": (
            _rate(lambda f, s: (_all_verdicts(f, s) == 1).double().mean())
        ),
        "ties count as losses: each is half a win.": (
            _of_outcomes(lambda f, s: _outcome((f == 1).double(), (s == 1).double()))
        ),
        "ties count as wins: each is half a win.": (
            _of_outcomes(lambda f, s: _outcome((f > 0).double(), (s > 0).double()))
        ),
        "2n verdicts are taken for independent outcomes: a comparison is *one*, so there are n.": (
            _error(lambda f, s: _standard_error(_all_verdicts(f, s)))
        ),
        "√(w (1 − w)/(2n)) takes 2n verdicts for independent wins and losses: a comparison is *one* outcome.": (
            _error(_binomial_error(2))
        ),
        "√(w (1 − w)/n) is the error of n wins and losses: the outcomes here have halves, and vary less.": (
            _error(_binomial_error(1))
        ),
        "the deviation is right and n is not: a comparison is *one* outcome, so divide by √n, and not by √(2n).": (
            _error(lambda f, s: _standard_error(_outcome(f, s)) / math.sqrt(2))
        ),
        "the deviation is that of 2n verdicts: the outcomes are n means of two, which vary less.": (
            _error(lambda f, s: _all_verdicts(f, s).std() / math.sqrt(len(f)))
        ),
        "both rounds are taken for independent: their verdicts are on the same texts, so the errors do not add so.": (
            _error(_independent_rounds)
        ),
        "this is the standard error of the first round alone.": _error(lambda f, s: _standard_error(f)),
        "this is the standard error of the position bias: the win rate's is asked for.": (
            _error(lambda f, s: _standard_error((f - s) / 2))
        ),
        "the standard error is that of f + s: the outcome is half of it.": _error(
            lambda f, s: _standard_error(f + s)
        ),
        "the variance is divided by n, not by n − 1: a sample's deviation has n − 1.": (
            _error(lambda f, s: _outcome(f, s).std(correction=0) / math.sqrt(len(f)))
        ),
        "this is the standard deviation of one outcome: that of their mean is √n smaller.": (
            _error(lambda f, s: _outcome(f, s).std())
        ),
        "the deviation is divided by n: the standard error falls with √n.": (
            _error(lambda f, s: _outcome(f, s).std() / len(f))
        ),
        "this is the squared standard error: the root is missing.": (
            _error(lambda f, s: _standard_error(_outcome(f, s)) ** 2)
        ),
        "this is 1.96 standard errors, half of an interval: one is asked for.": (
            _error(lambda f, s: 1.96 * _standard_error(_outcome(f, s)))
        ),
        "the bias is the difference of both rates, twice as much as the share of verdicts minus one half.": (
            _bias_of(lambda f, s: (f - s).mean())
        ),
        "two things: a comparison is *one* outcome, not two, and a bias is a share minus one half, no difference.": (
            _naive
        ),
        "the bias has the wrong sign: it is above zero where the judge favours the first place.": (
            _bias_of(lambda f, s: -_bias(f, s))
        ),
        "one half is not subtracted: this is the share of verdicts for the first place.": (
            _bias_of(lambda f, s: _bias(f, s) + 0.5)
        ),
        "the second round is not turned in the bias: with b shown first, the first place gets 1 − s.": (
            _bias_of(lambda f, s: _outcome(f, s).mean() - 0.5)
        ),
        "the bias is that of the first round, which has a's merits in it: the second takes them out again.": (
            _bias_of(lambda f, s: f.mean() - 0.5)
        ),
        "the bias is that of the second round, which has b's merits in it: the first takes them out again.": (
            _bias_of(lambda f, s: 0.5 - s.mean())
        ),
        "this is the share of comparisons with two different verdicts: a bias has a direction.": (
            _bias_of(lambda f, s: (f != s).double().mean())
        ),
        "the bias loses its sign comparison by comparison: those for the second place count against it.": (
            _bias_of(lambda f, s: (f - s).abs().mean() / 2)
        ),
        "the bias loses its sign: below zero the judge favours the second place.": _bias_of(
            lambda f, s: _bias(f, s).abs()
        ),
        "the bias is that among inconsistent comparisons: it is asked for among all verdicts.": _bias_of(
            _among_swayed
        ),
        "this is the bias in nats: the share of verdicts for the first place, minus one half, is asked for.": (
            _bias_of(_bias_in_nats)
        ),
        "the order is wrong: win rate, standard error, bias.": lambda f, s: _both_orders(f, s)[[0, 2, 1]],
        "the bias is missing: three numbers are asked for.": lambda f, s: _both_orders(f, s)[:2],
        "only the win rate is returned: three numbers are asked for.": lambda f, s: _both_orders(f, s)[0],
    },
    "How must both verdicts hang together for 2n answers to be worth 2n comparisons, and how for n?",
    own=[swap_test],
    some_numbers=True,
)
