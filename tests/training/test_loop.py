"""The loop: neither micro-batches nor a second process change what is computed."""

import math
import pickle

import pytest
import torch

from dpo_book import (
    DPOConfig,
    PPOConfig,
    RewardConfig,
    SFTConfig,
    TrainingDiverged,
    UnlikelihoodConfig,
    build_policy,
    build_reward_model,
    copy_policy,
    train_dpo,
    train_reward_model,
    train_sft,
    train_unlikelihood,
)
from dpo_book.training.updates import Updates
from dpo_book.worlds.verdicts import verdicts
from tests.small_data import uneven_pairs

SHAPE = {"learning_rate": 1e-3, "batch_size": 6, "steps": 5, "warmup_steps": 0}


@pytest.fixture
def reference():
    """In float64, for in float32 gradients that are zero but for rounding, as of key biases, move AdamW by it."""
    return build_policy("nano", verdicts().tokenizer, seed=3).double()


@pytest.fixture
def pairs():
    """Eleven, so that every second batch has five."""
    return uneven_pairs()


METHODS = {
    "sft": lambda reference, pairs, **shape: (
        model := copy_policy(reference),
        train_sft(model, [(pair.prompt, pair.chosen) for pair in pairs], SFTConfig(**shape)),
    ),
    "unlikelihood": lambda reference, pairs, **shape: (
        model := copy_policy(reference),
        train_unlikelihood(model, pairs, UnlikelihoodConfig(**shape)),
    ),
    "reward": lambda reference, pairs, **shape: (
        model := build_reward_model(reference).double(),
        train_reward_model(model, pairs, RewardConfig(**shape)),
    ),
    "dpo": lambda reference, pairs, **shape: (
        model := copy_policy(reference),
        train_dpo(model, reference, pairs, DPOConfig(beta=0.5, **shape)),
    ),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [1, 4])
def test_micro_batches_give_the_losses_and_weights_of_the_whole_batch(method, size, reference, pairs):
    whole, expected = METHODS[method](reference, pairs, **SHAPE)
    parted, records = METHODS[method](reference, pairs, **SHAPE, micro_batch_size=size)
    for a, b in zip(records, expected, strict=True):
        # Records are float32, which rounds at 6e-8, reference log-probabilities too; log-probabilities are about 10.
        assert a == pytest.approx(b, rel=1e-6, abs=1e-6)
    for a, b in zip(parted.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-7)  # of weights of about 0.02 that moved by up to 0.005


def test_float32_micro_batches_keep_losses_to_1e_5(reference, pairs):
    reference.float()
    expected = [record["loss"] for record in METHODS["dpo"](reference, pairs, **SHAPE)[1]]
    parted = [record["loss"] for record in METHODS["dpo"](reference, pairs, **SHAPE, micro_batch_size=2)[1]]
    assert parted == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_a_bad_micro_batch_size_is_refused_by_name(size):
    with pytest.raises(ValueError, match="micro_batch_size must be a whole number of at least 1"):
        DPOConfig(micro_batch_size=size)


def test_ppo_says_that_its_minibatches_are_its_own():
    with pytest.raises(ValueError, match="micro_batch_size is not PPO's"):
        PPOConfig(micro_batch_size=4)


def test_one_part_that_is_not_finite_undoes_the_whole_update(reference):
    policy = copy_policy(reference)
    updates = Updates(policy, SFTConfig(), total=1)
    good = lambda: (next(policy.parameters()).sum(), {})
    bad = lambda: (next(policy.parameters()).sum() * math.nan, {})
    with pytest.raises(TrainingDiverged, match="step 7: the loss"):
        updates.apply(7, good, bad)
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), reference.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_a_bad_loss_undoes_the_update_before_it_and_no_more(reference):
    policy = copy_policy(reference)
    updates = Updates(policy, SFTConfig(learning_rate=1e-2, warmup_steps=0), total=5)
    good = lambda: (sum((parameter**2).sum() for parameter in policy.parameters()), {})
    updates.apply(1, good)
    after_one = [parameter.detach().clone() for parameter in policy.parameters()]
    updates.apply(2, good)
    assert not all(torch.equal(a, b) for a, b in zip(policy.parameters(), after_one, strict=True))
    with pytest.raises(TrainingDiverged, match="step 3: the loss"):
        updates.apply(3, lambda: (good()[0] * math.inf, {}))
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), after_one, strict=True))


def test_the_way_back_and_gradients_are_not_in_memory_together(reference):
    policy = copy_policy(reference)
    updates = Updates(policy, SFTConfig(), total=5)
    loss = lambda: (sum((parameter**2).sum() for parameter in policy.parameters()), {})
    updates.apply(1, loss)
    assert updates._before and all(parameter.grad is None for parameter in policy.parameters())
    held = []
    for parameter in policy.parameters():
        parameter.register_hook(lambda grad: held.append(bool(updates._before)))
    updates.apply(2, loss)
    assert held and not any(held)


def test_under_inference_mode_training_says_what_to_do(reference):
    training = train_dpo(copy_policy(reference), reference, uneven_pairs(), DPOConfig(beta=0.5, **SHAPE))
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"inference_mode\(\) nothing can be trained"):
        next(training)


@pytest.mark.parametrize("method", METHODS)
def test_every_training_may_be_iterated_under_no_grad(method, reference, pairs):
    _, expected = METHODS[method](reference, pairs, **SHAPE)
    expected = list(expected)
    with torch.no_grad():
        _, records = METHODS[method](reference, pairs, **SHAPE)
        assert list(records) == expected


def test_a_divergence_is_told_by_another_process_as_it_is():
    error = TrainingDiverged(7, "loss", "Because.")
    sent = pickle.loads(pickle.dumps(error))
    assert (type(sent), str(sent), sent.step) == (TrainingDiverged, str(error), 7)
