"""LoRA: the adapter alone is trained, the policy without it is the reference, and merged it is a plain model."""

import json
import math
import sys

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, GPT2LMHeadModel

from dpo_book import DPOConfig, copy_policy, train_dpo
from dpo_book.cli import app
from dpo_book.models.lora import Lora
from dpo_book.models.scoring import score_pairs
from dpo_book.worlds.verdicts import verdicts
from tests.small_data import verdict_pairs

pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's, of transformers


@pytest.fixture
def pairs():
    return verdict_pairs(4)


def test_the_policy_without_its_adapter_is_the_reference_at_any_time(reference, pairs):
    policy = copy_policy(reference)
    lora = Lora(policy, rank=4)
    assert type(policy) is GPT2LMHeadModel
    expected = score_pairs(reference, pairs)
    with lora.off():
        logps = score_pairs(policy, pairs)
    config = DPOConfig(beta=0.5, learning_rate=1e-2, batch_size=4, steps=8, warmup_steps=0)
    records = list(train_dpo(policy, None, pairs, config, logps))
    assert records[0]["loss"] == pytest.approx(
        math.log(2), abs=1e-5
    )  # B is zero, so the policy starts as its reference
    assert records[-1]["rewards/margins"] > 0.5
    with lora.off():
        after = score_pairs(policy, pairs)
    for before_, off, after_ in zip(expected, logps, after, strict=True):
        assert torch.equal(before_, off) and torch.equal(before_, after_)


def test_only_the_adapter_is_trained_and_it_is_small(reference):
    policy = copy_policy(reference)
    Lora(policy, rank=2)
    trained = {name: weight for name, weight in policy.named_parameters() if weight.requires_grad}
    assert all("lora_" in name for name in trained)
    assert {name.split(".")[-4] for name in trained} == {"c_attn", "c_proj", "c_fc"}
    assert sum(weight.numel() for weight in trained.values()) < 0.1 * reference.num_parameters()


def test_merged_it_is_a_plain_model_that_says_the_same(reference, pairs):
    policy = copy_policy(reference)
    lora = Lora(policy, rank=4)
    config = DPOConfig(beta=0.5, learning_rate=1e-2, batch_size=4, steps=4, warmup_steps=0)
    list(train_dpo(policy, reference, pairs, config))
    before = score_pairs(policy, pairs)
    merged = lora.merge()
    assert set(merged.state_dict()) == set(reference.state_dict())
    for a, b in zip(score_pairs(merged, pairs), before, strict=True):
        assert torch.allclose(a, b, atol=1e-5)  # W x + 2 B A x against (W + 2 B A) x, in float32


@pytest.mark.parametrize("rank", [0, -1, 1.5, True])
def test_a_bad_rank_is_refused(rank, reference):
    with pytest.raises(ValueError, match="rank of LoRA must be a whole number of at least 1"):
        Lora(reference, rank)


def test_a_run_from_the_command_line_saves_a_plain_model_and_small_checkpoints(tmp_path, reference, monkeypatch):
    reference.save_pretrained(tmp_path / "start")
    verdicts().tokenizer.save_pretrained(tmp_path / "start")
    rows = [
        {"prompt": "the acting", "chosen": f"very good {a}", "rejected": f"very bad {a}"} for a in ("but", "plot")
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["dpo", "--policy", tmp_path / "start", "--data", tmp_path / "pairs.jsonl", "--out", tmp_path / "run"]
    command += ["--lora-rank=4", "--steps=5", "--batch-size=2", "--learning-rate=1e-2", "--warmup-steps=0"]
    monkeypatch.setattr(sys, "argv", ["dpo_book", *map(str, command)])
    app.main()
    trained = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")
    moved = [name for name, weight in trained.named_parameters() if not weight.equal(reference.get_parameter(name))]
    assert moved and all(name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")) for name in moved)
    with safe_open(tmp_path / "run" / "checkpoint.safetensors", framework="pt") as kept:
        assert all("lora_" in name for name in kept.keys())  # noqa: SIM118
