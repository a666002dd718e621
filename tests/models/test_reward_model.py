"""The reward model (eq. 2): a scalar head on GPT-2 that learns from pairs."""

import math

import pytest
import torch
from transformers import RobertaConfig, RobertaForCausalLM

from dpo_book import (
    Pair,
    RewardConfig,
    build_policy,
    build_reward_model,
    collate,
    sequence_reward,
    train_reward_model,
)
from dpo_book.models.logprobs import Batch
from dpo_book.models.reward_model import rewards_of, token_values
from dpo_book.worlds.verdicts import verdicts
from tests.models.test_logprobs import blurred
from tests.models.test_traits import LONG, rwkv


@pytest.fixture
def policy():
    return build_policy("nano", verdicts().tokenizer, seed=2)


@pytest.fixture
def model(policy):
    return build_reward_model(policy, seed=0)


def encode(text):
    return verdicts().tokenizer(text).input_ids


def test_the_body_is_the_policy_s_and_the_head_depends_on_the_seed(policy, model):
    for mine, theirs in zip(model.base_model.parameters(), policy.base_model.parameters(), strict=True):
        assert torch.equal(mine, theirs) and mine is not theirs
    assert torch.equal(model.score.weight, build_reward_model(policy, seed=0).score.weight)
    assert not torch.equal(model.score.weight, build_reward_model(policy, seed=1).score.weight)


def test_the_reward_is_the_head_at_the_last_real_token_whatever_the_padding(model):
    prompts, completions = [encode("the acting"), encode("plot")], [encode("very good"), encode("not bad but dull")]
    together = sequence_reward(model, collate(prompts, completions))
    for row, (x, y) in enumerate(zip(prompts, completions, strict=True)):
        ids = torch.tensor([x + y])
        direct = model.score(model.base_model(ids).last_hidden_state[:, -1]).squeeze()
        assert torch.allclose(together[row], direct, atol=1e-5)
        right = torch.cat([ids, torch.zeros(1, 3, dtype=torch.long)], dim=1)  # the same row, padded on the right
        mask = torch.tensor([[True] * ids.shape[1] + [False] * 3])
        assert torch.allclose(sequence_reward(model, Batch(right, mask, mask))[0], direct, atol=1e-5)


@pytest.mark.parametrize("rope", LONG)
def test_a_row_whose_length_decides_is_worth_what_it_is_alone(rope):
    model = build_reward_model(blurred(LONG[rope]()))
    prompts, completions = [[1, 2, 3, 4, 5, 6], [7, 8]], [[9, 10, 11, 12], [13, 14]]
    batch = collate(prompts, completions)
    rewards, values = sequence_reward(model, batch), token_values(model, batch)
    for row, (x, y) in enumerate(zip(prompts, completions, strict=True)):
        fresh = build_reward_model(blurred(LONG[rope]()))
        states = fresh.score(fresh.base_model(torch.tensor([x + y])).last_hidden_state[0]).squeeze(-1)
        torch.testing.assert_close(rewards[row], states[-1], rtol=1e-5, atol=1e-5)
        before = states[len(x) - 1 : -1]
        torch.testing.assert_close(values[row, : len(y)], before, rtol=1e-5, atol=1e-5)
        assert not values[row, len(y) :].any()


def test_a_family_without_a_reward_model_is_refused_by_its_name():
    with pytest.raises(ValueError, match="transformers has no reward model with the body of RwkvForCausalLM"):
        build_reward_model(rwkv())


def test_a_family_whose_reward_model_reads_another_token_is_refused():
    shape = {"vocab_size": 16, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    decoder = RobertaForCausalLM(RobertaConfig(**shape, intermediate_size=16, is_decoder=True))
    with pytest.raises(ValueError, match="RobertaForSequenceClassification has no layer called score"):
        build_reward_model(decoder)


def test_many_completions_are_scored_in_order(model):
    completions = verdicts().response_ids[::997].tolist()
    values = rewards_of(model, [encode("the plot")] * len(completions), completions, batch_size=4)
    one_by_one = [rewards_of(model, [encode("the plot")], [y]).item() for y in completions]
    assert values.tolist() == pytest.approx(one_by_one, abs=1e-5)


def test_it_learns_which_word_wins(model):
    pairs = [
        Pair(encode("the acting"), encode(f"very {good} but {other}"), encode(f"very {bad} but {other}"))
        for good in ("good", "great")
        for bad in ("bad", "dull")
        for other in ("good", "bad", "plot")
    ]
    records = list(train_reward_model(model, pairs, RewardConfig(learning_rate=3e-3, batch_size=12, steps=25)))
    assert set(records[0]) == {"step", "loss", "accuracy", "margin", "grad_norm", "learning_rate"}
    assert records[0]["loss"] == pytest.approx(math.log(2), abs=0.2)  # an untrained head: margins near zero
    assert records[-1]["accuracy"] == 1 and records[-1]["loss"] < 0.1
    said = [encode("very good but dull"), encode("very bad but dull")]
    unseen = rewards_of(model, [encode("the acting")] * 2, said)
    assert unseen[0] > unseen[1]


def test_labels_of_one_half_are_learned_as_a_margin_of_zero(model):
    pairs = [Pair(encode("the acting"), encode("very good but bad"), encode("not dull but great"), 0.5)] * 4
    records = list(train_reward_model(model, pairs, RewardConfig(learning_rate=1e-3, batch_size=4, steps=40)))
    assert records[-1]["loss"] == pytest.approx(math.log(2), abs=1e-3)
