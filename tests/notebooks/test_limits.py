"""No chapter is longer than a chapter may be, and the minutes that it states are those that it takes to read."""

import pytest

from tools.limits import SCRIPTS, length_of, too_long

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
    exercise = text("# ### Exercise ★ · add\n#\n# Two numbers. (5 minutes)")
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
    in_the_first, in_the_table, in_the_exercise = 4, 8, 6  # a formula is one word; marks are none
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
