"""Judgements in both orders as one line of a table: counted by hand, and nothing counted that was not decided."""

import pytest

from dpo_book import head_to_head, head_to_head_table
from dpo_book.evaluation.judges import Comparison, Judgement

COMPARISONS = [
    Comparison("x", "one two three", "one"),
    Comparison("x", "one", "one two"),
    Comparison("y", "", "one two three"),
    Comparison("y", "one two", "one two"),
    Comparison("z", "one", "one"),
]
OUTCOMES = [("a", "a"), ("a", "b"), ("tie", "b"), ("unparsable", "a"), ("refused", "refused")]
BOTH = [(Judgement(first, True), Judgement(second, False)) for first, second in OUTCOMES]


def test_only_what_is_decided_twice_is_in_the_shares():
    result = head_to_head(COMPARISONS, BOTH)
    assert (result.comparisons, result.decided) == (5, 3)
    # Decided: a twice (1), a once (1/2), a tie and a loss (1/4).
    assert result.win_rate.value == pytest.approx((1 + 1 / 2 + 1 / 4) / 3)
    assert result.consistent.value == pytest.approx(1 / 3)
    # Of the judgements for the first place, less half: 1/2 of them, both, and 3/4 (a tie, then b, which was first).
    assert result.bias.value == pytest.approx((1 / 2 + 1 + 3 / 4) / 3 - 1 / 2)
    assert (result.ties, result.unparsable, result.refused) == (1, 1, 2)
    assert (result.words_a, result.words_b) == pytest.approx((7 / 5, 9 / 5))


def test_the_table_has_a_row_a_temperature_and_the_ends_of_every_interval():
    result = head_to_head(COMPARISONS, BOTH)
    table = head_to_head_table({0.0: result, 1.0: result._replace(ties=7)})
    assert list(table["temperature"]) == [0, 1] and list(table["ties"]) == [1, 7]
    assert tuple(table.loc[0, ["win_rate", "win_rate_low", "win_rate_high"]]) == result.win_rate
    assert tuple(table.loc[1, ["bias", "bias_low", "bias_high"]]) == result.bias


def test_where_nothing_is_decided_there_is_no_win_rate():
    with pytest.raises(ValueError, match="none of the 2 comparisons is decided in both orders"):
        head_to_head(COMPARISONS[3:], BOTH[3:])
