"""DPO here and in TRL, each along its own path from text to loss: one model, the same pairs, the same numbers."""

from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset

from dpo_book import (
    DPOConfig,
    Preference,
    build_policy,
    collate,
    copy_policy,
    dpo_loss,
    sequence_logp,
    tokenize_pairs,
    train_dpo,
    train_tokenizer,
)
from dpo_book.maths.relatives.anchors import kto_loss
from dpo_book.maths.relatives.named import LOSSES
from dpo_book.maths.relatives.pairs import PairLogps

trl = pytest.importorskip("trl")
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")

# Both libraries add up the same float32 numbers in another order (padding on one side or two, the softmax in
# chunks or whole): of seven digits that costs the last one or two. A reward is β times a difference of two
# log-probabilities, and inherits the rounding of those, not of what little is left between them.
RELATIVE = 1e-5
ROUNDING_OF_A_LOGP = 1e-6
# In training each step hands its rounding to the next through Adam, which divides a gradient by its own size,
# and so makes the rounding of a small one as large as a step.
DRIFT = 10
BETA = 0.1
STEPS = 5

ROWS = [
    ("The acting", " was very good", " was dull"),
    ("The ending", " came too late and was not very good", " is great"),
    ("The plot of this film, if it has one,", " is thin but never dull", " is bad"),
    ("A film", " to see", " to forget before the ending, and then once more after it"),
    ("What do you say of the music?", " Great.", " It is not good, but not bad."),
    ("Très", " bien, très drôle", " ennuyeux"),
    ("The film was ", "good", "not good"),  # the space goes with the completion's first word
]
REWARDS = ["rewards/chosen", "rewards/rejected", "rewards/margins"]
METRICS = [*REWARDS, "rewards/accuracies", "logps/chosen", "logps/rejected"]


def assert_metrics_agree(ours, theirs, drift=1):
    logp = max(abs(theirs["logps/chosen"]), abs(theirs["logps/rejected"]))
    for name in METRICS:
        rounding = BETA * ROUNDING_OF_A_LOGP * logp if name in REWARDS else 0
        assert ours[name] == pytest.approx(theirs[name], rel=drift * RELATIVE, abs=drift * rounding), name


def blurred(policy, seed):
    """A copy with noise on its weights, so that policy and reference disagree."""
    twin = copy_policy(policy)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return twin


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([text for row in ROWS for text in row], vocab_size=320)


@pytest.fixture(scope="module")
def pairs(tokenizer):
    return tokenize_pairs([Preference(*row) for row in ROWS], tokenizer)


@pytest.fixture(scope="module")
def reference(tokenizer):
    return blurred(build_policy("mini", tokenizer), seed=1)


@pytest.fixture(scope="module")
def policy(reference):
    return blurred(reference, seed=2)


@pytest.fixture
def make_trainer(tokenizer, tmp_path):
    """TRL's trainer on ROWS: all pairs in every batch, so that the order of the data does not matter."""

    def make(policy, reference, **settings):
        settings = {"learning_rate": 1e-3, "max_steps": STEPS, **settings}
        args = trl.DPOConfig(
            output_dir=str(tmp_path),
            beta=BETA,
            per_device_train_batch_size=len(ROWS),
            lr_scheduler_type="cosine",
            warmup_steps=0,
            weight_decay=0.0,
            max_grad_norm=10.0,
            bf16=False,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            **settings,
        )
        names = ("prompt", "chosen", "rejected")
        data = Dataset.from_list([dict(zip(names, row, strict=True)) for row in ROWS])
        return trl.DPOTrainer(
            model=policy, ref_model=reference, args=args, train_dataset=data, processing_class=tokenizer
        )

    return make


def our_loss(policy, reference, pairs):
    """Loss and metrics of one batch, as TRL names them, through tokenize_pairs, collate, sequence_logp, dpo_loss."""
    batch = collate([pair.prompt for pair in pairs] * 2, [p.chosen for p in pairs] + [p.rejected for p in pairs])
    chosen, rejected = sequence_logp(policy, batch).chunk(2)
    with torch.no_grad():
        ref_chosen, ref_rejected = sequence_logp(reference, batch).chunk(2)
    losses, w, l_ = dpo_loss(chosen, rejected, ref_chosen, ref_rejected, BETA)
    values = [w, l_, w - l_, (w > l_).float(), chosen, rejected]
    return losses.mean(), {name: value.mean().item() for name, value in zip(METRICS, values, strict=True)}


def their_loss(trainer):
    """The same from TRL: its data loader and collator, its compute_loss, its record of metrics."""
    trainer.model.train()
    inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    loss = trainer.compute_loss(trainer.model, inputs)
    return loss, {name: trainer._metrics["train"][name][-1] for name in METRICS}


def gradients(model):
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_both_read_the_same_tokens(make_trainer, policy, reference, pairs):
    rows = make_trainer(copy_policy(policy), copy_policy(reference)).train_dataset
    theirs = [(row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) for row in rows]
    assert theirs == [(pair.prompt, pair.chosen, pair.rejected) for pair in pairs]
    assert len({len(pair.prompt) for pair in pairs}) > 1  # so that there is padding on both sides


@pytest.mark.parametrize("precompute", [False, True], ids=["live reference", "precomputed reference"])
def test_loss_metrics_and_gradient_of_a_batch_are_those_of_trl(make_trainer, policy, reference, pairs, precompute):
    ours, theirs = copy_policy(policy), copy_policy(policy)
    trainer = make_trainer(theirs, copy_policy(reference), precompute_ref_log_probs=precompute)
    loss, metrics = our_loss(ours, reference, pairs)
    trl_loss, trl_metrics = their_loss(trainer)
    assert loss.item() == pytest.approx(trl_loss.item(), rel=RELATIVE)
    assert_metrics_agree(metrics, trl_metrics)
    assert min(abs(metrics[name]) for name in REWARDS) > 0.01  # policy and reference do disagree

    loss.backward()
    trl_loss.backward()
    found, expected = gradients(ours), gradients(theirs)
    assert found.keys() == expected.keys()
    for name in found:
        assert (found[name] - expected[name]).norm() <= RELATIVE * expected[name].norm(), name


def test_training_is_that_of_trl_step_by_step(make_trainer, policy, reference, pairs):
    trainer = make_trainer(copy_policy(policy), copy_policy(reference))
    trainer.train()
    theirs = [record for record in trainer.state.log_history if "loss" in record]

    config = DPOConfig(
        beta=BETA, learning_rate=1e-3, batch_size=len(pairs), steps=STEPS, warmup_steps=0, max_grad_norm=10.0
    )
    ours = list(train_dpo(copy_policy(policy), reference, pairs, config))
    assert len(ours) == len(theirs) == STEPS
    for mine, trls in zip(ours, theirs, strict=True):
        for name in ("loss", "grad_norm", "learning_rate"):
            assert mine[name] == pytest.approx(trls[name], rel=RELATIVE), f"{name} at step {mine['step']}"
        assert_metrics_agree(mine, trls, DRIFT)
    assert ours[-1]["loss"] < ours[0]["loss"] / 2  # it did learn


# ------------------------------------------------------------------ what came after DPO

# TRL's name and settings of a loss, and ours.
OF_TRAINER = {
    "hinge": ({"loss_type": "hinge"}, {}),
    "robust": ({"loss_type": "robust", "label_smoothing": 0.2}, {"label_smoothing": 0.2}),
    "dpo_norm": ({"loss_type": "sigmoid_norm"}, {}),
    "apo_zero": ({"loss_type": "apo_zero"}, {}),
    "apo_down": ({"loss_type": "apo_down"}, {}),
}


def logps_of(policy, reference, pairs):
    """What a loss reads, of all pairs in one batch; the policy's with gradient."""
    batch = collate([pair.prompt for pair in pairs] * 2, [p.chosen for p in pairs] + [p.rejected for p in pairs])
    chosen, rejected = sequence_logp(policy, batch).chunk(2)
    with torch.no_grad():
        ref_chosen, ref_rejected = sequence_logp(reference, batch).chunk(2)
    chosen_tokens = torch.tensor([len(pair.chosen) for pair in pairs])
    rejected_tokens = torch.tensor([len(pair.rejected) for pair in pairs])
    return PairLogps(chosen, rejected, ref_chosen, ref_rejected, chosen_tokens, rejected_tokens)


def assert_same_loss_and_gradient(ours, theirs, our_policy, their_policy):
    assert ours.item() == pytest.approx(theirs.item(), rel=RELATIVE)
    ours.backward()
    theirs.backward()
    found, expected = gradients(our_policy), gradients(their_policy)
    for name in expected:
        assert (found[name] - expected[name]).norm() <= RELATIVE * expected[name].norm(), name


@pytest.mark.parametrize("name", OF_TRAINER)
def test_a_loss_after_dpo_is_that_of_trl(make_trainer, policy, reference, pairs, name):
    trl_settings, settings = OF_TRAINER[name]
    ours, theirs = copy_policy(policy), copy_policy(policy)
    trainer = make_trainer(theirs, copy_policy(reference), **trl_settings)
    losses = LOSSES[name](logps_of(ours, reference, pairs), BETA, **settings).losses
    trl_loss, _ = their_loss(trainer)
    assert_same_loss_and_gradient(losses.mean(), trl_loss, ours, theirs)


def test_trl_s_ipo_is_ours_of_log_ratios_a_token(make_trainer, policy, reference, pairs):
    trainer = make_trainer(copy_policy(policy), copy_policy(reference), loss_type="ipo")
    logps = logps_of(policy, reference, pairs)
    chosen, rejected = logps.log_ratios()
    zeros = torch.zeros(len(pairs))
    a_token = PairLogps(chosen / logps.chosen_tokens, rejected / logps.rejected_tokens, zeros, zeros, *logps[4:])
    trl_loss, _ = their_loss(trainer)
    assert LOSSES["ipo"](a_token, BETA).losses.mean().item() == pytest.approx(trl_loss.item(), rel=RELATIVE)
    assert LOSSES["ipo"](logps, BETA).losses.mean().item() != pytest.approx(trl_loss.item(), rel=0.01)


def test_trl_s_label_smoothing_does_nothing_to_its_sigmoid_loss(make_trainer, policy, reference, pairs):
    """So that ``cdpo`` has no counterpart there: should it get one, this test says so."""
    trainer = make_trainer(copy_policy(policy), copy_policy(reference), loss_type="sigmoid", label_smoothing=0.2)
    trl_loss, _ = their_loss(trainer)
    logps = logps_of(policy, reference, pairs)
    assert LOSSES["dpo"](logps, BETA).losses.mean().item() == pytest.approx(trl_loss.item(), rel=RELATIVE)
    smoothed = LOSSES["cdpo"](logps, BETA, label_smoothing=0.2).losses.mean().item()
    assert smoothed != pytest.approx(trl_loss.item(), rel=0.01)


def test_trl_s_sum_of_dpo_and_sft_is_rpo_but_for_how_tokens_are_averaged(make_trainer, policy, reference, pairs):
    both = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}
    trainer = make_trainer(copy_policy(policy), copy_policy(reference), **both)
    trl_loss, _ = their_loss(trainer)
    logps = logps_of(policy, reference, pairs)
    dpo = LOSSES["dpo"](logps, BETA).losses.mean()
    over_all_tokens = -logps.policy_chosen.sum() / logps.chosen_tokens.sum()
    assert (dpo + 0.5 * over_all_tokens).item() == pytest.approx(trl_loss.item(), rel=RELATIVE)
    over_each_completion = -(logps.policy_chosen / logps.chosen_tokens).mean()
    rpo = LOSSES["rpo"](logps, BETA, nll_weight=0.5).losses.mean()
    assert rpo.item() == pytest.approx((dpo + 0.5 * over_each_completion).item(), rel=RELATIVE)


def test_simpo_and_orpo_are_those_of_trl_s_trainers(policy, reference, pairs):
    """Their functions of mean log-probabilities, called with the few settings that they read."""
    cpo_trainer = pytest.importorskip("trl.experimental.cpo").CPOTrainer
    orpo_trainer = pytest.importorskip("trl.experimental.orpo").ORPOTrainer
    logps = logps_of(policy, reference, pairs)
    chosen, rejected = logps.policy_chosen / logps.chosen_tokens, logps.policy_rejected / logps.rejected_tokens
    here = SimpleNamespace(device=torch.device("cpu"))
    simpo = SimpleNamespace(
        beta=2.0, simpo_gamma=0.7, alpha=0.0, loss_type="simpo", label_smoothing=0.0, accelerator=here
    )
    for found, theirs in zip(
        LOSSES["simpo"](logps, 2.0, target_margin=0.7), cpo_trainer.cpo_loss(simpo, chosen, rejected), strict=True
    ):
        torch.testing.assert_close(found, theirs, rtol=RELATIVE, atol=0)
    orpo = SimpleNamespace(beta=0.3, accelerator=here)
    log_odds_part, *rewards, _, _ = orpo_trainer.odds_ratio_loss(orpo, chosen, rejected)
    losses, *our_rewards = LOSSES["orpo"](logps, 0.3)
    torch.testing.assert_close(losses, -chosen - log_odds_part, rtol=RELATIVE, atol=0)  # theirs is added with a minus
    torch.testing.assert_close(our_rewards, rewards, rtol=RELATIVE, atol=0)


def test_kto_is_that_of_trl_at_its_z0(tokenizer, policy, reference, pairs, tmp_path):
    rows = []
    for prompt, chosen, rejected in ROWS:
        rows += [{"prompt": prompt, "completion": chosen, "label": True}]
        rows += [{"prompt": prompt, "completion": rejected, "label": False}]
    args = trl.KTOConfig(
        output_dir=str(tmp_path), beta=BETA, per_device_train_batch_size=len(rows), bf16=False, use_cpu=True,
        report_to="none", disable_tqdm=True,
    )  # fmt: skip
    ours, theirs = copy_policy(policy), copy_policy(policy)
    trainer = trl.KTOTrainer(
        model=theirs, ref_model=copy_policy(reference), args=args, train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )  # fmt: skip
    trainer.model.train()
    inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    trl_loss = trainer.compute_loss(trainer.model, inputs)
    z0 = torch.tensor(trainer._metrics["train"]["kl"][-1])
    losses = kto_loss(logps_of(ours, reference, pairs), BETA, z0).losses
    assert_same_loss_and_gradient(losses.mean(), trl_loss, ours, theirs)
