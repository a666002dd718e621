"""The teacher's notebooks: every chapter with solutions, hidden tests and a question to mark by hand, for nbgrader.

notebooks/py/NAME.py holds the exercises. teacher/solutions/NAME.py holds, for each of them, its solution and its
check with hidden tests, and one question. `python -m tools.teacher` makes teacher/NAME.ipynb of both; nbgrader's
`generate_assignment` cuts solutions and hidden tests out again, and so gives back the students' chapter.
"""

import re
from pathlib import Path

import jupytext
import nbformat

from tools.limits import EXERCISE, GUARD
from tools.record import NOTEBOOKS, build, write

TEACHER = NOTEBOOKS.parent / "teacher"
STUB = "# YOUR CODE HERE\n    raise NotImplementedError()"  # what nbgrader puts where a solution was
SOLUTION = re.compile(r"### BEGIN SOLUTION\n.*?### END SOLUTION", re.DOTALL)
HIDDEN = re.compile(r"\n### BEGIN HIDDEN TESTS\n.*?### END HIDDEN TESTS", re.DOTALL)
CHECK = re.compile(r"^(check_\w+)\((\w+)\)$")
QUESTION_POINTS = 4


class TeacherError(ValueError):
    """A chapter and its file in teacher/solutions do not match; the message says where."""


def without_solution(source: str) -> str:
    """A teacher's cell as the students get it."""
    return HIDDEN.sub("", SOLUTION.sub(STUB, source))


def additions(name: str) -> tuple[dict[str, str], str]:
    """Of a chapter's file in teacher/solutions: the students' cell → the teacher's, and the question."""
    cells = jupytext.read(TEACHER / "solutions" / f"{name}.py").cells
    questions = [cell.source for cell in cells if cell.cell_type == "markdown"]
    if len(questions) != 1 or "### BEGIN SOLUTION" not in questions[0]:
        raise TeacherError(f"{name}: one question with its answer is needed, between BEGIN and END SOLUTION")
    return {without_solution(cell.source): cell.source for cell in cells if cell.cell_type == "code"}, questions[0]


def merge(name: str) -> nbformat.NotebookNode:
    """The teacher's notebook of a chapter, not run. TeacherError where exercises and solutions do not match."""
    answers, question = additions(name)
    notebook = build(NOTEBOOKS / "py" / f"{name}.py")
    points = last_check = 0
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            if exercise := EXERCISE.search(cell.source + "\n"):
                points = len(exercise["stars"])
        elif STUB in cell.source or CHECK.match(cell.source):
            if cell.source not in answers:
                raise TeacherError(f"{name}: nothing for the cell that starts {cell.source.splitlines()[0]!r}")
            cell.source = answers.pop(cell.source)
            if found := re.match(r"def (\w+)", cell.source):
                cell.metadata["nbgrader"] = _solution(found[1])
            else:
                cell.metadata["nbgrader"] = _graded(CHECK.match(cell.source.splitlines()[0])[1], points)
                last_check = place
    if answers:
        raise TeacherError(f"{name}: no exercise for the cell that starts {next(iter(answers)).splitlines()[0]!r}")
    _lock_imports(notebook)
    notebook.cells[last_check + 1 : last_check + 1] = _question_cells(question)
    return notebook


def _lock_imports(notebook: nbformat.NotebookNode) -> None:
    """The imports come back as they were before an answer is marked: what fails there is no student's fault."""
    on_the_page = [cell for cell in notebook.cells if GUARD not in cell.metadata.get("tags", [])]
    first = next(cell for cell in on_the_page if cell.cell_type == "code")
    first.metadata["nbgrader"] = _nbgrader("imports", locked=True)


def _question_cells(question: str) -> list[nbformat.NotebookNode]:
    """The question, which stays as it is, and the cell of its answer, which is marked by hand."""
    asked, answer = question.split("### BEGIN SOLUTION")
    cells = [
        nbformat.v4.new_markdown_cell(asked.strip(), id="question"),
        nbformat.v4.new_markdown_cell(f"### BEGIN SOLUTION{answer}", id="answer"),
    ]
    cells[0].metadata["nbgrader"] = _nbgrader("question", locked=True)
    cells[1].metadata["nbgrader"] = _nbgrader("answer", grade=True, solution=True) | {"points": QUESTION_POINTS}
    return cells


def _solution(grade_id: str) -> dict:
    return _nbgrader(grade_id, solution=True)


def _graded(grade_id: str, points: int) -> dict:
    return _nbgrader(grade_id, grade=True, locked=True) | {"points": points}


def _nbgrader(grade_id: str, grade: bool = False, solution: bool = False, locked: bool = False) -> dict:
    return {
        "grade": grade,
        "grade_id": grade_id,
        "locked": locked,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }


def chapters() -> list[str]:
    """Names of the chapters that have exercises."""
    return sorted(path.stem for path in (TEACHER / "solutions").glob("*.py"))


def main() -> None:
    for name in chapters():
        write(merge(name), Path(TEACHER, f"{name}.ipynb"))


if __name__ == "__main__":
    main()
