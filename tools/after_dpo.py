"""DPO beside what came after it, at matched KL: `python -m tools.after_dpo`, an hour on one core.

One GPT-2, one set of comparisons a condition, and twelve losses at three strengths and two rates each. Along a run
the exact KL to the reference and the exact reward are measured every 20 steps, so that losses whose β mean different
things are compared where they have strayed equally far. Finished runs stay in OUT/after-dpo.csv and are not run
again. Chapter 11 reads it.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from dpo_book import DPOConfig, Pair, copy_policy, expected_reward, kl_divergence, setup, train_dpo
from dpo_book.cli.options import UserPath
from dpo_book.system.devices import hardware
from dpo_book.system.provenance import versions
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import Verdicts, draw_comparisons, verdicts
from tools import command_line
from tools.resumable import Table, fill, in_order_of

BATCH, STEPS, EVERY = 128, 120, 20
RATES = (2e-3, 5e-4)  # chapter 07's, and a quarter of it, for every loss
SEEDS = (0, 1)
FLIPPED = 0.2  # of the labels of "noisy"
FEW = 500  # pairs of "few"
CONDITIONS = ("fresh", "noisy", "sure", "few")
# Three strengths of each loss, from mild to strong, chosen so that runs of "fresh" pass 1 nat of KL where they can.
BETAS = {
    "dpo": (2.0, 1.0, 0.3),
    "ipo": (0.5, 0.25, 0.1),
    "cdpo": (2.0, 1.0, 0.3),
    "robust": (2.0, 1.0, 0.3),
    "hinge": (2.0, 1.0, 0.3),
    "kto": (20.0, 8.0, 3.0),
    "apo_zero": (20.0, 8.0, 3.0),
    "dpop": (2.0, 1.0, 0.3),
    "rpo": (2.0, 1.0, 0.3),
    "chi_po": (2.0, 1.0, 0.3),
    "simpo": (8.0, 4.0, 1.2),  # of nats a token, and a verdict has four
    "orpo": (0.5, 2.0, 5.0),  # λ: here more is stronger
}
SMOOTHED = 0.1  # ε of cdpo and robust where no label was turned round: a guess, as a user's would be
SETTINGS = {
    "dpop": {"penalty": 1.0},
    "rpo": {"nll_weight": 0.1},
    "simpo": {"target_margin": 0.5},
}


class Trial(NamedTuple):
    """One training run. seed: of the comparisons, their labels and their order."""

    condition: str
    loss: str
    beta: float
    learning_rate: float
    seed: int


def trials() -> list[Trial]:
    """Every run of the table, seeds in turn, so that a table that was stopped has whole seeds."""
    found = []
    for seed in SEEDS:
        for condition in CONDITIONS:
            for rate in RATES:
                for loss, betas in BETAS.items():
                    found += [Trial(condition, loss, beta, rate, seed) for beta in betas]
    return found


def comparisons(
    world: Verdicts, ref_logp: Tensor, condition: str, seed: int
) -> tuple[list[Pair], tuple[Tensor, Tensor]]:
    """A condition's pairs, and the reference's log-probabilities of them.

    "fresh": every pair new, labelled by one Bradley–Terry voter. "noisy": the same, and then 20 % of the labels are
    turned round. "sure": the response with more reward is always chosen; equal ones are a coin. "few": 500 pairs of
    "fresh", again and again.
    """
    size = FEW if condition == "few" else BATCH * STEPS
    labels = "soft" if condition == "sure" else "hard"
    pairs, (ref_chosen, ref_rejected) = draw_comparisons(world, ref_logp, size, labels, seed)
    if condition == "sure":
        pairs = [pair._replace(chosen_probability=_sure(pair.chosen_probability)) for pair in pairs]
    if condition == "noisy":
        flipped = torch.rand(size, generator=torch.Generator().manual_seed(1000 + seed)) < FLIPPED
        pairs = [_turned(pair) if turn else pair for pair, turn in zip(pairs, flipped.tolist(), strict=True)]
        ref_chosen, ref_rejected = (
            torch.where(flipped, ref_rejected, ref_chosen),
            torch.where(flipped, ref_chosen, ref_rejected),
        )
    return pairs, (ref_chosen, ref_rejected)


def _sure(probability: float) -> float:
    """Of the likelier response, 1; of two equal ones, still a half."""
    return 1.0 if probability > 0.5 + 1e-9 else 0.5


def _turned(pair: Pair) -> Pair:
    return pair._replace(chosen=pair.rejected, rejected=pair.chosen)


def settings_of(loss: str, condition: str) -> dict[str, float]:
    """What a loss takes besides β. Robust and conservative DPO are told the share of turned labels in "noisy"."""
    if loss in ("cdpo", "robust"):
        return {"label_smoothing": FLIPPED if condition == "noisy" else SMOOTHED}
    return SETTINGS.get(loss, {})


def measure(trial: Trial) -> Iterator[dict]:
    """Run it: a row for every 20th step with exact KL to the reference and reward, nats, means over prompts."""
    setup(trial.seed)
    world, reference = verdicts(), verdicts_reference()
    with torch.no_grad():
        ref_logp = world.logp(reference).double()
    pairs, ref_logps = comparisons(world, ref_logp, trial.condition, trial.seed)
    policy = copy_policy(reference)
    config = DPOConfig(
        loss=trial.loss,
        beta=trial.beta,
        learning_rate=trial.learning_rate,
        batch_size=BATCH,
        steps=STEPS,
        seed=trial.seed,
        **settings_of(trial.loss, trial.condition),
    )
    for record in train_dpo(policy, reference, pairs, config, ref_logps):
        if record["step"] % EVERY:
            continue
        with torch.no_grad():
            logp = world.logp(policy).double()
        yield trial._asdict() | {
            "step": record["step"],
            "kl_to_reference": kl_divergence(logp, ref_logp).mean().item(),
            "reward": expected_reward(logp, world.rewards).mean().item(),
            "date": datetime.now(UTC).date().isoformat(),
            "hardware": hardware(),
            "versions": versions(),
        }


def rows_of(*settings: str | float) -> list[dict]:
    """``measure`` of the trial with these settings, as a list."""
    return list(measure(Trial(*settings)))


def table_in(folder: Path) -> Table:
    """The trials that are finished: a row for each of their measurements."""
    return Table(folder / "after-dpo.csv", Trial._fields, in_turn)


def in_turn(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of ``trials``; what is no trial any longer is left out."""
    return in_order_of(trials(), rows, Trial._fields)


def after_dpo(out: UserPath = Path("notebooks/results"), processes: int = 1) -> None:
    """Run what OUT/after-dpo.csv does not hold yet, and print the rewards at the end of the runs.

    Args:
        out: folder of the results.
        processes: how many runs at once, each on one thread.
    """
    table = table_in(out)
    fill(table, trials(), rows_of, processes)
    settings = ["condition", "loss", "beta", "learning_rate"]
    ends = table.read().query("step == @STEPS").groupby(settings, sort=False)
    print(ends[["kl_to_reference", "reward"]].mean().round(2).to_string())


if __name__ == "__main__":
    command_line.run(after_dpo)
