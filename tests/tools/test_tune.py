"""The plan of verdicts holds the learning rates that the stored trials speak for."""

import itertools

import pandas as pd
import pytest

from dpo_book.frontier.plans import PLANS
from dpo_book.frontier.table import read
from tools.record import NOTEBOOKS
from tools.tune import METHODS, RATES, SEED, TRIAL, best_rates

RESULTS = NOTEBOOKS / "results"
PLAN = PLANS["full"]["verdicts"]


@pytest.fixture(scope="module")
def trials():
    return pd.read_csv(RESULTS / "tuning-verdicts.csv")


def test_every_method_tried_every_rate_at_every_strength(trials):
    tried = list(trials[TRIAL].itertuples(index=False, name=None))
    wanted = []
    for method in METHODS:
        wanted += itertools.product([method], PLAN.strengths[method], RATES["verdicts"])
    assert sorted(tried) == sorted(wanted)


def test_the_plan_takes_the_best_of_them(trials):
    best = best_rates(trials)
    for method in METHODS:
        for strength in PLAN.strengths[method]:
            assert PLAN.learning_rate(method, strength) == best.loc[method, strength]


def test_the_seed_of_the_trials_is_in_no_table():
    assert SEED not in set(read(RESULTS / "verdicts.csv")["seed"])


def test_the_best_is_the_one_with_the_highest_objective():
    rows = itertools.product(["dpo"], [0.1, 1.0], [1e-4, 1e-3])
    table = pd.DataFrame(rows, columns=TRIAL).assign(objective=[1.0, 2.0, 4.0, 3.0])
    assert best_rates(table).loc["dpo"].to_dict() == {0.1: 1e-3, 1.0: 1e-4}
