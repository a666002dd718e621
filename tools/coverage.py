"""Where DPO ends on verdicts, by who proposes its pairs: `python -m tools.coverage`, half an hour on one core.

Three questions, a table: does the proposal matter (soft labels, every pair fresh)? What helps where it is the
reference alone (more steps, or rounds of pairs that the policy of the moment proposes)? Where do 500 hard pairs end?
Finished runs stay in OUT/coverage.csv and are not run again. Chapter 07 reads it.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book import DPOConfig, Pair, copy_policy, kl_divergence, optimal_logp, setup, train_dpo
from dpo_book.cli.options import UserPath
from dpo_book.system.devices import hardware
from dpo_book.system.provenance import versions
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import Verdicts, draw_comparisons, mixed_proposal, verdicts
from tools import command_line
from tools.resumable import Table, fill, in_order_of

BATCH = 128
SEEDS = (0, 1)
STEPS = {1.0: 400, 0.3: 1000}  # by beta, as in the chapter
SHARES = {  # of ``mixed_proposal``
    "book": {},
    "reference": {"reference": 1.0, "best_of_16": 0.0, "uniform": 0.0},
    "reference + uniform": {"reference": 0.8, "best_of_16": 0.0, "uniform": 0.2},
    "uniform": {"reference": 0.0, "best_of_16": 0.0, "uniform": 1.0},
}


class Trial(NamedTuple):
    """One training run. Each round trains on pairs of its own, with a learning rate that rises and falls anew."""

    proposal: str  # of SHARES, or "policy": the policy at the start of the round, at first the reference
    labels: str
    beta: float
    steps: int  # of all rounds
    pairs: int  # of all rounds; fewer than the steps need are gone through again
    rounds: int
    seed: int  # of the comparisons and their order


def trials() -> list[Trial]:
    """Every run of the table, seeds in turn."""
    found = []
    for seed in SEEDS:
        for beta, steps in STEPS.items():
            found += [soft(proposal, beta, steps, 1, seed) for proposal in SHARES]
        found += [Trial("book", "hard", beta, 400, 500, 1, seed) for beta in (0.3, 1.0, 3.0, 10.0)]
        found += [soft(proposal, 0.3, 1000, 5, seed) for proposal in ("policy", "reference")]
        found.append(soft("reference", 0.3, 2000, 1, seed))
    return found


def soft(proposal: str, beta: float, steps: int, rounds: int, seed: int) -> Trial:
    """A run that sees every one of its soft-labelled pairs once."""
    return Trial(proposal, "soft", beta, steps, BATCH * steps, rounds, seed)


def measure(trial: Trial) -> dict:
    """Run it: the trial, two KL in nats, and how much probability lies on responses that were in no pair.

    All averaged over the prompts; the last two for the policy (``policy_unseen``) and for π* (``optimum_unseen``).
    """
    setup(trial.seed)
    world, reference = verdicts(), verdicts_reference()
    policy = copy_policy(reference)
    ref_logp = _logp(world, reference)
    star = optimal_logp(ref_logp, world.rewards, trial.beta)
    unseen = torch.ones_like(star, dtype=torch.bool)
    for number in range(trial.rounds):
        proposal = _proposal(trial.proposal, world, ref_logp, _logp(world, policy))
        seed = trial.seed * trial.rounds + number
        size = trial.pairs // trial.rounds
        pairs, ref_logps = draw_comparisons(world, ref_logp, size, trial.labels, seed, proposal)
        _cross_off(unseen, world, pairs)
        steps = trial.steps // trial.rounds
        config = DPOConfig(beta=trial.beta, learning_rate=2e-3, batch_size=BATCH, steps=steps, seed=seed)
        for _ in train_dpo(policy, reference, pairs, config, ref_logps):
            pass
    logp = _logp(world, policy)
    return trial._asdict() | {
        "kl_to_optimum": kl_divergence(logp, star).mean().item(),
        "kl_to_reference": kl_divergence(logp, ref_logp).mean().item(),
        "policy_unseen": (logp.exp() * unseen).sum(dim=1).mean().item(),
        "optimum_unseen": (star.exp() * unseen).sum(dim=1).mean().item(),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(),
        "versions": versions(),
    }


def _logp(world: Verdicts, policy: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        return world.logp(policy).double()


def _proposal(name: str, world: Verdicts, ref_logp: Tensor, logp: Tensor) -> Tensor:
    if name == "policy":
        return logp.exp()
    return mixed_proposal(world, ref_logp, **SHARES[name])


def _cross_off(unseen: Tensor, world: Verdicts, pairs: list[Pair]) -> None:
    """Mark both responses of every pair as seen, in place. unseen: (P, N)."""
    for pair in pairs:
        prompt = world.prompt_ids.index(pair.prompt)
        unseen[prompt, world.index(pair.chosen)] = False
        unseen[prompt, world.index(pair.rejected)] = False


def rows_of(*settings: str | float) -> list[dict]:
    """``measure`` of the trial with these settings: a row."""
    return [measure(Trial(*settings))]


def table_in(folder: Path) -> Table:
    """The trials that are finished: a row each."""
    return Table(folder / "coverage.csv", Trial._fields, in_turn)


def in_turn(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of ``trials``; what is no trial any longer is left out."""
    return in_order_of(trials(), rows, Trial._fields)


def coverage(out: UserPath = Path("notebooks/results"), processes: int = 1) -> None:
    """Run what OUT/coverage.csv does not hold yet, and print where the runs end.

    Args:
        out: folder of the results.
        processes: how many runs at once, each on one thread.
    """
    table = table_in(out)
    fill(table, trials(), rows_of, processes)
    settings = ["labels", "beta", "steps", "pairs", "proposal", "rounds"]
    ends = table.read().groupby(settings, sort=False)[["kl_to_optimum", "kl_to_reference"]]
    print(ends.mean().round(3).to_string())


if __name__ == "__main__":
    command_line.run(coverage)
