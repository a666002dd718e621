"""What tests/system/test_processes.py starts in several processes: trainings in float64, their results in files.

DDP's first and FSDP's then, in the same processes: what they import takes longer than what they compute.

python -m torch.distributed.run --standalone --nproc_per_node 2 -m tests.in_processes FOLDER
"""

import json
import os
import sys
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, MambaConfig, MambaForCausalLM, PreTrainedModel

from dpo_book import (
    DPOConfig,
    RewardConfig,
    SFTConfig,
    TrainingDiverged,
    build_policy,
    build_reward_model,
    copy_policy,
    train_dpo,
    train_reward_model,
    train_sft,
)
from dpo_book.models.lora import Lora
from dpo_book.models.scoring import can_share_prompts, score_pairs
from dpo_book.models.traits import traits_of
from dpo_book.system.processes import gather, join, leave, shard, this_process
from dpo_book.training.checkpoints import Checkpoints
from dpo_book.worlds.verdicts import verdicts
from tests.small_data import uneven_pairs

# Eleven pairs in batches of five and parts of two: of an epoch's last batch, one pair, the second process has none.
SHAPE = {"learning_rate": 1e-3, "batch_size": 5, "micro_batch_size": 2, "steps": 7, "warmup_steps": 0}
# The ways of training together, and what accelerate's launcher tells its processes of them.
KINDS = {"ddp": "false", "fsdp": "true"}
IDENTITY = {"pairs": "eleven"}
SMALL = {"vocab_size": 16, "hidden_size": 32, "num_hidden_layers": 2, "bos_token_id": 0, "eos_token_id": 0}
# DPO of other families: a head of its own and shared keys; blocks within blocks, and no prompt that can be shared.
FAMILIES = {
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(**SMALL, intermediate_size=64, num_attention_heads=4, num_key_value_heads=2)
    ),
    "mamba": lambda: MambaForCausalLM(MambaConfig(**SMALL, pad_token_id=0, state_size=8)),
}
METHODS = ("sft", "reward", "dpo", "grouped", "lora", *FAMILIES)


def start_of(method: str):
    """The model that ``method`` trains, in float64, and its adapter or None."""
    if method in FAMILIES:
        torch.manual_seed(0)
        return FAMILIES[method]().double().eval(), None
    reference = build_policy("nano", verdicts().tokenizer, seed=3)
    model = build_reward_model(reference) if method == "reward" else copy_policy(reference)
    lora = Lora(model, rank=4) if method == "lora" else None
    return model.double(), lora


def run(method: str, parts, folder: Path, steps: int = SHAPE["steps"]):
    """Train ``parts``, a model or this process's part of it, for the first so many of all steps: the records."""
    pairs = uneven_pairs()
    checkpoints = Checkpoints(folder / "checkpoint", IDENTITY, every=3, writes=this_process()[0] == 0)
    if method == "sft":
        records = train_sft(parts, [(p.prompt, p.chosen) for p in pairs], SFTConfig(**SHAPE), checkpoints)
    elif method == "reward":
        records = train_reward_model(parts, pairs, RewardConfig(**SHAPE), checkpoints)
    else:
        # Another seed than the policy's, whatever its family: only numbers, and no pair starts at a margin of 0.
        reference = build_policy("nano", verdicts().tokenizer, seed=4).double()
        if method == "grouped":  # prompts of five pairs, of four, and of two
            pairs = [pair._replace(prompt=[1 + i % 7 // 3]) for i, pair in enumerate(pairs)]
        logps = score_pairs(shard(reference), pairs, batch_size=4)
        config = DPOConfig(beta=0.5, **SHAPE, group_by_prompt=method == "grouped")
        records = train_dpo(parts, None, pairs, config, logps, checkpoints)
    return list(islice(records, steps))


def train_whole(method: str, folder: Path, steps: int = SHAPE["steps"]) -> tuple[list, PreTrainedModel, int]:
    """The records of a training, the whole model after it, and how many parameters were held here meanwhile."""
    model, lora = start_of(method)
    parts = shard(model)
    held = sum(getattr(parameter, "_local_tensor", parameter).numel() for parameter in parts.parameters())
    records = run(method, parts, folder, steps)
    gather(parts, model)
    return records, lora.merge() if lora else model, held


def comes_back() -> bool:
    """Whether an update that cannot be good is undone in every part of every weight."""
    model, before = start_of("sft")[0], start_of("sft")[0]
    parts = shard(model)
    config = SFTConfig(**SHAPE | {"learning_rate": 1e300})
    try:
        list(train_sft(parts, [(p.prompt, p.chosen) for p in uneven_pairs()], config))
    except TrainingDiverged:
        after = gather(parts, model)
        return all(a.equal(b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
    return False


def refuses() -> bool:
    """Whether a computation that fails in its middle leaves a model that can still be trained."""
    parts = shard(start_of("dpo")[0])
    traits_of(parts)  # what it is, before anything fails
    attention = parts.transformer.h[1].attn
    whole_forward = attention.forward
    fails = iter([True])

    def forward(*args, **kwargs):
        if next(fails, False):
            raise TypeError("no such mask")
        return whole_forward(*args, **kwargs)

    attention.forward = forward
    assert not can_share_prompts(parts, uneven_pairs())
    config = SFTConfig(**SHAPE)
    losses = [record["loss"] for record in train_sft(parts, [(p.prompt, p.chosen) for p in uneven_pairs()], config)]
    return len(set(losses)) == len(losses)


def main(folder: Path) -> None:
    for kind, shards in KINDS.items():
        os.environ["ACCELERATE_USE_FSDP"] = shards  # as accelerate's launcher does
        join()
        write_results(folder / kind)
    leave(0)


def write_results(folder: Path) -> None:
    """Whatever the tests ask of one way of training together: this process's results, and the weights."""
    folder.mkdir(exist_ok=True)
    index, _ = this_process()
    result = {"comes back": comes_back()}
    for method in METHODS:
        kept = folder / method
        kept.mkdir(exist_ok=True)
        records, model, held = train_whole(method, kept)
        result[method] = {"records": records, "held": held}
        if index == 0:
            save_file({name: weight.detach() for name, weight in model.named_parameters()}, kept / "weights")
    for kept in (folder / "stopped", folder / "resumed"):
        kept.mkdir(exist_ok=True)
        train_whole("dpo", kept, steps=5)  # two after its checkpoint
    result["resumed"] = {"records": train_whole("dpo", kept)[0]}
    result["refused"] = refuses()
    (folder / f"{index}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
