"""Solutions and hidden tests: each belongs to an exercise, is right, and cannot be seen in a students' notebook."""

import nbformat
import pytest

from tools import teacher
from tools.record import NOTEBOOKS
from tools.teacher import CHECK, TEACHER, TeacherError, chapters, merge, without_solution

every_chapter = pytest.mark.parametrize("name", chapters())


def graded(notebook, solution):
    """The cells of answers, or of their checks."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and "nbgrader" in cell.metadata]
    return [cell for cell in cells if cell.metadata.nbgrader[("grade", "solution")[solution]]]


def test_there_are_chapters_with_exercises():
    assert chapters()


@every_chapter
def test_the_teachers_notebook_is_made_of_chapter_and_solutions(name):
    committed = nbformat.read(TEACHER / f"{name}.ipynb", as_version=4)
    assert committed == merge(name), "run `make outputs`"


@every_chapter
def test_without_its_solutions_it_is_the_students_notebook_and_a_question(name):
    students = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    cells = merge(name).cells
    cut = [without_solution(cell.source) for cell in cells if cell.id not in ("question", "answer")]
    assert cut == [cell.source for cell in students.cells]
    question, answer = (cell.source for cell in cells if cell.id in ("question", "answer"))
    assert question.startswith("### In your own words\n") and "Marks:" in answer


@every_chapter
def test_points_go_by_difficulty(name):
    stars, points = [], []
    for cell in merge(name).cells:
        if cell.cell_type == "markdown" and "Difficulty ★" in cell.source:
            stars.append(cell.source.count("★"))
        if CHECK.match(cell.source.splitlines()[0]):
            points.append(cell.metadata.nbgrader.points)
    assert points == stars != []


def test_no_solution_is_in_a_students_notebook():
    for path in [*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("py/*.py")]:
        text = path.read_text(encoding="utf-8")
        assert "BEGIN SOLUTION" not in text and "BEGIN HIDDEN" not in text, path.name


@every_chapter
def test_solutions_pass_their_checks_and_the_hidden_tests(name, run):
    """Imports, exercises and checks of the teacher's notebook, run in a kernel; what lies between is not needed."""
    notebook = merge(name)
    imports = next(cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == "imports")
    assert "from dpo_book import *" in imports.source
    checks = graded(notebook, solution=False)
    assert len(checks) == len(graded(notebook, solution=True)) >= (1 if name == "00_what_does_dpo_do" else 3)
    notebook.cells = [imports, *(cell for cell in notebook.cells if cell in checks or "SOLUTION" in cell.source)]
    run(notebook)
    for cell in checks:
        shown = "".join(output.data["text/plain"] for output in cell.outputs if output.output_type == "display_data")
        printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
        assert shown.startswith("✓"), shown
        assert printed.startswith("✓") and printed.endswith("on other trials than the page's.\n"), printed


@every_chapter
def test_every_check_has_hidden_tests(name):
    for cell in graded(merge(name), solution=False):
        assert cell.source.count("marking.mark(") == 1 == cell.source.count("### BEGIN HIDDEN TESTS")


def write_solutions(tmp_path, monkeypatch, *cells):
    (tmp_path / "solutions").mkdir()
    path = tmp_path / "solutions" / "05_why_does_z_vanish.py"
    path.write_text("\n\n".join(cells), encoding="utf-8")
    monkeypatch.setattr(teacher, "TEACHER", tmp_path)


QUESTION = "# %% [markdown]\n# Why?\n#\n# ### BEGIN SOLUTION\n# Because.\n# ### END SOLUTION\n"
ALL = (TEACHER / "solutions" / "05_why_does_z_vanish.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (["# %%\nx = 1"], "one question with its answer is needed"),
        ([QUESTION], "nothing for the cell that starts 'def reward_of_policy"),
        ([ALL, "# %%\ndef other():\n    pass\n"], "no exercise for the cell that starts 'def other"),
    ],
)
def test_what_does_not_match_is_refused(tmp_path, monkeypatch, cells, says):
    write_solutions(tmp_path, monkeypatch, *cells)
    with pytest.raises(TeacherError, match=says.replace("(", r"\(")):
        merge("05_why_does_z_vanish")
