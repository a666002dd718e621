"""What a frontier's table says, on tables small enough to check by hand."""

import math

import pandas as pd
import pytest

from dpo_book.frontier.comparison import at_kl, cost_of_goal, gains, objectives, side_by_side, tidy

NAMES = ["method", "strength", "seed", "last", "reward", "kl", "learned_reward", "seconds", "passes"]
ROWS = [
    ("sft", 0.0, 0, True, 0.0, 0.0, 0.5, 0, 0),
    ("dpo", 0.5, 0, False, 0.0, 0.0, 0.5, 2, 0),
    ("dpo", 0.5, 0, False, 1.0, 1.0, 0.6, 4, 100),
    ("dpo", 0.5, 0, True, 2.0, 3.0, 0.7, 8, 200),
    ("dpo", 1.0, 0, True, 0.8, 0.5, 0.6, 8, 200),
    ("ppo", 0.5, 0, False, 0.0, 0.0, 0.5, 5, 50),
    ("ppo", 0.5, 0, True, 1.2, 2.0, 1.5, 9, 200),
]
TABLE = pd.DataFrame(ROWS, columns=NAMES).assign(generated_tokens=0, judgements=0)
ENDS = TABLE[TABLE["last"]]


def test_the_objective_is_reward_minus_the_price_and_nan_where_nobody_ran():
    J = objectives(TABLE)
    assert J.loc[(0.5, 0), "dpo"] == pytest.approx(0.5)
    assert J.loc[(0.5, 0), "ppo"] == pytest.approx(0.2)
    assert math.isnan(J.loc[(1.0, 0), "ppo"])


def test_gains_are_over_the_reference():
    assert gains(TABLE, "ppo", 0.5).loc[0].tolist() == pytest.approx([1.0, 1.2])


def costs(goal):
    return cost_of_goal(TABLE, 0.5, goal).set_index(["method", "currency"])


def test_a_goal_costs_what_lies_between_two_measurements():
    row = costs(1.5).loc["dpo", "passes"]
    assert (row["below"], row["between"], row["above"]) == (100, 150, 200)
    assert costs(1.5).loc[("dpo", "seconds"), "between"] == pytest.approx(6)


def test_a_goal_that_is_never_reached_costs_without_end():
    row = costs(1.5).loc["ppo", "passes"]
    assert (row["below"], row["between"], row["above"]) == (200, math.inf, math.inf)


def test_a_goal_that_was_there_from_the_start_costs_what_the_start_did():
    assert costs(-1.0).loc[("ppo", "seconds"), "between"] == 5


def test_methods_are_read_at_one_kl_on_a_line_and_not_beyond():
    dpo = ENDS[ENDS["method"] == "dpo"]
    assert at_kl(dpo, 1.75, "reward") == pytest.approx(1.4)
    assert math.isnan(at_kl(dpo, 4.0, "reward"))
    table = side_by_side(ENDS, "ppo", ["dpo"], "reward")
    assert table.loc[0.5].tolist() == pytest.approx([2.0, 1.2, 0.8 + 1.2 * 1.5 / 2.5])


def test_numbers_are_short():
    assert [tidy(value) for value in (0.123, -3.0, 12345.6, math.nan)] == ["0.12", "-3.00", "12,346", "–"]
