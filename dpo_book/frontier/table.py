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
from pathlib import Path
from typing import NamedTuple

import filelock
import numpy as np
import pandas as pd

from dpo_book.frontier.methods import METHODS, Plan, trajectory
from dpo_book.frontier.sites import Site, arena_at, site_of
from dpo_book.maths.require import require_count
from dpo_book.system.devices import hardware
from dpo_book.system.files import FileError, make_folder, read_object, write_text
from dpo_book.system.provenance import versions
from dpo_book.system.workers import workers
from dpo_book.training.updates import TrainingDiverged

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


def measure_run(world: str | Site, plan: Plan, run: Run) -> list[dict]:
    """The rows of one run, in the order of training."""
    arena = arena_at(site_of(world))
    points = list(trajectory(arena, plan, *run))
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": hardware(arena.reference.device),
        "versions": versions(),
    }
    rows = []
    for point in points:
        samples = point.standing.samples if run.seed == 0 else []
        row = {"world": arena.name, **run._asdict(), "step": point.step, "last": point is points[-1]}
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
    folder: Path,
    world: str | Site,
    plan: Plan,
    methods: Iterable[str] = tuple(METHODS),
    seeds: int = 1,
    processes: int = 2,
) -> Iterator[tuple[int, int, Run | None]]:
    """Fill ``folder``/``world``.csv with the runs that it does not hold yet; yields (finished, wanted, the last run).

    The plan, and what else the world's site says of itself, stand in ``world``.json beside it. Killed at any moment,
    the table holds every run that was finished. Raises FrontierError, and writes nothing, if the folder holds another
    plan's results, a damaged table, or is being written by somebody else; ValueError if seeds or processes are no
    number of at least 1, or there is no such world.
    """
    site = site_of(world)
    wanted = runs_of(plan, methods, seeds)
    require_count("processes", processes)
    make_folder(folder)
    path = folder / f"{site.name}.csv"
    try:
        with filelock.FileLock(folder / f".{site.name}.lock", timeout=0):
            done = _resume(path, asdict(plan) | site.settings())
            present = {Run(*key) for key in done[RUN].itertuples(index=False)}
            missing = [run for run in wanted if run not in present]
            finished = len(wanted) - len(missing)
            yield finished, len(wanted), None
            for run, rows in _measured(site, plan, missing, processes):
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


def require_same(path: Path, settings: dict) -> None:
    """FrontierError if the table at ``path`` was made with another value of one of these settings than theirs.

    settings: by name, the plan's fields and the site's, or such of them as are known already.
    """
    about = path.with_suffix(".json")
    if not about.exists():
        if path.exists():
            raise FrontierError(f"{path} has no {about.name} beside it, which tells how it was made. {_REPAIR}")
        return
    try:
        theirs = read_object(about)
    except FileError as error:
        raise FrontierError(f"{about} cannot be read: {error}. {_REPAIR}") from error
    for name, ours in _as_read(settings).items():
        if theirs.get(name) != ours:
            raise FrontierError(
                f"{path.parent} holds results of another configuration: {name} was {theirs.get(name)!r} there and is "
                f"{ours!r} now. Choose another folder; nothing was written"
            )


def _as_read(settings: dict) -> dict:
    """As they read once they were written: JSON has no tuples, and no numbers as keys."""
    return json.loads(json.dumps(settings))


def _resume(path: Path, settings: dict) -> pd.DataFrame:
    """What is already there, after what it was made with has been compared (or written, if there is none)."""
    require_same(path, settings)
    about = path.with_suffix(".json")
    if not about.exists():
        write_text(about, json.dumps(_as_read(settings), indent=2) + "\n")
    return read(path) if path.exists() else table([])


def _measured(site: Site, plan: Plan, runs: list[Run], processes: int) -> Iterator[tuple[Run, list[dict]]]:
    """Runs and their rows as they get finished, each in a process of one thread.

    One that diverges is told of when all others are finished: FrontierError.
    """
    if not runs:
        return
    diverged = []
    with workers(min(processes, len(runs))) as pool:
        futures = {pool.submit(measure_run, site, plan, run): run for run in runs}
        for future in as_completed(futures):
            run = futures[future]
            try:
                rows = future.result()
            except TrainingDiverged as error:
                diverged.append(f"{run.method} {run.strength:g}, seed {run.seed}: {error}")
            else:
                yield run, rows
    if diverged:
        raise FrontierError(f"{'; '.join(diverged)}. All other runs are in the table")


def _to_csv(frame: pd.DataFrame) -> str:
    text = io.StringIO()
    frame.to_csv(text, index=False, float_format="%.6g", lineterminator="\n")
    return text.getvalue()
