"""What an evaluation of each method looks at: a function without arguments, made once, that gives a row."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_book.cli.boundary import Refused
from dpo_book.cli.eval_options import SHOWN
from dpo_book.cli.evaluations import Look, Row
from dpo_book.cli.held_out import HeldOut
from dpo_book.data.tokens import completion_texts
from dpo_book.evaluation.during_training import (
    Measures,
    draw_completions,
    kl_of_completions,
    measure_imitation,
    measure_pairs,
    measure_rewards,
)
from dpo_book.maths.estimates import Estimate, interval
from dpo_book.maths.relatives.named import LOSSES
from dpo_book.models.policy import copy_policy
from dpo_book.models.scoring import score_pairs
from dpo_book.system.processes import shard
from dpo_book.training.config import RewardConfig, SFTConfig
from dpo_book.training.dpo_config import DPOConfig
from dpo_book.training.reference import completions_at_once


class Draws:
    """The completions of an evaluation: of the same prompts in turn, with the same seed, each time.

    tokenizer: of the policy. reference: from which the KL is measured; None where it is not.
    """

    def __init__(
        self,
        held_out: HeldOut,
        tokenizer: PreTrainedTokenizerBase,
        at_once: int,
        reference: PreTrainedModel | None,
    ):
        self._settings = held_out.settings
        self._shown = min(SHOWN, len(held_out.prompts), self._settings.samples)
        self._prompts = list(islice(cycle(held_out.prompts), self._settings.samples))
        self._tokenizer, self._at_once, self._reference = tokenizer, at_once, reference

    def row(self, policy: PreTrainedModel) -> Row:
        """KL and samples of the policy as it is now."""
        settings = self._settings
        completions = draw_completions(policy, self._prompts, settings.max_new_tokens, self._at_once, settings.seed)
        measured: Row = {}
        if self._reference is not None:
            kl = kl_of_completions(policy, self._reference, self._prompts, completions, self._at_once)
            measured = flat({"kl": kl})
        return {**measured, "samples": self._readable(completions[: self._shown])}

    def _readable(self, completions: Sequence[list[int]]) -> list[dict[str, str]]:
        prompts = self._prompts[: len(completions)]
        said = completion_texts(self._tokenizer, prompts, completions)
        asked = self._tokenizer.batch_decode(prompts, skip_special_tokens=True)
        return [{"prompt": x, "completion": y} for x, y in zip(asked, said, strict=True)]


def look_at_dpo(
    held_out: HeldOut,
    config: DPOConfig,
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> Callable[[PreTrainedModel], Look]:
    """A function that makes the look of what is trained, which is not there yet: ``policy`` is where it starts.

    reference: may be the policy, of which a copy is then kept for the KL.
    """
    at_once = completions_at_once(config)
    logps = (torch.zeros(len(held_out.rows)),) * 2
    if config.reads_reference:
        logps = score_pairs(shard(reference), held_out.rows, at_once, progress="reference, held-out")
        if not torch.cat(logps).isfinite().all():
            raise Refused(
                "the reference's log-probabilities of the held-out data are not finite: look at its weights"
            )
    draws = None
    if held_out.settings.samples:
        kept = shard(copy_policy(reference) if reference is policy else reference)
        draws = Draws(held_out, tokenizer, at_once, kept)
    loss = partial(LOSSES[config.loss], **config.loss_settings)

    def look_of(trainee: PreTrainedModel) -> Look:
        measure = partial(measure_pairs, trainee, held_out.rows, logps, loss, config.beta, at_once)
        return partial(_look, trainee, measure, draws)

    return look_of


def look_at_sft(
    held_out: HeldOut, config: SFTConfig, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Look:
    at_once = completions_at_once(config)
    measure = partial(measure_imitation, policy, held_out.rows, at_once)
    draws = None
    if held_out.settings.samples:
        draws = Draws(held_out, tokenizer, at_once, reference=None)
    return partial(_look, policy, measure, draws)


def look_at_reward(held_out: HeldOut, config: RewardConfig, model: PreTrainedModel) -> Look:
    measure = partial(measure_rewards, model, held_out.rows, completions_at_once(config))
    return partial(_look, model, measure, None)


def _look(policy: PreTrainedModel, measure: Callable[[], Measures], draws: Draws | None) -> Row:
    measured = flat(measure())
    return measured if draws is None else {**measured, **draws.row(policy)}


def flat(measures: Measures) -> Row:
    """Every number under a name of its own: loss, loss_low, loss_high, ..., and kl_standard_error."""
    row: Row = {}
    for name, measured in measures.items():
        around = interval(measured) if isinstance(measured, Estimate) else measured
        row |= {name: around.value, f"{name}_low": around.low, f"{name}_high": around.high}
        if isinstance(measured, Estimate):
            row[f"{name}_standard_error"] = measured.standard_error
    return row
