"""A course folder for nbgrader, ready to use: `python -m tools.course.grader FOLDER [CHAPTER ...]`.

FOLDER gets the course's nbgrader_config.py, and source/CHAPTER with the teacher's notebook of every chapter and what
it reads: its quizzes, and stored results. nbgrader hands these files out with the notebook. With --sheets an
assignment is no whole chapter but its exercises, which are marked in seconds: students read the chapter elsewhere.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from nbformat import NotebookNode

from tools.limits import EXERCISE
from tools.record import NOTEBOOKS, write
from tools.teacher import TEACHER, chapters, merge

CONFIG = TEACHER / "nbgrader_config.py"
ABOUT_THE_PAGE = re.compile(r"def (\w+)\(\):\n.*### BEGIN SOLUTION", re.DOTALL)  # an answer that takes nothing


class CourseError(ValueError):
    """The course cannot be laid out; the message says why, and what would be right."""


def sheet(name: str) -> NotebookNode:
    """The teacher's notebook of a chapter's exercises alone: its title, its imports, exercises and question.

    An exercise without arguments is about what its page shows, and stays there.
    """
    notebook = merge(name)
    about_the_page = {found[1] for cell in notebook.cells if (found := ABOUT_THE_PAGE.match(cell.source))}
    kept = [notebook.cells[0]]
    for cell in notebook.cells[1:]:
        exercise = EXERCISE.search(cell.source + "\n")
        if exercise:
            cell.source = cell.source[exercise.start() :]
        subject = exercise["name"] if exercise else _grade_id(cell).removeprefix("check_")
        if subject and subject not in about_the_page:
            kept.append(cell)
    notebook.cells = kept
    return notebook


def _grade_id(cell: NotebookNode) -> str:
    """nbgrader's name of a cell; "" for one that it does not know."""
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def lay_out(folder: Path, names: Sequence[str], make: Callable[[str], NotebookNode] = merge) -> None:
    """Write the course's settings and the source of each chapter into ``folder``, which is made where it is missing.

    make: the teacher's notebook of a name, whole chapters or ``sheet``. CourseError for a chapter that there is not,
    or that the course has already.
    """
    unknown = [name for name in names if name not in chapters()]
    if unknown:
        raise CourseError(f"there is no chapter {unknown[0]!r}; choose from {', '.join(chapters())}")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / CONFIG.name).exists():  # the teacher's own settings stay
        shutil.copy(CONFIG, folder / CONFIG.name)
    for name in names:
        _lay_out_chapter(folder / "source" / name, make(name), name)


def _lay_out_chapter(folder: Path, chapter: NotebookNode, name: str) -> None:
    notebook = folder / f"{name}.ipynb"
    if notebook.exists():
        raise CourseError(f"{notebook} is there already; move source/{name} away to have it written anew")
    folder.mkdir(parents=True, exist_ok=True)
    write(chapter, notebook)
    if any("stored(" in cell.source for cell in chapter.cells):
        shutil.copytree(NOTEBOOKS / "results", folder / "results", dirs_exist_ok=True)
    quizzes = folder / "quizzes"
    quizzes.mkdir(exist_ok=True)
    shutil.copy(NOTEBOOKS / "quizzes" / f"{name[:2]}.toml", quizzes)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.course.grader", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the course's folder; it is made where it is missing")
    parser.add_argument("chapters", nargs="*", metavar="chapter", help="such as 05_why_does_z_vanish; by default all")
    parser.add_argument("--sheets", action="store_true", help="the exercises of each chapter without its pages")
    chosen = parser.parse_args(arguments)
    try:
        lay_out(chosen.folder, chosen.chapters or chapters(), sheet if chosen.sheets else merge)
    except (CourseError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{chosen.folder} is a course of nbgrader's. There: nbgrader generate_assignment CHAPTER")


if __name__ == "__main__":
    main()
