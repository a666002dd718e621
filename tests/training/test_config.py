"""Learning rates by default: from the model's size by one rule, and whatever rate is given stays."""

import dataclasses
import math

import pytest

from dpo_book import (
    DPOConfig,
    Pair,
    PPOConfig,
    RewardConfig,
    SFTConfig,
    UnlikelihoodConfig,
    build_policy,
    copy_policy,
    train_dpo,
    train_tokenizer,
)
from dpo_book.models.lora import Lora
from dpo_book.training.updates import Updates, with_rate
from tests.small_data import verdict_pairs

FROM_A_POLICY = (DPOConfig, UnlikelihoodConfig, PPOConfig)
FROM_NOTHING = (SFTConfig, RewardConfig)


@pytest.mark.parametrize(
    ("parameters", "preference", "imitation"),
    [
        (1_557_611_200, 1e-6, 1e-5),  # gpt2-xl
        (124_439_808, 1e-6, 1e-5),  # gpt2: the paper's rate for DPO
        (100_000_000, 1e-6, 1e-5),
        (81_912_576, 1e-6, 1e-5),  # distilgpt2
        (10_000_000, 1e-5, 1e-4),
        (957_184, 1e-4, 1e-3),  # mini, with 1,024 words
        (109_000, 9e-4, 1e-3),  # nano
        (100, 1e-3, 1e-3),
    ],
)
def test_a_small_model_takes_more_than_a_large_one_by_one_rule(parameters, preference, imitation):
    for config in FROM_A_POLICY:
        assert config().resolved(parameters).learning_rate == preference
    for config in FROM_NOTHING:
        assert config().resolved(parameters).learning_rate == imitation
    assert DPOConfig().resolved(parameters, adapter=True).learning_rate == pytest.approx(10 * preference)


@pytest.mark.parametrize("config", [*FROM_A_POLICY, *FROM_NOTHING])
def test_a_rate_that_is_given_stays_and_nothing_else_changes(config):
    given = config(learning_rate=3e-5, steps=7)
    assert given.resolved(100) == given
    assert config(steps=7).resolved(100) == dataclasses.replace(given, learning_rate=1e-3)
    fields = [field.name for field in dataclasses.fields(config)]
    assert fields[0] == "learning_rate" and "large_model_rate" not in fields


def test_training_without_a_rate_is_training_with_the_resolved_one(reference):
    pairs = verdict_pairs(8)
    shape = {"batch_size": 4, "steps": 6, "warmup_steps": 0}
    rate = DPOConfig().resolved(reference.num_parameters()).learning_rate
    by_default = list(train_dpo(copy_policy(reference), reference, pairs, DPOConfig(**shape)))
    given = list(train_dpo(copy_policy(reference), reference, pairs, DPOConfig(learning_rate=rate, **shape)))
    assert by_default == given and by_default[0]["learning_rate"] == rate


def test_of_an_adapter_the_whole_model_counts_before_and_after_it_is_in_place(reference):
    pytest.importorskip("peft")
    policy = copy_policy(reference)
    whole, before = with_rate(DPOConfig(), policy), with_rate(DPOConfig(), policy, adapter=True)
    Lora(policy, rank=2)
    assert with_rate(DPOConfig(), policy) == before
    assert before.learning_rate == pytest.approx(10 * whole.learning_rate)


def test_a_frozen_layer_is_no_adapter(reference):
    policy = copy_policy(reference)
    next(policy.parameters()).requires_grad_(False)
    assert with_rate(SFTConfig(), policy) == with_rate(SFTConfig(), reference)


def test_a_rate_beside_the_settings_goes_before_both(reference):
    config = PPOConfig()
    updates = Updates(reference, config, total=1, learning_rate=config.value_learning_rate)
    (group,) = updates._optimizer.param_groups
    assert group["lr"] == 1e-4


def test_mini_learns_with_every_default():
    """With 1e-6, which large models take, its loss stays where it was."""
    tokenizer = train_tokenizer(["a film about a dog and a cat"] * 9, vocab_size=300)
    policy = build_policy("mini", tokenizer)
    encode = lambda text: tokenizer(text)["input_ids"]
    pairs = [Pair(encode("a film about "), encode("a dog"), encode("a cat"))] * 4
    moved = {}
    for rate in (None, 1e-6):
        config = DPOConfig(learning_rate=rate, batch_size=4, steps=10)
        moved[rate] = math.log(2) - list(train_dpo(copy_policy(policy), policy, pairs, config))[-1]["loss"]
    assert moved[None] > 0.1 and moved[1e-6] < 0.01
