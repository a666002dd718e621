"""Where else a run's numbers go, if asked: to TensorBoard's files in its folder, and to a project of Trackio's.

A tracker is a function of numbers by name and their step. What a killed run told it after its last checkpoint is
taken back when the run goes on.
"""

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from dpo_book.maths.require import SettingError

Log = Callable[[Mapping[str, float], int], None]  # numbers by name, step
FOLDER = "folder"  # in what Trackio keeps as a run's config: whose run it is
ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")  # where Trackio would send to


def require_project(name: str) -> None:
    """SettingError for what cannot be a project of Trackio's on this machine."""
    if not name.strip():
        raise SettingError("--trackio wants the name of a project, such as my-preferences")
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
    would print its own lines between those of the bar, and they are left out.
    """
    import trackio as library

    place = str(folder.resolve())
    with redirect_stdout(io.StringIO()):
        _forget(project, place)
        run = library.init(
            project=project,
            name=folder.name,
            config={**settings, FOLDER: place},
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        for values, step in before:
            run.log(dict(values), step=step)
    try:
        yield lambda values, step: run.log(dict(values), step=step)
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
