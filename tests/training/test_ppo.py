"""PPO piece by piece against exact quantities: values, advantages and gradients summed over all responses."""

import itertools
import math
from functools import partial

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from dpo_book import (
    PPOConfig,
    TrainingDiverged,
    build_policy,
    build_reward_model,
    collate,
    copy_policy,
    enumerate_logp,
    kl_divergence,
    kl_regularized_objective,
    sequence_logp,
    sequence_reward,
    train_ppo,
)
from dpo_book.maths.exact import expected_reward
from dpo_book.models.logprobs import token_scorer
from dpo_book.models.reward_model import token_values
from dpo_book.training.ppo import (
    Models,
    adapted_beta,
    clipped_objective,
    generalized_advantages,
    penalized_rewards,
    policy_loss,
    roll_out,
    value_loss,
)
from dpo_book.worlds.verdicts import verdicts

BETA = 0.4
WORDS, LENGTH = 3, 3
PROMPT = [2, 0]
# Float64 rounds at 1e-16; the sums have at most 27 responses of 3 tokens, and gradients pass two layers.
ROUNDING = {"rtol": 0, "atol": 1e-10}


class Tiny:
    """A GPT-2 over three words, every one of its 27 responses, and their exact values and advantages."""

    def __init__(self):
        options = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "initializer_range": 0.6}
        shape = GPT2Config(vocab_size=WORDS, n_layer=1, n_head=2, n_embd=8, n_positions=8, **options)
        torch.manual_seed(0)
        self.policy, self.reference = GPT2LMHeadModel(shape).double().eval(), GPT2LMHeadModel(shape).double().eval()
        self.responses = [list(y) for y in itertools.product(range(WORDS), repeat=LENGTH)]
        self.batch = collate([PROMPT] * len(self.responses), self.responses)
        self.mask = torch.ones(len(self.responses), LENGTH, dtype=torch.bool)
        self.reward = torch.randn(len(self.responses), dtype=torch.float64)
        with torch.no_grad():
            self.logp = token_scorer(self.policy)(self.batch)
            self.ref_logp = token_scorer(self.reference)(self.batch)
        self.rewards = penalized_rewards(self.logp, self.ref_logp, self.mask, self.reward, BETA)
        self.probability = self.logp.sum(dim=1).exp()
        to_go = self.rewards.flip(1).cumsum(dim=1).flip(1)
        # V(x, y_<t): the mean of what is still to come, over all responses that start with y_<t.
        self.values = torch.stack([self.mean_over(to_go[:, t], t) for t in range(LENGTH)], dim=1)
        # A(x, y_<t, y_t) = Q − V, with Q the mean over all responses that start with y_≤t.
        reached = torch.stack([self.mean_over(to_go[:, t], t + 1) for t in range(LENGTH)], dim=1)
        self.advantages = reached - self.values
        self.to_go = to_go

    def mean_over(self, quantity, t):
        """E[quantity | the first t tokens], for every response: (27,)."""
        blocks = lambda tensor: tensor.reshape(WORDS**t, -1)
        weight = blocks(self.probability)
        mean = (blocks(quantity) * weight).sum(dim=1) / weight.sum(dim=1)
        return mean.repeat_interleave(weight.shape[1])


@pytest.fixture(scope="module")
def tiny():
    return Tiny()


@pytest.fixture(scope="module")
def reference():
    return build_policy("nano", verdicts().tokenizer, seed=3)


def small(**changes):
    options = {
        "beta": 0.3,
        "learning_rate": 1e-3,
        "value_learning_rate": 1e-3,
        "batch_size": 48,
        "minibatch_size": 24,
    }
    return PPOConfig(**options | {"steps": 3, "epochs": 2, "warmup_steps": 2, "max_new_tokens": 4} | changes)


def reward_of(prompts, completions):
    return verdicts().rewards_of(prompts, completions)


def test_token_rewards_sum_to_equation_3(tiny):
    log_ratio = (tiny.logp - tiny.ref_logp).sum(dim=1)
    torch.testing.assert_close(tiny.rewards.sum(dim=1), tiny.reward - BETA * log_ratio, **ROUNDING)
    with torch.no_grad():
        logp, ref_logp = (enumerate_logp(model, PROMPT, LENGTH) for model in (tiny.policy, tiny.reference))
    exact = kl_regularized_objective(logp, ref_logp, tiny.reward, BETA)
    torch.testing.assert_close((tiny.probability * tiny.rewards.sum(dim=1)).sum(), exact, **ROUNDING)


def test_the_reward_falls_on_the_last_token_of_a_short_response():
    mask = torch.tensor([[True, True, False], [True, True, True]])
    rewards = penalized_rewards(torch.ones(2, 3), torch.zeros(2, 3), mask, torch.tensor([5.0, 7.0]), beta=0.5)
    assert rewards.tolist() == [[-0.5, 4.5, 0.0], [-0.5, -0.5, 6.5]]


def test_with_exact_values_and_lambda_0_the_advantages_are_exact(tiny):
    advantages = generalized_advantages(tiny.rewards, tiny.values, tiny.mask, gae_lambda=0.0)
    torch.testing.assert_close(advantages, tiny.advantages, **ROUNDING)
    assert tiny.advantages.abs().max() > 0.1  # or the comparison would be of zeros


def test_with_lambda_1_the_advantage_is_what_came_minus_what_was_expected(tiny):
    advantages = generalized_advantages(tiny.rewards, tiny.values, tiny.mask, gae_lambda=1.0)
    torch.testing.assert_close(advantages, tiny.to_go - tiny.values, **ROUNDING)


@pytest.mark.parametrize("gae_lambda", [0.3, 0.95, 1.0])
def test_with_exact_values_every_lambda_is_right_on_average(tiny, gae_lambda):
    advantages = generalized_advantages(tiny.rewards, tiny.values, tiny.mask, gae_lambda)
    for t in range(LENGTH):
        torch.testing.assert_close(tiny.mean_over(advantages[:, t], t + 1), tiny.advantages[:, t], **ROUNDING)


def test_advantages_are_the_written_out_sum_also_of_short_responses():
    generator = torch.Generator().manual_seed(1)
    rewards, values = torch.randn(2, 4, generator=generator), torch.randn(2, 4, generator=generator)
    lengths, mask = [4, 2], torch.tensor([[True] * 4, [True, True, False, False]])
    advantages = generalized_advantages(rewards.where(mask, 0.0), values, mask, gae_lambda=0.7)
    for row, length in enumerate(lengths):
        value = [*values[row, :length].tolist(), 0.0]
        delta = [rewards[row, t].item() + value[t + 1] - value[t] for t in range(length)]
        written_out = [sum(0.7**k * delta[t + k] for k in range(length - t)) for t in range(length)]
        assert advantages[row].tolist() == pytest.approx(written_out + [0.0] * (4 - length), abs=1e-6)


def gradient(model, value):
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(model.parameters()))])


@pytest.mark.parametrize("kind", ["exact", "lambda 0.95", "returns alone"])
def test_at_ratio_1_the_clipped_objective_s_gradient_is_equation_3_s(tiny, kind):
    """Summed over all responses with their probabilities, the policy gradient theorem is an equality."""
    advantages = {
        "exact": tiny.advantages,
        "lambda 0.95": generalized_advantages(tiny.rewards, tiny.values, tiny.mask, 0.95),
        "returns alone": tiny.to_go,
    }[kind]
    logp = token_scorer(tiny.policy)(tiny.batch)
    objective = (tiny.probability[:, None] * clipped_objective(logp, logp.detach(), advantages, clip=0.2)).sum()
    ref_logp = enumerate_logp(tiny.reference, PROMPT, LENGTH).detach()
    exact = kl_regularized_objective(enumerate_logp(tiny.policy, PROMPT, LENGTH), ref_logp, tiny.reward, BETA)
    expected = gradient(tiny.policy, exact)
    assert expected.norm() > 0.1
    torch.testing.assert_close(gradient(tiny.policy, objective), expected, **ROUNDING)


@pytest.mark.parametrize(
    ("ratio", "advantage", "moves"),
    [(1.3, 1.0, False), (1.3, -1.0, True), (0.7, 1.0, True), (0.7, -1.0, False), (1.1, 1.0, True), (0.9, -1.0, True)],
)
def test_the_clip_stops_what_has_gone_far_enough_and_lets_mistakes_be_mended(ratio, advantage, moves):
    logp = torch.tensor([math.log(ratio)], requires_grad=True)
    value = clipped_objective(logp, torch.zeros(1), torch.tensor([advantage]), clip=0.2)
    (slope,) = torch.autograd.grad(value.sum(), logp)
    assert slope.item() == pytest.approx(ratio * advantage if moves else 0.0)


def test_values_are_the_head_s_reward_of_every_prefix(reference):
    model = build_reward_model(reference, seed=1)
    prompts, completions = [[0, 1], [4]], [[3, 2, 1], [5, 6]]
    with torch.no_grad():
        values = token_values(model, collate(prompts, completions))
        for row, (x, y) in enumerate(zip(prompts, completions, strict=True)):
            for t in range(len(y)):
                prefix = collate([x], [y[:t]])
                # Float32 through two layers, with other padding.
                assert values[row, t].item() == pytest.approx(sequence_reward(model, prefix).item(), abs=1e-5)
    assert values[1, 2] == 0


def test_estimates_of_rollouts_are_within_their_errors_of_the_exact_numbers(reference):
    world, policy = verdicts(), build_policy("nano", verdicts().tokenizer, seed=5)
    asked = world.prompt_ids * 1500
    rollouts = roll_out(Models(policy, reference, seed=0), asked, reward_of, 4, seed=2)
    with torch.no_grad():
        logp, ref_logp = (world.logp(model).double() for model in (policy, reference))
    log_ratio = (rollouts.logp - rollouts.ref_logp).sum(dim=1)
    returns = penalized_rewards(rollouts.logp, rollouts.ref_logp, rollouts.mask, rollouts.reward, BETA).sum(dim=1)
    for sampled, exact in (
        (rollouts.reward, expected_reward(logp, world.rewards).mean()),
        (log_ratio, kl_divergence(logp, ref_logp).mean()),
        (returns, kl_regularized_objective(logp, ref_logp, world.rewards, BETA).mean()),
    ):
        error = sampled.std() / len(sampled) ** 0.5
        assert abs(sampled.mean() - exact) < 4 * error  # fails once in 16,000 seeds
    with torch.no_grad():
        whole = sequence_logp(policy, collate(asked[:3], rollouts.completions[:3]))
    torch.testing.assert_close(rollouts.logp[:3].sum(dim=1), whole, rtol=0, atol=1e-5)


def test_losses_of_a_minibatch_do_not_hang_on_the_others_width(reference):
    """Responses of unequal lengths: a row's part of the loss is the same in any company."""
    models = Models(reference, reference, seed=0)
    rollouts = roll_out(models, [[0, 1]] * 6, reward_of, 4, seed=0)
    short = [y[:2] if i % 2 else y for i, y in enumerate(rollouts.completions)]
    mask = rollouts.mask.clone()
    mask[1::2, 2:] = False
    rollouts = type(rollouts)(**{**vars(rollouts), "completions": short, "mask": mask})
    advantages = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).where(mask, 0.0)
    with torch.no_grad():
        for loss in (
            partial(policy_loss, models.policy_logps, rollouts, advantages=advantages, clip=0.2),
            partial(value_loss, models.value_model, rollouts, returns=advantages),
        ):
            alone = [loss(rows=[row])[0] * len(short[row]) for row in (1, 2)]
            assert loss(rows=[1, 2])[0].item() == pytest.approx(sum(alone).item() / 6, abs=1e-5)


def test_training_climbs_the_exact_objective_and_repeats_itself(reference):
    world = verdicts()
    with torch.no_grad():
        ref_logp = world.logp(reference).double()

    def trained():
        policy = copy_policy(reference)
        records = list(train_ppo(policy, reference, world.prompt_ids, reward_of, small(steps=8)))
        with torch.no_grad():
            return records, world.logp(policy).double()

    records, logp = trained()
    again, same_logp = trained()
    assert records == again and torch.equal(logp, same_logp)
    value = lambda logp: kl_regularized_objective(logp, ref_logp, world.rewards, 0.3).mean().item()
    assert value(logp) > value(ref_logp) + 0.2
    assert records[0]["kl"] == pytest.approx(0, abs=1e-5)  # the policy starts as its reference
    assert [record["step"] for record in records] == list(range(1, 9))
    for record in records:
        assert record["objective"] == pytest.approx(record["reward"] - 0.3 * record["kl"])
        assert record["generated_tokens"] == 48 * 4 and 0 <= record["clip_fraction"] <= 1


def test_the_controller_steers_kl_to_its_target():
    assert adapted_beta(0.2, kl=3.0, target_kl=3.0) == 0.2
    assert adapted_beta(0.2, kl=30.0, target_kl=3.0) == pytest.approx(0.2 * 1.02)  # at most 2 % a step
    assert adapted_beta(0.2, kl=0.0, target_kl=3.0) == pytest.approx(0.2 * 0.98)
    assert adapted_beta(0.2, kl=3.3, target_kl=3.0) == pytest.approx(0.2 * 1.01)


def test_beta_follows_the_controller_in_training(reference):
    config = small(steps=4, target_kl=0.01)
    records = list(train_ppo(copy_policy(reference), reference, verdicts().prompt_ids, reward_of, config))
    for before, after in itertools.pairwise(records):
        assert after["beta"] == pytest.approx(adapted_beta(before["beta"], before["kl"], 0.01))
    assert records[-1]["beta"] != records[0]["beta"]


def test_divergence_is_named_and_the_policy_set_back(reference):
    policy = copy_policy(reference)
    with pytest.raises(TrainingDiverged, match=r"step 1: the .* is not finite"):
        list(train_ppo(policy, reference, verdicts().prompt_ids, reward_of, small(learning_rate=1e30)))
    assert all(parameter.isfinite().all() for parameter in policy.parameters())


def test_slips_are_named(reference):
    with pytest.raises(ValueError, match="one object"):
        next(train_ppo(reference, reference, [[1]], reward_of, small()))
    with pytest.raises(ValueError, match="no prompt"):
        next(train_ppo(copy_policy(reference), reference, [], reward_of, small()))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("beta", 0.0), ("target_kl", -1.0), ("epochs", 0), ("minibatch_size", 2.5), ("clip", 0.0),
        ("gae_lambda", 1.1), ("gae_lambda", float("nan")), ("value_learning_rate", float("inf")),
        ("max_new_tokens", True), ("batch_size", 1), ("steps", 0),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(field, value):
    with pytest.raises((ValueError, TypeError), match=field):
        small(**{field: value})
