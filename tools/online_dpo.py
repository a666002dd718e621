"""Online DPO beside offline, at matched KL: `python -m tools.online_dpo`, half an hour on one core.

One GPT-2 on verdicts, the losses of the online paper (arXiv 2402.04792), and as many fresh comparisons by one
Bradley–Terry voter for everyone. Only who proposes them differs: the reference, the book's mixture, or the policy of
the moment. Where a run ends, the KL to the reference and the reward are exact. Finished runs stay in
OUT/online-dpo.csv and are not run again. Chapter 11 reads it.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book import (
    DPOConfig,
    copy_policy,
    expected_reward,
    kl_divergence,
    setup,
    train_dpo,
    train_online_dpo,
)
from dpo_book.cli.options import UserPath
from dpo_book.system.devices import hardware
from dpo_book.system.provenance import versions
from dpo_book.training.loop import Record
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import Verdicts, draw_comparisons, mixed_proposal, verdicts
from tools import command_line
from tools.resumable import Table, fill, in_order_of

BATCH, STEPS = 128, 240
RATES = (2e-3, 5e-4)  # chapter 07's, and a quarter of it, for everyone
SEEDS = (0, 1)
PROPOSALS = ("reference", "mixed", "policy")
BETAS = {  # from mild to strong: runs end between about 0.2 and 4 nats from the reference
    "dpo": (2.0, 1.0, 0.5, 0.3),
    "ipo": (0.5, 0.25, 0.15, 0.1),
    "hinge": (2.0, 1.0, 0.5, 0.3),
}


class Trial(NamedTuple):
    """One training run. proposal: who writes both responses of a pair. seed: of pairs, labels and their order."""

    proposal: str
    loss: str
    beta: float
    learning_rate: float
    seed: int


def trials() -> list[Trial]:
    """Every run of the table, seeds in turn, so that a table that was stopped has whole seeds."""
    found = []
    for seed in SEEDS:
        for rate in RATES:
            for loss, betas in BETAS.items():
                for beta in betas:
                    found += [Trial(proposal, loss, beta, rate, seed) for proposal in PROPOSALS]
    return found


def measure(trial: Trial) -> dict:
    """Run it: the trial, and the exact KL to the reference and reward at its end, nats, means over prompts."""
    setup(trial.seed)
    world, reference = verdicts(), verdicts_reference()
    with torch.no_grad():
        ref_logp = world.logp(reference).double()
    policy = copy_policy(reference)
    for _ in _training(trial, world, policy, reference, ref_logp):
        pass
    with torch.no_grad():
        logp = world.logp(policy).double()
    return trial._asdict() | {
        "kl_to_reference": kl_divergence(logp, ref_logp).mean().item(),
        "reward": expected_reward(logp, world.rewards).mean().item(),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(),
        "versions": versions(),
    }


def _training(
    trial: Trial, world: Verdicts, policy: PreTrainedModel, reference: PreTrainedModel, ref_logp: Tensor
) -> Iterator[Record]:
    """The same updates on as many pairs, whoever proposes them."""
    config = DPOConfig(
        loss=trial.loss,
        beta=trial.beta,
        learning_rate=trial.learning_rate,
        batch_size=BATCH,
        steps=STEPS,
        seed=trial.seed,
    )
    if trial.proposal == "policy":
        prompts = world.draw_prompts(BATCH * STEPS, trial.seed)
        return train_online_dpo(policy, reference, prompts, world.rewards_of, config, world.max_new_tokens)
    proposal = ref_logp.exp() if trial.proposal == "reference" else mixed_proposal(world, ref_logp)
    pairs, ref_logps = draw_comparisons(world, ref_logp, BATCH * STEPS, "hard", trial.seed, proposal)
    return train_dpo(policy, reference, pairs, config, ref_logps)


def rows_of(*settings: str | float) -> list[dict]:
    """``measure`` of the trial with these settings: a row."""
    return [measure(Trial(*settings))]


def table_in(folder: Path) -> Table:
    """The trials that are finished: a row each."""
    return Table(folder / "online-dpo.csv", Trial._fields, in_turn)


def in_turn(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of ``trials``; what is no trial any longer is left out."""
    return in_order_of(trials(), rows, Trial._fields)


def online_dpo(out: UserPath = Path("notebooks/results"), processes: int = 1) -> None:
    """Run what OUT/online-dpo.csv does not hold yet, and print where the runs end.

    Args:
        out: folder of the results.
        processes: how many runs at once, each on one thread.
    """
    table = table_in(out)
    fill(table, trials(), rows_of, processes)
    settings = ["loss", "beta", "learning_rate", "proposal"]
    ends = table.read().groupby(settings, sort=False)[["kl_to_reference", "reward"]]
    print(ends.mean().round(2).to_string())


if __name__ == "__main__":
    command_line.run(online_dpo)
