"""The command ``frontier``: the book's longest computation, run by run, and stopped at any time."""

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import tyro

from dpo_book.cli.boundary import entering, writing
from dpo_book.cli.options import UserPath
from dpo_book.maths.require import SettingError, require_count

WorldName = Literal["verdicts", "tiny-reviews", "tiny-summaries", "tiny-dialogues"]
MethodName = Literal["sft", "preferred-ft", "unlikelihood", "dpo", "best-of-n", "ppo", "ppo-gt"]
METHOD_NAMES: tuple[MethodName, ...] = get_args(MethodName)


def frontier(
    world: tyro.conf.Positional[WorldName],
    out: UserPath = Path("frontier"),
    size: Literal["full", "small"] = "full",
    methods: tuple[MethodName, ...] = METHOD_NAMES,
    seeds: int = 5,
    processes: int = 2,
    budget: int | None = None,
) -> None:
    """Compute the reward–KL frontier of RLHF, DPO and their baselines in one world.

    Results enter OUT/WORLD.csv run by run. Stop it at any time; the same command goes on where it stopped.

    Args:
        world: verdicts (every number exact), or one whose numbers are sampled.
        out: folder of the results.
        size: full, or small as chapter 09 runs it live.
        methods: which to run.
        seeds: how many, from 0 on; each draws its own comparisons.
        processes: how many runs at once, each on one thread.
        budget: passes (sequences run forward and backward) that each run may spend; by default the plan's.
    """
    require_count("seeds", seeds, most=1000)
    require_count("processes", processes, most=1000)
    if len(set(methods)) < len(methods):
        raise SettingError(f"--methods names one of them twice: {', '.join(methods)}")
    if budget is not None:
        require_count("budget", budget)
    from tqdm import tqdm

    from dpo_book.frontier.plans import PLANS
    from dpo_book.frontier.table import compute

    plan = PLANS[size][world]
    if budget is not None:
        with entering("--budget", budget, ValueError):
            plan = replace(plan, budget=budget)
    with writing(out):
        progress = compute(out, world, plan, methods, seeds, processes)
        done, total, _ = next(progress)
        with tqdm(total=total, initial=done, unit="run", desc=world) as bar:
            for done, total, run in progress:  # noqa: B007
                bar.set_postfix_str(f"{run.method} {run.strength:g}, seed {run.seed}", refresh=False)
                bar.update()
    print(f"{done} of {total} runs are in {out / world}.csv")
