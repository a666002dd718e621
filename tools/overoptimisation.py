"""Long DPO runs on verdicts, measured exactly: `python -m tools.overoptimisation`, ten minutes on two cores.

Few pairs gone through a hundred times, or many; proposed as the book's are, or drawn from the reference alone.
Finished runs stay in OUT/overoptimisation.csv and are not run again. Chapter 09 reads it.
"""

import itertools
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dpo_book import DPOConfig, copy_policy, expected_reward, kl_divergence, setup, train_dpo
from dpo_book.cli.options import UserPath
from dpo_book.system.devices import hardware
from dpo_book.system.provenance import versions
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import draw_comparisons, mixed_proposal, verdicts
from tools import command_line
from tools.resumable import Table, fill

OWN = {"reference": 1.0, "best_of_16": 0.0, "uniform": 0.0}
CASES = {  # label → pairs, and the shares of ``mixed_proposal``
    "500 pairs": (500, {}),
    "500 pairs, the reference's": (500, OWN),
    "20,000 pairs": (20_000, {}),
}
SEEDS = range(3)
BETA = 0.1
SETTINGS = {"beta": BETA, "learning_rate": 5e-4, "batch_size": 64, "steps": 1_000}
MEASUREMENTS = 16
RUN = ["label", "seed"]


def long_run(label: str, seed: int) -> list[dict]:
    """The rows of one run: a policy's exact reward and KL, in nats, at steps that grow evenly in their logarithm."""
    setup(seed)
    world, reference = verdicts(), verdicts_reference()
    with torch.no_grad():
        ref_logp = world.logp(reference).double()
    size, shares = CASES[label]
    proposal = mixed_proposal(world, ref_logp, **shares)
    pairs, reference_logps = draw_comparisons(world, ref_logp, size, "hard", seed, proposal)
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(),
        "versions": versions(),
    }
    config = DPOConfig(**SETTINGS, seed=seed)
    policy = copy_policy(reference)
    steps = np.geomspace(5, config.steps, MEASUREMENTS).round().astype(int).tolist()
    rows = []
    for record in train_dpo(policy, reference, pairs, config, reference_logps):
        if record["step"] not in steps:
            continue
        with torch.no_grad():
            logp = world.logp(policy).double()
        measured = {
            "step": record["step"],
            "kl": kl_divergence(logp, ref_logp).mean().item(),
            "reward": expected_reward(logp, world.rewards).mean().item(),
        }
        rows.append({"label": label, "pairs": size, "seed": seed} | SETTINGS | measured | about)
    return rows


def runs() -> list[tuple[str, int]]:
    """Every (label, seed) of the table, seeds in turn."""
    return [(label, seed) for seed, label in itertools.product(SEEDS, CASES)]


def table_in(folder: Path) -> Table:
    """The runs that are finished: a row a measurement."""
    return Table(folder / "overoptimisation.csv", RUN, _sorted)


def _sorted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values([*RUN, "step"])


def overoptimisation(out: UserPath = Path("notebooks/results"), processes: int = 2) -> None:
    """Run what the table does not hold yet.

    Args:
        out: folder of the results.
        processes: how many runs at once, each on one thread.
    """
    fill(table_in(out), runs(), long_run, processes)


if __name__ == "__main__":
    command_line.run(overoptimisation)
