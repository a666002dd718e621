"""The commands of ``python -m dpo_book``: sft, reward, dpo, evaluate, sample, frontier.

Each is a function; its parameters, and the fields of the dataclasses among them, are its options. What a command
needs is imported when it runs, models and training after the data were read: help and the answer to a slip come
without torch.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import tyro

from dpo_book.cli.options import DataOptions, OutputOptions, require_lora
from dpo_book.maths.require import require_beta, require_count
from dpo_book.training.config import DPOConfig, RewardConfig, SFTConfig, TrainConfig

WorldName = Literal["verdicts", "tiny-reviews"]
MethodName = Literal["sft", "preferred-ft", "unlikelihood", "dpo", "best-of-n", "ppo", "ppo-gt"]
METHOD_NAMES: tuple[MethodName, ...] = get_args(MethodName)


def sft(
    data: DataOptions,
    output: OutputOptions,
    config: SFTConfig,
    policy: str = "mini",
    lora_rank: int | None = None,
) -> None:
    """Teach a policy to imitate the chosen completions: where DPO starts.

    Args:
        policy: hub id, folder or .gguf file; mini is a new small GPT-2 with a tokenizer made from the data.
        lora_rank: train an adapter of this rank instead of all weights (needs the package's extra lora).
    """
    require_lora(lora_rank)
    from dpo_book.cli.data import Data

    preferences = Data(data)

    from dpo_book.cli.models import Trainee, load
    from dpo_book.cli.run_folder import identity_of, open_run
    from dpo_book.training.offline import train_sft

    model, tokenizer = load(policy, preferences)
    examples = preferences.examples(model, tokenizer)
    identity = identity_of("sft", config, model, examples, lora_rank=lora_rank)
    with open_run(output, identity) as run:
        if run.finished:
            return
        trainee = Trainee(model, lora_rank, config.seed)
        records = train_sft(trainee.model, examples, config, run.checkpoints)
        run.follow(records, config.steps, _tokens_a_step(examples, config))
        run.save(trainee.trained(), tokenizer)


def reward(data: DataOptions, output: OutputOptions, config: RewardConfig, policy: str = "mini") -> None:
    """Fit a reward model to preferences (eq. 2): the policy's body with a scalar head.

    Args:
        policy: hub id, folder or .gguf file; mini is a new small GPT-2 with a tokenizer made from the data.
    """
    from dpo_book.cli.data import Data

    preferences = Data(data)

    from dpo_book.cli.models import Trainee, load
    from dpo_book.cli.run_folder import identity_of, open_run
    from dpo_book.models.reward_model import build_reward_model
    from dpo_book.training.offline import train_reward_model

    base, tokenizer = load(policy, preferences)
    pairs = preferences.pairs(base, tokenizer)
    model = build_reward_model(base, config.seed)
    if model.config.pad_token_id is None:  # without one transformers scores no batch of several rows
        model.config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    identity = identity_of("reward", config, model, pairs, lora_rank=None)
    with open_run(output, identity) as run:
        if run.finished:
            return
        trainee = Trainee(model)
        records = train_reward_model(trainee.model, pairs, config, run.checkpoints)
        run.follow(records, config.steps, _tokens_a_step(pairs, config))
        run.save(trainee.trained(), tokenizer)


def dpo(
    data: DataOptions,
    output: OutputOptions,
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
    require_lora(lora_rank)
    from dpo_book.cli.data import Data

    preferences = Data(data)

    from dpo_book.cli.models import Trainee, load, load_reference
    from dpo_book.cli.run_folder import identity_of, open_run
    from dpo_book.system.provenance import model_digest
    from dpo_book.training.offline import train_dpo
    from dpo_book.training.reference import compute_reference_logps

    model, tokenizer = load(policy, preferences)
    pairs = preferences.pairs(model, tokenizer)
    near = model if reference is None else load_reference(reference, tokenizer)
    identity = identity_of("dpo", config, model, pairs, lora_rank=lora_rank, reference=model_digest(near))
    with open_run(output, identity) as run:
        if run.finished:
            return
        reference_logps = None
        if not config.reference_free:
            reference_logps = compute_reference_logps(near, pairs, config, keep=True)
        del near  # its log-probabilities are all that training needs
        trainee = Trainee(model, lora_rank, config.seed)
        records = train_dpo(trainee.model, None, pairs, config, reference_logps, run.checkpoints)
        run.follow(records, config.steps, _tokens_a_step(pairs, config))
        run.save(trainee.trained(), tokenizer)


def evaluate(
    data: DataOptions,
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
    require_beta(beta)
    require_count("samples", samples, least=2)
    require_count("max_new_tokens", max_new_tokens)
    from dpo_book.cli.data import Data

    preferences = Data(data)

    from dpo_book.cli.models import load, load_reference
    from dpo_book.evaluation.held_out import drift, held_out

    model, tokenizer = load(policy)
    near = load_reference(reference, tokenizer)
    pairs = preferences.pairs(near, tokenizer)
    distinct = dict.fromkeys(tuple(pair.prompt) for pair in pairs)
    prompts = [list(prompt) for prompt in distinct]
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
    require_count("max_new_tokens", max_new_tokens)
    from dpo_book.cli.models import load
    from dpo_book.models.policy import sample as draw

    model, tokenizer = load(policy)
    for start in range(0, len(prompts), 64):
        batch = prompts[start : start + 64]
        completions = draw(model, tokenizer, batch, max_new_tokens, temperature, seed + start)
        for prompt, completion in zip(batch, completions, strict=True):
            print(json.dumps({"prompt": prompt, "completion": completion}, ensure_ascii=False))


def frontier(
    world: tyro.conf.Positional[WorldName],
    out: Path = Path("frontier"),
    size: Literal["full", "small"] = "full",
    methods: tuple[MethodName, ...] = METHOD_NAMES,
    seeds: int = 5,
    processes: int = 2,
    budget: int | None = None,
) -> None:
    """Compute the reward–KL frontier of RLHF, DPO and their baselines in one world.

    Results enter OUT/WORLD.csv run by run. Stop it at any time; the same command goes on where it stopped.

    Args:
        world: verdicts (every number exact) or tiny-reviews (sampled).
        out: folder of the results.
        size: full, or small as chapter 08 runs it live.
        methods: which to run.
        seeds: how many, from 0 on; each draws its own comparisons.
        processes: how many runs at once, each on one thread.
        budget: passes (sequences run forward and backward) that each run may spend; by default the plan's.
    """
    require_count("seeds", seeds)
    require_count("processes", processes)
    if budget is not None:
        require_count("budget", budget)
    from tqdm import tqdm

    from dpo_book.frontier.plans import PLANS
    from dpo_book.frontier.table import compute

    plan = PLANS[size][world]
    if budget is not None:
        plan = replace(plan, budget=budget)
    progress = compute(out, world, plan, methods, seeds, processes)
    done, total, _ = next(progress)
    with tqdm(total=total, initial=done, unit="run", desc=world) as bar:
        for done, total, run in progress:  # noqa: B007
            bar.set_postfix_str(f"{run.method} {run.strength:g}, seed {run.seed}", refresh=False)
            bar.update()
    print(f"{done} of {total} runs are in {out / world}.csv")


COMMANDS = (sft, reward, dpo, evaluate, sample, frontier)


def _tokens_a_step(rows: Sequence[tuple], config: TrainConfig) -> float:
    """On average: the token ids of a row, lists of them, times the batch size."""
    tokens = 0
    for row in rows:
        tokens += sum(len(ids) for ids in row if isinstance(ids, list))
    return tokens / len(rows) * config.batch_size
