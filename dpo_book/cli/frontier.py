"""The command ``frontier``: the book's longest computation, run by run, and stopped at any time."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import tyro

from dpo_book.cli.boundary import entering, writing
from dpo_book.cli.imdb_options import ImdbOptions, SizeName
from dpo_book.cli.options import UserPath
from dpo_book.maths.require import SettingError, require_count

if TYPE_CHECKING:
    from dpo_book.frontier.methods import Plan
    from dpo_book.frontier.sites import Site

BuiltInName = Literal["verdicts", "tiny-reviews", "tiny-summaries", "tiny-dialogues"]
WorldName = Literal[BuiltInName, "imdb"]
MethodName = Literal["sft", "preferred-ft", "unlikelihood", "dpo", "best-of-n", "ppo", "ppo-gt"]
METHOD_NAMES: tuple[MethodName, ...] = get_args(MethodName)
NO_OPTIONS = ImdbOptions()


def frontier(
    world: tyro.conf.Positional[WorldName],
    out: UserPath = Path("frontier"),
    size: SizeName = "full",
    methods: tuple[MethodName, ...] = METHOD_NAMES,
    seeds: int | None = None,
    processes: int = 2,
    budget: int | None = None,
    imdb: ImdbOptions = NO_OPTIONS,
) -> None:
    """Compute the reward–KL frontier of RLHF, DPO and their baselines in one world.

    Results enter OUT/WORLD.csv run by run. Stop it at any time; the same command goes on where it stopped. imdb is
    the paper's sentiment experiment (section 6.1) on a policy of yours: it needs --policy, and its own options are
    for it alone.

    Args:
        world: verdicts (every number exact), or one whose numbers are sampled; imdb is the paper's.
        out: folder of the results.
        size: full, or small as chapter 09 runs it live; of imdb the paper's size, or one for two cores.
        methods: which to run.
        seeds: how many, from 0 on; each draws its own comparisons. By default 5, of imdb 1.
        processes: how many runs at once, each on one thread, or all on one GPU.
        budget: passes (sequences run forward and backward) that each run may spend; by default the plan's.
    """
    seeds = (1 if world == "imdb" else 5) if seeds is None else seeds
    require_count("seeds", seeds, most=1000)
    require_count("processes", processes, most=1000)
    if len(set(methods)) < len(methods):
        raise SettingError(f"--methods names one of them twice: {', '.join(methods)}")
    if budget is not None:
        require_count("budget", budget)
    imdb.check_used(world)
    if world == "imdb":
        _imdb(imdb, out, size, methods, seeds, processes, budget)
        return
    from dpo_book.frontier.plans import PLANS

    plan = PLANS[size][world]
    if budget is not None:
        with entering("--budget", budget, ValueError):
            plan = replace(plan, budget=budget)
    _fill(out, world, plan, methods, seeds, processes)


def _imdb(
    options: ImdbOptions,
    out: Path,
    size: SizeName,
    methods: tuple[MethodName, ...],
    seeds: int,
    processes: int,
    budget: int | None,
) -> None:
    """The paper's sentiment experiment: say what it will take, make the reference, run, draw."""
    from dpo_book.cli.imdb_reviews import reviews_of

    options = options.settled(size)
    reviews, held_out = reviews_of(options)

    from dpo_book.cli.imdb import PAPERS, draw, look_at, prepare, require_same_as_before, work_of
    from dpo_book.frontier.table import runs_of

    experiment = look_at(options, size, budget, reviews, held_out)
    require_same_as_before(experiment, out)
    print(work_of(experiment, runs_of(experiment.plan, methods, seeds)))
    with writing(out):
        site = prepare(experiment, out)
        _fill(out, site, experiment.plan, methods, seeds, processes)
        draw(out, options)
    print(f"{out / 'imdb.png'} draws it. {PAPERS}.")


def _fill(
    out: Path,
    world: "WorldName | Site",
    plan: "Plan",
    methods: tuple[MethodName, ...],
    seeds: int,
    processes: int,
) -> None:
    """Run what the table does not hold yet, on a bar."""
    from tqdm import tqdm

    from dpo_book.frontier.sites import site_of
    from dpo_book.frontier.table import compute

    name = site_of(world).name
    with writing(out):
        progress = compute(out, world, plan, methods, seeds, processes)
        done, total, _ = next(progress)
        with tqdm(total=total, initial=done, unit="run", desc=name) as bar:
            for done, total, run in progress:  # noqa: B007
                bar.set_postfix_str(f"{run.method} {run.strength:g}, seed {run.seed}", refresh=False)
                bar.update()
    print(f"{done} of {total} runs are in {out / name}.csv")
