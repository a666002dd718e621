"""One policy against another, or against written answers: what judgements in both orders add up to."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from dpo_book.evaluation.judges import BothOrders, Comparison
from dpo_book.evaluation.win_rates import SCORES, scores_in_both_orders, tally
from dpo_book.maths.estimates import Interval
from dpo_book.maths.swaps import swap_test


class HeadToHead(NamedTuple):
    """What n comparisons in both orders, and so 2n judgements, say of a. Shares have 95 % intervals."""

    comparisons: int
    decided: int  # comparisons decided in both orders, of which the shares are
    win_rate: Interval  # of a, the mean of both orders, a tie half
    consistent: Interval  # share of comparisons with one judgement in both orders
    bias: Interval  # share of judgements for what is shown first, minus 1/2
    ties: int  # of all judgements, as the next two
    unparsable: int
    refused: int
    words_a: float  # mean length; where one side is longer, a judge may have liked just that
    words_b: float


def head_to_head(comparisons: Sequence[Comparison], both: Sequence[BothOrders]) -> HeadToHead:
    """The judgements of ``in_both_orders`` on these comparisons, counted. ValueError if none is decided twice."""
    swaps = swap_test(*scores_in_both_orders(both))
    counted = tally([judgement for pair in both for judgement in pair])
    return HeadToHead(
        comparisons=len(comparisons),
        decided=sum(_is_decided(pair) for pair in both),
        win_rate=swaps.win_rate,
        consistent=swaps.consistent,
        bias=swaps.bias,
        ties=counted["tie"],
        unparsable=counted["unparsable"],
        refused=counted["refused"],
        words_a=_mean_words([comparison.a for comparison in comparisons]),
        words_b=_mean_words([comparison.b for comparison in comparisons]),
    )


def head_to_head_table(results: Mapping[float, HeadToHead]) -> pd.DataFrame:
    """A row a temperature; an interval ``x`` is three columns, ``x``, ``x_low`` and ``x_high``."""
    rows = []
    for temperature, result in results.items():
        row = {"temperature": temperature}
        for name, value in result._asdict().items():
            if isinstance(value, Interval):
                row |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
            else:
                row[name] = value
        rows.append(row)
    return pd.DataFrame(rows)


def _is_decided(pair: BothOrders) -> bool:
    return all(judgement.outcome in SCORES for judgement in pair)


def _mean_words(texts: Sequence[str]) -> float:
    return sum(len(text.split()) for text in texts) / len(texts)
