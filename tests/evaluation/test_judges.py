"""The judges' one interface: places and names, orders, and what judgements are counted as."""

import pytest
import torch

from dpo_book.evaluation.judges import (
    Answer,
    Comparison,
    JudgeError,
    Judgement,
    Shown,
    ask,
    in_both_orders,
    in_random_order,
)
from dpo_book.evaluation.win_rates import judged_win_rate, scores_in_both_orders, tally
from dpo_book.maths.estimates import win_rate_interval
from dpo_book.maths.swaps import swap_test

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
def test_a_judgement_names_the_text_and_keeps_order_and_explanation(place, a_shown_first, b_shown_first):
    ((first, second),) = in_both_orders(always(place), COMPARISONS[:1])
    assert first == Judgement(a_shown_first, True, "text a0 before text b0")
    assert second == Judgement(b_shown_first, False, "text b0 before text a0")


def test_a_random_order_is_that_of_its_seed_and_does_not_change_what_a_fair_judge_says():
    orders = [judgement.a_first for judgement in in_random_order(likes_a, COMPARISONS, seed=1)]
    assert 10 < sum(orders) < 30  # of 40 coins fewer or more are tossed once in 300 times, and this seed's do not
    assert [judgement.a_first for judgement in in_random_order(always("tie"), COMPARISONS, seed=1)] == orders
    assert [judgement.a_first for judgement in in_random_order(likes_a, COMPARISONS, seed=2)] != orders
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


# ------------------------------------------------------------------ what judgements say


def judgements(**counts):
    found = []
    for outcome, count in counts.items():
        found += [Judgement(outcome, True)] * count
    return found


def test_the_win_rate_counts_ties_half_and_leaves_out_what_was_not_decided():
    found = judged_win_rate(judgements(a=5, b=2, tie=3, unparsable=4, refused=6))
    assert found == win_rate_interval(torch.tensor([1.0] * 5 + [0.0] * 2 + [0.5] * 3))
    assert found.value == 0.65
    assert tally(judgements(a=5, unparsable=4)) == {"a": 5, "b": 0, "tie": 0, "unparsable": 4, "refused": 0}


def test_nothing_decided_is_no_win_rate():
    with pytest.raises(ValueError, match="none of the 3 judgements"):
        judged_win_rate(judgements(refused=1, unparsable=2))
    with pytest.raises(ValueError, match="none of the 1 comparisons"):
        scores_in_both_orders([(Judgement("a", True), Judgement("refused", False))])


def both(*outcomes):
    return [(Judgement(first, True), Judgement(second, False)) for first, second in outcomes]


def test_scores_in_both_orders_are_what_a_got_and_leave_out_what_was_not_decided():
    found = both(("a", "a"), ("b", "b"), ("tie", "tie"), ("a", "b"), ("b", "a"), ("a", "tie"), ("refused", "a"))
    shown_first, shown_second = scores_in_both_orders(found)
    assert shown_first.tolist() == [1, 0, 0.5, 1, 0, 1]
    assert shown_second.tolist() == [1, 0, 0.5, 0, 1, 0.5]


def test_a_judge_that_looks_at_the_place_alone_fails_the_swap_test_and_wins_nothing():
    found = in_both_orders(always("first"), COMPARISONS)
    tested = swap_test(*scores_in_both_orders(found))
    assert (tested.consistent.value, tested.bias.value, tested.win_rate.value) == (0, 0.5, 0.5)
    assert judged_win_rate([a_first for a_first, _ in found]).value == 1  # in one order it looks like a win
