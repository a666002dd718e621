"""Equations 1 and 2: a comparison reads only a difference of rewards, and comparisons give the rewards back."""

import math

import pytest
import torch

from dpo_book import fit_rewards, preference_probability, reward_model_loss

# Everything here is float64, whose rounding is 1e-16 of a number of order one; a few hundred operations
# leave less than 1e-12.
ROUNDING = {"rtol": 0, "atol": 1e-12}


def random_numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def expected_wins(rewards, games=100.0):
    """The win counts that ``games`` comparisons of every two items have on average."""
    return (games * preference_probability(rewards[:, None], rewards[None, :])).fill_diagonal_(0)


def random_wins(items, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 20, (items, items), generator=generator).double().fill_diagonal_(0)


def fit_by_lbfgs(wins):
    """Maximum likelihood by another road: item 0 is held at zero, the likelihood written out, L-BFGS descends."""
    free = torch.zeros(len(wins) - 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [free], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def rewards():
        return torch.cat([torch.zeros(1, dtype=torch.float64), free])

    def negative_log_likelihood():
        optimizer.zero_grad()
        r = rewards()
        loss = -sum(
            wins[i, j] * (r[i] - torch.logaddexp(r[i], r[j])) for i in range(len(wins)) for j in range(len(wins))
        )
        loss.backward()
        return loss

    optimizer.step(negative_log_likelihood)
    return (rewards() - rewards().mean()).detach()


# ------------------------------------------------------------------ equation 1


@pytest.mark.parametrize(
    ("reward_a", "reward_b", "probability"),
    [(0.0, 0.0, 0.5), (math.log(3), 0.0, 0.75), (1.0, 1.0 + math.log(9), 0.1), (5.0, 4.0, math.e / (1 + math.e))],
)
def test_preference_probability_has_known_values(reward_a, reward_b, probability):
    pair = torch.tensor([reward_a, reward_b], dtype=torch.float64)
    assert preference_probability(*pair).item() == pytest.approx(probability, abs=1e-12)


def test_preference_probability_is_the_exponential_share_of_equation_1():
    a, b = random_numbers(2, 50)
    torch.testing.assert_close(preference_probability(a, b), a.exp() / (a.exp() + b.exp()), **ROUNDING)


def test_one_of_two_is_preferred():
    a, b = random_numbers(2, 50)
    both = preference_probability(a, b) + preference_probability(b, a)
    torch.testing.assert_close(both, torch.ones_like(a), **ROUNDING)


@pytest.mark.parametrize("shift", [-100.0, 3.0, 1e3])
def test_a_shift_of_both_rewards_changes_no_preference(shift):
    a, b = random_numbers(2, 50)
    # a + 1000 is rounded to 1e-13, hence ROUNDING still holds
    torch.testing.assert_close(preference_probability(a + shift, b + shift), preference_probability(a, b), **ROUNDING)


def test_rewards_of_all_shapes_that_broadcast_are_compared():
    a = random_numbers(4)
    table = preference_probability(a[:, None], a[None, :])
    assert table.shape == (4, 4)
    torch.testing.assert_close(table + table.T, torch.ones_like(table), **ROUNDING)


def test_huge_differences_stay_probabilities():
    far = torch.tensor([1e4, -1e4])
    assert preference_probability(far, -far).tolist() == [1.0, 0.0]


# ------------------------------------------------------------------ equation 2


def test_reward_model_loss_is_minus_the_log_of_the_preference_probability():
    chosen, rejected = random_numbers(2, 50)
    losses = reward_model_loss(chosen, rejected)
    assert losses.shape == (50,)
    torch.testing.assert_close(losses, -preference_probability(chosen, rejected).log(), **ROUNDING)


def test_reward_model_loss_is_ln_2_where_rewards_are_equal():
    assert reward_model_loss(torch.zeros(3), torch.zeros(3)).tolist() == pytest.approx([math.log(2)] * 3)


def test_reward_model_loss_stays_finite_where_the_probability_is_zero():
    far = torch.tensor([1e4, -1e4])
    assert reward_model_loss(far, -far).tolist() == [0.0, 2e4]


def test_reward_model_loss_has_the_gradient_of_finite_differences():
    chosen, rejected = random_numbers(2, 6).requires_grad_()
    assert torch.autograd.gradcheck(reward_model_loss, (chosen, rejected))


# ------------------------------------------------------------------ fitting rewards


@pytest.mark.parametrize("items", [2, 3, 8])
def test_expected_win_counts_give_the_rewards_back(items):
    rewards = 2 * random_numbers(items, seed=items)
    rewards -= rewards.mean()
    # Newton stops where no gradient is above 1e-10 of all games; the curvature is about 0.05 of an item's
    # games, so that the rewards are within 1e-7.
    torch.testing.assert_close(fit_rewards(expected_wins(rewards)), rewards, rtol=0, atol=1e-7)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_fit_agrees_with_an_independent_optimiser(seed):
    wins = random_wins(6, seed)
    # L-BFGS sees differences of a loss of about 1e3 down to 1e-13 of it; in the argument that is its
    # square root, so 1e-6 is what can be asked of it.
    torch.testing.assert_close(fit_rewards(wins), fit_by_lbfgs(wins), rtol=0, atol=1e-6)


def test_two_items_get_the_log_odds_of_their_score():
    fitted = fit_rewards(torch.tensor([[0, 30], [10, 0]]))
    assert (fitted[0] - fitted[1]).item() == pytest.approx(math.log(3), abs=1e-7)


def test_fitted_rewards_have_mean_zero_and_double_precision():
    fitted = fit_rewards(random_wins(7, seed=3).float())
    assert fitted.dtype == torch.float64
    assert fitted.mean().item() == pytest.approx(0, abs=1e-12)


def test_items_that_never_met_are_compared_through_others():
    wins = torch.tensor([[0, 3, 0], [1, 0, 3], [0, 1, 0]])
    assert (fit_rewards(wins)[0] - fit_rewards(wins)[2]).item() == pytest.approx(2 * math.log(3), abs=1e-7)


def test_lopsided_counts_are_fitted_too():
    fitted = fit_rewards(torch.tensor([[0.0, 1e6], [1.0, 0.0]]))
    # the likelihood is flat here, curvature 1e-6 of the games: 1e-10 in the gradient is 1e-4 in the reward
    assert (fitted[0] - fitted[1]).item() == pytest.approx(math.log(1e6), abs=1e-4)


def test_the_diagonal_is_ignored():
    wins = random_wins(4, seed=4)
    torch.testing.assert_close(fit_rewards(wins.clone().fill_diagonal_(50)), fit_rewards(wins), **ROUNDING)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.int64])
def test_the_argument_is_left_as_it_was(dtype):
    wins = random_wins(4, seed=5).fill_diagonal_(2).to(dtype)
    before = wins.clone()
    fit_rewards(wins)
    assert torch.equal(wins, before)


def test_an_item_that_never_won_has_no_finite_reward():
    wins = random_wins(4, seed=6)
    wins[2] = 0
    with pytest.raises(ValueError, match="no chain of wins leads from item 2 to item 0"):
        fit_rewards(wins)


def test_an_item_that_never_lost_has_no_finite_reward():
    wins = random_wins(4, seed=6)
    wins[:, 2] = 0
    with pytest.raises(ValueError, match="to item 2"):
        fit_rewards(wins)


def test_two_islands_cannot_be_compared():
    wins = torch.zeros(5, 5)
    wins[:2, :2] = 1
    wins[2:, 2:] = 1
    with pytest.raises(ValueError, match=r"no chain of wins leads from item 0 to item 2.*Add comparisons"):
        fit_rewards(wins)


def test_a_single_cycle_through_many_items_is_a_fit():
    items = 33  # paths of up to 32 steps: repeated squaring has to reach them all
    wins = torch.roll(torch.eye(items), 1, dims=1)
    torch.testing.assert_close(fit_rewards(wins), torch.zeros(items, dtype=torch.float64), rtol=0, atol=1e-7)


@pytest.mark.parametrize("shape", [(2, 3), (4,), (2, 2, 2)])
def test_only_a_square_matrix_is_taken(shape):
    with pytest.raises(ValueError, match="square matrix"):
        fit_rewards(torch.ones(shape))


@pytest.mark.parametrize("count", [-1.0, math.nan, math.inf])
def test_only_finite_counts_from_zero_on_are_taken(count):
    wins = torch.ones(3, 3)
    wins[0, 1] = count
    with pytest.raises(ValueError, match="finite counts"):
        fit_rewards(wins)
