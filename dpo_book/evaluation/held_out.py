"""What preferences that nobody trained on say of a policy: how it ranks them, by how much, and how far it drifted."""

import math
from collections.abc import Sequence

from torch import Tensor
from transformers import PreTrainedModel

from dpo_book.data.pairs import Pair
from dpo_book.evaluation.sampled import sampled_kl
from dpo_book.maths.estimates import Interval, estimate, interval, share_interval
from dpo_book.models.policy import context_of
from dpo_book.models.scoring import score_pairs


def held_out(
    policy: PreTrainedModel, reference: PreTrainedModel, pairs: Sequence[Pair], beta: float, batch_size: int = 64
) -> dict[str, Interval]:
    """How often the implicit reward (eq. 5) ranks the chosen higher, ties counting half, and its mean margin.

    "accuracy of the reference" is how often π_ref itself finds the chosen likelier: what there was before.
    """
    policy_chosen, policy_rejected = score_pairs(policy, pairs, 2 * batch_size)
    reference_chosen, reference_rejected = score_pairs(reference, pairs, 2 * batch_size)
    margin = beta * ((policy_chosen - reference_chosen) - (policy_rejected - reference_rejected))
    return {
        "accuracy": accuracy_interval(margin),
        "margin, nats": interval(estimate(margin)),
        "accuracy of the reference": accuracy_interval(reference_chosen - reference_rejected),
    }


def accuracy_interval(margins: Tensor) -> Interval:
    """The share of margins (n,) above zero, one that is zero counting half, with Wilson's interval."""
    halves = margins.cpu().double().sign() + 1
    return share_interval(float(halves.mean() / 2), len(margins))


def drift(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompts: Sequence[list[int]],
    samples: int,
    max_new_tokens: int,
    seed: int = 0,
) -> Interval:
    """KL[π ‖ π_ref] in nats, averaged over the prompts, from ``samples`` completions; prompts are used in turn.

    Prompts without room for ``max_new_tokens`` in both models' contexts are left out; ValueError if all are.
    """
    context = min(context_of(policy) or math.inf, context_of(reference) or math.inf)
    fitting = [prompt for prompt in prompts if len(prompt) + max_new_tokens <= context]
    if not fitting:
        raise ValueError(f"no prompt leaves room for {max_new_tokens} new tokens in the models' {context} positions")
    drawn = [fitting[i % len(fitting)] for i in range(samples)]
    return interval(sampled_kl(policy, reference, drawn, max_new_tokens, seed))
