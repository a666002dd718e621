"""Every check: the right solution passes, the untouched stub fails, each known mistake is named."""

import dataclasses
import inspect
import sys

import pytest
import torch

from dpo_book.checks.judge import in_float32, watch
from dpo_book.checks.judge.verdict import Verdict
from tests.checks.student import EXERCISES, written

every_exercise = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
every_mistake = pytest.mark.parametrize(
    "exercise, what",
    [(exercise, what) for exercise in EXERCISES.values() for what in exercise.mistakes],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
PAIR_LOSS = EXERCISES["pair_loss"]
WITHOUT_ONE = ("beta_for_kl", "both_orders")  # one response has no KL, one comparison no standard error


def as_a_student_s(function):
    """The check's own function unseen: it is called where nobody watches."""

    def answer(*arguments):
        tracer = sys.gettrace()
        sys.settrace(None)
        try:
            return function(*arguments)
        finally:
            sys.settrace(tracer)

    answer.__signature__ = inspect.signature(function)
    return answer


@every_exercise
def test_the_right_solution_passes_and_leaves_a_thought(exercise):
    right, said = exercise.judge(as_a_student_s(exercise.solution))
    assert right and said.startswith("✓") and exercise.thought in said


@every_exercise
def test_a_right_solution_in_float32_passes(exercise):
    def answer(*arguments):
        return exercise.solution(*in_float32(arguments))

    answer.__signature__ = inspect.signature(exercise.solution)
    right, said = exercise.judge(as_a_student_s(answer))
    assert right, said


@every_exercise
def test_the_stub_fails_and_is_told_so(exercise):
    right, said = exercise.judge(written(exercise, "raise NotImplementedError()"))
    assert not right
    assert said == f"{exercise.name}: not written yet. Replace the line that raises NotImplementedError."


@every_exercise
def test_at_least_four_mistakes_are_known(exercise):
    assert len(exercise.mistakes) >= 4


@every_mistake
def test_a_known_mistake_is_named(exercise, what):
    right, said = exercise.judge(as_a_student_s(exercise.mistakes[what]))
    assert not right and said == f"✗ {exercise.name}: {what}"


@every_exercise
def test_the_check_s_own_answer_is_no_answer(exercise):
    for own in (exercise.solution, next(iter(exercise.mistakes.values()))):
        right, said = exercise.judge(own)
        assert not right and "you called the" in said and "write it yourself" in said


@every_exercise
def test_trials_differ_in_shape_and_kind(exercise):
    """What fits one shape, one length or one β by luck does not fit them all."""
    tensors = [value for trial in exercise.trials for value in trial if isinstance(value, torch.Tensor)]
    if tensors:
        assert len({tuple(value.shape) for value in tensors}) >= 3
        assert any(1 in value.shape for value in tensors) or exercise.name in WITHOUT_ONE
    for place, name in enumerate(exercise.parameters):
        numbers = {trial[place] for trial in exercise.trials if isinstance(trial[place], float)}
        assert not numbers or len(numbers) >= 3, name


# ------------------------------------------------------------------ what any check says


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("reward_chosen - reward_rejected", "it returns None; is a `return` missing?"),
        ("return {'loss': 1}", "it returns a dict, and a tensor, a number or a list of numbers is asked for"),
        ("return F.logsigmoid", "it returns a function, `log_sigmoid`; are the brackets of its call missing?"),
        ("return 1, 2", "it returns a tuple of 2 things where one tensor belongs"),
        ("return (reward_chosen - reward_rejected)[None].max(dim=0)", "it returns values and indices"),
        ("return np.array(['a'])", "it returns an array of <U1, and numbers are asked for"),
        ("return [reward_chosen, reward_chosen[0]]", "different shapes, () and (6,)"),
        ("return (reward_chosen + 0j).log()", "it returns complex numbers"),
        ("x = 1\nreturn x / 0", "your function stopped in line 3, `return x / 0`: ZeroDivisionError: division by"),
        ("return F.logsigmoid(missing)", "in line 2, `return F.logsigmoid(missing)`: NameError: name 'missing'"),
        ("exit()", "your function calls exit() in line 2, `exit()`; return a value instead"),
        ("return answer(reward_chosen, reward_rejected)", "your function calls itself without end"),
        ("reward_chosen -= 1\nreturn -F.logsigmoid(reward_chosen)", "it changes `reward_chosen` in place"),
        ("return reward_chosen.expand(3, 2, -1)", "the result should have shape (6,), yours has (3, 2, 6)"),
        ("return torch.full_like(reward_chosen, 123.0)", "it is 123 whatever your function is given"),
        ("return reward_chosen", "it gives back `reward_chosen` as it came"),
        ("return -F.logsigmoid(reward_chosen - reward_rejected) + 1e-4", "Nearly: is a small number added"),
        ("return -F.logsigmoid((reward_chosen - reward_rejected).half().double())", "Nearly: is a small number"),
        ("return -F.logsigmoid((reward_chosen - reward_rejected).half())", "torch.float16, which keeps three digits"),
        ("return -F.logsigmoid(reward_chosen - reward_rejected).round(decimals=3)", "rounded to 3 decimals: keep"),
        ("return torch.rand_like(reward_chosen)", "is something drawn at random?"),
        ("return -F.logsigmoid((reward_chosen - reward_rejected).clamp(-30, 30))", "right for ordinary numbers, but"),
        ("return -F.logsigmoid((reward_chosen - reward_rejected).clamp(-2, 2))", "is something clamped?"),
        ("return -F.logsigmoid(reward_chosen - reward_rejected).detach()", "they carry no gradient"),
        ("return -F.logsigmoid(reward_chosen - reward_rejected.detach())", "not their gradient by `reward_rejected`"),
        ("return reward_model_loss(reward_chosen, reward_rejected)", "you called the book's own `reward_model_loss`"),
    ],
)  # fmt: skip
def test_a_word_for_what_can_go_wrong_anywhere(code, says):
    right, said = PAIR_LOSS.judge(written(PAIR_LOSS, code))
    assert not right
    assert says in str(Verdict(right, said)), said


def test_an_answer_that_does_not_end_is_stopped(monkeypatch):
    monkeypatch.setattr(watch, "SECONDS", 0.5)
    right, said = PAIR_LOSS.judge(written(PAIR_LOSS, "while True: pass"))
    assert not right and "did not end within 0.5 seconds and was stopped in line 2, `while True: pass`" in said


@pytest.mark.parametrize("function", [None, torch.zeros(3), "pair_loss"])
def test_what_is_no_function_is_refused(function):
    assert PAIR_LOSS.judge(function) == (
        False,
        "✗ pair_loss: give the function itself to the check, without calling it.",
    )


def test_the_page_s_own_function_is_refused_and_a_helper_of_its_name_is_not():
    noisy = EXERCISES["noisy_margin"]
    code = "p = margin.sigmoid()\nreturn ((1 - noise) * p + noise * (1 - p)).logit()"
    answer = written(noisy, "return with_flips(margin, noise)")
    answer.__globals__["with_flips"] = written(noisy, code, name="with_flips")
    right, said = noisy.judge(answer)
    assert not right and "you called `with_flips`, the page's own answer" in said
    inside = "\n    ".join(["def with_flips(m, e):", *code.replace("margin", "m").replace("noise", "e").splitlines()])
    assert noisy.judge(written(noisy, f"{inside}\nreturn with_flips(margin, noise)")).right


def test_an_error_of_torch_s_own_is_no_stub():
    right, said = PAIR_LOSS.judge(written(PAIR_LOSS, "return torch.softmax(torch.tensor([1, 2]), 0)"))
    assert not right and "your function stopped in line 2" in said and "NotImplementedError" in said


def test_other_parameters_are_named():
    right, said = PAIR_LOSS.judge(lambda margin: margin)
    assert not right
    assert (
        "your function takes (margin), and it is called with (reward_chosen, reward_rejected), in this order" in said
    )


def test_overflow_that_the_text_allows_is_forgiven_and_said():
    code = "return -torch.log(1 - torch.sigmoid(reward_rejected - reward_chosen))"
    right, said = PAIR_LOSS.judge(written(PAIR_LOSS, code))
    assert right and "yours is inf, by overflow: that is forgiven here" in said


def test_large_arguments_are_named_from_the_least_to_the_greatest():
    partition = EXERCISES["log_partition"]
    far = dataclasses.replace(
        partition, far=[(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[-800.0, -900.0]]), 1.0)]
    )
    right, said = far.judge(written(far, "return (ref_logp.exp() * (reward / beta).exp()).sum(-1).log()"))
    assert right, said
    assert (
        "(For others (`ref_logp` = -0.693147, `reward` from -900 to -800, `beta` = 1.0) value [0] should be" in said
    )


def test_overflow_of_python_s_own_numbers_is_forgiven_too():
    win = EXERCISES["win_probability"]
    far = dataclasses.replace(win, far=[(torch.tensor([1000.0]).double(), torch.tensor([999.0]).double())])
    code = "return [math.exp(a) / (math.exp(a) + math.exp(b)) for a, b in zip(reward_a, reward_b)]"
    right, said = far.judge(written(win, code))
    assert right and "math range error. That is forgiven here" in said


def test_where_the_right_slope_is_zero_none_is_asked_for():
    ranking = EXERCISES["ranking_logp"]
    one_place = [(torch.randn(4).double(), torch.tensor([[2], [0]]))]
    code = "return torch.zeros(len(rankings), dtype=torch.float64)"
    assert dataclasses.replace(ranking, trials=one_place, extreme=()).judge(written(ranking, code)).right


def test_a_tracer_that_was_there_before_is_there_afterwards():
    def tracer(*_):
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        PAIR_LOSS.judge(written(PAIR_LOSS, "return undefined"))
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)


# ------------------------------------------------------------------ how it is shown


def test_in_a_terminal_a_check_prints_what_it_found(capsys):
    PAIR_LOSS(written(PAIR_LOSS, "raise NotImplementedError"))
    assert (
        capsys.readouterr().out == "pair_loss: not written yet. Replace the line that raises NotImplementedError.\n"
    )


def test_on_a_page_code_and_stress_are_shown_and_signs_are_no_tags():
    verdict = Verdict(False, "✗ x: `a < b` is *minus* π*, 2 * 3 * 4.")
    assert repr(verdict) == "✗ x: `a < b` is minus π*, 2 * 3 * 4."
    page = verdict._repr_html_()
    assert "<code>a &lt; b</code> is <em>minus</em> π*, 2 * 3 * 4.</p>" in page
