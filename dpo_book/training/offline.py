"""Every method's training, SFT, reward model, DPO and its relatives: a generator of one record of metrics a step.

Whoever iterates is in charge: plot while it runs, stop by leaving the loop. With ``checkpoints`` it goes on where
they end. A method is a function from a batch to its loss; ``loop.py`` does the rest.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dpo_book.data.batches import BatchOrder, pair_order
from dpo_book.data.pairs import Pair, check_pairs, longer_lengths, pair_lengths
from dpo_book.maths.bradley_terry import reward_model_loss
from dpo_book.maths.relatives.named import LOSSES
from dpo_book.maths.relatives.pairs import PairLogps, unchecked_expected_loss
from dpo_book.models.arrangement import in_own_rows
from dpo_book.models.distinct import distinct_completions
from dpo_book.models.logprobs import collate
from dpo_book.models.policy import context_of
from dpo_book.models.reward_model import sequence_reward
from dpo_book.models.scoring import PairScorer, pair_scorer, row_scorer
from dpo_book.system.processes import this_process
from dpo_book.training.checkpoints import Checkpoints
from dpo_book.training.config import RewardConfig, SFTConfig, UnlikelihoodConfig
from dpo_book.training.dpo_config import DPOConfig
from dpo_book.training.loop import Record, rows_reached, train
from dpo_book.training.reference import compute_reference_logps
from dpo_book.training.updates import Measured

Example = tuple[list[int], list[int]]  # token ids of a prompt and of one completion


def train_sft(
    policy: PreTrainedModel, examples: Sequence[Example], config: SFTConfig, checkpoints: Checkpoints | None = None
) -> Iterator[Record]:
    """Imitate completions: minimise −log π(y|x) a token. Trains ``policy`` in place, yields one record a step.

    Records hold ``step``, ``loss`` (nats a token), ``grad_norm``, ``learning_rate``.
    """
    lengths = [len(prompt) + len(completion) for prompt, completion in examples]
    _check_fits(policy, lengths)
    score = row_scorer(policy)

    def loss_of(rows: list[int]) -> Measured:
        prompts, completions = zip(*[examples[i] for i in rows], strict=True)
        batch = collate(prompts, completions, policy.device)
        return -score(batch).sum() / batch.completion_mask.sum(), {}

    tokens = [len(completion) for _, completion in examples]
    return train(policy, BatchOrder(lengths), loss_of, config, checkpoints, tokens)


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
    _check_fits(policy, longer_lengths(pairs))
    score = pair_scorer(policy, pairs)
    tokens = [len(pair.chosen) for pair in pairs]

    def loss_of(rows: list[int]) -> Measured:
        chosen, rejected = score([pairs[i] for i in rows])
        loss = (config.alpha * rejected - chosen).sum() / sum(tokens[i] for i in rows)
        return loss, {"logps/chosen": chosen.detach().mean(), "logps/rejected": rejected.detach().mean()}

    order = pair_order(pairs, pair_lengths(pairs), config.group_by_prompt)
    return train(policy, order, loss_of, config, checkpoints, tokens)


def train_reward_model(
    model: PreTrainedModel, pairs: Sequence[Pair], config: RewardConfig, checkpoints: Checkpoints | None = None
) -> Iterator[Record]:
    """Fit a reward model to pairs (eq. 2), with hard or soft labels. Trains ``model`` in place.

    Records hold ``step``, ``loss``, ``accuracy`` (of the batch, a tie counts half), ``margin`` (the mean of
    r_φ(x, y_w) − r_φ(x, y_l), nats), ``grad_norm``, ``learning_rate``.
    """
    check_pairs(pairs)
    lengths = longer_lengths(pairs)
    _check_fits(model, lengths)
    label = torch.tensor([pair.chosen_probability for pair in pairs], device=model.device)

    def loss_of(rows: list[int]) -> Measured:
        asked = distinct_completions([pairs[i] for i in rows]).to(model.device)
        rewards = sequence_reward(model, in_own_rows(asked.groups, model.device))  # of every distinct completion
        chosen, rejected = rewards[asked.places]
        p = label[rows]
        as_chosen = reward_model_loss(chosen, rejected)
        turned_round = reward_model_loss(rejected, chosen)
        losses = p * as_chosen + (1 - p) * turned_round
        margins = (chosen - rejected).detach()
        return losses.mean(), {"accuracy": _accuracy(margins), "margin": margins.mean()}

    order = pair_order(pairs, lengths, config.group_by_prompt)
    return train(model, order, loss_of, config, checkpoints)


def train_dpo(
    policy: PreTrainedModel,
    reference: PreTrainedModel | None,
    pairs: Sequence[Pair],
    config: DPOConfig,
    reference_logps: tuple[Tensor, Tensor] | None = None,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Record]:
    """DPO (eq. 7), or the relative that ``config.loss`` names, on pairs with hard or soft labels.

    Trains ``policy`` in place, yields one record a step.

    The reference's log-probabilities of the pairs that the run comes by are computed once, before the first step,
    unless ``reference_logps`` holds them: (chosen, rejected), each (len(pairs),), as ``score_pairs`` returns.
    With ``config.reference_free``, or a loss without reference, none is read and it may be None.

    Records have TRL's names, each the batch's mean before the step's update: ``loss``, ``rewards/chosen``,
    ``rewards/rejected``, ``rewards/margins``, ``rewards/accuracies`` (a tie counts half), ``logps/chosen``,
    ``logps/rejected``, and ``step``, ``grad_norm``, ``learning_rate``. Rewards are what the loss takes for them.

    Raises ValueError before the first step if policy and reference are one object (the margin would stay
    zero), a pair does not fit the policy's context, or a log-probability of the reference that the run needs is not
    finite; TrainingDiverged at the step whose loss is not finite.
    """
    check_policy_and_reference(policy, reference)
    check_pairs(pairs)
    _check_fits(policy, longer_lengths(pairs))
    if config.loss == "kto" and this_process()[1] > 1:
        raise ValueError("loss kto compares with the mean of its whole batch: train it in one process")
    if not config.reads_reference:
        reference_logps = (torch.zeros(len(pairs)), torch.zeros(len(pairs)))
    elif reference_logps is None and reference is None:
        raise ValueError("train_dpo needs a reference, or its reference_logps, unless its loss reads none")
    elif reference_logps is None:
        reference_logps = compute_reference_logps(reference, pairs, config)
    if any(logps.shape != (len(pairs),) for logps in reference_logps):
        raise ValueError(f"reference_logps must hold one value for each of the {len(pairs)} pairs")
    order = pair_order(pairs, pair_lengths(pairs), config.group_by_prompt)
    _check_reference_logps(reference_logps, rows_reached(order, config))
    loss_of = pair_loss(pair_scorer(policy, pairs), pairs, reference_logps, config, policy.device)
    return train(policy, order, loss_of, config, checkpoints)


def pair_loss(
    score: PairScorer,
    pairs: Sequence[Pair],
    reference_logps: tuple[Tensor, Tensor],
    config: DPOConfig,
    device: torch.device,
) -> Callable[[list[int]], Measured]:
    """The function from some rows of ``pairs`` to their mean loss (eq. 7, or a relative's) and TRL's metrics.

    score: the policy's log-probabilities of pairs. reference_logps: of all pairs, two of shape (len(pairs),).
    """
    reference_chosen, reference_rejected = (logps.to(device) for logps in reference_logps)
    chosen_tokens = torch.tensor([len(pair.chosen) for pair in pairs], device=device)
    rejected_tokens = torch.tensor([len(pair.rejected) for pair in pairs], device=device)
    label = torch.tensor([pair.chosen_probability for pair in pairs], device=device)
    loss = partial(LOSSES[config.loss], **config.loss_settings)

    def loss_of(rows: list[int]) -> Measured:
        policy_chosen, policy_rejected = score([pairs[i] for i in rows])
        logps = PairLogps(
            policy_chosen,
            policy_rejected,
            reference_chosen[rows],
            reference_rejected[rows],
            chosen_tokens[rows],
            rejected_tokens[rows],
        )
        losses, chosen_rewards, rejected_rewards = unchecked_expected_loss(loss, logps, config.beta, label[rows])
        margins = chosen_rewards - rejected_rewards
        metrics = {
            "rewards/chosen": chosen_rewards.mean(),
            "rewards/rejected": rejected_rewards.mean(),
            "rewards/margins": margins.mean(),
            "rewards/accuracies": _accuracy(margins),
            "logps/chosen": policy_chosen.detach().mean(),
            "logps/rejected": policy_rejected.detach().mean(),
        }
        return losses.mean(), metrics

    return loss_of


def check_policy_and_reference(policy: PreTrainedModel, reference: PreTrainedModel | None) -> None:
    """TypeError or ValueError unless they are two models over one vocabulary."""
    if policy is reference:
        raise ValueError(
            "policy and reference are one object, so their ratio would stay 1: train a copy, copy_policy(reference)"
        )
    models = {"policy": policy} if reference is None else {"policy": policy, "reference": reference}
    for name, model in models.items():
        if not isinstance(model, torch.nn.Module):
            raise TypeError(
                f"{name} must be a model, not a {type(model).__name__}: load_policy gives (model, tokenizer)"
            )
    sizes = [model.config.get_text_config().vocab_size for model in models.values()]
    if len(set(sizes)) > 1:
        raise ValueError(f"policy and reference have vocabularies of {sizes[0]} and {sizes[1]}: they must be one")


def _check_reference_logps(logps: tuple[Tensor, Tensor], rows: Sequence[int]) -> None:
    """ValueError unless the reference's log-probabilities of the pairs that the run comes by are finite."""
    chosen, rejected = logps
    finite = (chosen.isfinite() & rejected.isfinite()).tolist()  # one wait for the device
    for row in rows:
        if not finite[row]:
            raise ValueError(
                f"row {row + 1}: the reference's log-probabilities must be finite, and they are {chosen[row]:g} and "
                f"{rejected[row]:g}: look at the reference's weights, or compute reference_logps with this config"
            )


def _accuracy(margins: Tensor) -> Tensor:
    """The share of margins above zero; one that is zero decides nothing and counts half."""
    return ((margins > 0).float() + (margins == 0).float() / 2).mean()


def _check_fits(policy: PreTrainedModel, lengths: Sequence[int]) -> None:
    if not lengths:
        raise ValueError("there is nothing to train on: no pair or example was given")
    context, longest = context_of(policy), max(lengths)
    if context is not None and longest > context:
        raise ValueError(
            f"row {lengths.index(longest) + 1} has {longest} tokens with its completion, more than the policy's "
            f"context of {context}: tokenise with max_length={context}"
        )
