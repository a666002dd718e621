"""``python -m dpo_book ...``: training runs and the book's longer computations, without a notebook.

Options are the functions' own parameters; tyro turns them into a command line. A slip is answered in one line.
"""

import contextlib
import io
import itertools
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import Literal

import transformers
import tyro
from tqdm import tqdm

from dpo_book.cli import commands
from dpo_book.frontier.methods import METHODS
from dpo_book.frontier.plans import PLANS
from dpo_book.frontier.table import compute
from dpo_book.system.processes import leave
from dpo_book.training.checkpoints import CheckpointError
from dpo_book.training.updates import TrainingDiverged

_Method = Literal[tuple(METHODS)]


def frontier(
    world: tyro.conf.Positional[Literal["verdicts", "tiny-reviews"]],
    out: Path = Path("frontier"),
    size: Literal["full", "small"] = "full",
    methods: tuple[_Method, ...] = tuple(METHODS),
    seeds: int = 5,
    processes: int = 2,
    budget: int | None = None,
) -> None:
    """Compute the reward–KL frontier of RLHF, DPO and their baselines in one world.

    Results enter OUT/WORLD.csv run by run. Stop it at any time; the same command goes on where it stopped.

    Args:
        world: verdicts (every number exact) or tiny-reviews (sampled).
        out: folder of the results.
        size: full, or small as chapter 08 runs it live.
        methods: which to run.
        seeds: how many, from 0 on; each draws its own comparisons.
        processes: how many runs at once, each on one thread.
        budget: passes (sequences run forward and backward) that each run may spend; by default the plan's.
    """
    plan = PLANS[size][world]
    if budget is not None:
        plan = replace(plan, budget=budget)
    progress = compute(out, world, plan, methods, seeds, processes)
    done, total, _ = next(progress)
    with tqdm(total=total, initial=done, unit="run", desc=world) as bar:
        for done, total, run in progress:  # noqa: B007
            bar.set_postfix_str(f"{run.method} {run.strength:g}, seed {run.seed}", refresh=False)
            bar.update()
    print(f"{done} of {total} runs are in {out / world}.csv")


COMMANDS = (commands.sft, commands.reward, commands.dpo, commands.evaluate, commands.sample, frontier)


def main() -> None:
    """The command line. Exit status 2 and one line for a slip, 130 when it is stopped."""
    status = _run(_parsed())
    leave(status)
    if status:
        sys.exit(status)


def _run(command: Callable[[], None]) -> int:
    transformers.utils.logging.disable_progress_bar()  # of reading and writing weights; ours is the run's
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of libraries to each other
        warnings.showwarning = lambda message, *_: _said(str(message), 0)
        try:
            command()
        except (ValueError, ImportError, CheckpointError, TrainingDiverged) as error:
            return _said(str(error), 2)
        except OSError as error:
            return _said(f"{error.filename or 'a file'}: {error.strerror}" if error.strerror else str(error), 2)
        except KeyboardInterrupt:
            return _said("stopped; what was finished is kept, and the same command goes on from there", 130)
    return 0


def _parsed() -> Callable[[], None]:
    """The command asked for, with its options. Of tyro's answer to a slip, a box of many lines, one line is made."""
    app = tyro.extras.SubcommandApp()
    for command in COMMANDS:
        app.command(_later(command))
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return app.cli(
                prog="python -m dpo_book",
                description="Training runs and the workbook's longer computations.",
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as stop:
        if stop.code:
            lines = [line.strip("│ ") for line in box.getvalue().splitlines()[1:]]
            message = " ".join(itertools.takewhile(lambda line: not line.startswith(("─", "╰")), lines))
            message = re.sub(r"^Error parsing \S*__tyro\S*: ", "", message)
            sys.exit(_said(f"{message} (--help shows the options)", 2))
        raise


def _later(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """The same parameters, and instead of running the command at once, it with its arguments: main runs it."""
    return wraps(command)(lambda *positional, **named: partial(command, *positional, **named))


def _said(message: str, status: int) -> int:
    print(f"dpo_book: {' '.join(message.split())}", file=sys.stderr)
    return status
