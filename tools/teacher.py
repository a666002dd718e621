"""The teacher's notebooks: every chapter with its solutions, in the format that nbgrader reads.

notebooks/py/NAME.py holds the exercises, teacher/solutions/NAME.py their solutions, and teacher/NAME.ipynb is made of
both by `python -m tools.teacher`. nbgrader's `generate_assignment` cuts the solutions out again and so gives back the
students' chapter.
"""

import re
from pathlib import Path

import jupytext
import nbformat

from tools.record import NOTEBOOKS, build, write

TEACHER = NOTEBOOKS.parent / "teacher"
STUB = "# YOUR CODE HERE\n    raise NotImplementedError()"  # what nbgrader puts where a solution was
SOLUTION = re.compile(r"### BEGIN SOLUTION\n.*?### END SOLUTION", re.DOTALL)
CHECK = re.compile(r"^(check_\w+)\((\w+)\)$")


def without_solution(source: str) -> str:
    """A teacher's cell as the students get it."""
    return SOLUTION.sub(STUB, source)


def solutions(name: str) -> dict[str, str]:
    """The students' cell → the teacher's, for every exercise of a chapter."""
    script = TEACHER / "solutions" / f"{name}.py"
    cells = jupytext.read(script).cells if script.exists() else []
    return {without_solution(cell.source): cell.source for cell in cells}


def merge(name: str) -> nbformat.NotebookNode:
    """The teacher's notebook of a chapter, not run. ValueError where exercises and solutions do not match."""
    solved = solutions(name)
    notebook = build(NOTEBOOKS / "py" / f"{name}.py")
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        if STUB in cell.source:
            if cell.source not in solved:
                raise ValueError(f"{name}: no solution for the exercise that starts {cell.source.splitlines()[0]!r}")
            cell.source = solved.pop(cell.source)
            function = re.match(r"def (\w+)", cell.source)[1]
            _grade(cell, function, solution=True)
        elif found := CHECK.match(cell.source):
            check, function = found.groups()
            cell.source += f"\n### BEGIN HIDDEN TESTS\nassert {check}.judge({function})[0]\n### END HIDDEN TESTS"
            _grade(cell, check, solution=False)
    if solved:
        raise ValueError(f"{name}: a solution fits no exercise, it starts {next(iter(solved)).splitlines()[0]!r}")
    return notebook


def _grade(cell: nbformat.NotebookNode, grade_id: str, solution: bool) -> None:
    cell.metadata["nbgrader"] = {
        "grade": not solution,
        "grade_id": grade_id,
        "locked": not solution,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    if not solution:
        cell.metadata["nbgrader"]["points"] = 1


def chapters() -> list[str]:
    """Names of the chapters that have exercises."""
    return sorted(path.stem for path in (TEACHER / "solutions").glob("*.py"))


if __name__ == "__main__":
    for name in chapters():
        write(merge(name), Path(TEACHER, f"{name}.ipynb"))
