"""Equation 7: value, gradient and limits of the DPO loss, with hard and with soft labels."""

import math

import pytest
import torch

from dpo_book import DPOConfig, dpo_loss, policy_preference_probability, soft_dpo_loss

BATCH = 5
BETA = 0.3
# Float64 rounds at 1e-16; the log-probabilities here are below 10 and each value takes a dozen operations.
ROUNDING = {"rtol": 0, "atol": 1e-12}


def random_logps(seed=0, dtype=torch.float64):
    """Policy chosen, policy rejected, reference chosen, reference rejected: (4, BATCH)."""
    generator = torch.Generator().manual_seed(seed)
    return -10 * torch.rand(4, BATCH, generator=generator, dtype=torch.float64).to(dtype)


def random_probability(seed=1):
    return torch.rand(BATCH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(chosen, rejected, ref_chosen, ref_rejected, beta):
    """Equation 7 pair by pair, with the standard library."""
    rows = zip(chosen.tolist(), rejected.tolist(), ref_chosen.tolist(), ref_rejected.tolist(), strict=True)
    return [math.log1p(math.exp(-beta * ((w - ref_w) - (l_ - ref_l)))) for w, l_, ref_w, ref_l in rows]


# ------------------------------------------------------------------ value


@pytest.mark.parametrize("beta", [0.01, 0.1, 1, 5])
def test_the_loss_is_equation_7(beta):
    logps = random_logps()
    losses, _, _ = dpo_loss(*logps, beta)
    assert losses.shape == (BATCH,)
    assert losses.tolist() == pytest.approx(by_hand(*logps, beta), rel=1e-12, abs=1e-12)


def test_the_loss_is_minus_the_log_of_equation_6():
    chosen, rejected, ref_chosen, ref_rejected = random_logps()
    probability = policy_preference_probability(chosen, rejected, ref_chosen, ref_rejected, BETA)
    losses, _, _ = dpo_loss(chosen, rejected, ref_chosen, ref_rejected, BETA)
    torch.testing.assert_close(losses, -probability.log(), **ROUNDING)


@pytest.mark.parametrize("beta", [1e-3, 0.1, 10])
def test_the_loss_is_ln_2_where_the_policy_is_the_reference(beta):
    chosen, rejected, _, _ = random_logps()
    losses, chosen_rewards, rejected_rewards = dpo_loss(chosen, rejected, chosen, rejected, beta)
    assert losses.tolist() == pytest.approx([math.log(2)] * BATCH, abs=1e-15)
    assert not chosen_rewards.any()
    assert not rejected_rewards.any()


def test_rewards_are_beta_times_the_log_ratios():
    chosen, rejected, ref_chosen, ref_rejected = random_logps()
    _, chosen_rewards, rejected_rewards = dpo_loss(chosen, rejected, ref_chosen, ref_rejected, BETA)
    torch.testing.assert_close(chosen_rewards, BETA * (chosen - ref_chosen), **ROUNDING)
    torch.testing.assert_close(rejected_rewards, BETA * (rejected - ref_rejected), **ROUNDING)


def test_swapping_the_pair_flips_the_margin():
    chosen, rejected, ref_chosen, ref_rejected = random_logps()
    losses, w, l_ = dpo_loss(chosen, rejected, ref_chosen, ref_rejected, BETA)
    swapped_losses, swapped_w, swapped_l = dpo_loss(rejected, chosen, ref_rejected, ref_chosen, BETA)
    assert torch.equal(swapped_w - swapped_l, -(w - l_))
    torch.testing.assert_close(swapped_losses - losses, w - l_, **ROUNDING)  # −log σ(−m) + log σ(m) = m


def test_every_pair_is_on_its_own():
    logps = random_logps()
    together, _, _ = dpo_loss(*logps, BETA)
    apart = [dpo_loss(*logps[:, i : i + 1], BETA)[0] for i in range(BATCH)]
    assert torch.equal(together, torch.cat(apart))


# ------------------------------------------------------------------ gradient


@pytest.mark.parametrize("reference_free", [False, True])
def test_the_gradient_is_that_of_finite_differences(reference_free):
    logps = [values.clone().requires_grad_() for values in random_logps()]
    policy, reference = logps[:2], [values.detach() for values in logps[2:]]
    assert torch.autograd.gradcheck(lambda w, l_: dpo_loss(w, l_, *reference, BETA, reference_free)[0], policy)


def test_the_gradient_is_beta_times_the_probability_of_being_wrong():
    chosen, rejected, ref_chosen, ref_rejected = random_logps()
    chosen.requires_grad_()
    rejected.requires_grad_()
    losses, w, l_ = dpo_loss(chosen, rejected, ref_chosen, ref_rejected, BETA)
    losses.sum().backward()
    weight = BETA * torch.sigmoid(l_ - w)
    torch.testing.assert_close(chosen.grad, -weight, **ROUNDING)
    torch.testing.assert_close(rejected.grad, weight, **ROUNDING)


@pytest.mark.parametrize("loss", [dpo_loss, lambda *a: soft_dpo_loss(*a, random_probability())])
def test_rewards_carry_no_gradient(loss):
    chosen, rejected, ref_chosen, ref_rejected = random_logps()
    losses, w, l_ = loss(chosen.requires_grad_(), rejected.requires_grad_(), ref_chosen, ref_rejected, BETA)
    assert losses.requires_grad
    assert not w.requires_grad
    assert not l_.requires_grad


# ------------------------------------------------------------------ no reference


@pytest.mark.parametrize("loss", [dpo_loss, lambda *a, **k: soft_dpo_loss(*a, random_probability(), **k)])
@pytest.mark.parametrize(
    "reference",
    [(None, None), (torch.full((BATCH,), math.nan),) * 2, (torch.zeros(1), torch.zeros(3, 4))],
    ids=["None", "NaN", "other shapes"],
)
def test_a_free_reference_is_not_read(loss, reference):
    chosen, rejected, _, _ = random_logps()
    zero = torch.zeros_like(chosen)
    expected = loss(chosen, rejected, zero, zero, BETA)
    found = loss(chosen, rejected, *reference, BETA, reference_free=True)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_without_a_reference_rewards_are_beta_log_pi_and_agree_with_the_loss():
    chosen, rejected, _, _ = random_logps()
    losses, w, l_ = dpo_loss(chosen, rejected, None, None, BETA, reference_free=True)
    torch.testing.assert_close(w, BETA * chosen, **ROUNDING)
    torch.testing.assert_close(l_, BETA * rejected, **ROUNDING)
    torch.testing.assert_close(losses, torch.log1p((l_ - w).exp()), **ROUNDING)


@pytest.mark.parametrize("missing", [2, 3])
def test_a_missing_reference_is_named(missing):
    logps = list(random_logps())
    logps[missing] = None
    with pytest.raises(ValueError, match="reference_free=True"):
        dpo_loss(*logps, BETA)


# ------------------------------------------------------------------ soft labels


def test_the_soft_loss_is_the_expectation_of_the_hard_one():
    chosen, rejected, ref_chosen, ref_rejected = random_logps()
    p = random_probability()
    soft, _, _ = soft_dpo_loss(chosen, rejected, ref_chosen, ref_rejected, BETA, p)
    as_labelled = torch.tensor(by_hand(chosen, rejected, ref_chosen, ref_rejected, BETA), dtype=torch.float64)
    the_other_way = torch.tensor(by_hand(rejected, chosen, ref_rejected, ref_chosen, BETA), dtype=torch.float64)
    torch.testing.assert_close(soft, p * as_labelled + (1 - p) * the_other_way, **ROUNDING)


def test_a_sure_label_makes_the_soft_loss_the_hard_one():
    logps = random_logps()
    sure = soft_dpo_loss(*logps, BETA, torch.ones(BATCH, dtype=torch.float64))
    for soft, hard in zip(sure, dpo_loss(*logps, BETA), strict=True):
        assert torch.equal(soft, hard)


def test_a_surely_wrong_label_is_the_swapped_pair():
    chosen, rejected, ref_chosen, ref_rejected = random_logps()
    wrong, _, _ = soft_dpo_loss(chosen, rejected, ref_chosen, ref_rejected, BETA, torch.zeros(BATCH).double())
    assert torch.equal(wrong, dpo_loss(rejected, chosen, ref_rejected, ref_chosen, BETA)[0])


def test_the_soft_loss_is_flat_where_the_margin_is_the_log_odds():
    p = random_probability()
    _, rejected, ref_chosen, ref_rejected = random_logps()
    chosen = (p.logit() / BETA + ref_chosen + rejected - ref_rejected).requires_grad_()
    soft, _, _ = soft_dpo_loss(chosen, rejected, ref_chosen, ref_rejected, BETA, p)
    soft.sum().backward()
    torch.testing.assert_close(chosen.grad, torch.zeros_like(p), **ROUNDING)
    entropy = -(p * p.log() + (1 - p) * (1 - p).log())
    torch.testing.assert_close(soft, entropy, **ROUNDING)  # the least that a cross-entropy can be


def test_the_soft_gradient_is_that_of_finite_differences():
    chosen, rejected, ref_chosen, ref_rejected = random_logps()
    policy = (chosen.clone().requires_grad_(), rejected.clone().requires_grad_())
    p = random_probability()
    assert torch.autograd.gradcheck(lambda w, l_: soft_dpo_loss(w, l_, ref_chosen, ref_rejected, BETA, p)[0], policy)


def test_a_probability_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="chosen_probability"):
        soft_dpo_loss(*random_logps(), BETA, random_probability()[:, None])


@pytest.mark.parametrize("wrong", [1.5, -0.5, math.nan, math.inf])
def test_what_is_no_probability_is_refused(wrong):
    probability = random_probability()
    probability[2] = wrong
    with pytest.raises(ValueError, match=r"chosen_probability must be in \[0, 1\]"):
        soft_dpo_loss(*random_logps(), BETA, probability)


@pytest.mark.parametrize("reference_free", ["no", 0, None])
def test_reference_free_is_true_or_false(reference_free):
    with pytest.raises(ValueError, match="reference_free must be True or False"):
        dpo_loss(*random_logps(), BETA, reference_free)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_sure_label_keeps_to_its_loss_where_the_other_is_infinite(probability):
    """A completion that the policy never says: one of the two losses is 0 there, and the other infinite."""
    chosen, rejected, *reference = random_logps()
    never = torch.full_like(rejected, -math.inf)
    said, unsaid = chosen.clone().requires_grad_(), chosen.clone().requires_grad_()
    label = torch.full_like(chosen, probability)
    pair, hard_pair = ((said, never), (unsaid, never)) if probability == 1 else ((never, said), (unsaid, never))
    hard_reference = reference if probability == 1 else reference[::-1]
    losses, *_ = soft_dpo_loss(*pair, *reference, BETA, label)
    expected, *_ = dpo_loss(*hard_pair, *hard_reference, BETA)
    assert torch.equal(losses, expected) and (losses == 0).all()
    losses.sum().backward()
    expected.sum().backward()
    assert torch.equal(said.grad, unsaid.grad) and said.grad.isfinite().all()


# ------------------------------------------------------------------ limits


@pytest.mark.parametrize("probability", [None, 1.0, 0.7, 0.0])
@pytest.mark.parametrize("margin", [1e4, -1e4])
def test_losses_and_gradients_stay_finite_at_large_margins_in_float32(margin, probability):
    chosen = torch.tensor([0.0, margin], requires_grad=True)
    rejected = torch.tensor([-margin, 0.0], requires_grad=True)
    logps = (chosen, rejected, torch.zeros(2), torch.zeros(2), 1.0)
    p = None if probability is None else torch.full((2,), probability)
    losses, w, l_ = dpo_loss(*logps) if p is None else soft_dpo_loss(*logps, p)
    losses.sum().backward()
    for values in (losses, w, l_, chosen.grad, rejected.grad):
        assert values.isfinite().all()
    expected = {None: max(0.0, -margin), 1.0: max(0.0, -margin), 0.0: max(0.0, margin)}.get(
        probability, 0.3 * max(0.0, margin) + 0.7 * max(0.0, -margin)
    )
    # float32 keeps seven digits
    assert losses.tolist() == pytest.approx([expected] * 2, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_loss_keeps_the_precision_of_its_arguments(dtype):
    assert all(values.dtype == dtype for values in dpo_loss(*random_logps(dtype=dtype), BETA))


# ------------------------------------------------------------------ faults


@pytest.mark.parametrize("wrong", range(4))
def test_log_probabilities_of_different_shapes_are_refused(wrong):
    logps = list(random_logps())
    logps[wrong] = logps[wrong][:, None]
    with pytest.raises(ValueError, match=r"one shape.*\(5, 1\)"):
        dpo_loss(*logps, BETA)


@pytest.mark.parametrize(
    ("beta", "error"),
    [(beta, ValueError) for beta in (0, -0.1, math.nan, math.inf, -math.inf)]
    + [(beta, TypeError) for beta in ("0.1", True, None)],
)
def test_a_wrong_beta_is_named(beta, error):
    calls = [
        lambda: dpo_loss(*random_logps(), beta),
        lambda: dpo_loss(*random_logps(), beta, reference_free=True),
        lambda: soft_dpo_loss(*random_logps(), beta, random_probability()),
        lambda: DPOConfig(beta=beta),
    ]
    for call in calls:
        with pytest.raises(error, match=r"beta must be a.*above 0"):
            call()
