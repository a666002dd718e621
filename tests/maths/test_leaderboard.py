"""Several models on one scale: intervals that hold, and a test that sees when one scale does not fit."""

import math

import numpy as np
import pytest
import torch

from dpo_book.maths.bradley_terry import fit_rewards, preference_probability, reward_model_loss
from dpo_book.maths.leaderboard import goodness_of_fit, leaderboard

TRUE = torch.tensor([0.8, 0.2, -0.3, -0.7], dtype=torch.float64)
CYCLE = torch.tensor([[0, 60, 20], [20, 0, 60], [60, 20, 0]])


def simulated(games, seed, rewards=TRUE):
    """Wins of all against all in so many games a pair."""
    generator = torch.Generator().manual_seed(seed)
    n = len(rewards)
    p = preference_probability(rewards[:, None], rewards[None, :])
    won = torch.binomial(torch.full((n, n), float(games)).double(), p, generator=generator).triu(1)
    return won + (games - won).T.tril(-1)


def test_two_models_have_the_log_odds_and_their_standard_error():
    board = leaderboard(torch.tensor([[0, 158], [98, 0]]))
    log_odds, error = math.log(158 / 98), math.sqrt(1 / 158 + 1 / 98)
    expected = (log_odds, log_odds - 1.959964 * error, log_odds + 1.959964 * error)
    assert board.difference(0, 1) == pytest.approx(expected, abs=1e-7)
    assert board.intervals()[0] == pytest.approx([end / 2 for end in expected], abs=1e-7)  # above their mean
    assert board.win_rate(0, 1).value == pytest.approx(158 / 256, abs=1e-7)
    assert board.win_rate(1, 0).low == pytest.approx(1 - board.win_rate(0, 1).high, abs=1e-12)


def test_the_covariance_is_the_pseudo_inverse_of_autograd_s_hessian():
    wins = simulated(30, seed=0)

    def loss(rewards):
        return (wins * reward_model_loss(rewards[:, None], rewards[None, :])).sum()

    hessian = torch.autograd.functional.hessian(loss, fit_rewards(wins))
    expected = np.linalg.pinv(hessian.numpy(), rcond=1e-9)
    torch.testing.assert_close(leaderboard(wins).covariance, torch.from_numpy(expected), rtol=0, atol=1e-9)


def test_holding_one_reward_at_zero_gives_the_same_differences():
    """The other way to pin the scale: leave out a row and a column of the information."""
    wins = simulated(30, seed=1)
    board = leaderboard(wins)
    games = wins + wins.T
    p = preference_probability(board.rewards[:, None], board.rewards[None, :]).numpy()
    weight = games.numpy() * p * (1 - p)
    information = np.diag(weight.sum(axis=1)) - weight
    of_the_rest = np.linalg.inv(information[1:, 1:])
    _, low, high = board.difference(2, 0)
    assert (high - low) / 2 == pytest.approx(1.959964 * math.sqrt(of_the_rest[1, 1]), abs=1e-9)


def test_intervals_hold_the_true_rewards_and_differences():
    one, apart = np.zeros(4), 0
    for seed in range(150):
        board = leaderboard(simulated(40, seed))
        one += [low <= true <= high for (_, low, high), true in zip(board.intervals(), TRUE.tolist(), strict=True)]
        _, low, high = board.difference(0, 3)
        apart += low <= 1.5 <= high
    # three standard errors of 150 trials are 0.053
    assert np.abs(one / 150 - 0.95).max() < 0.053
    assert apart / 150 == pytest.approx(0.95, abs=0.053)


# ------------------------------------------------------------------ does one scale fit?


def test_the_deviance_is_that_of_the_textbook():
    wins = simulated(25, seed=2)
    p = preference_probability(*torch.broadcast_tensors(fit_rewards(wins)[:, None], fit_rewards(wins)[None, :]))
    expected = 0.0
    for i in range(4):
        for j in range(i + 1, 4):
            a, b, chance = wins[i, j].item(), wins[j, i].item(), p[i, j].item()
            expected += 2 * (a * math.log(a / (25 * chance)) + b * math.log(b / (25 * (1 - chance))))
    found = goodness_of_fit(wins)
    assert found.deviance == pytest.approx(expected, abs=1e-7)
    assert found.degrees_of_freedom == 6 - 3


@pytest.mark.parametrize(("items", "unplayed", "freedom"), [(4, [(0, 1)], 2), (5, [(0, 1), (2, 3)], 4)])
def test_the_p_value_is_that_of_chi_squared(items, unplayed, freedom):
    """With an even number of degrees it is elementary: exp(−G/2) Σ_{k < df/2} (G/2)^k / k!."""
    wins = simulated(25, seed=3, rewards=torch.zeros(items, dtype=torch.float64))
    for i, j in unplayed:
        wins[i, j] = wins[j, i] = 0
    found = goodness_of_fit(wins)
    half = found.deviance / 2
    elementary = math.exp(-half) * sum(half**k / math.factorial(k) for k in range(freedom // 2))
    assert found.degrees_of_freedom == freedom
    assert found.p_value == pytest.approx(elementary, abs=1e-12)


def test_wins_as_expected_have_no_deviance():
    wins = 100 * preference_probability(TRUE[:, None], TRUE[None, :])
    assert goodness_of_fit(wins).deviance == pytest.approx(0, abs=1e-9)
    assert goodness_of_fit(wins).p_value == pytest.approx(1, abs=1e-3)


def test_where_bradley_terry_holds_one_in_twenty_is_doubted():
    doubted = sum(goodness_of_fit(simulated(60, seed)).p_value < 0.05 for seed in range(200))
    # three standard errors of 200 trials are 0.046
    assert doubted / 200 == pytest.approx(0.05, abs=0.046)


def test_a_cycle_gives_equal_rewards_with_confident_intervals_and_is_seen():
    board = leaderboard(CYCLE)
    assert board.rewards.abs().max() < 1e-9
    assert all(high - low < 0.5 for _, low, high in board.intervals())
    assert board.win_rate(0, 1).high < 0.6 < 60 / 80  # what was counted is far outside
    found = goodness_of_fit(CYCLE)
    # every pair: 60 and 20 where 40 and 40 are expected
    expected = 3 * 2 * (60 * math.log(1.5) + 20 * math.log(0.5))
    assert found.deviance == pytest.approx(expected, abs=1e-7)
    assert found.degrees_of_freedom == 1 and found.p_value < 1e-12


def test_zero_wins_and_the_diagonal_add_nothing():
    wins = torch.tensor([[5, 4, 0], [2, 0, 3], [6, 0, 0]])
    without = goodness_of_fit(wins.clone().fill_diagonal_(0))
    assert goodness_of_fit(wins) == without and math.isfinite(without.deviance)


@pytest.mark.parametrize("function", [leaderboard, goodness_of_fit])
def test_islands_are_refused(function):
    wins = torch.zeros(4, 4)
    wins[:2, :2] = wins[2:, 2:] = 3
    with pytest.raises(ValueError, match="no chain of wins leads from item 0 to item 2"):
        function(wins)


@pytest.mark.parametrize("wins", [[[0, 3], [1, 0]], [[0, 3, 0], [1, 0, 3], [0, 1, 0]]])
def test_without_a_cycle_of_pairs_there_is_nothing_to_test(wins):
    with pytest.raises(ValueError, match="fit any wins: a test needs pairs that close a cycle"):
        goodness_of_fit(torch.tensor(wins))


@pytest.mark.parametrize("k", [300.0, 700.0, 1000.0, 30_000.0])
def test_lopsided_tables_have_the_covariance_of_the_information_without_its_shift(k):
    wins = torch.tensor([[0, k, 0], [1, 0, k], [0, 1, 0]])
    board = leaderboard(wins)
    p = k / (k + 1)
    information = (k + 1) * p * (1 - p)  # of each of two pairs in a chain: the difference has variance 1 / it
    for i in (0, 1):
        found = board.difference(i, i + 1)
        assert (found.high - found.low) / 2 / 1.959964 == pytest.approx(information**-0.5, rel=1e-4)
