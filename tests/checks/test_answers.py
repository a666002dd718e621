"""Right answers in many styles are accepted, wrong ones refused, and most of these by the name of their mistake."""

import pytest

from dpo_book.checks.judge import watch
from tests.checks.student import EXERCISES, read_answers, written

ANSWERS = read_answers()
RIGHT = [(name, code) for name, answers in ANSWERS.items() for code in answers["right"]]
WRONG = [(name, answer) for name, answers in ANSWERS.items() for answer in answers["wrong"]]


@pytest.fixture(autouse=True)
def little_time(monkeypatch):
    """Some of these answers never end. Of this thread's computing, so a busy machine stops no other."""
    monkeypatch.setattr(watch, "SECONDS", 2)


def numbered(cases):
    return [f"{name}-{number}" for number, (name, _) in enumerate(cases, start=1)]


@pytest.mark.parametrize("name, code", RIGHT, ids=numbered(RIGHT))
def test_a_right_answer_is_right_in_any_style(name, code):
    right, said = EXERCISES[name].judge(written(EXERCISES[name], code))
    assert right, f"{code}\n{said}"


@pytest.mark.parametrize("name, answer", WRONG, ids=numbered(WRONG))
def test_a_wrong_answer_is_refused(name, answer):
    right, said = EXERCISES[name].judge(written(EXERCISES[name], answer["code"]))
    assert not right, answer["code"]
    assert answer["says"] in said, f"{answer['code']}\n{said}"


@pytest.mark.parametrize("name", EXERCISES)
def test_there_are_enough_of_each_and_two_thirds_are_refused_by_name(name):
    right, wrong = ANSWERS[name]["right"], ANSWERS[name]["wrong"]
    named = [answer for answer in wrong if answer["says"]]
    assert len(set(right)) == len(right) >= 10
    assert len({answer["code"] for answer in wrong}) == len(wrong) >= 15
    assert 3 * len(named) >= 2 * len(wrong)
