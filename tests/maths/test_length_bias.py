"""The win rate at equal length: right where only the judge likes length, wrong where quality goes with it."""

import math

import pytest
import torch

from dpo_book.maths.estimates import win_rate_interval
from dpo_book.maths.length_bias import length_control

N = 400
QUALITY, A_WORD, PLACE = 0.3, 0.04, 0.5  # nats; a judge's tastes


def comparisons(n=N, seed=0):
    """How many words longer a is, 10 on average, and whether it is shown first."""
    generator = torch.Generator().manual_seed(seed)
    extra = (10 + 20 * torch.randn(n, generator=generator, dtype=torch.float64)).round()
    return extra, torch.rand(n, generator=generator) < 0.5


def judged(margins, seed):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(len(margins), generator=generator, dtype=torch.float64) < torch.sigmoid(margins)).double()


def liking_length(extra, first):
    return QUALITY + A_WORD * extra + PLACE * (2.0 * first - 1)


def held(intervals, truth):
    return sum(low <= truth <= high for _, low, high in intervals) / len(intervals)


def test_coefficients_are_held_and_the_win_rate_at_equal_length_that_the_raw_one_misses():
    extra, first = comparisons()
    truth = 1 / (1 + math.exp(-QUALITY))
    found, raw = [], []
    for seed in range(150):
        wins = judged(liking_length(extra, first), seed)
        found.append(length_control(wins, extra, first))
        raw.append(win_rate_interval(wins))
    # three standard errors of 150 trials are 0.053
    assert held([f.length for f in found], A_WORD * found[0].deviation) == pytest.approx(0.95, abs=0.053)
    assert held([f.position for f in found], PLACE) == pytest.approx(0.95, abs=0.053)
    assert held([f.win_rate for f in found], truth) == pytest.approx(0.95, abs=0.053)
    assert held(raw, truth) < 0.5


def test_qualities_that_differ_from_prompt_to_prompt_are_averaged():
    """The truth is the mean of σ over them; no one logistic curve has it, but the fitted one is near."""
    n = 40_000
    extra, first = comparisons(n)
    quality = QUALITY + torch.randn(n, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    truth = quality.sigmoid().mean().item()
    wins = judged(quality + A_WORD * extra + PLACE * (2.0 * first - 1), 1)
    # the standard error is 0.003; the rest is for the curve's form
    assert length_control(wins, extra, first).win_rate.value == pytest.approx(truth, abs=0.012)
    assert win_rate_interval(wins).low > truth + 0.03


def test_where_longer_is_better_the_correction_takes_the_quality_away():
    """An unbiased judge, and a policy that wins because its longer answers are better."""
    extra, first = comparisons(4000)
    wins = judged(A_WORD * extra, 2)
    truth = torch.sigmoid(A_WORD * extra).mean().item()
    assert truth > 0.57
    raw, controlled = win_rate_interval(wins), length_control(wins, extra, first).win_rate
    assert raw.low < truth < raw.high
    assert controlled.low < 0.5 < controlled.high < truth


def test_a_fit_by_hand():
    """Four kinds of comparison with 30 to 10, 25 to 15, 15 to 25 and 10 to 30: no more free numbers than three."""
    extra = torch.tensor([7.0, 7.0, -7.0, -7.0]).repeat_interleave(40)
    first = torch.tensor([True, False, True, False]).repeat_interleave(40)
    wins = torch.cat([torch.tensor([1.0] * won + [0.0] * (40 - won)) for won in (30, 25, 15, 10)])
    found = length_control(wins, extra, first)
    assert found.deviation == 7
    assert found.win_rate.value == pytest.approx(0.5, abs=1e-9)  # by symmetry
    length, place = found.length.value, found.position.value
    # the two equations of the likelihood: shares of wins by length, and by place
    longer_and_first = 1 / (1 + math.exp(-length - place))
    longer_and_second = 1 / (1 + math.exp(-length + place))
    assert (longer_and_first + longer_and_second) / 2 == pytest.approx(55 / 80, abs=1e-9)
    assert longer_and_first - longer_and_second == pytest.approx(5 / 40, abs=1e-9)


def test_swapping_the_two_policies_swaps_the_answer():
    extra, first = comparisons()
    wins = judged(liking_length(extra, first), 3)
    one, other = length_control(wins, extra, first), length_control(1 - wins, -extra, ~first)
    assert other.win_rate.value == pytest.approx(1 - one.win_rate.value, abs=1e-9)
    assert other.length.value == pytest.approx(one.length.value, abs=1e-9)
    assert other.position.value == pytest.approx(one.position.value, abs=1e-9)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"extra_length": torch.full((6,), 3.0)}, "extra_length must be finite and vary"),
        ({"extra_length": torch.tensor([1.0, 2, 3, 4, 5, math.nan])}, "extra_length must be finite and vary"),
        ({"a_is_first": torch.ones(6, dtype=torch.bool)}, "a_is_first must be True for some and False for others"),
        ({"a_is_first": torch.tensor([True])}, "must have one shape"),
        ({"wins": torch.tensor([0.0, 1, 2, 0, 0, 1])}, r"wins must be in \[0, 1\]"),
        ({"wins": torch.ones(6)}, "no finite coefficients"),
    ],
)
def test_what_shows_no_effect_is_refused(changed, said):
    arguments = {
        "wins": torch.tensor([0.0, 1, 1, 0, 0, 1]),
        "extra_length": torch.tensor([1.0, -2, 3, 0, 4, 2]),
        "a_is_first": torch.tensor([True, False, False, True, True, False]),
    }
    with pytest.raises(ValueError, match=said):
        length_control(**arguments | changed)
