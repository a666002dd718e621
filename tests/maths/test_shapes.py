"""Every public function of maths with tensors that do not belong together, with NaN, and with what is no tensor."""

import math

import pytest
import torch

from dpo_book.maths.bradley_terry import fit_rewards, preference_probability, reward_model_loss
from dpo_book.maths.dpo import dpo_loss, soft_dpo_loss
from dpo_book.maths.estimates import estimate, share_interval
from dpo_book.maths.exact import best_of_n_logp, expected_reward, kl_divergence, win_rate
from dpo_book.maths.objective import (
    implicit_reward,
    kl_regularized_objective,
    log_partition,
    optimal_logp,
    policy_preference_probability,
)

# Each a function of tensors alone, and how many it takes.
OVER_RESPONSES = {
    "kl_divergence": (kl_divergence, 2),
    "expected_reward": (expected_reward, 2),
    "win_rate": (win_rate, 3),
    "best_of_n_logp": (lambda ref, r: best_of_n_logp(ref, r, 2), 2),
    "kl_regularized_objective": (lambda logp, ref, r: kl_regularized_objective(logp, ref, r, 1.0), 3),
    "log_partition": (lambda ref, r: log_partition(ref, r, 1.0), 2),
    "optimal_logp": (lambda ref, r: optimal_logp(ref, r, 1.0), 2),
}
OF_PAIRS = {
    "reward_model_loss": (reward_model_loss, 2),
    "dpo_loss": (lambda *logps: dpo_loss(*logps, 0.1)[0], 4),
    "soft_dpo_loss": (lambda *a: soft_dpo_loss(*a[:4], 0.1, a[4])[0], 5),
}
BROADCASTING = {
    "preference_probability": (preference_probability, 2),
    "implicit_reward": (lambda a, b: implicit_reward(a, b, 0.1), 2),
    "policy_preference_probability": (lambda *logps: policy_preference_probability(*logps, 0.1), 4),
}
ALL = OVER_RESPONSES | OF_PAIRS | BROADCASTING | {"fit_rewards": (fit_rewards, 1), "estimate": (estimate, 1)}


def of_shape(*shape):
    """Log-probabilities that are probabilities too, or nearly: 1/2 everywhere."""
    return torch.full(shape, 0.5, dtype=torch.float64)


@pytest.mark.parametrize("name", OVER_RESPONSES)
@pytest.mark.parametrize("other", [(3, 1), (1, 1), (1,), (), (3, 1, 5), (2, 5), (4,)])
def test_responses_are_never_stretched(name, other):
    function, arguments = OVER_RESPONSES[name]
    for wrong in range(arguments):
        tensors = [of_shape(3, 5)] * arguments
        tensors[wrong] = of_shape(*other)
        with pytest.raises(ValueError, match="must have one shape"):
            function(*tensors)


@pytest.mark.parametrize("name", ["kl_divergence", "expected_reward", "log_partition", "optimal_logp"])
def test_one_row_of_responses_stands_for_every_prompt_and_every_policy(name):
    function, _ = OVER_RESPONSES[name]
    generator = torch.Generator().manual_seed(0)
    many = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64).log_softmax(-1)
    one = torch.randn(5, generator=generator, dtype=torch.float64).log_softmax(-1)
    whole = function(many, one.expand(4, 3, 5))
    for shape in ((5,), (1, 5), (1, 1, 5), (3, 5)):
        assert torch.equal(function(many, one.expand(shape)), whole)


@pytest.mark.parametrize("name", OF_PAIRS)
@pytest.mark.parametrize("other", [(5, 1), (1, 5), (1,), (4,)])
def test_pairs_are_never_set_against_each_other(name, other):
    function, arguments = OF_PAIRS[name]
    for wrong in range(arguments):
        tensors = [of_shape(5)] * arguments
        tensors[wrong] = of_shape(*other)
        with pytest.raises(ValueError, match="must have one shape"):
            function(*tensors)


def test_a_reward_model_s_loss_of_all_against_all_is_asked_for_with_two_dimensions():
    reward = torch.arange(3.0, dtype=torch.float64)
    table = reward_model_loss(reward[:, None], reward[None, :])
    assert table.shape == (3, 3) and table[2, 0] == reward_model_loss(reward[2], reward[0])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [[0.5], 0.5, None, "0.5"])
def test_what_is_no_tensor_is_named(name, value):
    function, arguments = ALL[name]
    for wrong in range(arguments):
        tensors = [of_shape(3)] * arguments
        tensors[wrong] = value
        with pytest.raises((TypeError, ValueError), match=r"must be a tensor, not a|needs the reference's"):
            function(*tensors)


@pytest.mark.parametrize("name", ALL)
def test_nan_is_seen_in_the_result_or_refused(name):
    function, arguments = ALL[name]
    shape = (3, 3) if name == "fit_rewards" else (3,)
    for place in range(arguments):
        tensors = [of_shape(*shape) for _ in range(arguments)]
        tensors[place].view(-1)[1] = math.nan
        try:
            result = function(*tensors)
        except ValueError as error:
            assert "NaN" in str(error) or "finite" in str(error) or "in [0, 1]" in str(error)
        else:
            assert torch.as_tensor(result).isnan().any(), (name, place)


# ------------------------------------------------------------------ estimates


@pytest.mark.parametrize("shape", [(3, 2), (3, 1), ()])
def test_an_estimate_is_of_one_value_a_sample(shape):
    with pytest.raises(ValueError, match="shape"):
        estimate(torch.ones(shape))


@pytest.mark.parametrize(("share", "n"), [(1.5, 10), (-0.1, 10), (math.nan, 10), (0.5, 0), (0.5, -3), (0.5, 2.5)])
def test_a_share_is_within_0_and_1_and_of_some(share, n):
    with pytest.raises(ValueError, match=r"share|n must be"):
        share_interval(share, n)
