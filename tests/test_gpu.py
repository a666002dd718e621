"""What only a CUDA GPU shows: `make gpu`. Float32 agrees with the CPU closely, bfloat16 as far as its 8 bits go."""

import gc
import json

import pytest
import torch

from dpo_book import (
    DPOConfig,
    PPOConfig,
    RewardConfig,
    SFTConfig,
    build_policy,
    build_reward_model,
    copy_policy,
    sequence_logp,
    train_dpo,
    train_ppo,
    train_reward_model,
    train_sft,
)
from dpo_book.evaluation.sampled import sampled_kl
from dpo_book.models import policy as policies
from dpo_book.models.batch import collate
from dpo_book.models.lora import Lora
from dpo_book.models.policy import sample_ids
from dpo_book.models.reward_model import rewards_of
from dpo_book.models.sampling import way_of
from dpo_book.models.scoring import can_share_prompts, score_pairs
from dpo_book.models.traits import traits_of
from dpo_book.system.devices import best_device, find_device, precision
from dpo_book.training.checkpoints import Checkpoints
from dpo_book.worlds.verdicts import verdicts
from tests.small_data import verdict_pairs
from tools.optimum import distance_to_optimum

pytestmark = pytest.mark.gpu

CONFIG = DPOConfig(beta=0.5, learning_rate=1e-3, warmup_steps=2, batch_size=4, steps=8)
# Sums of four log-probabilities of about 2 nats, added up in another order, over eight steps.
FLOAT32 = {"abs": 1e-4}


@pytest.fixture(autouse=True)
def nothing_asked(monkeypatch):
    """All other tests run on the CPU, by tools/kernel_env.py."""
    monkeypatch.delenv("DPO_BOOK_DEVICE")


@pytest.fixture
def pairs():
    return verdict_pairs(16)


@pytest.fixture
def there(reference):
    """The reference, on the GPU."""
    return copy_policy(reference).cuda()


@pytest.fixture
def float32(monkeypatch):
    """No autocast: the GPU computes in float32."""
    monkeypatch.setattr(policies, "precision", lambda device: torch.float32)


def losses(policy, reference, pairs, **more):
    return [record["loss"] for record in train_dpo(policy, reference, pairs, CONFIG, **more)]


def test_this_card_is_used_as_it_is_best():
    assert best_device().type == find_device("auto").type == find_device("cuda").type == "cuda"
    major, _ = torch.cuda.get_device_capability()
    assert (precision(best_device()) == torch.bfloat16) == (major >= 8)
    with pytest.raises(ValueError, match="this machine has no such device"):
        find_device(f"cuda:{torch.cuda.device_count()}")


def test_a_policy_has_the_same_weights_wherever_it_is_made(reference):
    there = build_policy("nano", verdicts().tokenizer, seed=3, device="cuda")
    for ours, theirs in zip(reference.parameters(), there.parameters(), strict=True):
        assert theirs.is_cuda and torch.equal(ours, theirs.cpu())


def test_batches_reach_the_gpu_whole():
    batch = collate([[1, 2], [3]], [[4], [5, 6]])
    moved = batch.to("cuda")
    for name in vars(batch):
        assert getattr(moved, name).is_cuda and torch.equal(getattr(moved, name).cpu(), getattr(batch, name))


def test_a_model_is_found_to_be_what_it_is_on_the_cpu(reference, there, pairs):
    """Else it would be run row by row there, and nobody would notice but for the time."""
    assert traits_of(there) == traits_of(reference)
    assert way_of(there) == way_of(reference)
    assert can_share_prompts(there, pairs)


def test_log_probabilities_and_gradients_agree_with_the_cpu(reference, there, pairs):
    batch = collate([pair.prompt for pair in pairs], [pair.chosen for pair in pairs])
    here, found = sequence_logp(reference, batch), sequence_logp(there, batch.to("cuda"))
    assert found.cpu().tolist() == pytest.approx(here.tolist(), **FLOAT32)
    here.sum().backward()
    found.sum().backward()
    for ours, theirs in zip(reference.parameters(), there.parameters(), strict=True):
        scale = ours.grad.abs().max().clamp(min=1)
        assert (ours.grad - theirs.grad.cpu()).abs().max() < 1e-5 * scale


def test_a_training_in_float32_is_the_cpus(reference, there, pairs, float32):
    expected = losses(copy_policy(reference), reference, pairs)
    assert losses(copy_policy(there), there, pairs) == pytest.approx(expected, **FLOAT32)


def test_a_training_in_bfloat16_is_near_the_cpus(reference, there, pairs):
    """bfloat16 keeps 8 bits, so that a log-probability of about 10 nats is good to about 0.05 of them."""
    on_cpu = list(train_dpo(copy_policy(reference), reference, pairs, CONFIG))
    on_gpu = list(train_dpo(copy_policy(there), there, pairs, CONFIG))
    for a, b in zip(on_cpu, on_gpu, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=0.02)
        assert b["logps/chosen"] == pytest.approx(a["logps/chosen"], abs=0.2)


def test_a_training_repeats_itself(there, pairs):
    first, second = copy_policy(there), copy_policy(there)
    assert losses(first, there, pairs) == losses(second, there, pairs)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_dpo_reaches_the_optimum_in_bfloat16(beta, monkeypatch):
    """Chapter 07's promise, and its probabilities, which are summed in float32, are a distribution."""
    monkeypatch.setenv("DPO_BOOK_DEVICE", "cuda")
    distance, total = distance_to_optimum(beta, steps=1200)
    assert distance < 0.05
    assert total.tolist() == pytest.approx([1.0] * 3, abs=1e-4)


@pytest.mark.parametrize(("begun", "ended"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_run_that_was_stopped_goes_on_on_another_device(begun, ended, reference, pairs, float32, tmp_path):
    expected = losses(copy_policy(reference), reference, pairs)
    first = copy_policy(reference).to(begun)
    for record in train_dpo(
        first, reference.to(begun), pairs, CONFIG, checkpoints=Checkpoints(tmp_path / "a", {}, 3)
    ):
        if record["step"] == 7:
            break
    second = build_policy("nano", verdicts().tokenizer, seed=9, device=ended)
    rest = losses(second, reference.to(ended), pairs, checkpoints=Checkpoints(tmp_path / "a", {}, 3))
    assert rest == pytest.approx(expected[6:], **FLOAT32)


def test_samples_repeat_themselves_and_leave_everybodys_random_numbers_alone(there):
    before = torch.cuda.get_rng_state(), torch.get_rng_state()
    prompts = [[0, 1], [0, 3], [0]]
    assert sample_ids(there, prompts, 4, seed=1) == sample_ids(there, prompts, 4, seed=1)
    assert sample_ids(there, prompts, 4, seed=1) != sample_ids(there, prompts, 4, seed=2)
    assert torch.equal(before[0], torch.cuda.get_rng_state()) and torch.equal(before[1], torch.get_rng_state())


def test_what_is_compared_lies_on_the_cpu(there, pairs):
    with torch.no_grad():
        assert verdicts().logp(there).device.type == "cpu"
    for logps in score_pairs(there, pairs):
        assert logps.device.type == "cpu" and logps.isfinite().all()
    model = build_reward_model(there)
    rewards = rewards_of(model, [pair.prompt for pair in pairs], [pair.chosen for pair in pairs])
    assert model.device.type == "cuda" and rewards.device.type == "cpu"


def test_every_other_training_runs_there_too(there, pairs):
    examples = [(pair.prompt, pair.chosen) for pair in pairs]
    records = list(train_sft(copy_policy(there), examples, SFTConfig(learning_rate=3e-3, batch_size=16, steps=20)))
    assert records[-1]["loss"] < records[0]["loss"] - 0.1

    model = build_reward_model(there)
    records = list(train_reward_model(model, pairs, RewardConfig(learning_rate=3e-3, batch_size=16, steps=20)))
    assert records[-1]["loss"] < records[0]["loss"]

    def reward(prompts, completions):
        return rewards_of(model, prompts, completions)

    policy = copy_policy(there)
    config = PPOConfig(beta=0.1, learning_rate=1e-3, batch_size=32, minibatch_size=16, steps=3, max_new_tokens=4)
    records = list(train_ppo(policy, there, verdicts().prompt_ids, reward, config))
    assert records[0]["kl"] == pytest.approx(0, abs=1e-4) and records[-1]["kl"] > 0
    assert sampled_kl(policy, there, verdicts().prompt_ids * 8, 4).mean > 0

    adapted = copy_policy(there)
    lora = Lora(adapted, 4)
    assert losses(adapted, there, pairs)[-1] < losses(copy_policy(there), there, pairs)[0]
    assert lora.merge().device.type == "cuda"


def test_memory_is_given_back(there, pairs):
    losses(copy_policy(there), there, pairs)  # libraries take their workspaces
    gc.collect()
    before = torch.cuda.memory_allocated()
    losses(copy_policy(there), there, pairs)
    gc.collect()
    assert torch.cuda.memory_allocated() - before < 2**16


def test_the_command_line_uses_the_gpu(book, tmp_path):
    rows = [json.dumps({"prompt": "the film", "chosen": " was good", "rejected": " was bad"})] * 12
    (tmp_path / "pairs.jsonl").write_text("\n".join(rows))
    common = ["--data", tmp_path / "pairs.jsonl", "--steps", 3, "--batch-size", 4]
    status, _, said = book("sft", "--policy", "mini", "--out", tmp_path / "start", *common)
    assert status == 0, said
    assert json.loads((tmp_path / "start" / "run.json").read_text())["begun_with"].endswith(", CUDA")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    model = tmp_path / "start" / "model"
    status, _, said = book("dpo", "--policy", model, "--out", tmp_path / "trained", *common)
    assert status == 0, said
    assert torch.cuda.max_memory_allocated() > before
    status, printed, said = book("sample", "the film", "--policy", tmp_path / "trained" / "model")
    assert status == 0 and printed, said
