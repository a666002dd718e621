"""How an update is made: schedules against their formulas, optimisers against torch's own loop, epochs and memory."""

import itertools
import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from dpo_book import DPOConfig, PPOConfig, SFTConfig, build_reward_model, copy_policy, train_dpo, train_reward_model
from dpo_book.data.batches import BatchOrder, batches_by_length
from dpo_book.maths.require import SettingError
from dpo_book.models.recomputed import recomputed
from dpo_book.training.checkpoints import Checkpoints
from dpo_book.training.config import RewardConfig
from dpo_book.training.loop import rows_reached
from dpo_book.training.updates import Updates
from tests.small_data import uneven_pairs, verdict_pairs

SHAPE = {"beta": 0.5, "learning_rate": 1e-3, "batch_size": 4, "warmup_steps": 2}


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


# ------------------------------------------------------------------ schedules

FORMULAS = {
    "cosine": lambda n, warmup, total: (1 + math.cos(math.pi * n / total)) / 2 * min(1, (n + 1) / (warmup + 1)),
    "linear": lambda n, warmup, total: min((n + 1) / (warmup + 1), (total - n) / (total - warmup)),
    "constant": lambda n, warmup, total: min(1, (n + 1) / (warmup + 1)),
}


def rates(config):
    """The learning rate of every update of a run."""
    model = torch.nn.Linear(2, 2)
    model.device = torch.device("cpu")  # as a policy says where it is
    updates = Updates(model, config, config.updates)
    loss = lambda: (next(model.parameters()).square().sum(), {})
    return [updates.apply(step, loss).learning_rate for step in range(1, config.updates + 1)]


@pytest.mark.parametrize("schedule", FORMULAS)
@pytest.mark.parametrize("warmup", [0, 4, 9])
def test_a_rate_is_as_its_schedule_says(schedule, warmup):
    config = SFTConfig(learning_rate=0.3, steps=10, warmup_steps=warmup, schedule=schedule)
    expected = [0.3 * FORMULAS[schedule](n, warmup, 10) for n in range(10)]
    assert rates(config) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("warmup", [0, 4, 9])
def test_all_of_the_rate_is_reached_but_for_a_cosine_with_a_warm_up(warmup):
    shape = {"learning_rate": 0.3, "steps": 10, "warmup_steps": warmup}
    for schedule in ("linear", "constant"):
        found = rates(SFTConfig(**shape, schedule=schedule))
        assert max(found) == 0.3 and found.index(0.3) == warmup
    assert (max(rates(SFTConfig(**shape))) == 0.3) == (warmup == 0)


def test_a_cosine_is_bit_for_bit_that_of_the_stored_runs():
    """The warm-up's share times the cosine's, and that times the rate, in this order."""
    shares = [min(1.0, (n + 1) / 4) * ((1 + math.cos(math.pi * n / 10)) / 2) for n in range(10)]
    assert rates(SFTConfig(learning_rate=0.3, steps=10, warmup_steps=3)) == [0.3 * share for share in shares]


def test_the_schedule_of_dpo_s_authors_is_constant_after_its_warm_up():
    """In their code a share of min(1, (step + 1) / (warmup_steps + 1)), step from 0, of RMSprop's rate."""
    config = DPOConfig(learning_rate=1e-6, steps=200, warmup_steps=150, schedule="constant", optimizer="rmsprop")
    assert rates(config) == pytest.approx([1e-6 * min(1.0, (step + 1) / 151) for step in range(200)], rel=1e-12)


# ------------------------------------------------------------------ optimisers

OWN = {
    "adamw": lambda parameters, decay: torch.optim.AdamW(parameters, lr=1, weight_decay=decay, fused=True),
    "rmsprop": lambda parameters, decay: torch.optim.RMSprop(
        parameters, lr=1, alpha=0.99, eps=1e-8, momentum=0, weight_decay=decay
    ),
}


@pytest.mark.parametrize("optimizer", OWN)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_updates_are_those_of_torch_s_optimiser_bit_for_bit(optimizer, decay, reference):
    policy, plain = copy_policy(reference), copy_policy(reference)
    config = SFTConfig(learning_rate=1e-2, steps=4, warmup_steps=1, optimizer=optimizer, weight_decay=decay)
    updates, own = Updates(policy, config, 4), OWN[optimizer](plain.parameters(), decay)
    batch = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    for done, share in enumerate([0.5, 1, 1, 1]):
        updates.apply(done + 1, lambda: (policy(input_ids=batch, labels=batch).loss, {}))
        plain(input_ids=batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 10.0)
        own.param_groups[0]["lr"] = 1e-2 * (share * (1 + math.cos(math.pi * done / 4)) / 2)
        own.step()
        own.zero_grad()
    assert same_weights(policy, plain)
    assert not same_weights(policy, reference)


def test_a_default_is_said_or_unsaid_the_same(reference):
    pairs = uneven_pairs()
    said = {"schedule": "cosine", "optimizer": "adamw", "weight_decay": 0.0, "gradient_checkpointing": False}
    unsaid = list(train_dpo(copy_policy(reference), reference, pairs, DPOConfig(**SHAPE, steps=5)))
    assert unsaid == list(train_dpo(copy_policy(reference), reference, pairs, DPOConfig(**SHAPE, steps=5, **said)))


@pytest.mark.parametrize("optimizer", OWN)
def test_a_stopped_training_goes_on_with_its_optimiser_s_state(optimizer, reference, tmp_path):
    config = DPOConfig(**SHAPE, steps=6, optimizer=optimizer, weight_decay=0.01, schedule="linear")
    runs = {}
    for name, stop in (("whole", 6), ("stopped", 5), ("stopped", 6)):
        policy = copy_policy(reference)
        checkpoints = Checkpoints(tmp_path / name, {}, every=3)
        records = train_dpo(policy, reference, verdict_pairs(5), config, checkpoints=checkpoints)
        runs[name] = policy, list(itertools.islice(records, stop - checkpoints.done))
    assert same_weights(runs["whole"][0], runs["stopped"][0])
    assert runs["stopped"][1] == runs["whole"][1][3:]


def test_ppo_has_them_too():
    assert PPOConfig(optimizer="rmsprop", schedule="constant", weight_decay=0.1).optimizer == "rmsprop"
    for name in ("epochs", "gradient_checkpointing"):
        assert name not in SFTConfig.__mro__[2].__dataclass_fields__  # not of all methods: PPO's epochs are others


# ------------------------------------------------------------------ epochs


def test_epochs_are_so_many_passes_over_the_rows(reference):
    pairs = uneven_pairs()  # eleven: batches of 4, 4 and 3
    config = DPOConfig(**SHAPE, epochs=2)
    assert config.counted(11) == DPOConfig(**SHAPE, steps=6)
    assert config.counted(12).steps == 6 and config.counted(13).steps == 8
    by_epochs = list(train_dpo(copy_policy(reference), reference, pairs, config))
    assert by_epochs == list(train_dpo(copy_policy(reference), reference, pairs, DPOConfig(**SHAPE, steps=6)))
    seen = itertools.chain.from_iterable(itertools.islice(batches_by_length([1] * 11, 4), 6))
    assert sorted(seen) == sorted(list(range(11)) * 2)
    assert rows_reached(BatchOrder([1] * 11), DPOConfig(batch_size=4, epochs=1)) == list(range(11))


def test_a_warm_up_is_held_against_epochs_when_the_rows_are_counted(reference):
    config = DPOConfig(**SHAPE | {"warmup_steps": 4}, epochs=1)
    with pytest.raises(SettingError, match="warmup_steps = 4 leaves no update after it in a run of 3"):
        train_dpo(copy_policy(reference), reference, uneven_pairs(), config)
    assert DPOConfig(epochs=1, batch_size=4).counted(11).warmup_updates == 1


def test_epochs_and_steps_are_not_both_given():
    with pytest.raises(SettingError, match="epochs and steps both say how long"):
        DPOConfig(epochs=2, steps=9)


# ------------------------------------------------------------------ gradient checkpointing


def test_with_gradient_checkpointing_a_run_is_the_same_bit_for_bit(reference):
    runs = []
    for again in (False, True):
        policy = copy_policy(reference)
        config = DPOConfig(**SHAPE, steps=4, gradient_checkpointing=again)
        runs.append((policy, list(train_dpo(policy, reference, uneven_pairs(), config))))
    assert runs[0][1] == runs[1][1]
    assert same_weights(runs[0][0], runs[1][0])
    assert all("forward" not in vars(module) for module in runs[1][0].modules())  # as it was


def test_a_reward_model_can_be_computed_again_too(reference):
    runs = []
    for again in (False, True):
        config = RewardConfig(learning_rate=1e-3, batch_size=4, steps=3, gradient_checkpointing=again)
        runs.append(list(train_reward_model(build_reward_model(reference), uneven_pairs(), config)))
    assert runs[0] == runs[1]


def test_what_is_in_a_block_is_not_kept_and_computed_twice():
    """In evaluation mode, with dropout in the configuration: in training mode log π would be a draw."""
    config = GPT2Config(vocab_size=8, n_layer=3, n_head=2, n_embd=16, n_positions=32, resid_pdrop=0.5)
    model = GPT2LMHeadModel(config).eval()
    batch = torch.arange(8).repeat(4, 2)
    times = []
    model.transformer.h[0].ln_1.register_forward_hook(lambda *_: times.append(1))
    plain, loss = kept_bytes(model, batch)
    assert len(times) == 1
    with recomputed(model):
        assert not any(module.training for module in model.modules())
        less, again = kept_bytes(model, batch)
    assert again == loss and len(times) == 3
    assert less < plain / 2
    loss_after = kept_bytes(model, batch)
    assert loss_after == (plain, loss) and len(times) == 4


def kept_bytes(model, batch):
    """How much a forward pass keeps for its gradient besides the weights, and the loss."""
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    kept = {}

    def keep(tensor):
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
    before = sum(kept.values())
    loss.backward()
    return before, loss.item()


def test_a_model_without_blocks_is_refused_at_once(reference, monkeypatch):
    monkeypatch.setattr("dpo_book.models.recomputed.GradientCheckpointingLayer", torch.nn.Bilinear)
    config = DPOConfig(**SHAPE, gradient_checkpointing=True)
    with pytest.raises(ValueError, match="GPT2LMHeadModel has no blocks that can be computed again"):
        train_dpo(copy_policy(reference), reference, uneven_pairs(), config)
