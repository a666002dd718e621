"""Losses that look at each completion, not at the margin alone: DPOP, RPO, APO, KTO, χPO.

DPO's loss does not change when both log-ratios h = log(π/π_ref) fall together. These hold one of them, or both.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.maths.relatives.pairs import PairLogps, PairLoss, checked, with_rewards
from dpo_book.maths.require import require_at_least_zero, require_positive

LARGEST_EXPONENT = 80.0  # exp(80) is a number in float32 and bfloat16 (not in float16), so none is inf − inf


def dpop_loss(logps: PairLogps, beta: float, penalty: float) -> PairLoss:
    """DPO-Positive (arXiv 2402.13228): −log σ(β (h_w − h_l − λ max(0, −h_w))), λ ≥ 0 being ``penalty``.

    A chosen completion that falls below its reference pays λ times as much again.
    """
    checked(logps, beta)
    require_at_least_zero("penalty", penalty)
    chosen, rejected = logps.log_ratios()
    fallen = F.relu(-chosen)
    losses = -F.logsigmoid(beta * (chosen - rejected - penalty * fallen))
    return with_rewards(losses, beta * chosen, beta * rejected)


def rpo_loss(logps: PairLogps, beta: float, nll_weight: float) -> PairLoss:
    """DPO and SFT on the chosen (RPO, arXiv 2405.16436): −log σ(β (h_w − h_l)) − η log π(y_w)/|y_w|.

    η ≥ 0 is ``nll_weight``. The mean over tokens is that of iterative RPO (arXiv 2404.19733).
    """
    checked(logps, beta)
    require_at_least_zero("nll_weight", nll_weight)
    chosen, rejected = logps.log_ratios()
    imitation = -logps.policy_chosen / logps.chosen_tokens
    losses = -F.logsigmoid(beta * (chosen - rejected)) + nll_weight * imitation
    return with_rewards(losses, beta * chosen, beta * rejected)


def apo_zero_loss(logps: PairLogps, beta: float) -> PairLoss:
    """APO-zero (arXiv 2408.06266, eq. 7): 1 − σ(β h_w) + σ(β h_l). Chosen are pushed up, rejected down."""
    checked(logps, beta)
    chosen, rejected = (beta * h for h in logps.log_ratios())
    losses = torch.sigmoid(-chosen) + torch.sigmoid(rejected)
    return with_rewards(losses, chosen, rejected)


def apo_down_loss(logps: PairLogps, beta: float) -> PairLoss:
    """APO-down (arXiv 2408.06266, eq. 8): σ(β h_w) + 1 − σ(β (h_w − h_l)).

    The rejected is pushed down, and the chosen too where |h_w| is below |h_w − h_l|. For chosen completions that are
    worse than what the policy says already.
    """
    checked(logps, beta)
    chosen, rejected = (beta * h for h in logps.log_ratios())
    losses = torch.sigmoid(chosen) + torch.sigmoid(rejected - chosen)
    return with_rewards(losses, chosen, rejected)


def kto_loss(logps: PairLogps, beta: float, baseline: Tensor) -> PairLoss:
    """KTO (arXiv 2402.01306) of a pair's two halves: (1 − σ(β (h_w − z₀)) + 1 − σ(β (z₀ − h_l))) / 2.

    baseline: z₀, how far the policy is from its reference, KL[π ‖ π_ref] in nats, a scalar; never differentiated.
    The method needs no pairs: each half is a completion that somebody called good, or bad. Its two weights are 1.
    """
    checked(logps, beta)
    chosen, rejected = logps.log_ratios()
    z0 = baseline.detach()
    good = torch.sigmoid(beta * (z0 - chosen))
    bad = torch.sigmoid(beta * (rejected - z0))
    return with_rewards((good + bad) / 2, beta * chosen, beta * rejected)


def kto_batch_loss(logps: PairLogps, beta: float) -> PairLoss:
    """``kto_loss`` in training, where nobody knows the KL: z₀ is the batch's mean log-ratio, and at least 0.

    The batch's completions are the data's, not the policy's, so this is no estimate of the KL but what a batch has at
    hand. KTO's authors take completions of other prompts, at the price of one more forward pass.
    """
    checked(logps, beta)
    log_ratios = torch.cat(logps.log_ratios())
    return kto_loss(logps, beta, log_ratios.mean().clamp(min=0.0))


def chi_po_loss(logps: PairLogps, beta: float, reward_bound: float) -> PairLoss:
    """χPO (arXiv 2407.13399): −log σ(clip(β φ_w − β φ_l)), φ = π/π_ref + log(π/π_ref), clipped to ± 2 R.

    R = ``reward_bound``, a bound of the true reward in nats. The link belongs to the divergence χ² + KL: an
    unrestricted policy's ratio z solves z + log z = (r − λ)/β, so it grows like r and not like exp r.
    """
    checked(logps, beta)
    require_positive("reward_bound", reward_bound)
    chosen, rejected = logps.log_ratios()
    chosen_rewards = beta * _chi_link(chosen)
    rejected_rewards = beta * _chi_link(rejected)
    margin = (chosen_rewards - rejected_rewards).clamp(-2 * reward_bound, 2 * reward_bound)
    return with_rewards(-F.logsigmoid(margin), chosen_rewards, rejected_rewards)


def _chi_link(log_ratio: Tensor) -> Tensor:
    """φ(z) = z + log z of z = π/π_ref, from log z."""
    return log_ratio.clamp(max=LARGEST_EXPONENT).exp() + log_ratio
