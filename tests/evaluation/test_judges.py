"""The judges' one interface: places and names, orders, and what verdicts are counted as."""

import pytest

from dpo_book.evaluation.judges import (
    Answer,
    Comparison,
    JudgeError,
    Shown,
    Verdict,
    ask,
    in_both_orders,
    in_random_order,
)
from dpo_book.evaluation.win_rates import SwapTest, judged_win_rate, swap_test, tally, win_rate_in_both_orders
from dpo_book.maths.estimates import share_interval

COMPARISONS = [Comparison(f"prompt {i}", f"text a{i}", f"text b{i}") for i in range(40)]


def always(place):
    def judge(shown):
        return [Answer(place, f"{one.first} before {one.second}") for one in shown]

    return judge


def likes_a(shown):
    return [Answer("first" if one.first.startswith("text a") else "second") for one in shown]


def test_a_judge_is_shown_each_comparison_in_the_order_that_is_asked_for():
    seen = []

    def judge(shown):
        seen.extend(shown)
        return [Answer("tie")] * len(shown)

    ask(judge, COMPARISONS[:2], [True, False])
    assert seen == [Shown("prompt 0", "text a0", "text b0"), Shown("prompt 1", "text b1", "text a1")]


@pytest.mark.parametrize(
    ("place", "a_shown_first", "b_shown_first"),
    [
        ("first", "a", "b"),
        ("second", "b", "a"),
        ("tie", "tie", "tie"),
        ("unparsable", "unparsable", "unparsable"),
        ("refused", "refused", "refused"),
    ],
)
def test_a_verdict_names_the_text_and_keeps_order_and_explanation(place, a_shown_first, b_shown_first):
    ((first, second),) = in_both_orders(always(place), COMPARISONS[:1])
    assert first == Verdict(a_shown_first, True, "text a0 before text b0")
    assert second == Verdict(b_shown_first, False, "text b0 before text a0")


def test_a_random_order_is_that_of_its_seed_and_does_not_change_what_a_fair_judge_says():
    orders = [verdict.a_first for verdict in in_random_order(likes_a, COMPARISONS, seed=1)]
    assert 10 < sum(orders) < 30  # of 40 coins fewer or more are tossed once in 300 times, and this seed's do not
    assert [verdict.a_first for verdict in in_random_order(always("tie"), COMPARISONS, seed=1)] == orders
    assert [verdict.a_first for verdict in in_random_order(likes_a, COMPARISONS, seed=2)] != orders
    assert tally(in_random_order(likes_a, COMPARISONS))["a"] == 40


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        (lambda shown: [], "shown 2 comparisons and gave 0 answers"),
        (
            lambda shown: [Answer("tie"), Answer("First")],
            "answer 2 must be an Answer with a place of first, second, tie",
        ),
        (lambda shown: ["tie", "tie"], "answer 1 must be an Answer"),
    ],
)
def test_what_is_no_judge_is_told(judge, message):
    with pytest.raises(JudgeError, match=message) as error:
        ask(judge, COMPARISONS[:2], [True, True])
    assert len(str(error.value).splitlines()) == 1


def test_orders_are_as_many_as_comparisons():
    with pytest.raises(ValueError):
        ask(likes_a, COMPARISONS, [True])


# ------------------------------------------------------------------ what verdicts say


def verdicts(**counts):
    found = []
    for outcome, count in counts.items():
        found += [Verdict(outcome, True)] * count
    return found


def test_the_win_rate_counts_ties_half_and_leaves_out_what_was_not_decided():
    found = judged_win_rate(verdicts(a=5, b=2, tie=3, unparsable=4, refused=6))
    assert found == share_interval(0.65, 10)
    assert tally(verdicts(a=5, unparsable=4)) == {"a": 5, "b": 0, "tie": 0, "unparsable": 4, "refused": 0}


def test_nothing_decided_is_no_win_rate():
    with pytest.raises(ValueError, match="none of the 3 verdicts"):
        judged_win_rate(verdicts(refused=1, unparsable=2))
    with pytest.raises(ValueError, match="none of the 1 comparisons"):
        win_rate_in_both_orders([(Verdict("a", True), Verdict("refused", False))])


def both(*outcomes):
    return [(Verdict(first, True), Verdict(second, False)) for first, second in outcomes]


def test_the_swap_test_counts_each_comparison_once():
    found = both(("a", "a"), ("b", "b"), ("tie", "tie"), ("a", "b"), ("b", "a"), ("a", "tie"), ("refused", "a"))
    assert swap_test(found) == SwapTest(same=3, first=1, second=1, half=1, undecided=1)
    assert sum(swap_test(found)) == len(found)


def test_a_judge_that_looks_at_the_place_alone_fails_the_swap_test_and_wins_nothing():
    found = in_both_orders(always("first"), COMPARISONS)
    assert swap_test(found) == SwapTest(same=0, first=40, second=0, half=0, undecided=0)
    assert win_rate_in_both_orders(found).value == 0.5
    assert judged_win_rate([a_first for a_first, _ in found]).value == 1  # in one order it looks like a win


def test_both_orders_of_a_comparison_are_one_sample():
    found = both(("a", "a"), ("a", "b"), ("tie", "a"), ("b", "b"), ("unparsable", "a"))
    assert win_rate_in_both_orders(found) == share_interval((1 + 0.5 + 0.75 + 0) / 4, 4)
