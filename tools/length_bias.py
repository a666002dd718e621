"""DPO and the losses that count tokens, under a judge who loves length: `python -m tools.length_bias`.

In the world of dialogues a judge gives an answer 0.1 nats more for every token, whatever it says, and compares the
reference's own answers. One GPT-2 is trained on the same comparisons with each loss at three strengths, in the first
seed with two learning rates; DPO also on labels by quality alone. Where a run ends, the exact quality, the KL to the
reference and the tokens are means over the same number of samples. Finished runs stay in OUT/length-bias.csv and are
not run again; half an hour on one core. Chapter 11 reads it.
"""

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from dpo_book import DPOConfig, Pair, bradley_terry_pairs, copy_policy, setup, train_dpo
from dpo_book.cli.options import UserPath
from dpo_book.frontier.arena import SampledArena, tiny_dialogues_arena
from dpo_book.maths.estimates import estimate
from dpo_book.system.devices import hardware
from dpo_book.system.provenance import versions
from tools import command_line
from tools.resumable import Table, fill, in_order_of

TASTE = 0.1  # nats a token
COMPARISONS, BATCH, STEPS = 3_000, 64, 150
RATES = {0: (3e-4, 1e-4), 1: (1e-4,)}  # by seed: the first says which of the two gets more at one KL
SAMPLES_A_PROMPT = 2  # 512 answers
BETAS = {  # from mild to strong
    "dpo": (1.0, 0.4, 0.2),
    "rdpo": (0.5, 0.2, 0.1),
    "dpo_norm": (20.0, 8.0, 4.0),  # of nats a token
    "simpo": (30.0, 10.0, 4.0),
}
SETTINGS = {"rdpo": {"length_penalty": TASTE}}  # told what the judge's taste is


class Trial(NamedTuple):
    """One training run. judge: "length" or "quality". seed: of the comparisons, their labels and their order."""

    judge: str
    loss: str
    beta: float
    learning_rate: float
    seed: int


def trials() -> list[Trial]:
    """Every run of the table, seeds in turn, so that a table that was stopped has whole seeds."""
    found = []
    for seed, rates in RATES.items():
        for rate in rates:
            found += [Trial("quality", "dpo", beta, rate, seed) for beta in BETAS["dpo"]]
            for loss, betas in BETAS.items():
                found += [Trial("length", loss, beta, rate, seed) for beta in betas]
    return found


def comparisons(arena: SampledArena, judge: str, size: int, seed: int) -> list[Pair]:
    """Pairs of the reference's own answers, each labelled once; "length" pays ``TASTE`` for every token."""
    prompts = arena.world.draw_prompts(size, seed)
    a = arena.sample(arena.reference, prompts, 2 * seed)
    b = arena.sample(arena.reference, prompts, 2 * seed + 1)
    reward_a, reward_b = arena.world.rewards_of(prompts, a), arena.world.rewards_of(prompts, b)
    if judge == "length":
        reward_a = reward_a + TASTE * _tokens(a)
        reward_b = reward_b + TASTE * _tokens(b)
    return bradley_terry_pairs(prompts, a, b, reward_a, reward_b, "hard", seed)


def _tokens(completions: list[list[int]]) -> torch.Tensor:
    """The tokens of each, as numbers that can be multiplied: (B,)."""
    return torch.tensor([float(len(completion)) for completion in completions])


@lru_cache(maxsize=1)
def _arena() -> SampledArena:
    return tiny_dialogues_arena()


def measure(trial: Trial) -> dict:
    """Run it: the trial, and of 512 answers at its end the means of r*, log π − log π_ref and tokens."""
    setup(trial.seed)
    arena = _arena()
    pairs = comparisons(arena, trial.judge, COMPARISONS, trial.seed)
    policy = copy_policy(arena.reference)
    config = DPOConfig(
        loss=trial.loss,
        beta=trial.beta,
        learning_rate=trial.learning_rate,
        batch_size=BATCH,
        steps=STEPS,
        seed=trial.seed,
        **SETTINGS.get(trial.loss, {}),
    )
    for _ in train_dpo(policy, arena.reference, pairs, config):
        pass
    return trial._asdict() | standing(arena, policy)


@torch.no_grad()
def standing(arena: SampledArena, policy: torch.nn.Module) -> dict:
    """What a policy's answers are, as columns; an error is a standard error."""
    prompts = arena.prompts * SAMPLES_A_PROMPT
    answers = arena.sample(policy, prompts, seed=0)
    quality = estimate(arena.world.rewards_of(prompts, answers))
    kl = estimate(arena.log_ratios(policy, prompts, answers))
    return {
        "reward": quality.mean,
        "reward_error": quality.standard_error,
        "kl": kl.mean,
        "kl_error": kl.standard_error,
        "tokens": _tokens(answers).mean().item(),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(),
        "versions": versions(),
    }


def rows_of(*settings: str | float) -> list[dict]:
    """``measure`` of the trial with these settings: a row."""
    return [measure(Trial(*settings))]


def table_in(folder: Path) -> Table:
    """The trials that are finished: a row each."""
    return Table(folder / "length-bias.csv", Trial._fields, in_turn)


def in_turn(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of ``trials``; what is no trial any longer is left out."""
    return in_order_of(trials(), rows, Trial._fields)


def length_bias(out: UserPath = Path("notebooks/results"), processes: int = 1) -> None:
    """Run what OUT/length-bias.csv does not hold yet, and print where the runs end.

    Args:
        out: folder of the results.
        processes: how many runs at once, each on one thread.
    """
    table = table_in(out)
    fill(table, trials(), rows_of, processes)
    settings = ["judge", "loss", "beta", "learning_rate"]
    ends = table.read().groupby(settings, sort=False)[["kl", "reward", "tokens"]]
    print(ends.mean().round(2).to_string())


if __name__ == "__main__":
    command_line.run(length_bias)
