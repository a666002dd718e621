"""Every method's training, SFT, reward model, DPO and its relatives: a generator of one record of metrics a step.

Whoever iterates is in charge: plot while it runs, stop by leaving the loop. With ``checkpoints`` it goes on where
they end. A method is a function from a batch to its loss; ``loop.py`` does the rest.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedModel

from dpo_book.data.pairs import Pair, check_pairs, pair_lengths
from dpo_book.maths.bradley_terry import reward_model_loss
from dpo_book.maths.dpo import soft_dpo_loss
from dpo_book.models.head import has_linear_head
from dpo_book.models.logprobs import Batch, collate, sequence_logp
from dpo_book.models.reward_model import sequence_reward
from dpo_book.models.shared_prompt import can_share_prompts, completion_logps, pair_logps
from dpo_book.system.processes import all_reduce_sum, this_process, unsharded
from dpo_book.training.checkpoints import Checkpoints
from dpo_book.training.config import DPOConfig, RewardConfig, SFTConfig, UnlikelihoodConfig
from dpo_book.training.loop import Record, in_parts, rows_reached, train
from dpo_book.training.updates import Measured, autocast

Example = tuple[list[int], list[int]]  # token ids of a prompt and of one completion


def train_sft(
    policy: PreTrainedModel, examples: Sequence[Example], config: SFTConfig, checkpoints: Checkpoints | None = None
) -> Iterator[Record]:
    """Imitate completions: minimise −log π(y|x) a token. Trains ``policy`` in place, yields one record a step.

    Records hold ``step``, ``loss`` (nats a token), ``grad_norm``, ``learning_rate``.
    """
    lengths = [len(prompt) + len(completion) for prompt, completion in examples]
    _check_fits(policy, lengths)
    has_linear_head(policy)  # found out now, and not within a step

    def loss_of(rows: list[int]) -> Measured:
        batch = collate([examples[i][0] for i in rows], [examples[i][1] for i in rows]).to(policy.device)
        return -sequence_logp(policy, batch).sum() / batch.completion_mask.sum(), {}

    return train(policy, lengths, loss_of, config, checkpoints, [len(completion) for _, completion in examples])


def train_unlikelihood(
    policy: PreTrainedModel,
    pairs: Sequence[Pair],
    config: UnlikelihoodConfig,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Record]:
    """A baseline of DPO's paper (§6): minimise −log π(y_w|x) + α log π(y_l|x), a token of y_w. No reference.

    Without its second term it is SFT on the chosen completions ("preferred-FT"): ``train_sft``. Nothing bounds
    that term from below: a rejected completion can always be made less likely, at any price elsewhere.

    Trains ``policy`` in place. Records hold ``step``, ``loss``, ``logps/chosen``, ``logps/rejected`` (the batch's
    means, nats), ``grad_norm``, ``learning_rate``.
    """
    check_pairs(pairs)
    _check_fits(policy, _lengths(pairs))
    share = can_share_prompts(policy, pairs)

    def loss_of(rows: list[int]) -> Measured:
        chosen, rejected = pair_logps(policy, [pairs[i] for i in rows], share)
        loss = (config.alpha * rejected - chosen).sum() / sum(len(pairs[i].chosen) for i in rows)
        return loss, {"logps/chosen": chosen.detach().mean(), "logps/rejected": rejected.detach().mean()}

    tokens = [len(pair.chosen) for pair in pairs]
    return train(policy, pair_lengths(pairs), loss_of, config, checkpoints, tokens)


def train_reward_model(
    model: PreTrainedModel, pairs: Sequence[Pair], config: RewardConfig, checkpoints: Checkpoints | None = None
) -> Iterator[Record]:
    """Fit a reward model to pairs (eq. 2), with hard or soft labels. Trains ``model`` in place.

    Records hold ``step``, ``loss``, ``accuracy`` (of the batch, a tie counts half), ``margin`` (the mean of
    r_φ(x, y_w) − r_φ(x, y_l), nats), ``grad_norm``, ``learning_rate``.
    """
    check_pairs(pairs)
    lengths = _lengths(pairs)
    _check_fits(model, lengths)
    label = torch.tensor([pair.chosen_probability for pair in pairs], device=model.device)

    def loss_of(rows: list[int]) -> Measured:
        batch = _both([pairs[i] for i in rows]).to(model.device)
        chosen, rejected = sequence_reward(model, batch).chunk(2)
        p = label[rows]
        losses = p * reward_model_loss(chosen, rejected) + (1 - p) * reward_model_loss(rejected, chosen)
        margins = (chosen - rejected).detach()
        return losses.mean(), {"accuracy": _share_positive(margins), "margin": margins.mean()}

    return train(model, lengths, loss_of, config, checkpoints)


def train_dpo(
    policy: PreTrainedModel,
    reference: PreTrainedModel | None,
    pairs: Sequence[Pair],
    config: DPOConfig,
    reference_logps: tuple[Tensor, Tensor] | None = None,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Record]:
    """DPO (eq. 7) on pairs with hard or soft labels. Trains ``policy`` in place, yields one record a step.

    The reference's log-probabilities of the pairs that the run comes by are computed once, before the first step,
    unless ``reference_logps`` holds them: (chosen, rejected), each (len(pairs),), as ``compute_reference_logps``
    returns. With ``config.reference_free`` no reference is read and it may be None.

    Records have TRL's names, each the batch's mean before the step's update: ``loss``, ``rewards/chosen``,
    ``rewards/rejected``, ``rewards/margins``, ``rewards/accuracies`` (a tie counts half), ``logps/chosen``,
    ``logps/rejected``, and ``step``, ``grad_norm``, ``learning_rate``.

    Raises ValueError before the first step if policy and reference are one object (the margin would stay
    zero), or a pair does not fit the policy's context; TrainingDiverged at the step whose loss is not finite.
    """
    if policy is reference:
        raise ValueError(
            "policy and reference are one object, so their ratio would stay 1: train a copy, copy_policy(reference)"
        )
    for name, model in (("policy", policy), ("reference", reference)):
        if model is not None and not isinstance(model, torch.nn.Module):
            raise TypeError(
                f"{name} must be a model, not a {type(model).__name__}: load_policy gives (model, tokenizer)"
            )
    sizes = [model.config.get_text_config().vocab_size for model in (policy, reference) if model is not None]
    if len(set(sizes)) > 1:
        raise ValueError(f"policy and reference have vocabularies of {sizes[0]} and {sizes[1]}: they must be one")
    check_pairs(pairs)
    _check_fits(policy, _lengths(pairs))
    if config.reference_free:
        reference_logps = (torch.zeros(len(pairs)), torch.zeros(len(pairs)))
    elif reference_logps is None:
        if reference is None:
            raise ValueError("train_dpo needs a reference, or its reference_logps, unless reference_free=True")
        reference_logps = reference_logps_of_run(reference, pairs, config)
    if any(len(logps) != len(pairs) for logps in reference_logps):
        raise ValueError(f"reference_logps must hold one value for each of the {len(pairs)} pairs")
    reference_chosen, reference_rejected = (logps.to(policy.device) for logps in reference_logps)
    label = torch.tensor([pair.chosen_probability for pair in pairs], device=policy.device)
    share = can_share_prompts(policy, pairs)

    def loss_of(rows: list[int]) -> Measured:
        chosen, rejected = pair_logps(policy, [pairs[i] for i in rows], share)
        losses, chosen_rewards, rejected_rewards = soft_dpo_loss(
            chosen, rejected, reference_chosen[rows], reference_rejected[rows], config.beta, label[rows],
            reference_free=config.reference_free,
        )  # fmt: skip
        margins = chosen_rewards - rejected_rewards
        return losses.mean(), {
            "rewards/chosen": chosen_rewards.mean(),
            "rewards/rejected": rejected_rewards.mean(),
            "rewards/margins": margins.mean(),
            "rewards/accuracies": _share_positive(margins),
            "logps/chosen": chosen.detach().mean(),
            "logps/rejected": rejected.detach().mean(),
        }

    return train(policy, pair_lengths(pairs), loss_of, config, checkpoints)


@torch.no_grad()
def compute_reference_logps(
    reference: PreTrainedModel, pairs: Sequence[Pair], batch_size: int = 256, progress: bool = False
) -> tuple[Tensor, Tensor]:
    """log π_ref of every chosen and every rejected completion: two tensors of shape (len(pairs),), float32.

    The reference never changes, so each distinct completion is run once, two of one prompt sharing it, in order of
    length, by one of the processes if there are several. batch_size: completions at once. progress: show a bar.
    """
    reference.eval()
    share = can_share_prompts(reference, pairs)
    completions: dict[tuple, dict[tuple, None]] = {}  # of each prompt, the distinct ones
    for pair in pairs:
        completions.setdefault(tuple(pair.prompt), {}).update({tuple(pair.chosen): None, tuple(pair.rejected): None})
    groups = [(x, part) for x, ys in completions.items() for part in in_parts(sorted(ys, key=len), 2)]
    groups.sort(key=lambda group: len(group[0]) + sum(map(len, group[1])))
    place = {key: i for i, key in enumerate((x, y) for x, ys in groups for y in ys)}
    logps = torch.zeros(len(place), device=reference.device)
    index, processes = this_process()
    turns = in_parts(in_parts(groups, max(1, batch_size // 2)), processes)
    for turn in tqdm(turns, desc="reference", unit="batch", disable=not progress or index > 0):
        part = turn[min(index, len(turn) - 1)]  # one without a part runs another's, as weights may be in parts too
        with autocast(reference):
            values = unsharded(reference, lambda part=part: completion_logps(reference, part, share))
        if index < len(turn):
            first = place[part[0][0], part[0][1][0]]
            logps[first : first + len(values)] = values.float()
    all_reduce_sum([logps])
    logps = logps.cpu()
    of = lambda side: logps[[place[tuple(pair.prompt), tuple(getattr(pair, side))] for pair in pairs]]
    return of("chosen"), of("rejected")


def reference_logps_of_run(
    reference: PreTrainedModel,
    pairs: Sequence[Pair],
    config: DPOConfig,
    compute: Callable[..., tuple[Tensor, Tensor]] = compute_reference_logps,
) -> tuple[Tensor, Tensor]:
    """``compute_reference_logps`` of the pairs that a run comes by; NaN for those that its steps do not reach.

    compute: another function that gives the same. It is told to take as many completions at once as a step has, so
    that what fits into memory there fits here.
    """
    rows = rows_reached(pair_lengths(pairs), config)
    at_once = 2 * (config.micro_batch_size or math.ceil(config.batch_size / this_process()[1]))
    logps = torch.full((2, len(pairs)), math.nan)
    logps[:, rows] = torch.stack(compute(reference, [pairs[i] for i in rows], at_once))
    return logps[0], logps[1]


def _share_positive(margins: Tensor) -> Tensor:
    """How many margins are above zero; one that is zero decides nothing and counts half."""
    return ((margins > 0).float() + (margins == 0).float() / 2).mean()


def _both(pairs: Sequence[Pair]) -> Batch:
    """All chosen completions, then all rejected ones, on the batch axis: one forward pass, neither sees the other."""
    completions = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    return collate([pair.prompt for pair in pairs] * 2, completions)


def _lengths(pairs: Sequence[Pair]) -> list[int]:
    return [len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)) for pair in pairs]


def _check_fits(policy: PreTrainedModel, lengths: Sequence[int]) -> None:
    if not lengths:
        raise ValueError("there is nothing to train on: no pair or example was given")
    context = getattr(policy.config, "max_position_embeddings", None)
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    if context is not None and lengths[longest] > context:
        raise ValueError(
            f"row {longest + 1} has {lengths[longest]} tokens with its completion, more than the policy's context "
            f"of {context}: tokenise with max_length={context}"
        )
