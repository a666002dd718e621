"""Every loss after DPO against its formula in plain NumPy, and what all of them have in common."""

import inspect
import math
from functools import partial

import numpy as np
import pytest
import torch

from dpo_book import DPOConfig, dpo_loss
from dpo_book.maths.relatives.anchors import kto_loss
from dpo_book.maths.relatives.named import LOSSES
from dpo_book.maths.relatives.pairs import PairLogps, expected_loss
from dpo_book.maths.relatives.settings import SETTINGS, WITHOUT_REFERENCE, LossName
from dpo_book.maths.require import SettingError

B = 7
BETA = 0.3
# Float64 rounds at 1e-16; the numbers here are below 100, with a dozen operations on each.
ROUNDING = {"rtol": 1e-12, "atol": 1e-12}


def random_logps(seed=0):
    """Completions of 2 to 9 tokens with up to 3 nats a token; the reference near the policy."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(2, 10, (2, B), generator=generator)
    policy = -3 * torch.rand(2, B, generator=generator, dtype=torch.float64) * tokens
    reference = policy + torch.randn(2, B, generator=generator, dtype=torch.float64)
    return PairLogps(*policy, *reference, *tokens)


def settings_of(name):
    return SETTINGS.get(name, {})


def loss_named(name):
    return partial(LOSSES[name], **settings_of(name))


def minus_log_sigmoid(x):
    return np.log1p(np.exp(-x))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_odds(mean_logp):
    p = np.exp(mean_logp)
    return np.log(p / (1 - p))


def kto_by_hand(hw, hl):
    z0 = max(0.0, np.concatenate([hw, hl]).mean())
    return ((1 - sigmoid(BETA * (hw - z0))) + (1 - sigmoid(BETA * (z0 - hl)))) / 2


# pw, pl: log π of the two; hw, hl: log-ratios; nw, nl: tokens. Settings are those of SETTINGS.
BY_HAND = {
    "dpo": lambda pw, pl, hw, hl, nw, nl: minus_log_sigmoid(BETA * (hw - hl)),
    "ipo": lambda pw, pl, hw, hl, nw, nl: (hw - hl - 0.5 / BETA) ** 2,
    "cdpo": lambda pw, pl, hw, hl, nw, nl: (
        0.9 * minus_log_sigmoid(BETA * (hw - hl)) + 0.1 * minus_log_sigmoid(BETA * (hl - hw))
    ),
    "robust": lambda pw, pl, hw, hl, nw, nl: (
        (0.9 * minus_log_sigmoid(BETA * (hw - hl)) - 0.1 * minus_log_sigmoid(BETA * (hl - hw))) / 0.8
    ),
    "hinge": lambda pw, pl, hw, hl, nw, nl: np.maximum(0, 1 - BETA * (hw - hl)),
    "dpo_norm": lambda pw, pl, hw, hl, nw, nl: minus_log_sigmoid(BETA * (hw / nw - hl / nl)),
    "rdpo": lambda pw, pl, hw, hl, nw, nl: minus_log_sigmoid(BETA * (hw - hl) + 0.01 * (nw - nl)),
    "simpo": lambda pw, pl, hw, hl, nw, nl: minus_log_sigmoid(BETA * (pw / nw - pl / nl) - 0.5),
    "orpo": lambda pw, pl, hw, hl, nw, nl: -pw / nw + BETA * minus_log_sigmoid(log_odds(pw / nw) - log_odds(pl / nl)),
    "dpop": lambda pw, pl, hw, hl, nw, nl: minus_log_sigmoid(BETA * (hw - hl - 5 * np.maximum(0, -hw))),
    "rpo": lambda pw, pl, hw, hl, nw, nl: minus_log_sigmoid(BETA * (hw - hl)) - pw / nw,
    "apo_zero": lambda pw, pl, hw, hl, nw, nl: 1 - sigmoid(BETA * hw) + sigmoid(BETA * hl),
    "apo_down": lambda pw, pl, hw, hl, nw, nl: sigmoid(BETA * hw) + 1 - sigmoid(BETA * (hw - hl)),
    "kto": lambda pw, pl, hw, hl, nw, nl: kto_by_hand(hw, hl),
    "chi_po": lambda pw, pl, hw, hl, nw, nl: minus_log_sigmoid(BETA * (np.exp(hw) + hw - np.exp(hl) - hl)),
}


def test_the_table_of_settings_names_every_loss_and_what_it_takes():
    assert set(LOSSES) == set(LossName.__args__) == set(BY_HAND)
    for name, loss in LOSSES.items():
        parameters = list(inspect.signature(loss).parameters)
        assert parameters == ["logps", "beta", *settings_of(name)]


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_its_formula(name):
    logps = random_logps()
    losses, chosen, rejected = loss_named(name)(logps, BETA)
    policy_chosen, policy_rejected, ref_chosen, ref_rejected, nw, nl = (field.numpy() for field in logps)
    by_hand = BY_HAND[name](
        policy_chosen, policy_rejected, policy_chosen - ref_chosen, policy_rejected - ref_rejected, nw, nl
    )
    np.testing.assert_allclose(losses.numpy(), by_hand, **ROUNDING)
    assert losses.shape == chosen.shape == rejected.shape == (B,)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences_and_rewards_have_none(name):
    logps = random_logps(seed=3)
    policy = [field.clone().requires_grad_() for field in logps[:2]]

    def losses_of(chosen, rejected):
        moved = logps._replace(policy_chosen=chosen, policy_rejected=rejected)
        return loss_named(name)(moved, BETA).losses

    if name != "kto":  # whose z₀ is a number: differences would move it
        assert torch.autograd.gradcheck(losses_of, policy)
    found = loss_named(name)(logps._replace(policy_chosen=policy[0], policy_rejected=policy[1]), BETA)
    assert found.losses.requires_grad
    assert not (found.chosen_rewards.requires_grad or found.rejected_rewards.requires_grad)


def test_kto_s_gradient_holds_its_baseline_fixed():
    logps = random_logps(seed=3)
    h = torch.cat(logps.log_ratios())
    baseline = h.mean().clamp(min=0.1)
    policy = [field.clone().requires_grad_() for field in logps[:2]]

    def losses_of(chosen, rejected):
        return kto_loss(logps._replace(policy_chosen=chosen, policy_rejected=rejected), BETA, baseline).losses

    assert torch.autograd.gradcheck(losses_of, policy)
    moving = baseline.clone().requires_grad_()
    losses = kto_loss(logps._replace(policy_chosen=policy[0]), BETA, moving).losses
    assert torch.autograd.grad(losses.sum(), moving, allow_unused=True) == (None,)


def test_dpo_by_name_is_dpo_loss():
    logps = random_logps()
    torch.testing.assert_close(
        LOSSES["dpo"](logps, BETA), LOSSES["dpo"](logps, BETA)._make(dpo_loss(*logps[:4], BETA))
    )


@pytest.mark.parametrize(
    "name", sorted(set(LOSSES) - {"orpo", "rpo", "dpop", "ipo", "hinge", "apo_zero", "apo_down", "kto"})
)
def test_where_a_loss_compares_rewards_they_are_the_ones_it_returns(name):
    """At ε = 0, γ = 0 these are −log σ(chosen − rejected) of their own rewards."""
    zero = {setting: 0.0 for setting in settings_of(name) if setting in ("label_smoothing", "target_margin")}
    losses, chosen, rejected = LOSSES[name](random_logps(), BETA, **(settings_of(name) | zero))
    torch.testing.assert_close(losses, -torch.nn.functional.logsigmoid(chosen - rejected), **ROUNDING)


@pytest.mark.parametrize("name", LOSSES)
def test_a_soft_label_is_the_mean_over_its_two_ways(name):
    logps, loss = random_logps(), loss_named(name)
    p = torch.linspace(0, 1, B, dtype=torch.float64)
    one_way, other_way = loss(logps, BETA).losses, loss(logps.swapped(), BETA).losses
    torch.testing.assert_close(expected_loss(loss, logps, BETA, p).losses, p * one_way + (1 - p) * other_way)
    assert logps.swapped().swapped() == logps


@pytest.mark.parametrize("name", WITHOUT_REFERENCE)
def test_what_has_no_reference_does_not_read_it(name):
    logps = random_logps()
    nothing = torch.full((B,), math.nan, dtype=torch.float64)
    without = logps._replace(reference_chosen=nothing, reference_rejected=nothing)
    torch.testing.assert_close(loss_named(name)(without, BETA), loss_named(name)(logps, BETA))


@pytest.mark.parametrize("name", sorted(set(LOSSES) - set(WITHOUT_REFERENCE)))
def test_all_others_do(name):
    logps = random_logps()
    other = logps._replace(reference_chosen=logps.reference_chosen + 0.5)
    assert not torch.allclose(loss_named(name)(other, BETA).losses, loss_named(name)(logps, BETA).losses)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("distance", [200.0, -200.0])
def test_far_from_the_reference_values_and_gradients_stay_numbers(name, distance):
    policy = torch.tensor([-1e-9, -300.0], requires_grad=True)
    zeros = torch.zeros(1)
    logps = PairLogps(policy[:1], policy[1:], zeros - distance, zeros + distance, zeros + 1, zeros + 3)
    losses = loss_named(name)(logps, BETA).losses
    (gradient,) = torch.autograd.grad(losses.sum(), policy)
    assert losses.isfinite().all() and gradient.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_shapes_and_beta_are_checked(name):
    logps = random_logps()
    for field in PairLogps._fields:
        with pytest.raises(ValueError, match="must have one shape"):
            loss_named(name)(logps._replace(**{field: logps[0][:, None]}), BETA)
    with pytest.raises(SettingError, match="beta"):
        loss_named(name)(logps, 0)


@pytest.mark.parametrize(
    ("name", "setting", "wrong"),
    [
        ("cdpo", "label_smoothing", [-0.1, 0.5, 1, math.nan, None]),
        ("robust", "label_smoothing", [-0.1, 0.5, 1, math.nan, None]),
        ("rdpo", "length_penalty", [-0.1, math.nan, math.inf, False]),
        ("simpo", "target_margin", [-0.1, math.nan, "1"]),
        ("dpop", "penalty", [-1, math.inf]),
        ("rpo", "nll_weight", [-1, math.nan]),
        ("chi_po", "reward_bound", [0, -1, math.nan]),
    ],
)
def test_settings_are_checked_by_the_loss_and_by_the_configuration(name, setting, wrong):
    for value in wrong:
        with pytest.raises(SettingError, match=setting):
            LOSSES[name](random_logps(), BETA, **{setting: value})
        if value is not None:  # which is "by default" there
            with pytest.raises(SettingError, match=setting):
                DPOConfig(loss=name, **{setting: value})
