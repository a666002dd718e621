"""What held-out data say of a model while it trains: its loss, and what shows whether it learns or only remembers.

Nothing here changes a training: everything is measured within ``undisturbed``, and what is drawn has a seed of its
own. Where several processes train, all have to ask.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book.data.batches import in_parts
from dpo_book.data.pairs import Pair
from dpo_book.evaluation.held_out import accuracy_interval
from dpo_book.maths.bradley_terry import reward_model_loss
from dpo_book.maths.estimates import Estimate, Interval, estimate, interval, ratio_estimate
from dpo_book.maths.relatives.pairs import Loss, PairLogps, expected_loss
from dpo_book.models.logprobs import collate
from dpo_book.models.policy import autocast, sample_ids
from dpo_book.models.reward_model import rewards_of
from dpo_book.models.scoring import row_scorer, score_pairs
from dpo_book.system.devices import forked_rng
from dpo_book.system.processes import unsharded

Measures = dict[str, Interval | Estimate]


class EvaluationError(ValueError):
    """What was to be measured has no finite value; the message says what, and why that may be."""


@contextmanager
def undisturbed(model: PreTrainedModel) -> Iterator[None]:
    """Within it a model in training may be looked at; after it modes, gradients and random numbers are as before."""
    modes = [(module, module.training) for module in model.modules()]
    with forked_rng(), torch.no_grad():
        try:
            yield
        finally:
            for module, was_training in modes:
                module.training = was_training


def measure_pairs(
    policy: PreTrainedModel,
    pairs: Sequence[Pair],
    reference_logps: tuple[Tensor, Tensor],
    loss: Loss,
    beta: float,
    at_once: int,
) -> Measures:
    """Loss, margin and accuracy of ``pairs``, as a training by this loss has them of a batch that holds them all.

    reference_logps: of chosen and rejected, (len(pairs),) each, as ``score_pairs`` returns; zeros for a loss without
    reference. loss: called as loss(PairLogps, beta). at_once: completions. EvaluationError for what is not finite.
    """
    chosen, rejected = score_pairs(policy, pairs, at_once)
    logps = PairLogps(
        chosen,
        rejected,
        *reference_logps,
        torch.tensor([len(pair.chosen) for pair in pairs]),
        torch.tensor([len(pair.rejected) for pair in pairs]),
    )
    of_pairs = expected_loss(loss, logps, beta, _labels(pairs))
    return _of_preferences(of_pairs.losses, of_pairs.chosen_rewards - of_pairs.rejected_rewards)


def measure_rewards(model: PreTrainedModel, pairs: Sequence[Pair], at_once: int) -> Measures:
    """Loss (eq. 2), margin and accuracy of a reward model; ``at_once`` completions. EvaluationError as above."""
    prompts = [pair.prompt for pair in pairs]
    completions = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    with autocast(model):
        rewards = unsharded(model, partial(rewards_of, model, prompts * 2, completions, at_once))
    chosen, rejected = rewards.chunk(2)
    p = _labels(pairs)
    losses = p * reward_model_loss(chosen, rejected) + (1 - p) * reward_model_loss(rejected, chosen)
    return _of_preferences(losses, chosen - rejected)


def measure_imitation(
    policy: PreTrainedModel, examples: Sequence[tuple[list[int], list[int]]], at_once: int
) -> Measures:
    """The loss of SFT, −log π(y|x) a token in nats, of (prompt, completion) token ids. EvaluationError as above."""
    # A pair of one completion: every distinct completion is scored once.
    logps, _ = score_pairs(policy, [Pair(prompt, y, y) for prompt, y in examples], at_once)
    _check_finite(logps)
    tokens = torch.tensor([len(completion) for _, completion in examples])
    return {"loss": interval(ratio_estimate(-logps, tokens))}


def draw_completions(
    policy: PreTrainedModel, prompts: Sequence[list[int]], max_new_tokens: int, at_once: int, seed: int
) -> list[list[int]]:
    """One completion a prompt at temperature 1, as ``sample_ids``, so many ``at_once``."""
    completions = []
    for number, part in enumerate(in_parts(list(prompts), at_once)):
        draw = partial(sample_ids, policy, part, max_new_tokens, seed=seed + number)
        completions += unsharded(policy, draw)
    return completions


@torch.no_grad()
def kl_of_completions(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompts: Sequence[list[int]],
    completions: Sequence[list[int]],
    at_once: int,
) -> Estimate:
    """KL[π ‖ π_ref] in nats of completions that were drawn from π, one a prompt: see ``sampled_kl``."""
    rows = list(zip(prompts, completions, strict=True))
    log_ratios = _logps(policy, rows, at_once) - _logps(reference, rows, at_once)
    return estimate(log_ratios)


def _logps(model: PreTrainedModel, rows: Sequence[tuple[list[int], list[int]]], at_once: int) -> Tensor:
    """log π(y|x) of prompts and completions, (len(rows),), on the CPU."""
    score = row_scorer(model)
    logps = []
    for part in in_parts(rows, at_once):
        batch = collate(*zip(*part, strict=True), model.device)
        logps.append(unsharded(model, partial(score, batch)).cpu())
    return torch.cat(logps)


def _labels(pairs: Sequence[Pair]) -> Tensor:
    return torch.tensor([pair.chosen_probability for pair in pairs])


def _of_preferences(losses: Tensor, margins: Tensor) -> Measures:
    _check_finite(losses)
    return {
        "loss": interval(estimate(losses)),
        "margin": interval(estimate(margins)),
        "accuracy": accuracy_interval(margins),
    }


def _check_finite(values: Tensor) -> None:
    if not math.isfinite(values.sum().item()):
        raise EvaluationError(
            "the loss on the held-out data is not finite. The usual cause is a learning rate that is too high"
        )
