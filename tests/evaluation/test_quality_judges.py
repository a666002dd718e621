"""Judges that know the truth: what they say against what they have to say, by eq. 1 and by enumeration."""

import math

import pytest
import torch

from dpo_book.evaluation.judges import Answer, Comparison, JudgeError, Shown, in_both_orders
from dpo_book.evaluation.quality_judges import SyntheticJudge, exact_judge, judge_by
from dpo_book.evaluation.win_rates import judged_win_rate, scores_in_both_orders
from dpo_book.maths.bradley_terry import preference_probability
from dpo_book.maths.exact import win_rate
from dpo_book.maths.require import SettingError
from dpo_book.maths.swaps import swap_test
from dpo_book.worlds.verdicts import verdicts

QUALITIES = {"bad": -1.0, "so so": 0.0, "rather good": 0.7, "as good as that": 0.7}


def quality(prompt, text):
    return QUALITIES[text]


# ------------------------------------------------------------------ exact


def test_more_quality_wins_and_the_same_is_a_tie():
    shown = [
        Shown("x", "bad", "so so"),
        Shown("x", "rather good", "bad"),
        Shown("x", "rather good", "as good as that"),
    ]
    answers = exact_judge(quality)(shown)
    assert [answer.place for answer in answers] == ["second", "first", "tie"]
    assert answers[0] == Answer("second", "quality -1 against 0")


def test_the_exact_judge_gives_the_exact_win_rate():
    """Two policies over eight responses of the verdict world: every pair, as often as its probability asks for."""
    world = verdicts()
    texts = [world.responses[i] for i in (0, 7, 8, 700, 1337, 5000, 9001, 14640)]
    reward = torch.tensor([[world.reward(world.prompts[0], text) for text in texts]], dtype=torch.float64)
    counts, other_counts = (1, 2, 3, 1, 1, 4, 2, 2), (2, 2, 2, 2, 2, 1, 2, 3)
    comparisons = []
    for a, count in zip(texts, counts, strict=True):
        for b, other_count in zip(texts, other_counts, strict=True):
            comparisons += [Comparison(world.prompts[0], a, b)] * count * other_count
    p, q = (torch.tensor([number], dtype=torch.float64).div(16).log() for number in (counts, other_counts))
    both = in_both_orders(exact_judge(world.reward), comparisons)
    for in_one_order in zip(*both, strict=True):
        # 256 scores of 0, 1/2 and 1 add up without rounding; log and exp of the probabilities round at 1e-16
        assert judged_win_rate(in_one_order).value == pytest.approx(win_rate(p, q, reward).item(), abs=1e-12)
    shown_first, shown_second = scores_in_both_orders(both)
    assert torch.equal(shown_first, shown_second) and len(shown_first) == 256


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_quality_that_is_no_number_is_refused_with_its_text(value):
    for judge in (exact_judge(lambda x, y: value), SyntheticJudge(quality=lambda x, y: value, noise=1)):
        with pytest.raises(JudgeError, match=f'the quality of "one text" is {value}'):
            judge([Shown("x", "one text", "another")])


def test_each_distinct_text_is_rated_once():
    asked = []

    def qualities(prompts, texts):
        asked.extend(zip(prompts, texts, strict=True))
        return [len(asked)] * len(texts)

    shown = [Shown("x", "one", "two"), Shown("x", "two", "one"), Shown("y", "one", "one")]
    assert [answer.place for answer in judge_by(qualities)(shown)] == ["tie"] * 3
    assert asked == [("x", "one"), ("x", "two"), ("y", "one")]
    assert judge_by(qualities)([]) == []


# ------------------------------------------------------------------ with noise and biases


def test_the_probability_is_bradley_terry_s_with_noise_and_biases_added():
    judge = SyntheticJudge(quality=quality, noise=2.0, position_bias=0.3, length_bias=-0.1)
    shown = [Shown("x", "rather good", "bad"), Shown("x", "bad", "rather good"), Shown("x", "so so", "so so")]
    margins = [1.7 / 2 + 0.3 - 0.1 * 1, -1.7 / 2 + 0.3 + 0.1 * 1, 0.3]
    expected = [1 / (1 + math.exp(-margin)) for margin in margins]
    assert judge.first_probability(shown).tolist() == pytest.approx(expected, abs=1e-15)


def test_without_biases_it_is_equation_1():
    judge = SyntheticJudge(quality=quality, noise=1.0)
    r = torch.tensor([QUALITIES["rather good"], QUALITIES["bad"]], dtype=torch.float64)
    expected = preference_probability(r[0], r[1]).item()
    assert judge.first_probability([Shown("x", "rather good", "bad")]).item() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("settings", [{}, {"position_bias": 0.8}, {"length_bias": 0.5}, {"noise": 0.25}])
def test_what_it_says_has_the_stated_probability(settings):
    """4,000 questions each of three kinds; of 12 such shares none is further than 4.5 standard deviations (1e-5)."""
    judge = SyntheticJudge(quality=quality, seed=5, **{"noise": 1.0} | settings)
    n = 4000
    for first, second in (("rather good", "bad"), ("so so", "as good as that"), ("bad", "bad")):
        shown = [Shown(f"prompt {i}", first, second) for i in range(n)]
        probability = judge.first_probability(shown[:1]).item()
        says_first = sum(answer.place == "first" for answer in judge(shown))
        assert abs(says_first / n - probability) < 4.5 * math.sqrt(probability * (1 - probability) / n)


def test_the_swap_test_finds_what_the_probabilities_say_of_it():
    """Both orders are independent coins: the first wins twice with p(first | a first) · p(first | b first)."""
    judge = SyntheticJudge(quality=quality, noise=1.0, position_bias=0.8)
    n = 4000
    comparisons = [Comparison(f"prompt {i}", "rather good", "so so") for i in range(n)]
    p, q = judge.first_probability([Shown("x", "rather good", "so so"), Shown("x", "so so", "rather good")]).tolist()
    shown_first, shown_second = scores_in_both_orders(in_both_orders(judge, comparisons))
    found = swap_test(shown_first, shown_second)
    same = p * (1 - q) + (1 - p) * q
    assert abs(found.consistent.value - same) < 4.5 * math.sqrt(same * (1 - same) / n)  # as above
    assert found.bias_nats.low < 0.8 < found.bias_nats.high  # its own parameter, seeded


def test_the_same_question_has_the_same_answer_whatever_else_is_asked():
    judge = SyntheticJudge(quality=quality, noise=1.0, seed=3)
    shown = [Shown(f"prompt {i}", "so so", "bad") for i in range(200)]
    answers = judge(shown)
    assert judge(shown[::-1]) == answers[::-1] and judge(shown[50:]) == answers[50:]
    other = SyntheticJudge(quality=quality, noise=1.0, seed=4)
    assert other(shown) != answers


def test_a_question_that_stands_in_a_list_twice_has_two_coins():
    judge = SyntheticJudge(quality=quality, noise=1.0)
    says_first = sum(answer.place == "first" for answer in judge([Shown("x", "bad", "bad")] * 4000))
    assert abs(says_first / 4000 - 0.5) < 4.5 * math.sqrt(0.25 / 4000)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": 0}, "noise must be a finite number above 0"),
        ({"position_bias": math.inf}, "position_bias must be a finite number"),
        ({"length_bias": "much"}, "length_bias must be a finite number"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_settings_that_make_no_judge_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        SyntheticJudge(quality=quality, **{"noise": 1.0} | settings)
