"""Exercise of chapter 03: the KL to the reference."""

import math

from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal
from dpo_book.maths.exact import kl_divergence

__all__ = ["check_kl_to_reference"]


def policies(seed: int, prompts: int, responses: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """log π and log π_ref of all responses to each prompt."""
    logits, ref_logits = normal(seed, (prompts, responses), (prompts, responses), scale=scale)
    return logits.log_softmax(-1), ref_logits.log_softmax(-1)


def _kl(logp: Tensor, ref_logp: Tensor) -> Tensor:
    return kl_divergence(logp, ref_logp)


def mean_under(logp: Tensor, values: Tensor) -> Tensor:
    """E_π of values, one for each prompt."""
    return (logp.exp() * values).sum(-1)


check_kl_to_reference = Exercise(
    "kl_to_reference",
    _kl,
    [
        policies(0, 3, 7),
        policies(1, 1, 5),
        policies(2, 4, 1),
        in_float32(policies(3, 5, 3)),
        policies(4, 2, 2, scale=3.0),
        policies(6, 2, 40, scale=0.1),
    ],
    {
        "the direction is turned around: this is KL[π_ref‖π], an average over the reference's responses.": (
            lambda logp, ref: kl_divergence(ref, logp)
        ),
        "the sign is wrong: a divergence is never below zero, so the ratio is π/π_ref.": (
            lambda logp, ref: -kl_divergence(logp, ref)
        ),
        "weighted by π_ref: the responses are π's own, so each log-ratio counts with probability π(y|x).": (
            lambda logp, ref: -kl_divergence(ref, logp)
        ),
        "the weights are missing: a sum over all responses is an expectation only with π(y|x) in front.": (
            lambda logp, ref: (logp - ref).sum(-1)
        ),
        "the weights are missing: a plain mean over the responses is not the expectation under π.": (
            lambda logp, ref: (logp - ref).mean(-1)
        ),
        "weighted by log π instead of π: exponentiate the weights first.": (
            lambda logp, ref: (logp * (logp - ref)).sum(-1)
        ),
        "averaged over the responses: π(y|x) is the weight already, so sum.": (
            lambda logp, ref: kl_divergence(logp, ref) / logp.shape[-1]
        ),
        "the reference is forgotten: this is minus the entropy of π.": (lambda logp, ref: mean_under(logp, logp)),
        "the logarithm is missing: this is the mean of the ratio π/π_ref itself.": (
            lambda logp, ref: mean_under(logp, (logp - ref).exp())
        ),
        "probabilities are subtracted: the logarithm of a ratio is a difference of log-probabilities.": (
            lambda logp, ref: mean_under(logp, logp.exp() - ref.exp())
        ),
        "log-probabilities are divided: the logarithm of a ratio is a difference.": (
            lambda logp, ref: mean_under(logp, logp / ref)
        ),
        "this is the cross-entropy −Σ π log π_ref; the KL is Σ π log π more.": (
            lambda logp, ref: -mean_under(logp, ref)
        ),
        "the log-ratio is squared: a KL has its first power.": lambda logp, ref: mean_under(logp, (logp - ref) ** 2),
        "absolute values are summed: where π is below π_ref the log-ratio is negative, and counts as such.": (
            lambda logp, ref: mean_under(logp, (logp - ref).abs())
        ),
        "negative terms are cut off: where π is below π_ref the log-ratio is negative, and counts as such.": (
            lambda logp, ref: mean_under(logp, (logp - ref).relu())
        ),
        "both directions are added up: KL[π‖π_ref] alone is asked for.": (
            lambda logp, ref: kl_divergence(logp, ref) + kl_divergence(ref, logp)
        ),
        "the weights are the ratio π/π_ref: each log-ratio counts with probability π(y|x).": (
            lambda logp, ref: ((logp - ref).exp() * (logp - ref)).sum(-1)
        ),
        "this is the difference of two entropies: log π_ref, too, is averaged under π.": (
            lambda logp, ref: mean_under(logp, logp) - mean_under(ref, ref)
        ),
        "this is a mean distance of probabilities: a KL has their log-ratio.": (
            lambda logp, ref: (logp.exp() - ref.exp()).abs().sum(-1) / 2
        ),
        "the largest term alone is taken: sum over the responses.": (
            lambda logp, ref: (logp.exp() * (logp - ref)).amax(-1)
        ),
        "the sum over the responses is missing: add up the last dimension.": (
            lambda logp, ref: logp.exp() * (logp - ref)
        ),
        "these are the log-ratios alone: their mean under π, over the last dimension, is asked for.": (
            lambda logp, ref: logp - ref
        ),
        "summed over dimension 0, the prompts: the responses are the last dimension.": (
            lambda logp, ref: (logp.exp() * (logp - ref)).sum(0)
        ),
        "this is the mean over all P · N entries, as of `F.kl_div` without reduction='none'. Sum over responses.": (
            lambda logp, ref: (logp.exp() * (logp - ref)).mean()
        ),
        "summed over the prompts too: return one value a prompt.": lambda logp, ref: kl_divergence(logp, ref).sum(),
        "averaged over the prompts: return one value a prompt.": lambda logp, ref: kl_divergence(logp, ref).mean(),
        "the logarithm is to base 2; nats are natural logarithms.": (
            lambda logp, ref: kl_divergence(logp, ref) / math.log(2)
        ),
    },
    "If π gives a response probability 0, its log is −inf and 0 · (−inf) is NaN. What should such a response add?",
    far=[policies(5, 2, 4, scale=60.0)],
    trains=["logp"],
    distributions=["logp", "ref_logp"],
    own=[kl_divergence],
)
