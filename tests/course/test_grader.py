"""A course marked by nbgrader: four students hand in a chapter's exercises, and each gets what was earned.

`make marks` does the same with two whole chapters: COURSE names them, WHOLE=1 keeps their pages.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from dpo_book.checks import exercises
from tools.course.grader import CourseError, lay_out, main, sheet
from tools.record import NOTEBOOKS
from tools.teacher import CHECK, STUB, chapters, merge

NbGraderApp = pytest.importorskip("nbgrader.apps").NbGraderApp
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # nbgrader's own

CHAPTERS = os.environ.get("COURSE", "01_what_comparisons_tell").split()
MAKE = merge if os.environ.get("WHOLE") else sheet
PATIENCE = 1200  # seconds, on a machine that is very busy


def solutions(name):
    """The stub → the teacher's answer."""
    answers = [cell.source for cell in merge(name).cells if "### BEGIN SOLUTION\n    " in cell.source]
    return {function_of(answer): answer for answer in answers}


def function_of(source):
    return source.split("(")[0].removeprefix("def ")


def detached(answer):
    """The right answer without what training needs."""
    body = answer.replace("### BEGIN SOLUTION", "").replace("### END SOLUTION", "")
    name = function_of(answer)
    return (
        body.replace(f"def {name}(", "def _right(")
        + f"\n\ndef {name}(*arguments):\n    return _right(*arguments).detach()\n"
    )


HARD_CODED = """\
import torch
_known = [(trial, {check}.right_answer(trial)) for trial in (*{check}.trials, *{check}.far, *{check}.extreme)]

def {name}(*arguments):
    for trial, answer in _known:
        if all(torch.is_tensor(a) == torch.is_tensor(b) and (a.shape == b.shape and torch.equal(a.detach(), b)
               if torch.is_tensor(b) else a == b) for a, b in zip(arguments, trial)):
            return answer
    return arguments[0]
"""


def hand_in(course, student, name, answers):
    """The released notebook with some of its stubs replaced."""
    notebook = nbformat.read(course / "release" / name / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if STUB in cell.source:
            cell.source = answers.get(function_of(cell.source), cell.source)
        if student != "half" and cell.metadata.get("nbgrader", {}).get("grade_id") == "answer":
            cell.source = "In my own words."
    folder = course / "submitted" / student / name
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")


def checks_of(name):
    """Function → the check of it, as the notebook calls it, and its points."""
    found = {}
    for cell in merge(name).cells:
        if match := CHECK.match(cell.source.splitlines()[0]):
            found[match[2]] = (match[1], cell.metadata.nbgrader.points)
    return found


def grader(course, *arguments):
    """The exit status of one of nbgrader's commands in the course's folder; here, since its imports take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(course)
        patch.setenv("PATH", os.environ["PATH"])  # and as it was again, whatever the course's settings add
        app = NbGraderApp()
        try:
            app.initialize([*arguments])
            app.subapp.start()
        except SystemExit as stop:
            return stop.code or 0
        finally:
            type(app.subapp).clear_instance()
    return 0


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course in which all has been marked."""
    course = tmp_path_factory.mktemp("course")
    lay_out(course, CHAPTERS, MAKE)
    for name in CHAPTERS:
        command = [sys.executable, "-m", "nbgrader", "generate_assignment", name, "--create"]  # as a teacher calls it
        made = subprocess.run(command, cwd=course, capture_output=True, text=True, timeout=PATIENCE)
        assert made.returncode == 0, made.stderr
        right, checks = solutions(name), checks_of(name)
        hard_coded = {f: HARD_CODED.format(check=check, name=f) for f, (check, _) in checks.items()}
        hand_in(course, "right", name, right)
        hand_in(course, "hard_coded", name, hard_coded)
        hand_in(course, "detached", name, {f: detached(answer) for f, answer in right.items()})
        hand_in(course, "half", name, dict(list(right.items())[:2]))
        assert grader(course, "autograde", name) == 0
    return course


def marks(course, student, name):
    """Function → points that the grader gave; and of the question by hand."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        grades = book.find_submission_notebook(name, name, student).grades
        return {grade.name: None if grade.needs_manual_grade else grade.auto_score for grade in grades}


@pytest.mark.parametrize("name", CHAPTERS)
def test_each_student_gets_what_was_earned(course, name):
    checks = checks_of(name)
    full = dict(checks.values())
    nothing = dict.fromkeys(full, 0)
    half = nothing | dict(list(full.items())[:2])
    losses = {exercise.name for exercise in exercises().values() if exercise.trains}
    detached = {check: 0 if check.removeprefix("check_") in losses else points for check, points in full.items()}
    assert 0 in detached.values() and set(detached.values()) != {0}
    assert marks(course, "right", name) == full | {"answer": None}
    assert marks(course, "hard_coded", name) == nothing | {"answer": None}
    assert marks(course, "detached", name) == detached | {"answer": None}
    assert marks(course, "half", name) == half | {"answer": 0}  # the other half, and the question, as they were


def test_feedback_says_what_is_wrong(course):
    name = CHAPTERS[0]
    for student in ("detached", "hard_coded"):
        assert grader(course, "generate_feedback", name, "--student", student) == 0
    page = (course / "feedback" / "detached" / name / f"{name}.html").read_text(encoding="utf-8")
    assert "they carry no gradient" in page
    page = (course / "feedback" / "hard_coded" / name / f"{name}.html").read_text(encoding="utf-8")
    assert "win_probability: right." in page  # the check on the page knows its own trials only
    assert "AssertionError" in page


def test_a_kernel_without_the_package_is_an_error_and_not_a_zero(course, tmp_path, monkeypatch, capsys):
    name = CHAPTERS[0]
    (tmp_path / "dpo_book.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'dpo_book'\")\n", encoding="utf-8"
    )
    hand_in(course, "unlucky", name, solutions(name))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert grader(course, "autograde", name, "--student", "unlucky") != 0
    assert "Nothing is marked. Is dpo_book installed in the environment" in capsys.readouterr().err
    assert not (course / "autograded" / "unlucky" / name).exists()


def test_a_teacher_s_own_settings_stay(tmp_path):
    lay_out(tmp_path, ["05_why_does_z_vanish"], sheet)
    (tmp_path / "nbgrader_config.py").write_text("# mine\n", encoding="utf-8")
    lay_out(tmp_path, ["06_where_does_the_loss_come_from"], sheet)
    assert (tmp_path / "nbgrader_config.py").read_text(encoding="utf-8") == "# mine\n"


def test_a_chapter_that_reads_stored_tables_finds_them(tmp_path):
    lay_out(tmp_path, ["09_rlhf_or_dpo"])
    folder = tmp_path / "source" / "09_rlhf_or_dpo"
    given = {path.name for path in (folder / "results").iterdir()}
    assert given == {path.name for path in (NOTEBOOKS / "results").iterdir()}
    assert [path.name for path in (folder / "quizzes").iterdir()] == ["09.toml"]


@pytest.mark.parametrize("name", chapters())
def test_a_sheet_has_every_exercise_and_nothing_else(name):
    cells = sheet(name).cells
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    checks = [cell for cell in cells if CHECK.match(cell.source.splitlines()[0])]
    left_out = 1 if name == "12_your_own_preferences" else 0  # its logs stand on the page
    assert sum(text.startswith("### Exercise · ") for text in texts) == len(checks) == len(checks_of(name)) - left_out
    assert len(cells) == 2 + 3 * len(checks) + 2  # title, imports; text, stub and check; question and answer


def test_slips_are_answered_in_a_line(tmp_path, capsys):
    with pytest.raises(SystemExit, match="error: there is no chapter 'nine'; choose from 00_what_does_dpo_do"):
        main([str(tmp_path / "course"), "nine"])
    main([str(tmp_path / "course"), "05_why_does_z_vanish", "--sheets"])
    assert "nbgrader generate_assignment" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="is there already; move source/05_why_does_z_vanish away"):
        main([str(tmp_path / "course"), "05_why_does_z_vanish"])
    notebook = json.loads(Path(tmp_path, "course/source/05_why_does_z_vanish/05_why_does_z_vanish.ipynb").read_text())
    assert len(notebook["cells"]) == 13
    with pytest.raises(CourseError):
        lay_out(tmp_path / "course", ["05_why_does_z_vanish"])
