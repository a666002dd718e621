"""What each loss leads to, exactly: six responses of unlike lengths, every pair weighed by how often it is drawn."""

import math
from functools import partial

import pytest
import torch

from dpo_book import kl_divergence, optimal_logp, preference_probability
from dpo_book.maths.relatives.anchors import (
    apo_down_loss,
    apo_zero_loss,
    chi_po_loss,
    dpop_loss,
    kto_loss,
    rpo_loss,
)
from dpo_book.maths.relatives.lengths import dpo_norm_loss, orpo_loss, rdpo_loss, simpo_loss
from dpo_book.maths.relatives.margins import cdpo_loss, hinge_loss, ipo_loss, robust_loss
from dpo_book.maths.relatives.named import LOSSES, dpo
from dpo_book.maths.relatives.pairs import PairLogps, expected_loss

BETA = 0.5
LENGTHS = torch.tensor([2, 3, 3, 4, 5, 6], dtype=torch.float64)
REF_LOGP = torch.tensor([0.3, 0.2, 0.2, 0.15, 0.1, 0.05], dtype=torch.float64).log()
REWARD = torch.tensor([0.0, 0.4, -0.3, 0.8, -0.5, 0.6], dtype=torch.float64)
PROPOSAL = torch.tensor([0.1, 0.1, 0.2, 0.2, 0.2, 0.2], dtype=torch.float64)
LABEL = preference_probability(REWARD[:, None], REWARD[None, :])
# Gradients of order one in float64, summed over thirty pairs.
NOTHING = 1e-12


def all_pairs(logp, lengths=LENGTHS):
    """Every ordered pair of responses, a response beside itself too: PairLogps of shape (36,)."""
    n = len(logp)
    first, second = torch.arange(n).repeat_interleave(n), torch.arange(n).repeat(n)
    return PairLogps(logp[first], logp[second], REF_LOGP[first], REF_LOGP[second], lengths[first], lengths[second])


def population_loss(loss, logp, label=LABEL, beta=BETA, lengths=LENGTHS):
    """The expectation over pairs from PROPOSAL and over labels: what infinite data would be."""
    losses = expected_loss(loss, all_pairs(logp, lengths), beta, label.flatten()).losses
    return ((PROPOSAL[:, None] * PROPOSAL[None, :]).flatten() * losses).sum()


def gradient_at(logp, loss, **how):
    """Of the population loss, in the logits of an unrestricted policy."""
    logits = logp.clone().requires_grad_()
    return torch.autograd.grad(population_loss(loss, logits.log_softmax(-1), **how), logits)[0]


def assert_is_the_minimum(logp, loss, **how):
    """No gradient there, and more loss at a hundred policies around it, near and far."""
    assert logp.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert gradient_at(logp, loss, **how).abs().max() < NOTHING
    least = population_loss(loss, logp, **how)
    generator = torch.Generator().manual_seed(0)
    for size in torch.logspace(-2, 0.5, 100):
        moved = logp + size * torch.randn(len(logp), generator=generator, dtype=torch.float64)
        assert population_loss(loss, moved.log_softmax(-1), **how) > least


def minimised(loss, **how):
    """The policy at the population loss's minimum, by Newton-like steps from the reference."""
    logits = REF_LOGP.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        value = population_loss(loss, logits.log_softmax(-1), **how)
        value.backward()
        return value

    optimizer.step(closure)
    return logits.detach().log_softmax(-1)


def bisected(function, low, high):
    """Where an increasing function is zero."""
    for _ in range(60):  # a bit of float64's 53 each
        middle = (low + high) / 2
        low, high = (low, middle) if function(middle) > 0 else (middle, high)
    return low


def test_dpo_s_minimum_is_equation_4():
    assert_is_the_minimum(optimal_logp(REF_LOGP, REWARD, BETA), dpo)


# ------------------------------------------------------------------ functions of the margin


def test_ipo_s_minimum_tilts_by_the_probability_to_win():
    wins = LABEL @ PROPOSAL  # p(y ≻ μ): (N,)
    assert_is_the_minimum(optimal_logp(REF_LOGP, wins, BETA), ipo_loss)


def test_with_sure_labels_ipo_s_minimum_stays_finite_and_dpo_s_does_not():
    sure = (REWARD[:, None] > REWARD[None, :]).double() + 0.5 * torch.eye(6, dtype=torch.float64)
    assert_is_the_minimum(optimal_logp(REF_LOGP, sure @ PROPOSAL, BETA), ipo_loss, label=sure)
    losses = []
    for sharpness in (1, 10, 100):  # ever sharper policies in the order of the rewards
        logp = optimal_logp(REF_LOGP, sharpness * REWARD, BETA)
        losses.append(population_loss(dpo, logp, label=sure).item())
    of_a_response_beside_itself = PROPOSAL.square().sum().item() * torch.tensor(2.0).log().item()
    assert losses[0] > losses[1] > losses[2]
    assert losses[2] == pytest.approx(of_a_response_beside_itself, abs=1e-4)


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 0.4])
def test_cdpo_is_least_where_the_margin_is_the_log_odds_of_a_right_label(epsilon):
    best = torch.tensor(1 - epsilon, dtype=torch.float64).logit() / BETA

    def loss_at(margin):
        zero = torch.zeros(1, dtype=torch.float64)
        logps = PairLogps(margin.reshape(1), zero, zero, zero, zero + 1, zero + 1)
        return cdpo_loss(logps, BETA, epsilon).losses.sum()

    margin = best.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss_at(margin), margin)
    assert abs(slope.item()) < NOTHING
    assert loss_at(best) < min(loss_at(best + 0.1), loss_at(best - 0.1))


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_robust_dpo_expects_the_clean_loss_and_has_its_minimum(epsilon):
    robust = partial(robust_loss, label_smoothing=epsilon)
    flipped = (1 - epsilon) * LABEL + epsilon * (1 - LABEL)
    logp = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).log_softmax(-1)
    noisy, clean = population_loss(robust, logp, label=flipped), population_loss(dpo, logp)
    assert noisy.item() == pytest.approx(clean.item(), rel=1e-12)
    assert_is_the_minimum(optimal_logp(REF_LOGP, REWARD, BETA), robust, label=flipped)
    sure = all_pairs(optimal_logp(REF_LOGP, 10 * REWARD, BETA))
    assert (robust(sure, BETA).losses < 0).any()


def test_the_hinge_is_flat_beyond_one():
    logps = all_pairs(optimal_logp(REF_LOGP, 10 * REWARD, BETA))
    losses, chosen, rejected = hinge_loss(logps, BETA)
    assert ((losses == 0) == (chosen - rejected >= 1)).all()
    assert (losses == 0).any()


@pytest.mark.parametrize("name", ["dpo", "ipo", "cdpo", "robust", "hinge"])
def test_what_sees_the_margin_alone_does_not_see_both_log_ratios_fall(name):
    check_shift(partial(LOSSES[name], **({"label_smoothing": 0.1} if name in ("cdpo", "robust") else {})), False)


@pytest.mark.parametrize(
    "loss",
    [
        partial(dpop_loss, penalty=5.0),
        partial(rpo_loss, nll_weight=1.0),
        apo_zero_loss,
        apo_down_loss,
        partial(kto_loss, baseline=torch.tensor(0.2)),
        partial(chi_po_loss, reward_bound=10.0),
        dpo_norm_loss,
    ],
)
def test_what_has_an_anchor_sees_it(loss):
    check_shift(loss, True)


def check_shift(loss, changes):
    """Lower both completions by two nats, as where a policy loses chosen and rejected alike."""
    logps = all_pairs(optimal_logp(REF_LOGP, REWARD, BETA))
    lower = logps._replace(policy_chosen=logps.policy_chosen - 2, policy_rejected=logps.policy_rejected - 2)
    same = torch.allclose(loss(logps, BETA).losses, loss(lower, BETA).losses, rtol=1e-12)
    assert same != changes


# ------------------------------------------------------------------ lengths


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5])
def test_r_dpo_s_minimum_is_equation_4_with_length_taken_off_the_reward(alpha):
    best = optimal_logp(REF_LOGP, REWARD - alpha * LENGTHS, BETA)
    assert_is_the_minimum(best, partial(rdpo_loss, length_penalty=alpha))


def test_normalised_by_length_every_length_has_a_beta_of_its_own_and_the_constant_stays():
    """β h/|y| = r + c, and c is what makes the probabilities sum to one: here it does not vanish as log Z does."""

    def logp_at(c):
        return REF_LOGP + (REWARD + c) * LENGTHS / BETA

    c = bisected(lambda c: logp_at(c).exp().sum().item() - 1, -10.0, 10.0)
    best = logp_at(c)
    assert_is_the_minimum(best, dpo_norm_loss)
    assert kl_divergence(best, optimal_logp(REF_LOGP, REWARD * LENGTHS, BETA)) > 0.01


def test_at_one_length_normalised_dpo_is_dpo_with_a_smaller_beta():
    one_length = torch.full((6,), 4)
    assert_is_the_minimum(optimal_logp(REF_LOGP, REWARD, BETA / 4), dpo_norm_loss, lengths=one_length)


def test_simpo_at_one_length_is_reference_free_dpo_less_a_margin():
    logps = all_pairs(optimal_logp(REF_LOGP, REWARD, BETA), torch.full((6,), 4))
    margin = BETA / 4 * (logps.policy_chosen - logps.policy_rejected)
    expected = -torch.nn.functional.logsigmoid(margin - 0.7)
    torch.testing.assert_close(simpo_loss(logps, BETA, 0.7).losses, expected)
    # Without the margin the minimum tilts the uniform policy, not the reference.
    uniform = torch.zeros_like(REWARD)
    simpo = partial(simpo_loss, target_margin=0.0)
    assert_is_the_minimum(optimal_logp(uniform, REWARD, BETA / 4), simpo, lengths=torch.full((6,), 4))


@pytest.mark.parametrize("p", [0.55, 0.9])
def test_simpo_s_margin_pushes_a_soft_pair_beyond_its_log_odds(p):
    """p σ(γ − m) = (1 − p) σ(γ + m); in a = exp m, with g = exp γ: (1 − p) a² + (1 − 2p) g a − p = 0."""
    g = torch.tensor(0.7, dtype=torch.float64).exp()
    a = ((2 * p - 1) * g + ((1 - 2 * p) ** 2 * g**2 + 4 * p * (1 - p)).sqrt()) / (2 * (1 - p))
    margin = a.log().requires_grad_()
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    logps = PairLogps(margin.reshape(1), zero, zero, zero, one, one)
    losses = expected_loss(partial(simpo_loss, target_margin=0.7), logps, 1.0, p * one).losses
    assert torch.autograd.grad(losses.sum(), margin)[0].abs() < NOTHING
    assert margin > torch.tensor(p, dtype=torch.float64).logit()


def test_orpo_s_minimum_is_not_dpo_s():
    best = minimised(orpo_loss)
    assert gradient_at(best, orpo_loss).abs().max() < 1e-7
    assert kl_divergence(best, optimal_logp(REF_LOGP, REWARD, BETA)) > 0.05


# ------------------------------------------------------------------ anchors


def test_under_dpop_nothing_falls_so_where_all_are_chosen_sometimes_nothing_moves():
    target = optimal_logp(REF_LOGP, REWARD, BETA)
    assert (target < REF_LOGP).any()
    assert gradient_at(target, partial(dpop_loss, penalty=5.0)).abs().max() > 0.01
    distances = []
    for penalty in (0.0, 1.0, 100.0):
        best = minimised(partial(dpop_loss, penalty=penalty))
        distances.append(kl_divergence(best, REF_LOGP).item())
    assert distances[0] == pytest.approx(kl_divergence(target, REF_LOGP).item(), abs=1e-6)
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 1e-3


def test_under_rpo_the_distance_to_the_optimum_grows_with_the_weight_of_imitation():
    target = optimal_logp(REF_LOGP, REWARD, BETA)
    distances = []
    for weight in (0.0, 0.1, 1.0):
        best = minimised(partial(rpo_loss, nll_weight=weight))
        distances.append(kl_divergence(best, target).item())
    assert distances[0] < 1e-9 < distances[1] < distances[2]


def test_apo_pushes_each_completion_its_own_way():
    logps = all_pairs(optimal_logp(REF_LOGP, REWARD, BETA))
    signs = {apo_zero_loss: (-1, 1), apo_down_loss: (1, 1)}  # of the loss's slope in log π(y_w) and log π(y_l)
    for loss, (of_chosen, of_rejected) in signs.items():
        chosen, rejected = logps.policy_chosen.clone(), logps.policy_rejected.clone()
        moved = logps._replace(policy_chosen=chosen.requires_grad_(), policy_rejected=rejected.requires_grad_())
        slopes = torch.autograd.grad(loss(moved, BETA).losses.sum(), [chosen, rejected])
        assert (slopes[1].sign() == of_rejected).all()
        if loss is apo_zero_loss:
            assert (slopes[0].sign() == of_chosen).all()


def test_chi_po_s_ratio_solves_its_equation():
    def ratio_at(shift):
        """z of every response with z + log z = (r − λ)/β, λ = −shift."""
        goals = (REWARD + shift) / BETA
        log_ratios = [bisected(lambda log_z, g=g: math.exp(log_z) + log_z - g, -50.0, 5.0) for g in goals.tolist()]
        return torch.tensor(log_ratios, dtype=torch.float64).exp()

    shift = bisected(lambda s: (REF_LOGP.exp() * ratio_at(s)).sum().item() - 1, -10.0, 10.0)
    best = REF_LOGP + ratio_at(shift).log()
    assert_is_the_minimum(best, partial(chi_po_loss, reward_bound=5.0))
    # Its tilt is the milder one: the likeliest gains less than under equation 4.
    assert (best - REF_LOGP).max() < (optimal_logp(REF_LOGP, REWARD, BETA) - REF_LOGP).max()


def test_a_reference_that_is_reset_k_times_is_a_tilt_by_k_over_beta():
    logp = REF_LOGP
    for _ in range(3):
        logp = optimal_logp(logp, REWARD, BETA)
    torch.testing.assert_close(logp, optimal_logp(REF_LOGP, REWARD, BETA / 3))
