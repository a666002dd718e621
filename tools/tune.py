"""The learning rates of the frontier's plans: `python -m tools.tune verdicts`, and the same for the others.

Methods run with every rate of one grid, at the same strengths, on a seed that is in no table. The best rate
is the one with the highest objective (equation 3, with the true reward) at the end of the run;
`dpo_book/frontier/plans.py` holds it. Finished runs stay in OUT/tuning-WORLD.csv and are not run again.
"""

import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import tyro

from dpo_book.cli.frontier import BuiltInName
from dpo_book.cli.options import UserPath
from dpo_book.frontier.plans import PLANS
from dpo_book.frontier.table import Run, measure_run
from tools import command_line
from tools.resumable import Table, fill

GRID = (3e-5, 1e-4, 3e-4, 1e-3)
RATES = {  # world → method → rates
    "verdicts": dict.fromkeys(("dpo", "ppo", "ppo-gt"), (5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3)),
    "tiny-reviews": dict.fromkeys(("dpo", "ppo", "ppo-gt"), GRID),
    "tiny-summaries": dict.fromkeys(("dpo", "ppo"), GRID),
    "tiny-dialogues": dict.fromkeys(("dpo", "ppo"), GRID),
}
SEED = 1000  # of comparisons, reward model and batches: the tables have seeds from 0 on
TRIAL = ["method", "strength", "learning_rate"]


def trial(world: str, method: str, strength: float, rate: float) -> list[dict]:
    """Where one run ends at one rate, a row: J, its two parts, and what it was measured on."""
    plan = PLANS["full"][world]
    plan = replace(plan, learning_rates={**plan.learning_rates, method: rate}, measurements=2)
    end = measure_run(world, plan, Run(method, strength, SEED))[-1]
    kept = {name: end[name] for name in ("reward", "kl", "date", "hardware", "versions")}
    objective = end["reward"] - strength * end["kl"]
    return [{"method": method, "strength": strength, "learning_rate": rate, "objective": objective, **kept}]


def trials_of(world: str) -> list[tuple[str, float, float]]:
    """Every (method, strength, rate) that is to be tried in a world."""
    strengths = PLANS["full"][world].strengths
    found = []
    for method, rates in RATES[world].items():
        found += itertools.product([method], strengths[method], rates)
    return found


def table_of(world: str, folder: Path) -> Table:
    """The trials that are finished: a row each."""
    return Table(folder / f"tuning-{world}.csv", TRIAL, _sorted)


def _sorted(trials: pd.DataFrame) -> pd.DataFrame:
    return trials.sort_values(TRIAL)


def best_rates(trials: pd.DataFrame) -> pd.DataFrame:
    """The best rate of every method (rows) at every strength (columns)."""
    best = trials.loc[trials.groupby(["method", "strength"])["objective"].idxmax()]
    return best.pivot(index="method", columns="strength", values="learning_rate")


def tune(
    world: tyro.conf.Positional[BuiltInName],
    out: UserPath = Path("notebooks/results"),
    processes: int = 2,
) -> None:
    """Try every learning rate of the grid, and print the best of each method at each strength.

    Args:
        world: which one; tiny-reviews takes almost an hour on two cores, the others less.
        out: folder of the results.
        processes: how many runs at once, each on one thread.
    """
    table = table_of(world, out)
    fill(table, trials_of(world), partial(trial, world), processes)
    print(best_rates(table.read()).to_string())


if __name__ == "__main__":
    command_line.run(tune)
