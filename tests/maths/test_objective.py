"""Equations 3 to 6 over a few responses, in float64: the closed form is the maximum, and its reward comes back."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from dpo_book import (
    implicit_reward,
    kl_divergence,
    kl_regularized_objective,
    log_partition,
    optimal_logp,
    policy_preference_probability,
    preference_probability,
)

PROMPTS, RESPONSES = 3, 7
BETAS = [0.05, 0.5, 2.0]
# Float64 rounds at 1e-16; the largest number here is a reward over beta, below 100, and sums have 7 terms.
ROUNDING = {"rtol": 0, "atol": 1e-12}


def random_logp(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).log_softmax(dim=-1)


def random_world(seed=0):
    """π_ref (P, N) and r (P, N)."""
    generator = torch.Generator().manual_seed(100 + seed)
    reward = torch.randn(PROMPTS, RESPONSES, generator=generator, dtype=torch.float64)
    return random_logp(PROMPTS, RESPONSES, seed=seed), reward


# ------------------------------------------------------------------ KL


def test_kl_is_positive_between_different_policies():
    a, b = random_logp(2, 100, RESPONSES, seed=0)
    assert (kl_divergence(a, b) > 0).all()


def test_kl_of_a_policy_to_itself_is_zero():
    a = random_logp(100, RESPONSES, seed=0)
    assert (kl_divergence(a, a.clone()) == 0).all()


def test_kl_is_the_sum_of_its_definition():
    p, q = [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]
    by_hand = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert kl_divergence(torch.tensor(p).double().log(), torch.tensor(q).double().log()).item() == pytest.approx(
        by_hand,
        abs=1e-7,  # the fractions were float32 before they were double
    )


@pytest.mark.parametrize("other", [0.25, 0.0])
def test_a_response_without_probability_adds_nothing_to_kl(other):
    logp = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64).log()
    other_logp = torch.tensor([(1 - other) / 2, (1 - other) / 2, other], dtype=torch.float64).log()
    assert kl_divergence(logp, other_logp).item() == pytest.approx(-math.log(1 - other), abs=1e-12)


def test_a_response_without_probability_leaves_the_gradient_of_kl_finite():
    logits = torch.tensor([0.3, -0.2, -math.inf], dtype=torch.float64, requires_grad=True)
    uniform = torch.zeros(3, dtype=torch.float64).log_softmax(-1)
    kl_divergence(logits.log_softmax(-1), uniform).backward()
    assert logits.grad.isfinite().all()


def test_kl_is_infinite_where_the_other_policy_says_never():
    logp = torch.tensor([0.5, 0.5], dtype=torch.float64).log()
    never = torch.tensor([1.0, 0.0], dtype=torch.float64).log()
    assert kl_divergence(logp, never).item() == math.inf


# ------------------------------------------------------------------ equations 3 and 4


def test_the_objective_is_expected_reward_minus_beta_kl():
    ref_logp, reward = random_world()
    logp = random_logp(PROMPTS, RESPONSES, seed=9)
    by_hand = [
        sum(
            math.exp(logp[x, y]) * (reward[x, y].item() - 0.5 * (logp[x, y] - ref_logp[x, y]).item())
            for y in range(RESPONSES)
        )
        for x in range(PROMPTS)
    ]
    assert kl_regularized_objective(logp, ref_logp, reward, 0.5).tolist() == pytest.approx(by_hand, abs=1e-12)


def test_the_reference_earns_its_expected_reward_and_pays_no_kl():
    ref_logp, reward = random_world()
    expected = (ref_logp.exp() * reward).sum(-1)
    torch.testing.assert_close(kl_regularized_objective(ref_logp, ref_logp, reward, 0.5), expected, **ROUNDING)


@pytest.mark.parametrize("beta", BETAS)
def test_the_optimal_policy_sums_to_one(beta):
    probability = optimal_logp(*random_world(), beta).exp().sum(-1)
    torch.testing.assert_close(probability, torch.ones_like(probability), **ROUNDING)


@pytest.mark.parametrize("beta", BETAS)
def test_the_optimal_policy_is_the_reference_tilted_by_the_reward(beta):
    ref_logp, reward = random_world()
    tilted = ref_logp.exp() * (reward / beta).exp()
    expected = tilted / tilted.sum(-1, keepdim=True)
    torch.testing.assert_close(optimal_logp(ref_logp, reward, beta).exp(), expected, **ROUNDING)


@pytest.mark.parametrize("beta", BETAS)
def test_log_partition_is_the_log_of_the_sum_over_responses(beta):
    ref_logp, reward = random_world()
    by_hand = (ref_logp.exp() * (reward / beta).exp()).sum(-1).log()
    torch.testing.assert_close(log_partition(ref_logp, reward, beta), by_hand, **ROUNDING)


@pytest.mark.parametrize("beta", BETAS)
def test_the_optimum_is_worth_beta_log_z(beta):
    ref_logp, reward = random_world()
    best = kl_regularized_objective(optimal_logp(ref_logp, reward, beta), ref_logp, reward, beta)
    torch.testing.assert_close(best, beta * log_partition(ref_logp, reward, beta), **ROUNDING)


@pytest.mark.parametrize("beta", BETAS)
def test_no_other_policy_does_better(beta):
    ref_logp, reward = random_world()
    optimum = optimal_logp(ref_logp, reward, beta)
    best = kl_regularized_objective(optimum, ref_logp, reward, beta)
    far = random_logp(500, PROMPTS, RESPONSES, seed=1)
    near = (optimum + 0.01 * far).log_softmax(-1)
    assert (kl_regularized_objective(far, ref_logp, reward, beta) < best).all()
    # near a maximum the difference is of second order and may be lost in rounding, no more
    assert (kl_regularized_objective(near, ref_logp, reward, beta) < best + ROUNDING["atol"]).all()


@pytest.mark.parametrize("beta", BETAS)
def test_what_another_policy_lacks_is_beta_times_its_kl_to_the_optimum(beta):
    ref_logp, reward = random_world()
    optimum = optimal_logp(ref_logp, reward, beta)
    others = random_logp(50, PROMPTS, RESPONSES, seed=1)
    lacking = beta * log_partition(ref_logp, reward, beta) - kl_regularized_objective(others, ref_logp, reward, beta)
    torch.testing.assert_close(lacking, beta * kl_divergence(others, optimum), **ROUNDING)


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_gradient_ascent_ends_at_the_optimal_policy(beta):
    ref_logp, reward = random_world()
    logits = torch.zeros(PROMPTS, RESPONSES, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss():
        optimizer.zero_grad()
        value = -kl_regularized_objective(logits.log_softmax(-1), ref_logp, reward, beta).sum()
        value.backward()
        return value

    optimizer.step(loss)
    # A line search cannot see the objective, of order one, beyond 1e-16, so neither the policy beyond 1e-8.
    found = logits.detach().softmax(-1)
    torch.testing.assert_close(found, optimal_logp(ref_logp, reward, beta).exp(), rtol=0, atol=1e-6)


def test_the_objective_has_the_gradient_of_finite_differences():
    ref_logp, reward = random_world()
    logits = random_logp(PROMPTS, RESPONSES, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: kl_regularized_objective(z.log_softmax(-1), ref_logp, reward, 0.3), (logits,)
    )


def test_a_large_beta_holds_the_policy_at_the_reference():
    ref_logp, reward = random_world()
    # log π* − log π_ref is of the order of r / beta: 3e-9 for rewards up to 3
    torch.testing.assert_close(optimal_logp(ref_logp, reward, 1e9), ref_logp, rtol=0, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_smallest_beta_gives_the_best_response_and_finite_numbers(dtype):
    ref_logp, reward = (values.to(dtype) for values in random_world())
    beta = 1e-30
    optimum = optimal_logp(ref_logp, reward, beta)
    assert optimum.isfinite().all()
    assert torch.equal(optimum.exp().argmax(-1), reward.argmax(-1))
    assert kl_regularized_objective(optimum, ref_logp, reward, beta).isfinite().all()
    assert log_partition(ref_logp, reward, beta).isfinite().all()


def test_leading_dimensions_are_prompts_done_apart():
    ref_logp, reward = random_world()
    assert log_partition(ref_logp, reward, 0.5).shape == (PROMPTS,)
    together = optimal_logp(ref_logp.view(1, PROMPTS, 1, -1), reward.view(1, PROMPTS, 1, -1), 0.5)
    assert together.shape == (1, PROMPTS, 1, RESPONSES)
    for x in range(PROMPTS):
        torch.testing.assert_close(together[0, x, 0], optimal_logp(ref_logp[x], reward[x], 0.5), **ROUNDING)


# ------------------------------------------------------------------ equations 5 and 6


@pytest.mark.parametrize("beta", BETAS)
def test_the_optimal_policy_gives_its_reward_back_less_beta_log_z(beta):
    ref_logp, reward = random_world()
    found = implicit_reward(optimal_logp(ref_logp, reward, beta), ref_logp, beta)
    expected = reward - beta * log_partition(ref_logp, reward, beta).unsqueeze(-1)
    torch.testing.assert_close(found, expected, **ROUNDING)


def test_every_policy_is_optimal_for_its_implicit_reward():
    ref_logp, _ = random_world()
    logp = random_logp(PROMPTS, RESPONSES, seed=3)
    again = optimal_logp(ref_logp, implicit_reward(logp, ref_logp, 0.3), 0.3)
    torch.testing.assert_close(again, logp, **ROUNDING)


@pytest.mark.parametrize("beta", BETAS)
def test_equation_6_at_the_optimum_is_equation_1(beta):
    ref_logp, reward = random_world()
    optimum = optimal_logp(ref_logp, reward, beta)
    from_policies = policy_preference_probability(
        optimum.unsqueeze(-1), optimum.unsqueeze(-2), ref_logp.unsqueeze(-1), ref_logp.unsqueeze(-2), beta
    )
    from_rewards = preference_probability(reward.unsqueeze(-1), reward.unsqueeze(-2))
    assert from_policies.shape == (PROMPTS, RESPONSES, RESPONSES)
    torch.testing.assert_close(from_policies, from_rewards, **ROUNDING)


def test_equation_6_reads_as_it_is_printed():
    a, b, ref_a, ref_b = random_logp(4, RESPONSES, seed=4)
    printed = 1 / (1 + (0.7 * (b - ref_b) - 0.7 * (a - ref_a)).exp())
    torch.testing.assert_close(policy_preference_probability(a, b, ref_a, ref_b, 0.7), printed, **ROUNDING)


def test_a_shift_of_the_reward_by_prompt_changes_neither_optimum_nor_preferences():
    ref_logp, reward = random_world()
    shift = torch.tensor([[5.0], [-3.0], [0.25]], dtype=torch.float64)
    optimum, shifted = (optimal_logp(ref_logp, r, 0.5) for r in (reward, reward + shift))
    torch.testing.assert_close(shifted, optimum, **ROUNDING)
    torch.testing.assert_close(
        implicit_reward(shifted, ref_logp, 0.5), implicit_reward(optimum, ref_logp, 0.5), **ROUNDING
    )
    torch.testing.assert_close(
        log_partition(ref_logp, reward + shift, 0.5),
        log_partition(ref_logp, reward, 0.5) + shift.squeeze(-1) / 0.5,
        **ROUNDING,
    )


# ------------------------------------------------------------------ beta


@pytest.mark.parametrize(
    ("beta", "error"),
    [(beta, ValueError) for beta in (0, 0.0, -0.1, math.nan, math.inf, -math.inf)]
    + [(beta, TypeError) for beta in ("0.1", True, None, 1j, torch.tensor([0.1]))],
)
def test_beta_must_be_a_finite_number_above_zero(beta, error):
    logp = random_logp(RESPONSES, seed=5)
    calls = [
        lambda: kl_regularized_objective(logp, logp, logp, beta),
        lambda: log_partition(logp, logp, beta),
        lambda: optimal_logp(logp, logp, beta),
        lambda: implicit_reward(logp, logp, beta),
        lambda: policy_preference_probability(logp, logp, logp, logp, beta),
    ]
    for call in calls:
        with pytest.raises(error, match=r"beta must be a.*above 0"):
            call()


@pytest.mark.parametrize("beta", [1, np.float32(0.5), np.float64(0.5), np.int64(2), Fraction(1, 2)])
def test_beta_may_be_any_real_number(beta):
    ref_logp, reward = random_world()
    torch.testing.assert_close(optimal_logp(ref_logp, reward, beta), optimal_logp(ref_logp, reward, float(beta)))
