"""The commands of ``python -m dpo_book`` for one's own data: sft, reward, dpo, evaluate, sample.

Each is a function; its parameters, and the fields of the dataclasses among them, are its options.
"""

import gc
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import tyro
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_book.cli.data import Data
from dpo_book.cli.run_folder import carry_out
from dpo_book.evaluation.held_out import drift, held_out
from dpo_book.models.lora import Lora
from dpo_book.models.policy import build_policy, load_policy, train_tokenizer
from dpo_book.models.policy import sample as draw
from dpo_book.models.reward_model import build_reward_model
from dpo_book.system.processes import gather, join, shard, this_process
from dpo_book.system.provenance import data_digest, model_digest
from dpo_book.training.checkpoints import Checkpoints
from dpo_book.training.config import DPOConfig, RewardConfig, SFTConfig, TrainConfig
from dpo_book.training.loop import Record
from dpo_book.training.offline import reference_logps_of_run, train_dpo, train_reward_model, train_sft
from dpo_book.training.reference import kept_reference_logps


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a run lives, and what it keeps."""

    out: Path
    """folder of the run: metrics.jsonl, figures, a checkpoint, and at last model/. The same command goes on there"""
    checkpoint_every: int = 100
    """steps between checkpoints"""
    tensorboard: bool = False
    """also write the metrics to OUT/tensorboard (needs the package's extra of that name)"""


def sft(data: Data, output: Output, config: SFTConfig, policy: str = "mini", lora_rank: int | None = None) -> None:
    """Teach a policy to imitate the chosen completions: where DPO starts.

    Args:
        policy: hub id, folder or .gguf file; mini is a new small GPT-2 with a tokenizer made from the data.
        lora_rank: train an adapter of this rank instead of all weights (needs the package's extra lora).
    """
    model, tokenizer = _policy(policy, data)
    examples = data.examples(model, tokenizer)
    start = lambda model, checkpoints: train_sft(model, examples, config, checkpoints)
    _run("sft", output, config, model, tokenizer, examples, start, lora_rank)


def reward(data: Data, output: Output, config: RewardConfig, policy: str = "mini") -> None:
    """Fit a reward model to preferences (eq. 2): the policy's body with a scalar head.

    Args:
        policy: hub id, folder or .gguf file; mini is a new small GPT-2 with a tokenizer made from the data.
    """
    base, tokenizer = _policy(policy, data)
    pairs = data.pairs(base, tokenizer)
    model = build_reward_model(base, config.seed)
    if model.config.pad_token_id is None:  # without one transformers scores no batch of several rows
        model.config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    start = lambda model, checkpoints: train_reward_model(model, pairs, config, checkpoints)
    _run("reward", output, config, model, tokenizer, pairs, start)


def dpo(
    data: Data,
    output: Output,
    config: DPOConfig,
    policy: str,
    reference: str | None = None,
    lora_rank: int | None = None,
) -> None:
    """Train a policy on preferences by DPO (eq. 7).

    Args:
        policy: hub id, folder or .gguf file; mini is a new small GPT-2, which has learned nothing yet.
        reference: another policy of the same tokenizer to stay near to; by default the policy as it starts.
        lora_rank: train an adapter of this rank instead of all weights (needs the package's extra lora).
    """
    model, tokenizer = _policy(policy, data)
    pairs = data.pairs(model, tokenizer)
    near = model if reference is None else _same_tokens(reference, tokenizer)
    digest = model_digest(near)

    def start(policy: PreTrainedModel, checkpoints: Checkpoints) -> Iterator[Record]:
        nonlocal near
        logps = None if config.reference_free else reference_logps_of_run(near, pairs, config, kept_reference_logps)
        near = None  # its log-probabilities are all that training needs
        gc.collect()  # FSDP's models are in circles
        return train_dpo(policy, None, pairs, config, logps, checkpoints)

    _run("dpo", output, config, model, tokenizer, pairs, start, lora_rank, reference=digest)


def evaluate(
    data: Data,
    policy: str,
    reference: str,
    beta: float = 0.1,
    samples: int = 64,
    max_new_tokens: int = 48,
    seed: int = 0,
) -> None:
    """Measure a policy on held-out preferences: accuracy, margin, KL to the reference, each with 95 % intervals.

    Args:
        policy: hub id, folder or .gguf file.
        reference: the policy that it was trained from.
        beta: of its training; the margin is in its unit.
        samples: completions drawn for the KL.
        max_new_tokens: where they are cut.
        seed: of the samples.
    """
    model, tokenizer = _policy(policy)
    near = _same_tokens(reference, tokenizer)
    pairs = data.pairs(near, tokenizer)
    prompts = [list(prompt) for prompt in dict.fromkeys(tuple(pair.prompt) for pair in pairs)]
    measured = held_out(model, near, pairs, beta)
    measured["KL to the reference, nats"] = drift(model, near, prompts, samples, max_new_tokens, seed)
    print(f"{len(pairs)} pairs")
    for name, value in measured.items():
        print(f"{name}: {value}")


def sample(
    prompts: tyro.conf.Positional[tuple[str, ...]] = (),
    *,
    policy: str,
    file: Path | None = None,
    max_new_tokens: int = 48,
    temperature: float = 1.0,
    seed: int = 0,
) -> None:
    """Write what a policy says to prompts, as JSON lines {"prompt", "completion"}.

    Args:
        prompts: the prompts, each in quotes.
        policy: hub id, folder or .gguf file.
        file: more prompts, one a line.
        max_new_tokens: where a completion is cut.
        temperature: 1 draws from the policy itself, 0 takes the likeliest token.
        seed: of the draws.
    """
    lines = file.read_text(encoding="utf-8").splitlines() if file else []
    prompts = [*prompts, *(line for line in lines if line.strip())]
    if not prompts:
        raise ValueError("no prompt was given: write some in quotes, or name a --file with one a line")
    model, tokenizer = _policy(policy)
    for start in range(0, len(prompts), 64):
        batch = prompts[start : start + 64]
        completions = draw(model, tokenizer, batch, max_new_tokens, temperature, seed + start)
        for prompt, completion in zip(batch, completions, strict=True):
            print(json.dumps({"prompt": prompt, "completion": completion}, ensure_ascii=False))


def _policy(name: str, data: Data | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    device = join()
    if name != "mini" or data is None:
        model, tokenizer = load_policy(name)
        return model.to(device), tokenizer
    tokenizer = train_tokenizer(data.texts())
    return build_policy("mini", tokenizer).to(device), tokenizer


def _same_tokens(name: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    model, theirs = load_policy(name)
    if theirs.get_vocab() != tokenizer.get_vocab():
        raise ValueError(f"the reference {name} has another tokenizer than the policy: their tokens must be the same")
    return model.to(join())


def _run(
    method: str, output: Output, config: TrainConfig, model, tokenizer, rows, start, lora_rank=None, **identity: str
) -> None:
    settings = {"method": method, **asdict(config), "lora_rank": lora_rank}
    identity = {**settings, "model": model_digest(model), **identity, "data": data_digest(rows)}
    lora = None if lora_rank is None else Lora(model, lora_rank, config.seed)
    sharded = shard(model)

    def trained() -> PreTrainedModel:
        gather(sharded, model)
        return lora.merge() if lora else model

    tokens = sum(len(ids) for row in rows for ids in row if isinstance(ids, list)) / len(rows)  # a row, on average
    ran = carry_out(
        output.out, identity, partial(start, sharded), config.steps, trained, tokenizer, tokens * config.batch_size,
        output.checkpoint_every, output.tensorboard,
    )  # fmt: skip
    here = output.out
    if this_process()[0] == 0:
        print(f"the trained model is in {here / 'model'}" if ran else f"{here} holds this run already, finished")
