"""No chapter is longer than a chapter may be, and the minutes that it states are those that it takes to read."""

import ast

import pytest

import dpo_book
from tools.limits import EXERCISE, SCRIPTS, length_of, too_long

CHAPTERS = sorted(SCRIPTS.glob("*.py"))

TABLE = "# | after this chapter you can | |\n# |---|---|\n# | add | {} min |\n"


@pytest.mark.parametrize("script", CHAPTERS, ids=lambda script: script.stem)
def test_a_chapter_keeps_its_limits(script):
    assert too_long(length_of(script)) == []


@pytest.fixture
def chapter(tmp_path):
    """A chapter of these cells, in jupytext's percent format."""

    def write(*cells):
        path = tmp_path / "chapter.py"
        path.write_text("\n\n".join(cells) + "\n", encoding="utf-8")
        return path

    return write


def text(source):
    return "# %% [markdown]\n" + source


def test_what_is_counted(chapter):
    guard = '# %% jupyter={"source_hidden": true} tags=["hide-input"]\nassert 1\nassert 2'
    exercise = text("# ### Exercise · add\n#\n# Difficulty ★☆☆ · importance ●●○ · 5 minutes\n#\n# Two numbers.")
    found = length_of(
        chapter(
            text("# One $a + b$ three.\n#\n# $$c\n# + d$$\n# 1. first step\n# 2. second step"),
            text(TABLE.format(7)),
            "# %%\nx = 1\n\ny = 2",
            guard,
            exercise,
        )
    )
    assert found.cells == 4
    in_the_first, in_the_table, in_the_exercise = 4, 8, 8  # a formula is one word; marks are none
    assert found.words == in_the_first + in_the_table + in_the_exercise
    assert (found.steps, found.code_lines, found.longest_cell, found.widest_line) == (2, 2, 2, 5)
    assert (found.exercises, found.stated) == (5, 7)
    assert found.minutes == pytest.approx(found.words / 150 + 2 + 2 / 20 + 5)


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (["# %%\n1"] * 61, "62 cells, at most 60"),
        ([text("# word " + "word " * 3000)], "words, at most 3000"),
        (["# %%\n" + "1\n" * 16], "16 lines in a code cell, at most 15"),
        (["# %%\nx = '" + 84 * "x" + "'"], "90 characters in a line of code, at most 88"),
        ([text("# 1. a step\n# 2. a step\n# 3. a step\n# 4. a step")], "1 minutes stated, 4 counted"),
    ],
)
def test_what_is_too_long_is_named(chapter, cells, says):
    problems = too_long(length_of(chapter(text(TABLE.format(1)), *cells)))
    assert any(says in problem for problem in problems), problems


@pytest.mark.parametrize("script", CHAPTERS, ids=lambda script: script.stem)
def test_every_exercise_states_difficulty_importance_and_minutes(script):
    text = script.read_text(encoding="utf-8").replace("\n# ", "\n").replace("\n#\n", "\n\n")
    assert len(EXERCISE.findall(text)) == text.count("### Exercise ") == text.count("raise NotImplementedError()")


@pytest.mark.parametrize("script", CHAPTERS, ids=lambda script: script.stem)
def test_an_exercise_takes_no_name_that_the_page_uses(script):
    """A page's variable would be gone once the exercise's cell has run."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    exercises = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and unwritten(node)}
    others = [node for node in tree.body if not (isinstance(node, ast.FunctionDef) and node.name in exercises)]
    set_elsewhere = set()
    for node in (part for statement in others for part in ast.walk(statement)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            set_elsewhere.add(node.id)
        elif isinstance(node, ast.FunctionDef):
            set_elsewhere.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            set_elsewhere |= {alias.asname or alias.name for alias in node.names}
    assert exercises and not exercises & (set_elsewhere | set(dpo_book.__all__))


def unwritten(function):
    return any(isinstance(statement, ast.Raise) for statement in function.body)
