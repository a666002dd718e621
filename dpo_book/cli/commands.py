"""The commands of ``python -m dpo_book``: sft, reward, dpo, evaluate, judge, label, sample, frontier.

Each is a function; its parameters, and the fields of the dataclasses among them, are its options. What a command
needs is imported when it runs, models and training after the data were read: help and the answer to a slip come
without torch.
"""

import json
from collections.abc import Sequence

import tyro

from dpo_book.cli.boundary import Refused, entering, writing
from dpo_book.cli.frontier import frontier
from dpo_book.cli.judge import judge
from dpo_book.cli.label import label
from dpo_book.cli.options import DataOptions, Name, NameOrNone, OutputOptions, UserPathOrNone, require_lora
from dpo_book.cli.prompts import read_prompts
from dpo_book.maths.require import SettingError, require_beta, require_count, require_seed, require_temperature
from dpo_book.training.config import DPOConfig, RewardConfig, SFTConfig, TrainConfig


def sft(
    data: DataOptions,
    output: OutputOptions,
    config: SFTConfig,
    policy: Name = "mini",
    lora_rank: int | None = None,
) -> None:
    """Teach a policy to imitate the chosen completions: where DPO starts.

    Args:
        policy: hub id, folder or .gguf file; mini is a new small GPT-2 with a tokenizer made from the data.
        lora_rank: train an adapter of this rank instead of all weights (needs the package's extra lora).
    """
    require_lora(lora_rank)
    from dpo_book.cli.data import Data

    preferences = Data(data, compares=False)

    from dpo_book.cli.models import Trainee, check_lora, load, room
    from dpo_book.cli.run_folder import begun_on, identity_of, open_run
    from dpo_book.training.offline import train_sft
    from dpo_book.training.updates import with_rate

    model, tokenizer = load(policy, preferences)
    check_lora(policy, model, lora_rank)
    config = with_rate(config, model, adapter=lora_rank is not None)
    date = begun_on(output.out)
    examples = preferences.examples(tokenizer, room(model), date)
    identity = identity_of("sft", config, model, tokenizer, examples, date, lora_rank=lora_rank)
    with writing(output.out), open_run(output, identity) as run:
        if run.finished:
            return
        trainee = Trainee(model, lora_rank, config.seed)
        with entering("the policy", policy, ValueError):
            records = train_sft(trainee.model, examples, config, run.checkpoints)
        run.follow(records, config.steps, _tokens_a_step(examples, config))
        run.save(trainee.trained(), tokenizer)


def reward(data: DataOptions, output: OutputOptions, config: RewardConfig, policy: Name = "mini") -> None:
    """Fit a reward model to preferences (eq. 2): the policy's body with a scalar head.

    Args:
        policy: hub id, folder or .gguf file; mini is a new small GPT-2 with a tokenizer made from the data.
    """
    from dpo_book.cli.data import Data

    preferences = Data(data)

    from dpo_book.cli.models import Trainee, load, room
    from dpo_book.cli.run_folder import begun_on, identity_of, open_run
    from dpo_book.models.reward_model import build_reward_model
    from dpo_book.training.offline import train_reward_model
    from dpo_book.training.updates import with_rate

    base, tokenizer = load(policy, preferences)
    date = begun_on(output.out)
    pairs = preferences.pairs(base, tokenizer, room(base), date)
    with entering("a reward model of the policy", policy):
        model = build_reward_model(base, config.seed)
    config = with_rate(config, model)
    if model.config.pad_token_id is None:  # without one transformers scores no batch of several rows
        model.config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    identity = identity_of("reward", config, model, tokenizer, pairs, date, lora_rank=None)
    with writing(output.out), open_run(output, identity) as run:
        if run.finished:
            return
        trainee = Trainee(model)
        with entering("a reward model of the policy", policy, ValueError):
            records = train_reward_model(trainee.model, pairs, config, run.checkpoints)
        run.follow(records, config.steps, _tokens_a_step(pairs, config))
        run.save(trainee.trained(), tokenizer)


def dpo(
    data: DataOptions,
    output: OutputOptions,
    config: DPOConfig,
    policy: Name,
    reference: NameOrNone = None,
    lora_rank: int | None = None,
) -> None:
    """Train a policy on preferences by DPO (eq. 7), or by a loss that came after it.

    Args:
        policy: hub id, folder or .gguf file; mini is a new small GPT-2, which has learned nothing yet.
        reference: another policy of the same tokenizer to stay near to; by default the policy as it starts.
        lora_rank: train an adapter of this rank instead of all weights (needs the package's extra lora).
    """
    require_lora(lora_rank)
    if not config.reads_reference and reference is not None:
        without = "--reference-free" if config.reference_free else f"--loss {config.loss}"
        raise SettingError(f"{without} takes no --reference: leave one of them out")
    from dpo_book.cli.data import Data

    preferences = Data(data)

    from dpo_book.cli.models import Trainee, check_lora, load, load_reference, room
    from dpo_book.cli.run_folder import begun_on, identity_of, open_run
    from dpo_book.system.provenance import model_digest
    from dpo_book.training.offline import train_dpo
    from dpo_book.training.reference import compute_reference_logps
    from dpo_book.training.updates import with_rate

    model, tokenizer = load(policy, preferences)
    check_lora(policy, model, lora_rank)
    config = with_rate(config, model, adapter=lora_rank is not None)
    near = model if reference is None else load_reference(reference, model, tokenizer)
    date = begun_on(output.out)
    pairs = preferences.pairs(model, tokenizer, room(model, near), date)
    near_digest = model_digest(near)
    identity = identity_of("dpo", config, model, tokenizer, pairs, date, lora_rank=lora_rank, reference=near_digest)
    with writing(output.out), open_run(output, identity) as run:
        if run.finished:
            return
        reference_logps = None
        if config.reads_reference:
            with entering("the reference", reference or policy, ValueError):
                reference_logps = compute_reference_logps(near, pairs, config, keep=True)
        del near  # its log-probabilities are all that training needs
        trainee = Trainee(model, lora_rank, config.seed)
        with entering("the policy", policy, ValueError):
            records = train_dpo(trainee.model, None, pairs, config, reference_logps, run.checkpoints)
        run.follow(records, config.steps, _tokens_a_step(pairs, config))
        run.save(trainee.trained(), tokenizer)


def evaluate(
    data: DataOptions,
    policy: Name,
    reference: Name,
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
    require_seed("seed", seed)
    from dpo_book.cli.data import Data

    preferences = Data(data)

    from dpo_book.cli.models import load, load_reference, room, with_room
    from dpo_book.evaluation.held_out import drift, held_out

    model, tokenizer = load(policy)
    near = load_reference(reference, model, tokenizer)
    context = room(model, near)
    pairs = preferences.pairs(near, tokenizer, context)
    if len(pairs) < 2:
        raise Refused(f"{data.source or data.data} holds one pair: an interval needs two or more")
    distinct = dict.fromkeys(tuple(pair.prompt) for pair in pairs)
    prompts = with_room([list(prompt) for prompt in distinct], context, max_new_tokens)
    with entering("the policy", policy, ValueError):
        measured = held_out(model, near, pairs, beta)
        measured["KL to the reference, nats"] = drift(model, near, prompts, samples, max_new_tokens, seed)
    print(f"{len(pairs)} pairs")
    for name, value in measured.items():
        print(f"{name}: {value}")


def sample(
    prompts: tyro.conf.Positional[tuple[str, ...]] = (),
    *,
    policy: Name,
    file: UserPathOrNone = None,
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
    asked = read_prompts(prompts, file)
    require_count("max_new_tokens", max_new_tokens)
    require_temperature(temperature)
    require_seed("seed", seed)
    from dpo_book.cli.models import check_room, load
    from dpo_book.models.policy import sample as draw

    model, tokenizer = load(policy)
    check_room(model, tokenizer, asked, max_new_tokens)
    for start in range(0, len(asked), 64):
        batch = asked[start : start + 64]
        with entering("the policy", policy, ValueError):
            completions = draw(model, tokenizer, batch, max_new_tokens, temperature, seed + start)
        for prompt, completion in zip(batch, completions, strict=True):
            print(json.dumps({"prompt": prompt, "completion": completion}, ensure_ascii=False))


COMMANDS = (sft, reward, dpo, evaluate, judge, label, sample, frontier)


def _tokens_a_step(rows: Sequence[tuple], config: TrainConfig) -> float:
    """On average: the token ids of a row, lists of them, times the batch size."""
    tokens = 0
    for row in rows:
        tokens += sum(len(ids) for ids in row if isinstance(ids, list))
    return tokens / len(rows) * config.batch_size
