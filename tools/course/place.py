"""A course's place: one build at a time, students' work stays, and an old course is there until a new one is.

.NAME.lock       beside the course, held by the one build
.NAME-????????   where it makes the new course
.NAME.old        the old one, while the new one takes its place
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dpo_book.system.files import remove

# What nbgrader and its teacher add to the grader's folder of a course that is under way.
WORK = ("gradebook.db", "release", "submitted", "autograded", "feedback")


class CourseInUse(ValueError):
    """No new course may take this place: the message says what is there, or who is at it."""


def require_free(folder: Path) -> None:
    """CourseInUse where something is in ``folder``'s place that no new course may take."""
    if folder.is_symlink() or folder.is_file():
        raise CourseInUse(f"{folder} is a link or a file: move it away, and make the course then")
    _require_no_work(folder, folder)


def _require_no_work(course: Path, named: Path) -> None:
    """named: the course as its teacher knows it."""
    grader = Path("teacher", "grader")
    if found := [name for name in WORK if (course / grader / name).exists()]:
        raise CourseInUse(
            f"{named / grader} holds a course that is under way ({', '.join(found)}): move {named} elsewhere, and "
            "make the course then"
        )


@contextmanager
def scratch_beside(folder: Path) -> Iterator[Path]:
    """A new folder beside ``folder``, gone afterwards, as long as no other process makes a course here.

    What builds that were killed have left is swept first. CourseInUse while another one is under way.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.with_name(f".{folder.name}.lock"), blocking=False):
            _settle(folder)
            for left in folder.parent.glob(f".{folder.name}-????????/"):  # as tempfile names them
                remove(left)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
                yield Path(scratch)
    except Timeout:
        raise CourseInUse(f"{folder} is being made by another process: wait for it") from None


def replace(folder: Path, fresh: Path) -> None:
    """Give ``folder``'s name to the course in ``fresh``, on the same disk. Where that fails the old one is back.

    CourseInUse where students' work came while the new one was made.
    """
    require_free(folder)
    aside = _aside(folder)
    if folder.exists():
        os.rename(folder, aside)
    try:
        if aside.exists():
            _require_no_work(aside, folder)  # by its name nothing more can come into it
        os.rename(fresh, folder)
    except BaseException:
        _bring_back(folder)
        raise
    remove(aside)


def _bring_back(folder: Path) -> None:
    """The course that was set aside to its place; CourseInUse where somebody has put something there meanwhile."""
    aside = _aside(folder)
    if aside.exists() and folder.exists():
        raise CourseInUse(f"{folder} was made by somebody meanwhile, and the course that was there is in {aside}")
    if aside.exists():
        os.rename(aside, folder)


def _settle(folder: Path) -> None:
    """End what a killed swap has begun: the old course goes where a new one is there, and else comes back."""
    aside = _aside(folder)
    if aside.exists() and folder.exists():
        _require_no_work(aside, aside)
        remove(aside)
    _bring_back(folder)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")
