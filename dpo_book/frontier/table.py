"""The reward–KL frontier: every method at every strength, several seeds, as one table that survives being killed.

A run is one method at one strength with one seed. Its rows (the policy measured on its way) enter the table
together, when it is finished; what is in the table is never computed again and never written over.
"""

import io
import itertools
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import as_completed
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import filelock
import numpy as np
import pandas as pd

from dpo_book.frontier.arena import ARENAS, Arena
from dpo_book.frontier.methods import METHODS, Plan, trajectory
from dpo_book.maths.require import require_count
from dpo_book.system.devices import hardware
from dpo_book.system.files import FileError, read_object, write_text
from dpo_book.system.provenance import versions
from dpo_book.system.workers import workers

COLUMNS = {  # name → type; rewards and KL in nats, errors are standard errors, seconds of one thread
    "world": "str", "method": "str", "strength": "float64", "seed": "int64", "step": "int64", "last": "bool",
    "passes": "int64", "generated_tokens": "int64", "judgements": "int64", "seconds": "float64",
    "reward": "float64", "reward_error": "float64", "kl": "float64", "kl_error": "float64",
    "learned_reward": "float64", "samples": "str", "date": "str", "hardware": "str", "versions": "str",
}  # fmt: skip
RUN = ["method", "strength", "seed"]


class FrontierError(ValueError):
    """A frontier cannot be computed or read as asked; the message names the file or field and what would be right."""


class Run(NamedTuple):
    method: str
    strength: float
    seed: int


def runs_of(plan: Plan, methods: Iterable[str] = tuple(METHODS), seeds: int = 1) -> list[Run]:
    """All runs of a frontier, seeds in turn, so that workers do not all wait for one seed's comparisons.

    A method that is named twice is run once. Raises FrontierError for what is no method, ValueError for what is no
    number of seeds.
    """
    methods = list(methods)
    if unknown := [method for method in methods if method not in METHODS]:
        raise FrontierError(f"there is no method {unknown[0]!r}; choose among {', '.join(METHODS)}")
    require_count("seeds", seeds)
    runs = []
    for method in methods:
        runs += [Run(method, *rest) for rest in itertools.product(plan.strengths[method], range(seeds))]
    return list(dict.fromkeys(runs))


def measure_run(world: str, plan: Plan, run: Run) -> list[dict]:
    """The rows of one run, in the order of training."""
    points = list(trajectory(_arena(world), plan, *run))
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(),
        "versions": versions(),
    }
    rows = []
    for point in points:
        samples = point.standing.samples if run.seed == 0 else []
        row = {"world": world, **run._asdict(), "step": point.step, "last": point is points[-1]}
        row |= asdict(point.cost) | point.standing._asdict()
        rows.append(row | {"samples": json.dumps(samples, ensure_ascii=False)} | about)
    return rows


def table(rows: Iterable[dict]) -> pd.DataFrame:
    """Rows of ``measure_run`` as a table, sorted by method, strength, seed and step."""
    frame = pd.DataFrame(list(rows), columns=list(COLUMNS)).astype(COLUMNS)
    places = {method: place for place, method in enumerate(METHODS)}
    frame["place"] = frame["method"].map(places)
    frame = frame.sort_values(["place", *RUN, "step"], kind="stable", ignore_index=True)
    return frame.drop(columns="place")


def compute(
    folder: Path, world: str, plan: Plan, methods: Iterable[str] = tuple(METHODS), seeds: int = 1, processes: int = 2
) -> Iterator[tuple[int, int, Run | None]]:
    """Fill ``folder``/``world``.csv with the runs that it does not hold yet; yields (finished, wanted, the last run).

    The plan stands in ``world``.json beside it. Killed at any moment, the table holds every run that was finished.
    Raises FrontierError, and writes nothing, if the folder holds another plan's results, a damaged table, or is
    being written by somebody else; ValueError if seeds or processes are no number of at least 1.
    """
    if world not in ARENAS:
        raise FrontierError(f"there is no world {world!r}; choose one of {', '.join(ARENAS)}")
    wanted = runs_of(plan, methods, seeds)
    require_count("processes", processes)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{world}.csv"
    try:
        with filelock.FileLock(folder / f".{world}.lock", timeout=0):
            done = _resume(path, plan)
            present = {Run(*key) for key in done[RUN].itertuples(index=False)}
            missing = [run for run in wanted if run not in present]
            finished = len(wanted) - len(missing)
            yield finished, len(wanted), None
            for run, rows in _measured(world, plan, missing, processes):
                done = table([*done.to_dict("records"), *rows])
                write_text(path, _to_csv(done))
                finished += 1
                yield finished, len(wanted), run
    except filelock.Timeout:
        raise FrontierError(f"{path} is being written by another run; wait for it or choose another folder") from None


def read(path: Path) -> pd.DataFrame:
    """A table that ``compute`` wrote. Raises FrontierError, naming what is wrong, if it is damaged."""
    try:
        text = path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise ValueError("it ends in the middle of a line")
        texts = {name: kind for name, kind in COLUMNS.items() if kind == "str"}
        frame = pd.read_csv(io.StringIO(text), dtype=texts, na_filter=False)
    except (OSError, ValueError) as error:
        raise FrontierError(f"{path} cannot be read as a table: {error}. {_REPAIR}") from error
    if list(frame.columns) != list(COLUMNS):
        missing = [name for name in COLUMNS if name not in frame.columns]
        raise FrontierError(
            f"{path} does not have a frontier's columns (missing: {', '.join(missing) or 'none'}). {_REPAIR}"
        )
    for name, kind in COLUMNS.items():
        try:
            if kind == "bool" and frame[name].dtype != bool:  # astype would take any text for True
                raise ValueError("a value is neither True nor False")
            frame[name] = frame[name].astype(kind)
        except (ValueError, TypeError) as error:
            raise FrontierError(f"{path}, column {name!r}: {error}. {_REPAIR}") from error
        if kind == "float64" and not np.isfinite(frame[name]).all():
            raise FrontierError(f"{path}, column {name!r}: a value is not finite. {_REPAIR}")
    for key, rows in frame.groupby(RUN):
        if rows["last"].sum() != 1 or not rows["last"].iloc[-1]:
            raise FrontierError(
                f"{path}: the rows of {key[0]} at {key[1]:g}, seed {key[2]}, are not whole. {_REPAIR}"
            )
    return frame


_REPAIR = "Mend it, or move it away to compute it anew; nothing was written"


def _resume(path: Path, plan: Plan) -> pd.DataFrame:
    """What is already there, after the plan that it was made by has been compared (or written, if there is none)."""
    about = path.with_suffix(".json")
    ours = json.loads(json.dumps(asdict(plan)))
    if not about.exists():
        if path.exists():
            raise FrontierError(f"{path} has no {about.name} beside it, which tells how it was made. {_REPAIR}")
        write_text(about, json.dumps(ours, indent=2) + "\n")
        return table([])
    try:
        theirs = read_object(about)
    except FileError as error:
        raise FrontierError(f"{about} cannot be read: {error}. {_REPAIR}") from error
    differing = [name for name in ours if theirs.get(name) != ours[name]]
    if differing:
        name = differing[0]
        raise FrontierError(
            f"{path.parent} holds results of another configuration: {name} was {theirs.get(name)!r} there and is "
            f"{ours[name]!r} now. Choose another folder; nothing was written"
        )
    return read(path) if path.exists() else table([])


def _measured(world: str, plan: Plan, runs: list[Run], processes: int) -> Iterator[tuple[Run, list[dict]]]:
    """Runs and their rows as they get finished, each in a process of one thread."""
    if not runs:
        return
    with workers(min(processes, len(runs))) as pool:
        futures = {pool.submit(measure_run, world, plan, run): run for run in runs}
        for future in as_completed(futures):
            yield futures[future], future.result()


@lru_cache(maxsize=1)
def _arena(world: str) -> Arena:
    return ARENAS[world]()


def _to_csv(frame: pd.DataFrame) -> str:
    text = io.StringIO()
    frame.to_csv(text, index=False, float_format="%.6g", lineterminator="\n")
    return text.getvalue()
