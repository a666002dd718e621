"""Logistic regression: closed forms, autograd, coverage, and what has no finite fit."""

import math

import pytest
import torch

from dpo_book.maths.estimates import Z95
from dpo_book.maths.logistic import SeparationError, logistic_regression

TRUE = torch.tensor([0.3, -0.8, 0.5], dtype=torch.float64)


def features(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return torch.cat([torch.ones(n, 1, dtype=torch.float64), drawn], dim=1)


def outcomes(x, seed=1):
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(len(x), generator=generator, dtype=torch.float64)
    return (uniform < torch.sigmoid(x @ TRUE)).double()


def fit_by_autograd(x, y):
    """By L-BFGS, with the inverse of autograd's Hessian."""
    w = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=500, tolerance_grad=1e-12, tolerance_change=0)

    def loss(w):
        p = torch.sigmoid(x @ w)
        return -(y * p.log() + (1 - y) * (1 - p).log()).sum()

    def closure():
        optimizer.zero_grad()
        value = loss(w)
        value.backward()
        return value

    optimizer.step(closure)
    return w.detach(), torch.linalg.inv(torch.autograd.functional.hessian(loss, w.detach()))


def test_it_agrees_with_autograd():
    x = features(120)
    y = outcomes(x)
    y[:10] = 0.5
    fit = logistic_regression(x, y)
    w, covariance = fit_by_autograd(x, y)
    # L-BFGS sees a loss of about 70 to 1e-13 of it, so w to about 1e-6
    torch.testing.assert_close(fit.coefficients, w, rtol=0, atol=1e-6)
    torch.testing.assert_close(fit.covariance, covariance, rtol=0, atol=1e-6)


def test_a_table_of_two_by_two_has_its_log_odds_ratio():
    """Wins and losses 30, 10 without a feature and 15, 45 with it."""
    x = torch.tensor([[1.0, 0.0]] * 40 + [[1.0, 1.0]] * 60)
    y = torch.tensor([1.0] * 30 + [0.0] * 10 + [1.0] * 15 + [0.0] * 45)
    fit = logistic_regression(x, y)
    assert fit.coefficients.tolist() == pytest.approx([math.log(3), math.log(1 / 9)], abs=1e-9)
    assert fit.estimate(1).standard_error == pytest.approx(math.sqrt(1 / 30 + 1 / 10 + 1 / 15 + 1 / 45), abs=1e-9)


def test_a_tie_is_half_a_win_and_half_a_loss():
    x, y = features(60), outcomes(features(60))
    y[::5] = 0.5
    twice = torch.cat([torch.where(y == 0.5, 1.0, y), torch.where(y == 0.5, 0.0, y)])
    fit, doubled = logistic_regression(x, y), logistic_regression(torch.cat([x, x]), twice)
    torch.testing.assert_close(fit.coefficients, doubled.coefficients, rtol=0, atol=1e-9)
    torch.testing.assert_close(fit.covariance, 2 * doubled.covariance, rtol=0, atol=1e-9)


def test_units_of_a_feature_do_not_matter():
    x, y = features(80), outcomes(features(80))
    scale = torch.tensor([1.0, 1e5, 1e-5], dtype=torch.float64)
    fit, scaled = logistic_regression(x, y), logistic_regression(x * scale, y)
    torch.testing.assert_close(scaled.coefficients * scale, fit.coefficients, rtol=1e-6, atol=0)


def test_intervals_hold_the_true_coefficients():
    x = features(200)
    held = torch.zeros(3)
    for seed in range(200):
        fit = logistic_regression(x, outcomes(x, seed))
        away = (fit.coefficients - TRUE) / fit.covariance.diagonal().sqrt()
        held += away.abs() < Z95
    # three standard errors of 200 trials are 0.046
    assert ((held / 200 - 0.95).abs() < 0.046).all()


def test_full_steps_that_would_diverge_are_halved():
    x = torch.tensor([[0, 0], [-5.6, 6.6], [-0.3, 0.1], [0.5, 0.1], [15.6, 7.3], [0.3, -0.1], [-0.1, 0]]).double()
    y = torch.tensor([0.0, 1, 1, 0, 0, 1, 1], dtype=torch.float64)
    w = torch.zeros(2, dtype=torch.float64)
    for _ in range(9):  # Newton without halving
        p = torch.sigmoid(x @ w)
        w = w + torch.linalg.solve(x.T @ ((p * (1 - p))[:, None] * x), x.T @ (y - p))
    assert w.abs().max() > 100
    fit = logistic_regression(x, y)
    assert (x.T @ (y - torch.sigmoid(x @ fit.coefficients))).abs().max() < 1e-8 and fit.coefficients.abs().max() < 20


# ------------------------------------------------------------------ with a prior


def penalised_loss(x, y, deviation):
    """The negative logarithm of likelihood times prior, from their definitions."""

    def loss(w):
        p = torch.sigmoid(x @ w)
        return -(y * p.log() + (1 - y) * (1 - p).log()).sum() + (w**2).sum() / (2 * deviation**2)

    return loss


@pytest.mark.parametrize("deviation", [0.3, 2.0])
def test_with_a_prior_the_gradient_vanishes_and_the_covariance_is_the_inverse_hessian(deviation):
    x = features(40)
    y = outcomes(x)
    y[:5] = 0.5
    fit = logistic_regression(x, y, deviation)
    loss = penalised_loss(x, y, deviation)
    step = 1e-5
    for k in range(3):
        nudge = torch.zeros(3, dtype=torch.float64)
        nudge[k] = step
        slope = (loss(fit.coefficients + nudge) - loss(fit.coefficients - nudge)) / (2 * step)
        assert abs(slope) < 1e-7  # rounding of a loss of 30 nats, 4e-15, over 2e-5, and the step's square
    hessian = torch.autograd.functional.hessian(loss, fit.coefficients)
    torch.testing.assert_close(fit.covariance, torch.linalg.inv(hessian), rtol=0, atol=1e-9)


def test_a_wide_prior_changes_nothing():
    x, y = features(120), outcomes(features(120))
    wide, free = logistic_regression(x, y, 1e5), logistic_regression(x, y)
    torch.testing.assert_close(wide.coefficients, free.coefficients, rtol=0, atol=1e-8)


def test_with_a_prior_wins_alone_have_a_fit():
    """One feature, one win: the fit w solves w = s² σ(−w)."""
    fit = logistic_regression(torch.ones(1, 1), torch.ones(1), prior_deviation=2.0)
    w = fit.coefficients.item()
    assert w == pytest.approx(4 / (1 + math.exp(w)), abs=1e-9)


def test_what_no_comparison_tells_stays_with_the_prior():
    x = torch.cat([features(50), torch.zeros(50, 1, dtype=torch.float64)], dim=1)
    fit = logistic_regression(x, outcomes(x[:, :3]), prior_deviation=0.5)
    assert fit.estimate(3) == (0.0, 0.5)


@pytest.mark.parametrize("deviation", [0.0, -1.0, math.nan])
def test_a_prior_without_width_is_refused(deviation):
    with pytest.raises(ValueError, match="prior_deviation must be above 0"):
        logistic_regression(features(10), torch.ones(10), deviation)


# ------------------------------------------------------------------ no finite fit


def test_a_fit_is_refused_exactly_where_a_threshold_tells_wins_from_losses():
    generator = torch.Generator().manual_seed(2)
    refused = 0
    for _ in range(150):
        x = (4 * torch.randn(7, generator=generator)).round(decimals=1)
        y = (torch.rand(7, generator=generator) < torch.sigmoid(x)).double()
        wins, losses = x[y == 1].tolist(), x[y == 0].tolist()
        told = not wins or not losses or min(wins) >= max(losses) or min(losses) >= max(wins)
        both = torch.stack([torch.ones(7), x], dim=1)
        if told:
            refused += 1
            with pytest.raises(SeparationError):
                logistic_regression(both, y)
        else:
            assert logistic_regression(both, y).coefficients.isfinite().all()
    assert 30 < refused < 120


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e-3])
def test_a_threshold_that_tells_all_wins_is_refused(scale):
    x = scale * torch.tensor([-3.0, -2, -1, 1, 2, 3])
    with pytest.raises(SeparationError, match="the features tell all wins from all losses"):
        logistic_regression(torch.stack([torch.ones(6), x], dim=1), (x > 0).double())


def test_a_threshold_with_both_on_it_is_refused_too():
    x = torch.tensor([-2.0, -1, 0, 0, 1, 2])
    y = torch.tensor([0.0, 0, 0, 1, 1, 1])
    with pytest.raises(SeparationError):
        logistic_regression(torch.stack([torch.ones(6), x], dim=1), y)


def test_wins_alone_are_refused():
    with pytest.raises(SeparationError):
        logistic_regression(features(50), torch.ones(50))


def test_one_group_without_a_loss_is_refused():
    """Quasi-complete: the feature says nothing in the other group, whose outcomes are mixed."""
    x = torch.tensor([[1.0, 0.0]] * 40 + [[1.0, 1.0]] * 20)
    y = torch.tensor([1.0, 0.0] * 20 + [1.0] * 20)
    with pytest.raises(SeparationError):
        logistic_regression(x, y)


def test_ties_separate_nothing():
    fit = logistic_regression(features(50), torch.full((50,), 0.5))
    assert fit.coefficients.abs().max() < 1e-12


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (torch.ones(6), "2 features must not follow from each other"),
        (torch.zeros(6), "feature 1 is zero in every comparison"),
        (torch.tensor([1.0, 2, 3, 4, 5, math.nan]), "features must be finite"),
    ],
)
def test_a_feature_that_explains_nothing_is_refused(column, said):
    y = torch.tensor([0.0, 1, 1, 0, 0, 1])
    with pytest.raises(ValueError, match=said):
        logistic_regression(torch.stack([torch.ones(6), column], dim=1), y)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"features must be of shape \(n, K\), one row an outcome"):
        logistic_regression(torch.ones(5), torch.ones(5))
    with pytest.raises(ValueError, match="for 4 outcomes"):
        logistic_regression(torch.ones(5, 1), torch.ones(4))
    with pytest.raises(ValueError, match=r"outcomes must be in \[0, 1\]"):
        logistic_regression(torch.ones(2, 1), torch.tensor([1.0, -1.0]))
