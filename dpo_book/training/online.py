"""Online DPO (Guo et al. 2024, arXiv 2402.04792): a step's pairs are the policy's own, judged as they are said.

``train_dpo`` learns from pairs that are there already, whoever wrote them. Here the policy of the moment writes two
completions of a prompt, a judge says which is better, and one update follows by the same loss. All else is alike.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Literal, NamedTuple, get_args

import torch
from transformers import PreTrainedModel

from dpo_book.data.batches import BatchOrder, batches_by_length
from dpo_book.data.pairs import Pair, bradley_terry_pairs, longer_lengths, pair_lengths
from dpo_book.maths.require import SettingError, require_choice, require_count
from dpo_book.models.policy import context_of, sample_ids
from dpo_book.models.recomputed import recomputed, require_blocks
from dpo_book.models.reward_model import Reward
from dpo_book.models.scoring import pair_scorer
from dpo_book.system.processes import this_process
from dpo_book.training.dpo_config import DPOConfig
from dpo_book.training.loop import Record, parts_of, record_of
from dpo_book.training.offline import check_policy_and_reference, pair_loss
from dpo_book.training.updates import Updates

Labels = Literal["hard", "soft"]


class Proposal(NamedTuple):
    """What a step learns from: pairs of two different completions, and what it took to have them.

    reward: the mean over both completions of all prompts, nats. generated_tokens: of all of them.
    """

    pairs: list[Pair]
    reward: float
    generated_tokens: int


@torch.no_grad()
def propose_pairs(
    policy: PreTrainedModel,
    prompts: Sequence[list[int]],
    reward: Reward,
    max_new_tokens: int = 64,
    labels: str = "hard",
    seed: int = 0,
) -> Proposal:
    """Two completions of each prompt by ``policy``, judged by Bradley–Terry (eq. 1) of ``reward``.

    prompts: B lists of token ids. labels: as in ``bradley_terry_pairs``; two completions that are the same are left
    out, as there.
    """
    drawn = sample_ids(policy, [*prompts, *prompts], max_new_tokens, seed=seed)
    a, b = drawn[: len(prompts)], drawn[len(prompts) :]
    reward_a, reward_b = reward(prompts, a).cpu(), reward(prompts, b).cpu()
    pairs = bradley_terry_pairs(prompts, a, b, reward_a, reward_b, labels, seed)
    mean = torch.cat([reward_a, reward_b]).mean().item()
    return Proposal(pairs, mean, sum(map(len, drawn)))


def train_online_dpo(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompts: Sequence[list[int]],
    reward: Reward,
    config: DPOConfig,
    max_new_tokens: int = 64,
    labels: Labels = "hard",
) -> Iterator[Record]:
    """DPO (eq. 7), or the relative that ``config.loss`` names, on pairs that the policy makes itself, step by step.

    Trains ``policy`` in place, yields one record a step. prompts: token ids, ``config.batch_size`` of them a step,
    gone through as often as needed. reward: r* or r_φ, of a batch of token ids, in nats. max_new_tokens: where a
    completion is cut. labels: "hard", one vote a pair, or "soft", its probability. The pairs count as given: no
    gradient goes through the sampling, as in the paper.

    Records are ``train_dpo``'s, over the step's pairs; besides them they hold ``reward`` (the mean of what was
    sampled, nats), ``pairs`` (how many were two different completions) and ``generated_tokens``.

    Raises ValueError before the first step as ``train_dpo`` does, for ``config.epochs``, a prompt that leaves no
    room in the context and more than one process; ValueError at a step none of whose pairs are two different
    completions; TrainingDiverged as ``train_dpo`` does.
    """
    check_policy_and_reference(policy, reference)
    if reference is None:
        raise ValueError("train_online_dpo needs a reference: its loss reads it, or its samples are held to it")
    require_count("max_new_tokens", max_new_tokens)
    require_choice("labels", labels, get_args(Labels))
    if config.epochs is not None:
        raise SettingError("online DPO makes its data as it goes, and they have no epochs: set steps")
    if this_process()[1] > 1:
        raise ValueError("train_online_dpo runs in one process")
    if not prompts:
        raise ValueError("there is nothing to train on: no prompt was given")
    if config.gradient_checkpointing:
        require_blocks(policy)
    largest = Pair(max(prompts, key=len), [0] * max_new_tokens, [0] * max_new_tokens)
    _check_room(policy, largest)
    propose = partial(propose_pairs, policy, reward=reward, max_new_tokens=max_new_tokens, labels=labels)
    return _steps(policy, reference, prompts, propose, config, largest)


def _steps(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompts: Sequence[list[int]],
    propose: Callable[..., Proposal],
    config: DPOConfig,
    largest: Pair,
) -> Iterator[Record]:
    policy.eval()  # dropout off, as in ``train``
    reference.eval()
    updates = Updates(policy, config, config.steps)
    score, score_reference = pair_scorer(policy, [largest]), pair_scorer(reference, [largest])
    order = batches_by_length([len(prompt) for prompt in prompts], 1, config.seed)

    with recomputed(policy) if config.gradient_checkpointing else nullcontext():
        for step in range(1, config.steps + 1):
            asked = [prompts[next(order)[0]] for _ in range(config.batch_size)]
            proposal = propose(asked, seed=config.seed * 1_000_003 + step)  # another for every step of every run
            pairs = proposal.pairs
            if not pairs:
                raise ValueError(
                    f"step {step}: the policy said the same twice to each of {len(asked)} prompts, so there is "
                    "nothing to compare: it is too sure. Take a larger beta, a lower learning rate or fewer steps"
                )
            with torch.no_grad():
                reference_logps = score_reference(pairs)
            loss_of = pair_loss(score, pairs, reference_logps, config, policy.device)
            rows, order_of_rows = list(range(len(pairs))), BatchOrder(pair_lengths(pairs))
            parts = parts_of(order_of_rows, loss_of, [1] * len(pairs), config.micro_batch_size, rows)
            record = record_of(step, updates.apply(step, *parts))
            yield record | {
                "reward": proposal.reward,
                "pairs": len(pairs),
                "generated_tokens": proposal.generated_tokens,
            }
        updates.check(config.steps, *parts)


def _check_room(policy: PreTrainedModel, largest: Pair) -> None:
    """ValueError for a longest pair that the policy's context does not hold."""
    context, longest = context_of(policy), longer_lengths([largest])[0]
    if context is not None and longest > context:
        raise ValueError(
            f"the longest prompt has {len(largest.prompt)} tokens, and with max_new_tokens = {len(largest.chosen)} "
            f"that is more than the policy's context of {context}"
        )
