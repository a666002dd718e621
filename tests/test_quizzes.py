"""Quizzes: every answer is explained, one is right, and a file that cannot be asked says which question and why."""

from pathlib import Path

import jupytext
import pytest

from dpo_book.quizzes import Quiz, QuizError, quiz, read_questions

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
FILES = sorted(NOTEBOOKS.glob("quizzes/*.toml"))

GOOD = """
[[question]]
text = "Is 1 < 2?"

[[question.answer]]
text = "yes"
why = "One is less."
right = true

[[question.answer]]
text = "no <b>"
why = "Count again."
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "07.toml"


@pytest.fixture
def question(file):
    file.write_text(GOOD, encoding="utf-8")
    return read_questions(file)[0]


def test_every_answer_is_explained_and_the_right_one_is_named(question):
    assert question.verdict.value == ""
    question.choice.value = "no <b>"
    assert question.verdict.value == "✗ Not so. Count again."
    question.choice.value = "yes"
    assert question.verdict.value == "✓ Right. One is less."


def test_it_can_be_read_without_a_kernel(question):
    page = question._repr_mimebundle_()["text/html"]
    assert "Is 1 &lt; 2?" in page and "✓ Right. One is less." in page and "✗ Not so. Count again." in page
    assert "<summary>no &lt;b&gt;</summary>" in page


def test_without_html_too(question):
    words = question._repr_mimebundle_()["text/plain"].splitlines()
    assert words[:3] == ["Is 1 < 2?", "- yes", "- no <b>"]
    assert words[3].startswith("Run the cell in JupyterLab")


def test_a_right_answer_that_is_not_among_the_answers_is_refused():
    with pytest.raises(ValueError, match="'maybe' is not among the answers"):
        Quiz("?", {"yes": "", "no": ""}, right="maybe")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (("[[question]]", "[question"), "07.toml is no TOML"),
        (('text = "Is 1 < 2?"', ""), "question 1: it needs a text"),
        (('why = "Count again."', ""), "question 1: every answer needs a why"),
        (('why = "Count again."', "why = 3"), "question 1: every answer needs a why"),
        (('text = "no <b>"', 'text = "yes"'), "question 1: two of its answers are the same"),
        (("right = true", ""), "one answer has to be right = true, here 0 are"),
        (('why = "Count again."', 'why = "Count again."\nright = true'), "here 2 are"),
        (("[[question]]", "[question]"), "holds no [[question]]"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_file_and_question(file, spoil, says):
    spoilt = GOOD.replace(*spoil)
    assert spoilt != GOOD
    file.write_text(spoilt, encoding="utf-8")
    with pytest.raises(QuizError) as refused:
        read_questions(file)
    assert says in str(refused.value)


def test_a_question_of_one_answer_is_refused(file):
    file.write_text(GOOD[: GOOD.rindex("[[question.answer]]")], encoding="utf-8")
    with pytest.raises(QuizError, match=r"question 1: it needs two \[\[question.answer\]\] or more"):
        read_questions(file)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_chapter_asks_every_question_of_its_file_in_order(path, monkeypatch):
    monkeypatch.chdir(NOTEBOOKS)
    (script,) = NOTEBOOKS.glob(f"py/{path.stem}_*.py")
    asked = [cell.source for cell in jupytext.read(script).cells if cell.source.startswith("quiz(")]
    questions = range(1, len(read_questions(path)) + 1)
    assert asked == [f'quiz("{path.stem}", {number})' for number in questions]
    for number in (0, len(asked) + 1):
        with pytest.raises(QuizError, match=f"no {number}"):
            quiz(path.stem, number)


def test_outside_the_book_there_is_no_quiz(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dpo_book.notebook.INSTALLED_FROM", tmp_path)  # as with a package that is not editable
    with pytest.raises(FileNotFoundError, match="open the notebook in the book's own folders"):
        quiz("07", 1)
