"""Every check: the right solution passes, the untouched stub fails, each known mistake is named."""

import importlib
import pkgutil

import pytest
import torch

import dpo_book.checks
from dpo_book.checks import EXERCISES

for module in pkgutil.iter_modules(dpo_book.checks.__path__):
    importlib.import_module(f"dpo_book.checks.{module.name}")

every_exercise = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
every_mistake = pytest.mark.parametrize(
    "exercise, what",
    [(exercise, what) for exercise in EXERCISES.values() for what in exercise.mistakes],
    ids=lambda value: value if isinstance(value, str) else value.name,
)


def unwritten(*_):
    raise NotImplementedError


@every_exercise
def test_the_right_solution_passes_and_leaves_a_thought(exercise):
    right, said = exercise.judge(exercise.solution)
    assert right and said.startswith("✓") and exercise.thought in said


@every_exercise
def test_a_right_solution_in_float32_passes(exercise):
    in_float32 = lambda *case: exercise.solution(
        *(v.float() if isinstance(v, torch.Tensor) and v.is_floating_point() else v for v in case)
    )
    assert exercise.judge(in_float32)[0]


@every_exercise
def test_the_stub_fails_and_is_told_so(exercise):
    right, said = exercise.judge(unwritten)
    assert not right and "not written yet" in said


@every_exercise
def test_at_least_four_mistakes_are_known(exercise):
    assert len(exercise.mistakes) >= 4


@every_mistake
def test_a_known_mistake_is_named(exercise, what):
    right, said = exercise.judge(exercise.mistakes[what])
    assert not right and said == f"✗ {exercise.name}: {what}"


@every_exercise
def test_anything_else_gets_a_useful_word(exercise):
    first = exercise.answers[0]
    assert "None; is a return missing?" in exercise.judge(lambda *_: None)[1]
    assert "stopped with ZeroDivisionError" in exercise.judge(lambda *_: 1 / 0)[1]
    assert "should have shape" in exercise.judge(lambda *_: torch.zeros(3, 3, 3))[1]
    assert "first value should be" in exercise.judge(lambda *_: torch.full_like(first, 123.0))[1]


@every_exercise
def test_a_student_who_changes_the_arguments_changes_nothing(exercise):
    def careless(*case):
        answer = exercise.solution(*case)
        for value in case:
            if isinstance(value, torch.Tensor):
                value.zero_()
        return answer

    assert exercise.judge(careless)[0] and exercise.judge(exercise.solution)[0]


def test_a_check_prints_what_it_found(capsys):
    EXERCISES["dpo_loss"](unwritten)
    assert capsys.readouterr().out == (
        "dpo_loss: not written yet. Replace the line that raises NotImplementedError.\n"
    )
