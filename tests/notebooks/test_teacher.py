"""Solutions: each is right, each belongs to an exercise, and none can be seen in a students' notebook."""

import nbformat
import pytest

from tools.record import NOTEBOOKS
from tools.teacher import CHECK, TEACHER, chapters, merge, without_solution

every_chapter = pytest.mark.parametrize("name", chapters())


def test_there_are_chapters_with_exercises():
    assert chapters()


@every_chapter
def test_the_teachers_notebook_is_made_of_chapter_and_solutions(name):
    committed = nbformat.read(TEACHER / f"{name}.ipynb", as_version=4)
    assert committed == merge(name), "run `make outputs`"


@every_chapter
def test_without_its_solutions_it_is_the_students_notebook(name):
    students = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    cut = [without_solution(cell.source.split("\n### BEGIN HIDDEN TESTS")[0]) for cell in merge(name).cells]
    assert cut == [cell.source for cell in students.cells]


def test_no_solution_is_in_a_students_notebook():
    for path in [*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("py/*.py")]:
        assert "BEGIN SOLUTION" not in path.read_text(encoding="utf-8"), path.name


@every_chapter
def test_solutions_pass_their_checks(name, run):
    """Imports, exercises and checks of the teacher's notebook, run in a kernel; what lies between is not needed."""
    notebook = merge(name)
    setup = next(cell for cell in notebook.cells if cell.source.startswith(("import", "from")))
    graded = [cell for cell in notebook.cells if "nbgrader" in cell.metadata]
    checks = [cell for cell in graded if cell.metadata.nbgrader.grade]
    assert len(checks) == len(graded) / 2 >= (1 if name == "00_what_does_dpo_do" else 3)
    notebook.cells = [setup, *graded]
    run(notebook)
    for cell in checks:
        assert CHECK.match(cell.source.splitlines()[0])
        assert cell.outputs[0].text.startswith("✓"), cell.outputs[0].text
