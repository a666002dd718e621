"""What a judge's verdicts say: how often a won, how often the order decided, and what could not be counted."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, get_args

from dpo_book.evaluation.judges import BothOrders, Outcome, Verdict
from dpo_book.maths.estimates import Interval, share_interval

OUTCOMES = get_args(Outcome)
SCORES = {"a": 1.0, "tie": 0.5, "b": 0.0}  # the other outcomes have none


class SwapTest(NamedTuple):
    """How many comparisons came out how when the two texts changed places.

    same: the same outcome both times. first, second: both times the text shown there won, so the place decided.
    half: a tie one time only. undecided: "unparsable" or "refused" at least once.
    """

    same: int
    first: int
    second: int
    half: int
    undecided: int


def tally(verdicts: Sequence[Verdict]) -> dict[Outcome, int]:
    """How many verdicts have each outcome, also those that none has."""
    counted = Counter(verdict.outcome for verdict in verdicts)
    return {outcome: counted[outcome] for outcome in OUTCOMES}


def judged_win_rate(verdicts: Sequence[Verdict]) -> Interval:
    """The share of comparisons that a won, a tie half, with Wilson's 95 % interval; one verdict a comparison.

    Of those that were decided: "unparsable" and "refused" are left out, so look at ``tally`` too. ValueError if none
    was decided.
    """
    scores = [SCORES[verdict.outcome] for verdict in verdicts if verdict.outcome in SCORES]
    if not scores:
        raise ValueError(f"none of the {len(verdicts)} verdicts names a text or a tie: there is no win rate")
    return share_interval(sum(scores) / len(scores), len(scores))


def win_rate_in_both_orders(both: Sequence[BothOrders]) -> Interval:
    """The same where each comparison was asked in both orders: the mean of its two scores counts once.

    The two verdicts are about the same texts, so they are no two samples: the interval is that of as many verdicts as
    there are comparisons, if anything too wide. Comparisons that are not decided both times are left out; ValueError
    if all are.
    """
    scores = []
    for verdicts in both:
        if all(verdict.outcome in SCORES for verdict in verdicts):
            scores.append(sum(SCORES[verdict.outcome] for verdict in verdicts) / 2)
    if not scores:
        raise ValueError(f"none of the {len(both)} comparisons is decided in both orders: there is no win rate")
    return share_interval(sum(scores) / len(scores), len(scores))


def swap_test(both: Sequence[BothOrders]) -> SwapTest:
    """What changing places did to each comparison: the counts sum to their number."""
    kinds = Counter(_kind(*verdicts) for verdicts in both)
    return SwapTest(**{kind: kinds[kind] for kind in SwapTest._fields})


def _kind(a_first: Verdict, b_first: Verdict) -> str:
    outcomes = (a_first.outcome, b_first.outcome)
    if not set(outcomes) <= set(SCORES):
        return "undecided"
    if outcomes == ("a", "b"):
        return "first"
    if outcomes == ("b", "a"):
        return "second"
    return "same" if outcomes[0] == outcomes[1] else "half"
