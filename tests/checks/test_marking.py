"""The hidden tests of every exercise, without nbgrader: right answers earn their points, wrong ones do not."""

import jupytext
import pytest

from tests.checks.student import EXERCISES, read_answers, written
from tools.teacher import CHECK, TEACHER, chapters

ANSWERS = read_answers()
IMPORTS = "import math\nimport torch\nimport torch.nn.functional as F\n"


def hidden_blocks():
    """Exercise → the hidden block below its check, and the function that it marks."""
    blocks = {}
    for name in chapters():
        for cell in jupytext.read(TEACHER / "solutions" / f"{name}.py").cells:
            if found := CHECK.match(cell.source.splitlines()[0]):
                blocks[found[1].removeprefix("check_")] = cell.source.split("\n", 1)[1], found[2]
    return blocks


BLOCKS = hidden_blocks()


def marked(name, code, names=""):
    """AssertionError unless the answer earns its points, in a notebook in which only ``names`` was run before."""
    block, function = BLOCKS[name]
    notebook = {}
    exec(IMPORTS + names, notebook)
    notebook[function] = written(EXERCISES[name], code)
    exec(block, notebook)


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_is_called_as_its_function_on_the_page(name):
    assert EXERCISES[name].name == BLOCKS[name][1]


@pytest.mark.parametrize("name", EXERCISES)
def test_right_answers_earn_their_points(name):
    for code in ANSWERS[name]["right"][::5]:
        marked(name, code)


@pytest.mark.parametrize("name", EXERCISES)
def test_wrong_answers_earn_none(name):
    for answer in ANSWERS[name]["wrong"][::7]:
        if "while" not in answer["code"]:
            with pytest.raises(AssertionError):
                marked(name, answer["code"])


@pytest.mark.parametrize("name", EXERCISES)
def test_a_reader_s_own_names_change_no_mark(name):
    """The other right answer is computed apart from the notebook, in which sum may be a number."""
    marked(name, ANSWERS[name]["right"][0], names="sum = max = min = abs = 0\n")
