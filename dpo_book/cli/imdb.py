"""What ``frontier imdb`` does around its runs: find policy and judge, make the reference before, draw afterwards.

All that can be refused is refused before anything is trained or written. Reviews are read earlier, without torch.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_book import plots
from dpo_book.cli.boundary import Refused, entering
from dpo_book.cli.imdb_options import PROMPTS, ImdbOptions, SizeName
from dpo_book.cli.models import load, new_mini, room
from dpo_book.data.tokens import opening_ids
from dpo_book.frontier.imdb import ImdbSite, Terms, keep_prompts
from dpo_book.frontier.methods import Plan
from dpo_book.frontier.plans import imdb_plan
from dpo_book.frontier.sampled_figure import sampled_frontier
from dpo_book.frontier.table import Run, read, require_same
from dpo_book.frontier.work import Counted, Sizes, Work
from dpo_book.models.reward_model import build_reward_model
from dpo_book.system.files import make_folder, replace_whole
from dpo_book.system.operations import operations
from dpo_book.system.processes import this_process
from dpo_book.system.provenance import data_digest, model_digest
from dpo_book.training.config import SFTConfig
from dpo_book.training.updates import with_rate
from dpo_book.worlds.imdb import imdb_examples, sentiment_scorer
from dpo_book.worlds.references import imdb_reference

LONGEST_PROMPT = 8  # tokens of a review, as in the paper
PAPERS = (
    "The paper's points are in its Figure 2, left (arXiv 2305.18290), not in a table. Their rewards lie between 0.4 "
    "and 1.0: another scale than a judge's log-odds, or VADER's"
)


@dataclass(frozen=True)
class Experiment:
    """All that is known before anything is trained."""

    terms: Terms
    plan: Plan
    policy: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    examples: list[tuple[list[int], list[int]]]  # reviews to imitate
    sft: SFTConfig | None
    reviews: list[str]
    held_out: list[str]
    judged: int  # operations in which the judge reads one text


def look_at(
    options: ImdbOptions, size: SizeName, budget: int | None, reviews: list[str], held_out: list[str]
) -> Experiment:
    """Find what the options name and settle the rest. options: settled. Refused for what cannot be used."""
    with entering("the judge", options.judge):
        score = sentiment_scorer(options.judge)
    policy, tokenizer = new_mini(reviews) if options.policy == "mini" else load(options.policy)
    if this_process() != (0, 1):
        raise Refused("frontier starts its own --processes: start it without accelerate or torchrun")
    with entering("a reward model of the policy", options.policy):
        build_reward_model(policy)

    sft_length = _within_context(policy, tokenizer, options)
    with entering("the reviews of", options.source or "imdb"):
        examples = imdb_examples(reviews, tokenizer, sft_length)
    prompts = options.prompts or min(PROMPTS[size], len(reviews))
    comparisons = prompts * options.completions * (options.completions - 1) // 2
    plan = _plan(options, comparisons, policy.num_parameters(), budget)
    sft = None
    if options.sft_epochs:
        sft = SFTConfig(epochs=options.sft_epochs, batch_size=options.batch_size)
        sft = with_rate(sft, policy).counted(len(examples))
    terms = Terms(
        policy=model_digest(policy),
        reviews=data_digest(reviews),
        held_out=data_digest(held_out),
        sft="none" if sft is None else f"{sft!r}, of {sft_length} tokens at most",
        judge=options.judge,
        completions=options.completions,
        labels=options.labels,
        max_new_tokens=options.max_new_tokens,
        eval_prompts=options.eval_prompts,
    )
    judged = operations(partial(score, [" ".join(reviews[0].split()[:40])]))
    return Experiment(terms, plan, policy, tokenizer, examples, sft, reviews, held_out, judged)


def require_same_as_before(experiment: Experiment, out: Path) -> None:
    """FrontierError if OUT holds a table that was made with other settings."""
    require_same(out / "imdb.csv", asdict(experiment.plan) | experiment.terms.settings())


def work_of(experiment: Experiment, runs: Sequence[Run]) -> Work:
    """What is to be computed, the reference's training included."""
    terms = experiment.terms
    sizes = Sizes(experiment.policy, LONGEST_PROMPT + terms.max_new_tokens)
    counted = Counted(
        experiment.plan, sizes, experiment.judged, terms.max_new_tokens, terms.completions, terms.eval_prompts
    )
    return counted.frontier(runs) + _work_of_sft(experiment)


def prepare(experiment: Experiment, out: Path) -> ImdbSite:
    """Make the reference and the prompts, unless they are kept; where runs find them."""
    make_folder(out)
    steps = 0 if experiment.sft is None else experiment.sft.steps
    with tqdm(total=steps, unit="step", desc="reference", delay=1) as bar:
        reference = imdb_reference(
            experiment.policy,
            experiment.tokenizer,
            experiment.examples,
            experiment.sft,
            out / "imdb-reference.checkpoint",
            _shown_on(bar),
        )
    prompts = keep_prompts(
        experiment.reviews, experiment.held_out, experiment.tokenizer, experiment.terms.eval_prompts
    )
    return ImdbSite(experiment.terms, reference, prompts)


def draw(out: Path, options: ImdbOptions) -> None:
    """OUT/imdb.png and OUT/imdb.svg. Looks, on which nothing depends: what goes wrong is a warning."""
    try:
        figure = sampled_frontier(read(out / "imdb.csv"), f"{options.policy}, judged by {options.judge}")
        picture = plots.png(figure)
        replace_whole(out / "imdb.svg", partial(figure.savefig, format="svg"))
        replace_whole(out / "imdb.png", partial(Path.write_bytes, data=picture))
    except Exception as error:  # of any class, as for a run's figures
        said = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        warnings.warn(f"{out / 'imdb.png'} could not be made ({said}); the table is whole", stacklevel=2)


# ------------------------------------------------------------------ what options leave open


def _within_context(policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, options: ImdbOptions) -> int:
    """To how many tokens reviews are cut. Refused for completions that the policy has no room for."""
    context = room(policy)
    if context is None:
        return options.sft_length
    prompt = len(opening_ids(tokenizer)) + LONGEST_PROMPT
    if prompt + options.max_new_tokens - 1 > context:  # the last token is said and not read
        raise Refused(
            f"--max-new-tokens {options.max_new_tokens} after a prompt of up to {prompt} tokens does not fit in the "
            f"policy's context of {context}"
        )
    return min(options.sft_length, context)


def _plan(options: ImdbOptions, comparisons: int, parameters: int, budget: int | None) -> Plan:
    """The plan for so many comparisons, with what the options say otherwise."""
    plan = imdb_plan(comparisons, parameters, options.batch_size, options.measurements)
    strengths = dict(plan.strengths)
    if options.betas is not None:
        strengths |= dict.fromkeys(("dpo", "ppo", "ppo-gt"), options.betas)
    if options.alphas is not None:
        strengths["unlikelihood"] = options.alphas
    if options.best_of is not None:
        strengths["best-of-n"] = options.best_of
    rates = plan.learning_rates
    if options.learning_rate is not None:
        rates = dict.fromkeys(rates, options.learning_rate)
    fit = plan.reward_model
    if options.reward_steps is not None:
        fit = replace(fit, steps=options.reward_steps)
    with entering("the plan's", "budget", ValueError):
        return replace(
            plan, strengths=strengths, learning_rates=rates, reward_model=fit, budget=budget or plan.budget
        )


def _work_of_sft(experiment: Experiment) -> Work:
    if experiment.sft is None:
        return Work()
    tokens = sum(len(prompt) + len(completion) for prompt, completion in experiment.examples)
    mean_length = max(1, tokens // len(experiment.examples))
    rows = experiment.sft.steps * experiment.sft.batch_size
    return Work(training=rows * Sizes(experiment.policy, mean_length).passed)


def _shown_on(bar: tqdm) -> Callable[[dict], None]:
    """What shows a step's record on a bar, also of a training that goes on where it was stopped."""

    def show(record: dict) -> None:
        bar.set_postfix(loss=f"{record['loss']:.3f}", refresh=False)
        bar.update(record["step"] - bar.n)

    return show
