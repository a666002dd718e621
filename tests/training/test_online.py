"""Online DPO on a GPT-2 over three words, all of whose responses can be listed."""

import itertools

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from dpo_book import (
    DPOConfig,
    collate,
    copy_policy,
    kl_divergence,
    optimal_logp,
    sequence_logp,
    train_dpo,
    train_online_dpo,
)
from dpo_book.maths.require import SettingError
from dpo_book.training.online import propose_pairs

WORDS, LENGTH = 3, 3
PROMPTS = [[2, 0], [1, 1]]
RESPONSES = [list(y) for y in itertools.product(range(WORDS), repeat=LENGTH)]
ONE_STEP = DPOConfig(beta=0.5, learning_rate=1e-2, batch_size=16, steps=1, warmup_steps=0)


def likes_zeros(prompts, completions):
    """r*: half a nat for every 0, and one for a 2 at the end."""
    return torch.tensor([0.5 * y.count(0) + (y[-1] == 2) for y in completions])


@pytest.fixture
def reference():
    options = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "initializer_range": 0.3}
    ends = {"bos_token_id": None, "eos_token_id": None}  # every response has three words
    shape = GPT2Config(vocab_size=WORDS, n_layer=1, n_head=2, n_embd=32, n_positions=8, **options, **ends)
    torch.manual_seed(0)
    return GPT2LMHeadModel(shape).eval()


@torch.no_grad()
def every_logp(model):
    """log π of all 27 responses to both prompts: (2, 27)."""
    of_prompt = [sequence_logp(model, collate([prompt] * len(RESPONSES), RESPONSES)) for prompt in PROMPTS]
    return torch.stack(of_prompt).double()


def test_the_pairs_are_the_policy_s_own_and_bradley_terry_judges_them(reference):
    proposal = propose_pairs(reference, PROMPTS * 2000, likes_zeros, LENGTH, "soft", seed=3)
    firsts = torch.zeros(2, len(RESPONSES), dtype=torch.float64)
    for pair in proposal.pairs:
        for completion in (pair.chosen, pair.rejected):
            firsts[PROMPTS.index(pair.prompt), RESPONSES.index(completion)] += 1
        gap = likes_zeros(None, [pair.chosen]) - likes_zeros(None, [pair.rejected])
        assert gap >= 0 and pair.chosen_probability == pytest.approx(torch.sigmoid(gap).item(), abs=1e-6)
    probability = every_logp(reference).exp()
    expected = probability * (1 - probability)  # a response in a pair of two different ones
    expected = expected / expected.sum(dim=1, keepdim=True)
    share = firsts / firsts.sum(dim=1, keepdim=True)
    assert (share - expected).abs().max() < 0.02  # 4,000 a prompt: a standard deviation is at most 0.008
    assert proposal.generated_tokens == 8000 * LENGTH
    mean = (probability * likes_zeros(None, RESPONSES)).sum(dim=1).mean().item()
    assert proposal.reward == pytest.approx(mean, abs=0.04)  # the rewards' deviation is 0.7: five standard errors


@pytest.mark.parametrize("loss", ["dpo", "ipo", "rpo"])
def test_a_step_is_train_dpo_s_on_the_same_pairs(reference, loss):
    config = DPOConfig(loss=loss, beta=0.5, learning_rate=1e-2, batch_size=16, steps=1, warmup_steps=0, seed=5)
    start = copy_policy(reference)
    with torch.no_grad():
        start.transformer.wpe.weight.mul_(2.0)  # not where all log-ratios are 0, but for their rounding
    online, offline = copy_policy(start), copy_policy(start)
    (record,) = train_online_dpo(online, reference, [PROMPTS[0]], likes_zeros, config, LENGTH)
    pairs = propose_pairs(start, [PROMPTS[0]] * 16, likes_zeros, LENGTH, seed=5 * 1_000_003 + 1).pairs
    (same,) = train_dpo(offline, reference, pairs, config)
    assert record["pairs"] == len(pairs)
    assert {name: record[name] for name in same} == pytest.approx(same, rel=1e-4)  # the order of rows differs
    assert torch.allclose(every_logp(online), every_logp(offline), atol=1e-4)
    assert not torch.allclose(every_logp(online), every_logp(start), atol=1e-2)


def test_it_reaches_the_optimum_on_labels_that_are_exact(reference):
    policy = copy_policy(reference)
    config = DPOConfig(beta=0.5, learning_rate=5e-3, batch_size=128, steps=150, warmup_steps=5)
    records = list(train_online_dpo(policy, reference, PROMPTS, likes_zeros, config, LENGTH, "soft"))
    ref_logp = every_logp(reference)
    star = optimal_logp(ref_logp, likes_zeros(None, RESPONSES).double().expand(2, -1), 0.5)
    assert kl_divergence(ref_logp, star).mean() > 0.2
    assert kl_divergence(every_logp(policy), star).mean() < 0.02  # a tenth of the way: what 150 noisy steps leave
    assert [record["step"] for record in records] == list(range(1, 151))
    assert records[-1]["reward"] > records[0]["reward"] + 0.3


def test_micro_batches_change_nothing_but_rounding(reference):
    whole, in_parts = copy_policy(reference), copy_policy(reference)
    list(train_online_dpo(whole, reference, PROMPTS, likes_zeros, ONE_STEP, LENGTH))
    small = DPOConfig(beta=0.5, learning_rate=1e-2, batch_size=16, steps=1, warmup_steps=0, micro_batch_size=3)
    list(train_online_dpo(in_parts, reference, PROMPTS, likes_zeros, small, LENGTH))
    assert torch.allclose(every_logp(whole), every_logp(in_parts), atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"config": DPOConfig(epochs=1)}, "no epochs: set steps"),
        ({"prompts": []}, "no prompt was given"),
        ({"max_new_tokens": 7}, "context of 8"),
        ({"max_new_tokens": 0}, "max_new_tokens must be"),
        ({"labels": "firm"}, "labels must be"),
    ],
    ids=["epochs", "no prompt", "context", "no tokens", "labels"],
)
def test_what_cannot_be_is_refused_before_the_first_step(reference, wrong, message):
    settings = {"prompts": PROMPTS, "config": ONE_STEP, "max_new_tokens": LENGTH, "labels": "hard"} | wrong
    with pytest.raises((ValueError, SettingError), match=message):
        train_online_dpo(copy_policy(reference), reference, reward=likes_zeros, **settings)


def test_one_object_cannot_be_both_and_none_is_no_reference(reference):
    with pytest.raises(ValueError, match="one object"):
        train_online_dpo(reference, reference, PROMPTS, likes_zeros, ONE_STEP, LENGTH)
    with pytest.raises(ValueError, match="needs a reference"):
        train_online_dpo(reference, None, PROMPTS, likes_zeros, ONE_STEP, LENGTH)


def test_a_policy_that_always_says_the_same_has_nothing_to_compare(reference):
    policy = copy_policy(reference)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.zero_()
        policy.transformer.ln_f.bias.fill_(1.0)
        policy.transformer.wte.weight[1].fill_(10.0)  # word 1 has a logit of 320
    records = train_online_dpo(policy, reference, PROMPTS, likes_zeros, ONE_STEP, LENGTH)
    with pytest.raises(ValueError, match="step 1: the policy said the same twice"):
        next(records)
