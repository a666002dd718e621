"""A prompt's pairs together in a batch: what is learned is what is learned pair by pair."""

import itertools
from functools import partial

import pytest
import torch

from dpo_book import (
    DPOConfig,
    Pair,
    RewardConfig,
    UnlikelihoodConfig,
    build_policy,
    build_reward_model,
    copy_policy,
    train_dpo,
    train_reward_model,
    train_unlikelihood,
)
from dpo_book.maths.relatives.named import LOSSES
from dpo_book.maths.relatives.pairs import PairLogps, unchecked_expected_loss
from dpo_book.models import scoring
from dpo_book.models.scoring import pair_scorer, score_pairs
from dpo_book.training.checkpoints import Checkpoints
from dpo_book.worlds.verdicts import verdicts

SHAPE = {"learning_rate": 1e-3, "batch_size": 8, "steps": 4, "warmup_steps": 0}


@pytest.fixture(scope="module")
def reference():
    """In float64, for in float32 gradients that are zero but for rounding, as of key biases, move AdamW by it."""
    return build_policy("nano", verdicts().tokenizer, seed=3).double()


@pytest.fixture(scope="module")
def policy(reference):
    """Not the reference, so that every term of a loss is there."""
    policy = copy_policy(reference)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return policy


@pytest.fixture(scope="module")
def pairs():
    """Two prompts with all pairs of four completions, one with two contrary pairs and one with one: hard and soft."""
    completions = [[1, 2, 3, 4], [5, 6], [7, 1, 2], [3]]
    pairs = []
    for prompt in ([2, 3], [4]):
        pairs += [Pair(prompt, a, b) for a, b in itertools.combinations(completions, 2)]
    pairs += [Pair([5, 1], [1, 2], [3]), Pair([5, 1], [3], [1, 2]), Pair([6], [1, 2], [2, 1])]
    return [pair._replace(chosen_probability=1 - 0.03 * i) for i, pair in enumerate(pairs)]


def gradient(model, score, pairs, reference_logps, name):
    """∂ loss / ∂ all parameters, one after the other, of a batch of pairs."""
    tokens = torch.tensor([[len(pair.chosen) for pair in pairs], [len(pair.rejected) for pair in pairs]])
    logps = PairLogps(*score(pairs), *reference_logps, *tokens)
    label = torch.tensor([pair.chosen_probability for pair in pairs], dtype=torch.float64)
    loss = partial(LOSSES[name], **DPOConfig(loss=name).loss_settings)
    losses, *_ = unchecked_expected_loss(loss, logps, 0.5, label)
    gradients = torch.autograd.grad(losses.mean(), list(model.parameters()))
    return torch.cat([part.flatten() for part in gradients])


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_a_batch_is_that_of_its_pairs_one_by_one(name, shares, policy, reference, pairs, monkeypatch):
    monkeypatch.setattr(scoring, "can_share_prompts", lambda model, pairs: shares)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        model = copy_policy(policy).to(dtype)
        score = pair_scorer(model, pairs)

        def one_by_one(pairs, score=score):
            alone = [torch.stack(score([pair])) for pair in pairs]
            return torch.cat(alone, dim=1)

        reference_logps = [logps.to(dtype) for logps in score_pairs(reference, pairs)]
        together = gradient(model, score, pairs, reference_logps, name)
        expected = gradient(model, one_by_one, pairs, reference_logps, name)
        assert expected.norm() > 0
        assert (together - expected).norm() <= tolerance * expected.norm()


METHODS = {
    "dpo": lambda policy, pairs, **shape: (
        model := copy_policy(policy),
        train_dpo(model, copy_policy(policy), pairs, DPOConfig(beta=0.5, **shape)),
    ),
    "unlikelihood": lambda policy, pairs, **shape: (
        model := copy_policy(policy),
        train_unlikelihood(model, pairs, UnlikelihoodConfig(**shape)),
    ),
    "reward": lambda policy, pairs, **shape: (
        model := build_reward_model(policy).double(),
        train_reward_model(model, pairs, RewardConfig(**shape)),
    ),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_training_is_that_of_its_pairs_one_by_one(method, policy, pairs):
    whole, expected = METHODS[method](policy, pairs, **SHAPE, group_by_prompt=True)
    parted, records = METHODS[method](policy, pairs, **SHAPE, group_by_prompt=True, micro_batch_size=1)
    for a, b in zip(records, expected, strict=True):
        # Records are float32, which rounds at 6e-8, reference log-probabilities too; log-probabilities are about 10.
        assert a == pytest.approx(b, rel=1e-6, abs=1e-6)
    for a, b in zip(parted.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-7)  # of weights of about 0.02 that moved by up to 0.004


def test_other_pairs_share_a_batch_and_nothing_else_changes(policy, pairs):
    """With one batch an epoch both ways are one."""
    losses = {}
    for grouped in (False, True):
        for size in (8, len(pairs)):
            shape = SHAPE | {"batch_size": size}
            _, records = METHODS["dpo"](policy, pairs, **shape, group_by_prompt=grouped)
            losses[grouped, size] = [record["loss"] for record in records]
    assert losses[True, len(pairs)] == pytest.approx(losses[False, len(pairs)], rel=1e-6)
    assert losses[True, 8] != pytest.approx(losses[False, 8], rel=1e-3)


@pytest.mark.parametrize("again", [False, True])
def test_a_stopped_run_goes_on_with_the_same_batches(again, policy, pairs, tmp_path):
    config = DPOConfig(beta=0.5, **SHAPE, group_by_prompt=True, gradient_checkpointing=again)
    runs = {}
    for name, stop in (("whole", 4), ("stopped", 2), ("stopped", 4)):
        model = copy_policy(policy)
        checkpoints = Checkpoints(tmp_path / name, {}, every=1)
        records = train_dpo(model, copy_policy(policy), pairs, config, checkpoints=checkpoints)
        runs[name] = model, list(itertools.islice(records, stop - checkpoints.done))
    assert runs["stopped"][1] == runs["whole"][1][1:]  # the second step was made and not kept
    for a, b in zip(runs["stopped"][0].parameters(), runs["whole"][0].parameters(), strict=True):
        assert torch.equal(a, b)
