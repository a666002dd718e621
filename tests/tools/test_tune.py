"""The plans hold the learning rates that the stored trials speak for."""

import itertools

import pandas as pd
import pytest

from dpo_book.frontier.plans import PLANS
from dpo_book.frontier.table import read
from tools.record import NOTEBOOKS
from tools.tune import RATES, SEED, TRIAL, best_rates, table_of, trials_of

RESULTS = NOTEBOOKS / "results"
WORLDS = pytest.mark.parametrize("world", list(RATES))


def stored_trials(world):
    return pd.read_csv(RESULTS / f"tuning-{world}.csv")


@WORLDS
def test_every_method_tried_every_rate_at_every_strength(world):
    tried = list(stored_trials(world)[TRIAL].itertuples(index=False, name=None))
    wanted = []
    for method, rates in RATES[world].items():
        wanted += itertools.product([method], PLANS["full"][world].strengths[method], rates)
    assert sorted(tried) == sorted(wanted) == sorted(trials_of(world))


@WORLDS
def test_the_stored_table_lacks_nothing_and_is_as_it_would_be_written_again(world):
    stored = table_of(world, RESULTS)
    assert not stored.missing(trials_of(world))
    assert stored.text(stored_trials(world).to_dict("records")) == stored.path.read_text()


@WORLDS
def test_the_plan_takes_the_best_of_them(world):
    best, plan = best_rates(stored_trials(world)), PLANS["full"][world]
    for method in RATES[world]:
        for strength in plan.strengths[method]:
            assert plan.learning_rate(method, strength) == best.loc[method, strength]


@pytest.mark.parametrize("world", ["verdicts", "tiny-reviews"])
def test_the_seed_of_the_trials_is_in_no_table(world):
    assert SEED not in set(read(RESULTS / f"{world}.csv")["seed"])


def test_nor_is_it_in_the_table_of_answers():
    assert SEED not in set(pd.read_csv(RESULTS / "by-temperature.csv")["seed"])


def test_the_best_is_the_one_with_the_highest_objective():
    rows = itertools.product(["dpo"], [0.1, 1.0], [1e-4, 1e-3])
    table = pd.DataFrame(rows, columns=TRIAL).assign(objective=[1.0, 2.0, 4.0, 3.0])
    assert best_rates(table).loc["dpo"].to_dict() == {0.1: 1e-3, 1.0: 1e-4}
