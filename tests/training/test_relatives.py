"""``train_dpo`` with every loss: what it minimises, reports and refuses."""

import pytest
import torch

from dpo_book import DPOConfig, copy_policy, train_dpo
from dpo_book.maths.relatives.named import LOSSES
from dpo_book.maths.relatives.pairs import PairLogps, expected_loss
from dpo_book.maths.relatives.settings import WITHOUT_REFERENCE
from dpo_book.maths.require import SettingError
from dpo_book.models.scoring import score_pairs
from tests.small_data import uneven_pairs

NAMES = [name for name in LOSSES if name != "dpo"]


def config_of(name, **changes):
    settings = {"beta": 0.5, "learning_rate": 1e-3, "batch_size": 8, "steps": 4, "warmup_steps": 0}
    return DPOConfig(loss=name, **(settings | changes))


@pytest.fixture
def pairs():
    return uneven_pairs()[:8]


@pytest.fixture
def other(reference):
    """A policy that is not its reference, so that every term of a loss is there."""
    policy = copy_policy(reference)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return policy


@pytest.mark.parametrize("name", NAMES)
def test_the_first_record_is_the_loss_of_the_pairs_and_training_lowers_it(reference, other, pairs, name):
    config = config_of(name)
    tokens = torch.tensor([[len(pair.chosen) for pair in pairs], [len(pair.rejected) for pair in pairs]])
    logps = PairLogps(*score_pairs(other, pairs), *score_pairs(reference, pairs), *tokens)
    label = torch.tensor([pair.chosen_probability for pair in pairs])

    def loss(logps, beta):
        return LOSSES[name](logps, beta, **config.loss_settings)

    losses, chosen, rejected = expected_loss(loss, logps, config.beta, label)
    records = list(train_dpo(copy_policy(other), reference, pairs, config))
    # Float32 sums of some ten nats round at 1e-6; IPO squares them.
    assert records[0]["loss"] == pytest.approx(losses.mean().item(), rel=1e-4, abs=1e-5)
    assert records[0]["rewards/margins"] == pytest.approx((chosen - rejected).mean().item(), rel=1e-3, abs=1e-4)
    assert records[-1]["loss"] < records[0]["loss"]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "kto"])
def test_a_batch_in_parts_is_the_batch(reference, other, pairs, name):
    whole = list(train_dpo(copy_policy(other), reference, pairs, config_of(name, steps=2)))
    parts = list(train_dpo(copy_policy(other), reference, pairs, config_of(name, steps=2, micro_batch_size=3)))
    for one, two in zip(whole, parts, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4, abs=1e-5)
        assert two["rewards/margins"] == pytest.approx(one["rewards/margins"], rel=1e-3, abs=1e-4)


def test_kto_is_of_whole_batches(monkeypatch, reference, pairs):
    with pytest.raises(SettingError, match="whole batch: leave micro_batch_size out"):
        config_of("kto", micro_batch_size=2)
    monkeypatch.setattr("dpo_book.training.offline.this_process", lambda: (0, 2))
    with pytest.raises(ValueError, match="train it in one process"):
        train_dpo(copy_policy(reference), reference, pairs, config_of("kto"))


@pytest.mark.parametrize("name", WITHOUT_REFERENCE)
def test_what_reads_no_reference_needs_none(reference, pairs, name):
    records = list(train_dpo(copy_policy(reference), None, pairs, config_of(name)))
    assert len(records) == 4


def test_all_others_need_one(reference, pairs):
    for name in sorted(set(LOSSES) - set(WITHOUT_REFERENCE)):
        with pytest.raises(ValueError, match="needs a reference"):
            train_dpo(copy_policy(reference), None, pairs, config_of(name))


def test_settings_are_filled_in_when_a_configuration_is_resolved():
    assert DPOConfig(loss="simpo").resolved(1000).target_margin == 0.5
    assert DPOConfig(loss="simpo", target_margin=0).resolved(1000).target_margin == 0
    resolved = DPOConfig(loss="ipo").resolved(1000)
    assert (resolved.target_margin, resolved.label_smoothing) == (None, None)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"loss": "ipo", "label_smoothing": 0.1},
            "label_smoothing is a setting of loss cdpo and robust, and this is ipo",
        ),
        ({"target_margin": 1.0}, "target_margin is a setting of loss simpo, and this is dpo: leave it out"),
        ({"loss": "hinge", "reference_free": True}, "reference_free is for loss dpo, and this is hinge"),
        ({"loss": "sigmoid"}, "loss must be one of dpo, ipo, .*; got 'sigmoid'"),
    ],
)
def test_what_does_not_go_together_is_refused_in_words(settings, said):
    with pytest.raises(SettingError, match=said):
        DPOConfig(**settings)
