"""Exercise of chapter 10: Wilson's 95 % interval of a share of wins."""

from collections.abc import Callable

import torch
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, vector
from dpo_book.maths.estimates import share_interval, win_rate_interval

__all__ = ["check_wilson"]

Z = 1.96  # as the exercise's text gives it


def _ends(middle: Tensor, half: Tensor) -> Tensor:
    """Low and high ends, (2, B)."""
    return torch.stack([middle - half, middle + half])


def _middle(p: Tensor, n: int, z: float = Z) -> Tensor:
    return (p + z**2 / (2 * n)) / (1 + z**2 / n)


def _root(p: Tensor, n: int, z: float = Z) -> Tensor:
    return (p * (1 - p) / n + z**2 / (4 * n**2)).sqrt()


def _half(p: Tensor, n: int, z: float = Z) -> Tensor:
    return z * _root(p, n, z) / (1 + z**2 / n)


def _of_share(p: Tensor, n: int, z: float = Z) -> Tensor:
    return _ends(_middle(p, n, z), _half(p, n, z))


def _wilson(wins: Tensor, n: int) -> Tensor:
    return _of_share(wins.double() / n, n)


def _wald(wins: Tensor, n: int) -> Tensor:
    """The normal approximation."""
    p = wins.double() / n
    return _ends(p, Z * (p * (1 - p) / n).sqrt())


def _agresti_coull(wins: Tensor, n: int, added: float) -> Tensor:
    """The normal approximation after so many wins and losses were added, half of them wins."""
    p = (wins.double() + added / 2) / (n + added)
    return _ends(p, Z * (p * (1 - p) / (n + added)).sqrt())


def _at_level(z: float) -> Callable[[Tensor, int], Tensor]:
    """The mistake of another z."""

    def mistaken(wins: Tensor, n: int) -> Tensor:
        return _of_share(wins.double() / n, n, z)

    return mistaken


def _from(ends: Callable[[Tensor, int], Tensor]) -> Callable[[Tensor, int], Tensor]:
    """A mistake that is told of the share p of wins, not of their number."""

    def mistaken(wins: Tensor, n: int) -> Tensor:
        return ends(wins.double() / n, n)

    return mistaken


def _log_odds_ends(p: Tensor, n: int) -> Tensor:
    return _ends(p.logit(), Z / (n * p * (1 - p)).sqrt()).sigmoid()


def _continuity_corrected(p: Tensor, n: int) -> Tensor:
    """Wilson's ends of a share that is half a win less and half a win more."""
    low, _ = _of_share((p - 0.5 / n).clamp(min=0), n)
    _, high = _of_share((p + 0.5 / n).clamp(max=1), n)
    return torch.stack([low, high])


check_wilson = Exercise(
    "wilson",
    _wilson,
    [
        (vector(7.0, 3.0, 11.0, 5.0), 12),
        (vector(158.0, 146.0, 0.0, 256.0, 1.0), 256),
        (vector(1.0), 1),
        in_float32((vector(40.0, 0.0, 99.0), 100)),
        (torch.tensor([0, 2, 5]), 5),
        (vector(31.0, 2.0), 37),
    ],
    {
        "this is the normal approximation, p ± z √(p (1 − p)/n): at 0 wins it has no width at all.": _wald,
        "this is the normal approximation, cut off at 0 and 1: at 0 wins it still has no width at all.": (
            lambda wins, n: _wald(wins, n).clamp(0, 1)
        ),
        "the middle is right, the width is not: this is Agresti and Coull's, the normal approximation around it.": (
            lambda wins, n: _agresti_coull(wins, n, Z**2)
        ),
        "two wins and two losses are added: Wilson solves for p, and adds nothing by hand.": (
            lambda wins, n: _agresti_coull(wins, n, 4.0)
        ),
        "one standard error to each side holds 68 %: z is 1.96.": _at_level(1.0),
        "this is a 90 % interval: 5 % lie beyond 1.645 on each side, z is 1.96.": _at_level(1.645),
        "this is a 99 % interval: z is 1.96.": _at_level(2.576),
        "z is 2 here: the text has 1.96.": _at_level(2.0),
        "the middle is the measured share: Wilson's lies nearer to one half.": (
            _from(lambda p, n: _ends(p, _half(p, n)))
        ),
        "z²/n is added to the share: it is z²/(2n), as if half of z² more outcomes had been wins.": (
            _from(lambda p, n: _ends((p + Z**2 / n) / (1 + Z**2 / n), _half(p, n)))
        ),
        "nothing is divided by 1 + z²/n: middle and half width both are.": (
            _from(lambda p, n: _of_share(p, n) * (1 + Z**2 / n))
        ),
        "the half width is not divided by 1 + z²/n: the middle alone is.": (
            _from(lambda p, n: _ends(_middle(p, n), Z * _root(p, n)))
        ),
        "the middle is not divided by 1 + z²/n: the half width alone is.": (
            _from(lambda p, n: _ends(p + Z**2 / (2 * n), _half(p, n)))
        ),
        "brackets are missing: the whole of p + z²/(2n) is divided by 1 + z²/n.": (
            _from(lambda p, n: _ends(p + Z**2 / (2 * n) / (1 + Z**2 / n), _half(p, n)))
        ),
        "z²/(2n) is missing in the middle: it is (p + z²/(2n)) / (1 + z²/n).": (
            _from(lambda p, n: _ends(p / (1 + Z**2 / n), _half(p, n)))
        ),
        "z²/(4n²) is missing under the root: without it there is no width at 0 wins.": (
            _from(lambda p, n: _ends(_middle(p, n), Z * (p * (1 - p) / n).sqrt() / (1 + Z**2 / n)))
        ),
        "z²/(4n) stands under the root: it is z²/(4n²).": (
            _from(lambda p, n: _ends(_middle(p, n), Z * (p * (1 - p) / n + Z**2 / (4 * n)).sqrt() / (1 + Z**2 / n)))
        ),
        "z²/n² stands under the root: it is z²/(4n²).": (
            _from(lambda p, n: _ends(_middle(p, n), Z * (p * (1 - p) / n + Z**2 / n**2).sqrt() / (1 + Z**2 / n)))
        ),
        "p (1 − p) is not divided by n under the root.": (
            _from(lambda p, n: _ends(_middle(p, n), Z * (p * (1 - p) + Z**2 / (4 * n**2)).sqrt() / (1 + Z**2 / n)))
        ),
        "p (1 − p) is divided by n − 1: a share's variance is p (1 − p)/n.": (
            _from(
                lambda p, n: _ends(
                    _middle(p, n), Z * (p * (1 - p) / (n - 1) + Z**2 / (4 * n**2)).sqrt() / (1 + Z**2 / n)
                )
            )
        ),
        "the root is missing: a variance stands where its root belongs.": (
            _from(lambda p, n: _ends(_middle(p, n), Z * _root(p, n) ** 2 / (1 + Z**2 / n)))
        ),
        "z is missing in front of the root.": (
            _from(lambda p, n: _ends(_middle(p, n), _root(p, n) / (1 + Z**2 / n)))
        ),
        "z is not squared: the outcomes that are added are z², 3.84.": (
            _from(
                lambda p, n: _ends(
                    (p + Z / (2 * n)) / (1 + Z / n), Z * (p * (1 - p) / n + Z / (4 * n**2)).sqrt() / (1 + Z / n)
                )
            )
        ),
        "p (1 − p) is taken as 1/4, whatever p is: that is the width at a share of one half.": (
            _from(lambda p, n: _ends(_middle(p, n), _half(torch.full_like(p, 0.5), n)))
        ),
        "the width is that of the middle, not of the measured share: p under the root is wins / n.": (
            _from(lambda p, n: _ends(_middle(p, n), _half(_middle(p, n), n)))
        ),
        "the ends are swapped: low comes first.": lambda wins, n: _wilson(wins, n).flip(0),
        "only the low end is returned: both are asked for.": lambda wins, n: _wilson(wins, n)[0],
        "only the high end is returned: both are asked for.": lambda wins, n: _wilson(wins, n)[1],
        "this is the middle of the interval: its two ends are asked for.": _from(_middle),
        "this is half of the interval's width: its two ends are asked for.": _from(_half),
        "these are the middle and half of the width: the ends are the middle minus that, and plus that.": (
            _from(lambda p, n: torch.stack([_middle(p, n), _half(p, n)]))
        ),
        "the share stands there, too: only the two ends are asked for.": (
            _from(lambda p, n: torch.cat([p[None], _of_share(p, n)]))
        ),
        "the middle stands there, too: only the two ends are asked for.": (
            _from(lambda p, n: torch.stack([_middle(p, n) - _half(p, n), _middle(p, n), _middle(p, n) + _half(p, n)]))
        ),
        "the counts are taken for shares: the share is wins / n.": lambda wins, n: _of_share(wins.double(), n),
        "this is the interval of the losses' share.": lambda wins, n: _wilson(n - wins, n),
        "these are counts: the ends of the share are asked for, between 0 and 1.": lambda wins, n: (
            n * _wilson(wins, n)
        ),
        "the number of counts, `len(wins)`, stands where `n` belongs: every count is out of `n`.": (
            lambda wins, n: _of_share(wins.double() / len(wins), len(wins))
        ),
        "the counts are put together: every one is a share of its own, out of `n`.": (
            lambda wins, n: _of_share(wins.double() / wins.sum(), n)
        ),
        "this is an interval in log-odds, turned back by σ: at 0 wins there are none.": _from(_log_odds_ends),
        "half a win is taken off and added (continuity correction): Wilson's interval is asked for as it is.": (
            _from(_continuity_corrected)
        ),
    },
    "What does it say at 0 of 256, and what does the normal approximation? Which of the two would you report?",
    # so that 1.959964 is as right as 1.96
    tolerance=1e-4,
    own=[share_interval, win_rate_interval],
    some_numbers=True,
)
