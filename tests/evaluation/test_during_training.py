"""Held-out measures: the numbers that training has of the same rows, and nothing of the training is touched."""

import math
import random
import statistics

import pytest
import torch

from dpo_book import (
    DPOConfig,
    RewardConfig,
    SFTConfig,
    build_policy,
    build_reward_model,
    train_dpo,
    train_reward_model,
    train_sft,
)
from dpo_book.evaluation.during_training import (
    EvaluationError,
    draw_completions,
    kl_of_completions,
    measure_imitation,
    measure_pairs,
    measure_rewards,
    undisturbed,
)
from dpo_book.evaluation.sampled import sampled_kl
from dpo_book.maths.estimates import estimate
from dpo_book.maths.relatives.named import LOSSES
from dpo_book.models.logprobs import collate, sequence_logp
from dpo_book.models.scoring import score_pairs
from dpo_book.worlds.verdicts import verdicts
from tests.small_data import uneven_pairs

# All rows in one batch, whose record is of the model before its first update.
SHAPE = {"learning_rate": 1e-3, "batch_size": 11, "steps": 1, "warmup_steps": 0}
FLOAT32 = {"rel": 1e-5, "abs": 1e-6}  # log-probabilities of about 10 nats, added up in another order


@pytest.fixture
def policy():
    """Another one than the reference, so that margins are not zero."""
    return build_policy("nano", verdicts().tokenizer, seed=4)


@pytest.mark.parametrize("loss", LOSSES)
def test_of_the_same_pairs_an_evaluation_says_what_a_training_s_record_says(loss, policy, reference):
    pairs, config = uneven_pairs(), DPOConfig(beta=0.5, loss=loss, **SHAPE)
    logps = score_pairs(reference, pairs)
    measured = measure_pairs(policy, pairs, logps, with_settings(config), config.beta, at_once=4)
    (record,) = train_dpo(policy, None, pairs, config, logps)
    assert measured["loss"].value == pytest.approx(record["loss"], **FLOAT32)
    assert measured["margin"].value == pytest.approx(record["rewards/margins"], **FLOAT32)
    assert measured["accuracy"].value == pytest.approx(record["rewards/accuracies"], abs=1e-6)


def with_settings(config):
    return lambda logps, beta: LOSSES[config.loss](logps, beta, **config.loss_settings)


def test_the_intervals_are_the_normal_one_and_wilson_s(policy, reference):
    pairs = uneven_pairs()
    logps = score_pairs(reference, pairs)
    measured = measure_pairs(policy, pairs, logps, with_settings(DPOConfig()), 0.5, at_once=4)
    chosen, rejected = score_pairs(policy, pairs)
    margins = (0.5 * ((chosen - logps[0]) - (rejected - logps[1]))).tolist()
    z = statistics.NormalDist().inv_cdf(0.975)
    half = z * statistics.stdev(margins) / math.sqrt(len(pairs))
    assert measured["margin"].high - measured["margin"].value == pytest.approx(half, rel=1e-5)
    assert measured["margin"].value - measured["margin"].low == pytest.approx(half, rel=1e-5)
    share, low, high = measured["accuracy"]
    assert share == sum(margin > 0 for margin in margins) / len(pairs)
    for end in (low, high):  # where the measured share is just 1.96 of the end's own standard errors off
        assert abs(share - end) == pytest.approx(z * math.sqrt(end * (1 - end) / len(pairs)), rel=1e-5)


def test_a_tie_counts_half(reference):
    pairs = uneven_pairs()
    logps = score_pairs(reference, pairs)
    measured = measure_pairs(reference, pairs, logps, with_settings(DPOConfig()), 0.5, at_once=64)
    assert measured["accuracy"].value == 0.5
    assert measured["loss"].value == pytest.approx(math.log(2), abs=1e-6)


def test_a_reward_model_s_measures_are_those_of_its_training(reference):
    model, pairs = build_reward_model(reference), uneven_pairs()
    measured = measure_rewards(model, pairs, at_once=4)
    (record,) = train_reward_model(model, pairs, RewardConfig(**SHAPE))
    for name in ("loss", "margin", "accuracy"):
        assert measured[name].value == pytest.approx(record[name], **FLOAT32)


def test_imitation_is_measured_a_token_as_sft_has_it(policy):
    examples = [(pair.prompt, pair.chosen) for pair in uneven_pairs()]
    measured = measure_imitation(policy, examples, at_once=4)
    (record,) = train_sft(policy, examples, SFTConfig(**SHAPE))
    assert measured["loss"].value == pytest.approx(record["loss"], **FLOAT32)
    assert measured["loss"].low < record["loss"] < measured["loss"].high


def test_the_kl_is_that_of_the_completions_that_were_drawn(policy, reference):
    prompts = [pair.prompt for pair in uneven_pairs()]
    completions = draw_completions(policy, prompts, max_new_tokens=5, at_once=4, seed=7)
    assert completions == draw_completions(policy, prompts, max_new_tokens=5, at_once=4, seed=7)
    assert completions != draw_completions(policy, prompts, max_new_tokens=5, at_once=4, seed=8)
    found = kl_of_completions(policy, reference, prompts, completions, at_once=4)
    batch = collate(prompts, completions)
    expected = estimate((sequence_logp(policy, batch) - sequence_logp(reference, batch)).detach())
    assert found == pytest.approx(expected, **FLOAT32)
    whole = draw_completions(policy, prompts, max_new_tokens=5, at_once=64, seed=7)
    assert kl_of_completions(policy, reference, prompts, whole, 64) == pytest.approx(
        sampled_kl(policy, reference, prompts, 5, seed=7), **FLOAT32
    )


def test_a_loss_that_is_not_finite_is_an_error_with_its_usual_cause(policy, reference):
    pairs = uneven_pairs()
    logps = score_pairs(reference, pairs)
    with torch.no_grad():
        next(policy.parameters())[5] = math.nan
    with pytest.raises(EvaluationError, match="learning rate that is too high"):
        measure_pairs(policy, pairs, logps, with_settings(DPOConfig()), 0.5, at_once=4)
    with pytest.raises(EvaluationError, match="is not finite"):
        measure_imitation(policy, [(pair.prompt, pair.chosen) for pair in pairs], at_once=4)


def test_after_a_look_modes_gradients_and_random_numbers_are_as_before(policy, reference):
    pairs = uneven_pairs()
    logps = score_pairs(reference, pairs)
    policy.train()
    policy.transformer.h[1].eval()
    modes = [module.training for module in policy.modules()]
    policy(torch.tensor([[1, 2, 3]])).logits.sum().backward()
    gradients = [parameter.grad.clone() for parameter in policy.parameters()]
    before, pythons = torch.get_rng_state(), random.getstate()
    with undisturbed(policy):
        assert not torch.is_grad_enabled()
        measure_pairs(policy, pairs, logps, with_settings(DPOConfig()), 0.5, at_once=4)
        drawn = draw_completions(policy, [pair.prompt for pair in pairs], 5, at_once=4, seed=7)
        kl_of_completions(policy, reference, [pair.prompt for pair in pairs], drawn, at_once=4)
        torch.rand(3)
    assert torch.is_grad_enabled()
    assert [module.training for module in policy.modules()] == modes
    assert torch.equal(torch.get_rng_state(), before) and random.getstate() == pythons
    for parameter, gradient in zip(policy.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)
