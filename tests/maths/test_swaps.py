"""The swap test finds a position bias of a stated size at the stated power, and both orders together lose it."""

import math

import numpy as np
import pytest
import torch

from dpo_book.maths.coverage import simulated_coverage
from dpo_book.maths.estimates import share_interval, win_rate_interval
from dpo_book.maths.swaps import swap_power, swap_test

N = 256


def chances(bias_nats, spread=1.0, shift=0.4, n=N):
    """Of a's win when shown first and second, by a judge with logistic position bias: two (n,), and without bias."""
    quantiles = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    margins = shift + spread * torch.special.ndtri(quantiles)
    return [torch.sigmoid(margins + d) for d in (bias_nats, -bias_nats, 0.0)]


def drawn(chance, trials, seed):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(trials, len(chance), generator=generator, dtype=torch.float64) < chance).double()


def both_orders(bias_nats, trials, **world):
    first, second, fair = chances(bias_nats, **world)
    return drawn(first, trials, 0), drawn(second, trials, 1), fair.mean().item()


def in_both_orders(**counts):
    """Verdicts of a, shown first and second, from counts such as ``win_loss=3``."""
    outcome = {"win": 1.0, "loss": 0.0, "tie": 0.5}
    pairs = [tuple(outcome[word] for word in name.split("_")) for name, count in counts.items() for _ in range(count)]
    return torch.tensor(pairs).T


def test_shares_are_those_of_counting():
    found = swap_test(*in_both_orders(win_win=40, loss_loss=30, win_loss=20, loss_win=6, tie_tie=3, tie_loss=1))
    first_place = (40 + 30 + 2 * 20 + 3 + 1.5) / 200
    wins = (2 * 40 + 20 + 6 + 3 + 0.5) / 200
    assert found.consistent == share_interval(0.73, 100)
    assert found.bias.value == pytest.approx(first_place - 0.5, abs=1e-12)
    assert found.win_rate.value == pytest.approx(wins, abs=1e-12)
    # both verdicts for one place: 20 and 6; Σd = (20 − 6) / 2 + 1/4 and Σd² = (20 + 6) / 4 + 1/16
    low, high = share_interval(20 / 26, 26)[1:]
    assert found.bias_nats == pytest.approx([math.log(x / (1 - x)) / 2 for x in (20 / 26, low, high)], abs=1e-12)
    assert found.z == pytest.approx(7.25 / math.sqrt(6.5625), abs=1e-12)


def test_without_ties_z_is_mcnemar_s():
    found = swap_test(*in_both_orders(win_win=60, loss_loss=10, win_loss=22, loss_win=8))
    assert found.z == pytest.approx((22 - 8) / math.sqrt(22 + 8), abs=1e-12)


@pytest.mark.parametrize("margin", [-2.0, 0.0, 0.3, 4.0])
def test_the_ratio_of_inconsistent_verdicts_holds_the_bias_whatever_the_margin(margin):
    def sigma(x):
        return 1 / (1 + math.exp(-x))

    bias = 0.7
    both_first = sigma(margin + bias) * (1 - sigma(margin - bias))
    both_second = (1 - sigma(margin + bias)) * sigma(margin - bias)
    assert math.log(both_first / both_second) / 2 == pytest.approx(bias, abs=1e-12)


def test_the_bias_in_nats_is_recovered_and_covered():
    first, second, _ = both_orders(0.5, trials=200)
    found = [swap_test(*rows).bias_nats for rows in zip(first, second, strict=True)]
    # about 100 inconsistent ones a trial: an error of 0.1 nats each, 0.006 of the mean, and a skew of about as much
    assert np.mean([interval.value for interval in found]) == pytest.approx(0.5, abs=0.03)
    covered = sum(low <= 0.5 <= high for _, low, high in found) / 200
    assert covered == pytest.approx(0.95, abs=0.046)  # three standard errors of 200 trials


@pytest.mark.parametrize("bias_nats", [0.0, 0.25])
def test_it_finds_a_bias_at_the_stated_power(bias_nats):
    first_chance, second_chance, _ = chances(bias_nats)
    share = ((first_chance + 1 - second_chance) / 2).mean().item()
    consistent = (first_chance * second_chance + (1 - first_chance) * (1 - second_chance)).mean().item()
    stated = swap_power(share - 0.5, consistent, N)
    first, second, _ = both_orders(bias_nats, trials=500)
    tests = [swap_test(*rows) for rows in zip(first, second, strict=True)]
    found = sum(abs(test.z) > 1.959964 for test in tests) / len(tests)
    # Two standard errors of 500 trials are at most 0.045. Counts are whole numbers, so that z jumps by 0.1 or 0.2;
    # half of that moves the power by up to 0.03.
    assert found == pytest.approx(stated, abs=0.075)
    assert stated == pytest.approx(0.05, abs=1e-9) if bias_nats == 0 else 0.3 < stated < 0.9


def test_the_interval_of_the_bias_holds_it():
    first_chance, second_chance, _ = chances(0.3)
    truth = ((first_chance + 1 - second_chance) / 2).mean().item() - 0.5
    first, second, _ = both_orders(0.3, trials=200)
    found = [swap_test(*rows).bias for rows in zip(first, second, strict=True)]
    # margins are fixed here and not drawn anew, so that 95 % is the least
    assert sum(low <= truth <= high for _, low, high in found) / 200 > 0.91


def test_corrected_win_rates_hold_the_truth_and_uncorrected_ones_do_not():
    first, second, truth = both_orders(0.5, trials=300)
    corrected = simulated_coverage(win_rate_interval, (first + second) / 2, truth)
    always_first = simulated_coverage(win_rate_interval, first, truth)
    assert corrected.value > 0.92
    assert always_first.value < 0.2


def test_both_orders_pull_a_strong_bias_s_win_rate_towards_one_half():
    """To first order in δ the mean of both orders is right; to second order it adds σ''(m) δ² / 2."""
    for bias_nats, off in ((0.1, 0.001), (0.5, 0.01), (2.0, 0.1)):
        first, second, fair = chances(bias_nats)
        pull = ((first + second) / 2 - fair).mean().item()
        assert -off < pull < 0  # the truth is above one half here
    half = 0.3
    second_order = (fair * (1 - fair) * (1 - 2 * fair)).mean().item() * half**2 / 2
    first, second, fair = chances(half)
    # the next term is of order δ⁴ / 24, with a fourth derivative of at most 1/8
    assert ((first + second) / 2 - fair).mean().item() == pytest.approx(second_order, abs=half**4 / 24 / 8)


def test_a_judge_whom_no_order_sways_says_nothing_of_nats():
    found = swap_test(*in_both_orders(win_win=5, loss_loss=3))
    assert math.isnan(found.bias_nats.value) and found.bias_nats[1:] == (-math.inf, math.inf)
    assert found.z == 0 and found.bias.value == 0 and found.consistent.value == 1


def test_a_judge_who_always_takes_the_first_has_no_bound_above():
    found = swap_test(*in_both_orders(win_loss=12))
    assert found.bias.value == 0.5 and found.consistent.value == 0
    assert found.bias_nats.value == math.inf and 0.5 < found.bias_nats.low < 2


def test_more_bias_or_more_comparisons_are_found_more_often():
    assert swap_power(0.05, 0.7, 256) < swap_power(0.1, 0.7, 256) < swap_power(0.1, 0.7, 512)
    assert swap_power(-0.1, 0.7, 256) == pytest.approx(swap_power(0.1, 0.7, 256), abs=1e-12)
    assert swap_power(0.15, 0.7, 256) > 0.999999  # every inconsistent one falls on the first place


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((0.2, 0.7, 256), r"bias must be within ±0.15"),
        ((math.nan, 0.7, 256), "bias must be within"),
        ((0.0, 1.0, 256), "consistent must be below 1"),
        ((0.0, 1.1, 256), "consistent must be in"),
        ((0.1, 0.7, 0), "n must be a whole number"),
    ],
)
def test_impossible_judges_are_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        swap_power(*arguments)


def test_verdicts_are_wins_losses_and_ties_of_the_same_comparisons():
    with pytest.raises(
        ValueError, match=r"shown_second must be 1 \(a win\), 0 \(a loss\) or 0.5 \(a tie\), got 0.25"
    ):
        swap_test(torch.tensor([1.0, 0.5]), torch.tensor([1.0, 0.25]))
    with pytest.raises(ValueError, match="must have one shape"):
        swap_test(torch.ones(3), torch.ones(2))
