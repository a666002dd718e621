"""LoRA: the adapter alone is trained, the policy without it is the reference, and merged it is a plain model."""

import json
import math
import sys

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, GPT2LMHeadModel, MambaConfig, MambaForCausalLM

from dpo_book import DPOConfig, copy_policy, train_dpo
from dpo_book.cli import app
from dpo_book.models.lora import Lora
from dpo_book.models.scoring import score_pairs
from dpo_book.worlds.verdicts import verdicts
from tests.models.families import build, naive_logits
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


@pytest.mark.parametrize("family", ["mixtral", "deepseek_v3", "jetmoe", "llama4_text", "afmoe"])
def test_no_layer_of_a_mixture_is_left_out(family):
    """Experts stand in one stack, in layers of their own, or both; some layers only look like experts by name."""
    model = build(family)
    row = list(range(3, 15))
    before = naive_logits(model, row)
    weights = {name: weight.clone() for name, weight in model.named_parameters() if weight.dim() > 1}
    lora = Lora(model, rank=2)
    torch.testing.assert_close(naive_logits(model, row), before, rtol=0, atol=1e-5)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight += 0.1
    trained = naive_logits(model, row)
    assert (trained - before).abs().max() > 0.1
    with lora.off():
        torch.testing.assert_close(naive_logits(model, row), before, rtol=0, atol=1e-5)

    merged = lora.merge()
    torch.testing.assert_close(naive_logits(merged, row), trained, rtol=1e-3, atol=1e-3)
    after = {name: weight for name, weight in merged.named_parameters() if weight.dim() > 1}
    assert after.keys() == weights.keys()
    unmoved = {name.split(".")[-2] for name, weight in weights.items() if weight.equal(after[name])}
    # Embeddings, the head, and who picks the experts.
    assert unmoved <= {"embed_tokens", "lm_head", "gate", "router"}


@pytest.mark.parametrize("family", ["mixtral", "llama4_text", "afmoe"])
def test_taken_out_it_leaves_the_model_that_was(family):
    model = build(family)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    assert Lora(model, rank=2).remove() is model
    after = model.state_dict()
    assert after.keys() == before.keys() and all(weight.equal(after[name]) for name, weight in before.items())
    assert all(weight.requires_grad for weight in model.parameters())


def test_a_family_that_peft_cannot_adapt_is_refused_in_one_line():
    model = MambaForCausalLM(MambaConfig(vocab_size=16, hidden_size=16, num_hidden_layers=1))
    with pytest.raises(ValueError, match="LoRA cannot adapt MambaForCausalLM") as error:
        Lora(model, rank=2)
    assert "\n" not in str(error.value)


def test_a_layer_that_is_read_past_its_adapter_is_named():
    with pytest.raises(ValueError, match=r"LoRA would leave \S+dt_proj of JambaForCausalLM as it is: train it whole"):
        Lora(build("jamba"), rank=2)


def test_a_policy_in_which_nothing_can_be_adapted_is_refused(reference):
    for block in reference.transformer.h:
        block.attn = block.mlp = torch.nn.Identity()
    with pytest.raises(ValueError, match="has no linear layer that LoRA could adapt"):
        Lora(reference, rank=2)


def test_a_run_from_the_command_line_saves_a_plain_model_and_small_checkpoints(tmp_path, reference, monkeypatch):
    reference.save_pretrained(tmp_path / "start")
    verdicts().tokenizer.save_pretrained(tmp_path / "start")
    rows = [
        {"prompt": "the acting", "chosen": f" very good {a}", "rejected": f" very bad {a}"} for a in ("but", "plot")
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
