"""Quizzes: multiple-choice questions that explain every answer. They stand in notebooks/quizzes, a file a chapter.

A cell is ``quiz("07", 1)``, so that no answer stands above its question.
"""

import tomllib
from collections.abc import Mapping
from html import escape
from pathlib import Path

import ipywidgets

from dpo_book.notebook import book_file
from dpo_book.widgets import Choices


class QuizError(ValueError):
    """A file of questions cannot be asked; the message names file and question, and what would be right."""


def quiz(chapter: str, number: int) -> "Quiz":
    """Question ``number``, from 1, of a chapter, as a widget. chapter: its two digits.

    QuizError where there is no such question; FileNotFoundError outside the book's folders.
    """
    path = book_file("quizzes", f"{chapter}.toml")
    questions = read_questions(path)
    if not 1 <= number <= len(questions):
        raise QuizError(f"{path.name} has questions 1 to {len(questions)}, and no {number}")
    return questions[number - 1]


def read_questions(path: Path) -> list["Quiz"]:
    """All questions of a file. QuizError, naming the question, where one cannot be asked."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("question", [])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise QuizError(f"{path.name} is no TOML: {error}") from error
    if not isinstance(tables, list) or not tables:
        raise QuizError(f"{path.name} holds no [[question]]")
    questions = []
    for number, table in enumerate(tables, start=1):
        try:
            questions.append(_question(table))
        except ValueError as error:
            raise QuizError(f"{path.name}, question {number}: {error}") from error
    return questions


def _question(table: Mapping) -> "Quiz":
    """One [[question]]: a ``text`` and [[question.answer]]s, each with ``text`` and ``why``, and one ``right``."""
    text, answers = table.get("text"), table.get("answer")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("it needs a text")
    if not isinstance(answers, list) or len(answers) < 2:
        raise ValueError("it needs two [[question.answer]] or more")
    for answer in answers:
        for name in ("text", "why"):
            if not isinstance(answer.get(name), str) or not answer[name].strip():
                raise ValueError(f"every answer needs a {name}")
    explanations = {answer["text"]: answer["why"] for answer in answers}
    if len(explanations) < len(answers):
        raise ValueError("two of its answers are the same")
    right = [answer["text"] for answer in answers if answer.get("right") is True]
    if len(right) != 1:
        raise ValueError(f"one answer has to be right = true, here {len(right)} are")
    return Quiz(text, explanations, right[0])


HOW_TO_ANSWER = "Run the cell in JupyterLab to choose an answer and see why it is right or not."


class Quiz(ipywidgets.VBox):
    """A multiple-choice question that explains every answer, the right one and the wrong ones.

    answers: answer → its explanation. right: the answer that is right. Without a kernel, on a static page,
    question and explanations stand there as HTML that unfolds.
    """

    def __init__(self, question: str, answers: Mapping[str, str], right: str):
        if right not in answers:
            raise ValueError(f"the right answer {right!r} is not among the answers")
        self._question, self._answers, self._right = question, answers, right
        self.choice = Choices(description=question, options=list(answers), value=None)
        self.verdict = ipywidgets.HTML()
        self.choice.observe(self._explain, names="value")
        super().__init__([self.choice, self.verdict])
        self.add_class("dpo-quiz")

    def _explain(self, _change: object) -> None:
        if self.choice.value is not None:
            self.verdict.value = self._explanation(self.choice.value)

    def _explanation(self, answer: str) -> str:
        mark = "✓ Right." if answer == self._right else "✗ Not so."
        return f"{mark} {escape(self._answers[answer])}"

    def _repr_mimebundle_(self, **kwargs: object) -> dict:
        folded = "".join(
            f"<details><summary>{escape(answer)}</summary>{self._explanation(answer)}</details>"
            for answer in self._answers
        )
        page = f"<b>{escape(self._question)}</b>{folded}"
        words = "\n".join([self._question, *(f"- {answer}" for answer in self._answers), HOW_TO_ANSWER])
        return super()._repr_mimebundle_(**kwargs) | {"text/html": page, "text/plain": words}
