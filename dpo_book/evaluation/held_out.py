"""What preferences that nobody trained on say of a policy: how it ranks them, by how much, and how far it drifted."""

from collections.abc import Sequence
from typing import NamedTuple

from transformers import PreTrainedModel

from dpo_book.data.pairs import Pair
from dpo_book.evaluation.sampled import Estimate, estimate, sampled_kl
from dpo_book.training.offline import compute_reference_logps

Z95 = 1.959964  # 95 % of a normal distribution lie within so many standard deviations


class Interval(NamedTuple):
    """A value and the 95 % interval around it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


def interval(measured: Estimate) -> Interval:
    """95 % by the normal approximation: the mean ± 1.96 standard errors."""
    half = Z95 * measured.standard_error
    return Interval(measured.mean, measured.mean - half, measured.mean + half)


def share_interval(share: float, n: int) -> Interval:
    """Of a share among n, by Wilson (1927): it stays within [0, 1], and does not shrink to nothing at 0 or n."""
    middle = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 * (share * (1 - share) / n + Z95**2 / (4 * n**2)) ** 0.5 / (1 + Z95**2 / n)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def held_out(
    policy: PreTrainedModel, reference: PreTrainedModel, pairs: Sequence[Pair], beta: float, batch_size: int = 64
) -> dict[str, Interval]:
    """How often the implicit reward (eq. 5) ranks the chosen higher, ties counting half, and its mean margin.

    "accuracy of the reference" is how often π_ref itself finds the chosen likelier: what there was before.
    """
    policy_chosen, policy_rejected = compute_reference_logps(policy, pairs, 2 * batch_size)
    reference_chosen, reference_rejected = compute_reference_logps(reference, pairs, 2 * batch_size)
    margin = beta * ((policy_chosen - reference_chosen) - (policy_rejected - reference_rejected))
    share = lambda margins: share_interval(float(((margins.sign() + 1) / 2).mean()), len(pairs))
    return {
        "accuracy": share(margin),
        "margin, nats": interval(estimate(margin)),
        "accuracy of the reference": share(reference_chosen - reference_rejected),
    }


def drift(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompts: Sequence[list[int]],
    samples: int,
    max_new_tokens: int,
    seed: int = 0,
) -> Interval:
    """KL[π ‖ π_ref] in nats, averaged over the prompts, from ``samples`` completions; prompts are used in turn.

    Prompts without room for ``max_new_tokens`` in the policy's context are left out; ValueError if all are.
    """
    context = getattr(policy.config, "max_position_embeddings", None) or float("inf")
    fitting = [prompt for prompt in prompts if len(prompt) + max_new_tokens <= context]
    if not fitting:
        raise ValueError(f"no prompt leaves room for {max_new_tokens} new tokens in the policy's {context} positions")
    drawn = [fitting[i % len(fitting)] for i in range(samples)]
    return interval(sampled_kl(policy, reference, drawn, max_new_tokens, seed))
