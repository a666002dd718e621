"""Who answers better, at which temperature: `python -m tools.by_temperature`, within an hour on two cores.

The paper's experiments of §6.2 and §6.3 in the worlds of summaries and dialogues, and the same in that of reviews:
SFT, preferred-FT, DPO, PPO and best-of-n answer 256 prompts at five temperatures, DPO also on its way. A row of
OUT/by-temperature.csv is one policy at one temperature: the exact quality and the words of each answer, in the order
of the prompts. Finished runs are not run again. Chapter 10 reads it.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dpo_book.cli.options import UserPath
from dpo_book.frontier.arena import ARENAS, SampledArena
from dpo_book.frontier.by_temperature import PEOPLE, Answers, method_answers, written_answers
from dpo_book.frontier.plans import PLANS
from dpo_book.system.devices import hardware
from dpo_book.system.provenance import versions
from tools import command_line
from tools.resumable import Table, fill, in_order_of

WORLDS = ("tiny-reviews", "tiny-dialogues", "tiny-summaries")
SEEDS = (0, 1, 2)
STRENGTHS = {"sft": 0.0, "preferred-ft": 0.0, "dpo": 0.1, "ppo": 0.1, "best-of-n": 16.0}
ON_THE_WAY = dict.fromkeys((10, 25, 50, 100, 150), (0.75, 1.0))  # steps of DPO → temperatures


class Run(NamedTuple):
    """seed: of comparisons, reward model, training and answers. The reference is the same for all."""

    world: str
    method: str
    strength: float
    seed: int


def runs() -> list[Run]:
    """Every run of the table, seeds in turn, so that a table that was stopped has whole seeds."""
    found = [Run(world, PEOPLE, 0.0, 0) for world in WORLDS]
    for seed in SEEDS:
        for world in WORLDS:
            found += [Run(world, method, strength, seed) for method, strength in STRENGTHS.items()]
    return found


def rows_of(*settings: str | float) -> list[dict]:
    """The rows of one run."""
    run = Run(*settings)
    rows = []
    for answers in _answers(run):
        rows.append(
            run._asdict()
            | {
                "step": answers.step,
                "temperature": answers.temperature,
                "qualities": " ".join(f"{quality:.6g}" for quality in answers.qualities.tolist()),
                "words": " ".join(map(str, answers.words.tolist())),
                "texts": json.dumps(answers.texts),
                "date": datetime.now(UTC).date().isoformat(),
                "hardware": hardware(),
                "versions": versions(),
            }
        )
    return rows


def _answers(run: Run) -> Iterator[Answers]:
    arena = _arena(run.world)
    if run.method == PEOPLE:
        return iter([written_answers(arena)])
    plan = PLANS["full"][run.world]
    on_the_way = ON_THE_WAY if run.method == "dpo" else None
    return method_answers(arena, plan, run.method, run.strength, run.seed, on_the_way)


@lru_cache(maxsize=1)
def _arena(world: str) -> SampledArena:
    return ARENAS[world]()


def table_in(folder: Path) -> Table:
    """The runs that are finished: a row for each step and temperature."""
    return Table(folder / "by-temperature.csv", Run._fields, in_turn)


def in_turn(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of ``runs``; what is no run any longer is left out."""
    return in_order_of(runs(), rows, Run._fields)


def by_temperature(out: UserPath = Path("notebooks/results"), processes: int = 2) -> None:
    """Run what OUT/by-temperature.csv does not hold yet.

    Args:
        out: folder of the results.
        processes: how many runs at once, each on one thread.
    """
    fill(table_in(out), runs(), rows_of, processes)


if __name__ == "__main__":
    command_line.run(by_temperature)
