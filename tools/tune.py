"""The learning rates of the frontier's plans: `python -m tools.tune verdicts`, and the same for tiny-reviews.

Methods run with every rate of one grid, at the same strengths, on a seed that is in no table. The best rate
is the one with the highest objective (equation 3, with the true reward) at the end of the run;
`dpo_book/frontier/plans.py` holds it. Finished runs stay in OUT/tuning-WORLD.csv and are not run again.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd
import tyro
from tqdm import tqdm

from dpo_book.cli.options import UserPath
from dpo_book.frontier.plans import PLANS
from dpo_book.frontier.table import Run, measure_run
from dpo_book.system.files import write_text
from tools import command_line

METHODS = ("dpo", "ppo", "ppo-gt")
RATES = {"verdicts": (5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3), "tiny-reviews": (1e-4, 3e-4, 1e-3)}
SEED = 1000  # of comparisons, reward model and batches: the tables have seeds from 0 on
TRIAL = ["method", "strength", "learning_rate"]


def trial(world: str, method: str, strength: float, rate: float) -> dict:
    """Where one run ends at one rate: J, its two parts, and what it was measured on."""
    plan = PLANS["full"][world]
    plan = replace(plan, learning_rates={**plan.learning_rates, method: rate}, measurements=2)
    end = measure_run(world, plan, Run(method, strength, SEED))[-1]
    kept = {name: end[name] for name in ("reward", "kl", "date", "hardware", "versions")}
    objective = end["reward"] - strength * end["kl"]
    return {"method": method, "strength": strength, "learning_rate": rate, "objective": objective, **kept}


def best_rates(trials: pd.DataFrame) -> pd.DataFrame:
    """The best rate of every method (rows) at every strength (columns)."""
    best = trials.loc[trials.groupby(["method", "strength"])["objective"].idxmax()]
    return best.pivot(index="method", columns="strength", values="learning_rate")


def tune(
    world: tyro.conf.Positional[Literal["verdicts", "tiny-reviews"]],
    out: UserPath = Path("notebooks/results"),
    processes: int = 2,
) -> None:
    """Try every learning rate of the grid, and print the best of each method at each strength.

    Args:
        world: verdicts, or tiny-reviews (half an hour on two cores).
        out: folder of the results.
        processes: how many runs at once, each on one thread.
    """
    path = out / f"tuning-{world}.csv"
    done = pd.read_csv(path).to_dict("records") if path.exists() else []
    strengths = PLANS["full"][world].strengths
    wanted = [(m, b, rate) for m in METHODS for b in strengths[m] for rate in RATES[world]]
    finished = {tuple(row[name] for name in TRIAL) for row in done}
    missing = [one for one in wanted if one not in finished]
    out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        trials = [pool.submit(trial, world, *one) for one in missing]
        for end in tqdm(as_completed(trials), total=len(missing), unit="run", desc=world):
            done.append(end.result())
            rows = pd.DataFrame(done).sort_values(TRIAL)
            write_text(path, rows.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    print(best_rates(pd.DataFrame(done)).to_string())


if __name__ == "__main__":
    command_line.run(tune)
