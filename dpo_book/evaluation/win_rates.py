"""From judgements to numbers: what could be counted, and how often a won. ``maths/swaps`` goes on."""

from collections import Counter
from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor

from dpo_book.evaluation.judges import BothOrders, Judgement, Outcome
from dpo_book.maths.estimates import Interval, win_rate_interval

OUTCOMES = get_args(Outcome)
SCORES = {"a": 1.0, "tie": 0.5, "b": 0.0}  # the other outcomes have none


def tally(judgements: Sequence[Judgement]) -> dict[Outcome, int]:
    """How many judgements have each outcome, also those that none has."""
    counted = Counter(judgement.outcome for judgement in judgements)
    return {outcome: counted[outcome] for outcome in OUTCOMES}


def judged_win_rate(judgements: Sequence[Judgement]) -> Interval:
    """The share of comparisons that a won, a tie half, with its 95 % interval; one judgement a comparison.

    Of those that were decided: "unparsable" and "refused" are left out, so look at ``tally`` too. ValueError if none
    was decided.
    """
    scores = [SCORES[judgement.outcome] for judgement in judgements if judgement.outcome in SCORES]
    _check_decided(scores, f"none of the {len(judgements)} judgements names a text or a tie")
    return win_rate_interval(torch.tensor(scores, dtype=torch.float64))


def scores_in_both_orders(both: Sequence[BothOrders]) -> tuple[Tensor, Tensor]:
    """What a got, 1 for a win and 0.5 for a tie, shown first and shown second: (n,) each, for ``swap_test``.

    Comparisons that are not decided both times are left out; ValueError if all are.
    """
    scores = []
    for shown_first, shown_second in both:
        outcomes = shown_first.outcome, shown_second.outcome
        if all(outcome in SCORES for outcome in outcomes):
            scores.append([SCORES[outcome] for outcome in outcomes])
    _check_decided(scores, f"none of the {len(both)} comparisons is decided in both orders")
    of_a = torch.tensor(scores, dtype=torch.float64)  # (n, 2)
    return of_a[:, 0], of_a[:, 1]


def _check_decided(found: Sequence, otherwise: str) -> None:
    if not found:
        raise ValueError(f"{otherwise}: there is no win rate")
