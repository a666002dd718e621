"""The commands that train: sft, reward, dpo. Each reads, begins or finds its run, trains, and saves."""

from collections.abc import Sequence

from dpo_book.cli.boundary import entering, writing
from dpo_book.cli.config_file import as_given
from dpo_book.cli.eval_options import EvalOptions
from dpo_book.cli.options import DataOptions, Name, NameOrNone, OutputOptions, require_lora
from dpo_book.maths.require import SettingError
from dpo_book.training.config import RewardConfig, SFTConfig, TrainConfig
from dpo_book.training.dpo_config import DPOConfig


def sft(
    data: DataOptions,
    output: OutputOptions,
    config: SFTConfig,
    evaluation: EvalOptions,
    policy: Name = "mini",
    lora_rank: int | None = None,
) -> None:
    """Teach a policy to imitate the chosen completions: where DPO starts.

    Args:
        policy: hub id, folder or .gguf file; mini is a new small GPT-2 with a tokenizer made from the data.
        lora_rank: train an adapter of this rank instead of all weights (needs the package's extra lora).
    """
    given = as_given(locals())
    require_lora(lora_rank)
    evaluation.check_used("sft")
    from dpo_book.cli.held_out import held_out, read_both

    preferences, apart = read_both(data, evaluation, compares=False)

    from dpo_book.cli.looks import look_at_sft
    from dpo_book.cli.models import Trainee, check_lora, load, room
    from dpo_book.cli.run_folder import begun_on, identity_of
    from dpo_book.cli.training_run import open_run
    from dpo_book.data.facts import example_facts
    from dpo_book.training.offline import train_sft
    from dpo_book.training.updates import with_rate

    model, tokenizer = load(policy, preferences)
    check_lora(policy, model, lora_rank)
    date = begun_on(output.out)
    examples = preferences.examples(tokenizer, room(model), date)
    config = with_rate(config, model, adapter=lora_rank is not None).counted(len(examples))
    identity = identity_of("sft", config, model, tokenizer, examples, date, lora_rank=lora_rank)
    if apart is not None:
        settings = evaluation.settings("sft", config.steps)
        held = held_out(apart.examples(tokenizer, room(model), date), examples, evaluation, settings, room(model))
        identity |= held.identity()
    facts = example_facts(examples, preferences.most_tokens(room(model)), tokenizer.eos_token_id)
    with writing(output.out), open_run(output, identity, given, facts) as run:
        if run.finished:
            return
        trainee = Trainee(model, lora_rank, config.seed)
        with entering("the policy", policy, ValueError):
            records = train_sft(trainee.model, examples, config, run.checkpoints)
        if apart is not None:
            look = look_at_sft(held, config, trainee.model, tokenizer)
            run.watch(held.settings, config.steps, trainee, tokenizer, look)
        run.follow(records, config.steps, _tokens_a_step(examples, config))
        run.save(trainee.trained(), tokenizer)


def reward(
    data: DataOptions, output: OutputOptions, config: RewardConfig, evaluation: EvalOptions, policy: Name = "mini"
) -> None:
    """Fit a reward model to preferences (eq. 2): the policy's body with a scalar head.

    Args:
        policy: hub id, folder or .gguf file; mini is a new small GPT-2 with a tokenizer made from the data.
    """
    given = as_given(locals())
    evaluation.check_used("reward")
    from dpo_book.cli.held_out import held_out, read_both

    preferences, apart = read_both(data, evaluation)

    from dpo_book.cli.looks import look_at_reward
    from dpo_book.cli.models import Trainee, load, room
    from dpo_book.cli.run_folder import begun_on, identity_of
    from dpo_book.cli.training_run import open_run
    from dpo_book.data.facts import pair_facts
    from dpo_book.models.reward_model import build_reward_model
    from dpo_book.training.offline import train_reward_model
    from dpo_book.training.updates import with_rate

    base, tokenizer = load(policy, preferences)
    date = begun_on(output.out)
    pairs = preferences.pairs(base, tokenizer, room(base), date)
    with entering("a reward model of the policy", policy):
        model = build_reward_model(base, config.seed)
    config = with_rate(config, model).counted(len(pairs))
    if model.config.pad_token_id is None:  # without one transformers scores no batch of several rows
        model.config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    identity = identity_of("reward", config, model, tokenizer, pairs, date, lora_rank=None)
    if apart is not None:
        settings = evaluation.settings("reward", config.steps)
        held = held_out(apart.pairs(base, tokenizer, room(base), date), pairs, evaluation, settings, room(base))
        identity |= held.identity()
    facts = pair_facts(pairs, preferences.most_tokens(room(base)), tokenizer.eos_token_id)
    with writing(output.out), open_run(output, identity, given, facts) as run:
        if run.finished:
            return
        trainee = Trainee(model)
        with entering("a reward model of the policy", policy, ValueError):
            records = train_reward_model(trainee.model, pairs, config, run.checkpoints)
        if apart is not None:
            look = look_at_reward(held, config, trainee.model)
            run.watch(held.settings, config.steps, trainee, tokenizer, look)
        run.follow(records, config.steps, _tokens_a_step(pairs, config))
        run.save(trainee.trained(), tokenizer)


def dpo(
    data: DataOptions,
    output: OutputOptions,
    config: DPOConfig,
    evaluation: EvalOptions,
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
    given = as_given(locals())
    require_lora(lora_rank)
    if not config.reads_reference and reference is not None:
        without = "--reference-free" if config.reference_free else f"--loss {config.loss}"
        raise SettingError(f"{without} takes no --reference: leave one of them out")
    evaluation.check_used("dpo")
    from dpo_book.cli.held_out import held_out, read_both

    preferences, apart = read_both(data, evaluation)

    from dpo_book.cli.looks import look_at_dpo
    from dpo_book.cli.models import Trainee, check_lora, load, load_reference, room
    from dpo_book.cli.run_folder import begun_on, identity_of
    from dpo_book.cli.training_run import open_run
    from dpo_book.data.facts import pair_facts
    from dpo_book.system.provenance import model_digest
    from dpo_book.training.offline import train_dpo
    from dpo_book.training.reference import compute_reference_logps
    from dpo_book.training.updates import with_rate

    model, tokenizer = load(policy, preferences)
    check_lora(policy, model, lora_rank)
    near = model if reference is None else load_reference(reference, model, tokenizer)
    date = begun_on(output.out)
    context = room(model, near)
    pairs = preferences.pairs(model, tokenizer, context, date)
    config = with_rate(config, model, adapter=lora_rank is not None).counted(len(pairs))
    near_digest = model_digest(near)
    identity = identity_of("dpo", config, model, tokenizer, pairs, date, lora_rank=lora_rank, reference=near_digest)
    if apart is not None:
        settings = evaluation.settings("dpo", config.steps)
        held = held_out(apart.pairs(model, tokenizer, context, date), pairs, evaluation, settings, context)
        identity |= held.identity()
    facts = pair_facts(pairs, preferences.most_tokens(context), tokenizer.eos_token_id)
    with writing(output.out), open_run(output, identity, given, facts) as run:
        if run.finished:
            return
        reference_logps = None
        if config.reads_reference:
            with entering("the reference", reference or policy, ValueError):
                reference_logps = compute_reference_logps(near, pairs, config, keep=True)
        if apart is not None:
            with entering("the reference", reference or policy, ValueError):
                look_of = look_at_dpo(held, config, model, near, tokenizer)
        del near  # its log-probabilities are all that training needs
        trainee = Trainee(model, lora_rank, config.seed)
        with entering("the policy", policy, ValueError):
            records = train_dpo(trainee.model, None, pairs, config, reference_logps, run.checkpoints)
        if apart is not None:
            run.watch(held.settings, config.steps, trainee, tokenizer, look_of(trainee.model))
        run.follow(records, config.steps, _tokens_a_step(pairs, config))
        run.save(trainee.trained(), tokenizer)


def _tokens_a_step(rows: Sequence[tuple], config: TrainConfig) -> float:
    """On average: the token ids of a row, lists of them, times the batch size."""
    tokens = 0
    for row in rows:
        tokens += sum(len(ids) for ids in row if isinstance(ids, list))
    return tokens / len(rows) * config.batch_size
