"""Where else a run's numbers go, if asked: to TensorBoard's files in its folder, and to a project of Trackio's.

A tracker is a function of numbers by name and their step. What a killed run told it after its last checkpoint is
taken back when the run goes on.
"""

import io
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from dpo_book.maths.require import SettingError

Log = Callable[[Mapping[str, float], int], None]  # numbers by name, step
PROJECT = re.compile(r"(?!registry-)[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # others it renames, or keeps for itself
STEP = "step"  # Trackio's own, and told apart from the numbers
FOLDER = "folder"  # in what Trackio keeps as a run's config: whose run it is
ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID")  # where Trackio would send to


class TrackerError(ValueError):
    """A tracker's files cannot be used; the message says whose, and why."""


def require_project(name: str) -> None:
    """SettingError for what cannot be a project of Trackio's on this machine."""
    if not PROJECT.fullmatch(name):
        raise SettingError(
            "--trackio wants the name of a project, such as my-preferences: up to 64 letters, digits, - and _, and "
            f"not registry- before them; got {name!r}"
        )
    for variable in ELSEWHERE:
        if os.environ.get(variable):
            raise SettingError(f"--trackio keeps numbers on this machine, and {variable} sends them away: unset it")


@contextmanager
def tensorboard(folder: Path, done: int) -> Iterator[Log]:
    """Into event files in ``folder``; of an earlier try what comes after ``done`` steps is hidden."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder, purge_step=done + 1) as writer:

        def log(values: Mapping[str, float], step: int) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        yield log


@contextmanager
def trackio(project: str, folder: Path, settings: Mapping, before: Iterable[tuple[Mapping, int]]) -> Iterator[Log]:
    """Into Trackio's files of a project (in TRACKIO_DIR), as a run with the folder's name and such settings.

    Trackio can only add. So a run that goes on replaces what it told before: ``before``, up to its checkpoint. It
    would print its own lines between those of the bar, and they are left out. TrackerError where its files cannot be
    used, before anything is trained; later it warns by itself, and the run goes on.
    """
    import trackio as library

    place = str(folder.resolve())
    settings = {**settings, FOLDER: place}
    try:
        with redirect_stdout(io.StringIO()):
            _forget(project, place)
            run = library.init(
                project, folder.name, config=settings, embed=False, auto_log_gpu=False, auto_log_cpu=False
            )
    except (sqlite3.Error, OSError, ValueError) as error:
        kept = os.environ.get("TRACKIO_DIR", "its folder")
        raise TrackerError(f"--trackio {project}: Trackio cannot use its files in {kept}: {error}") from error

    def log(values: Mapping[str, float], step: int) -> None:
        run.log({name: value for name, value in values.items() if name != STEP}, step=step)

    try:
        for values, step in before:
            log(values, step)
        yield log
    finally:
        with redirect_stdout(io.StringIO()):
            library.finish()


def _forget(project: str, place: str) -> None:
    """Delete from a project what a run in this folder told it."""
    from trackio import Api

    try:
        runs = list(Api().runs(project))
    except ValueError:  # there is no such project yet
        return
    for run in runs:
        if (run.config or {}).get(FOLDER) == place:
            run.delete()


def to_all(logs: Iterable[Log]) -> Log:
    """One tracker that tells all of these."""
    logs = list(logs)

    def log(values: Mapping[str, float], step: int) -> None:
        for each in logs:
            each(values, step)

    return log
