"""Equation 7: the DPO loss, pure functions of log-probabilities."""

import torch.nn.functional as F
from torch import Tensor

from dpo_book.maths.objective import implicit_reward
from dpo_book.maths.require import require_beta, require_flag
from dpo_book.maths.shapes import require_one_shape, require_probabilities


def dpo_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    reference_chosen_logps: Tensor | None,
    reference_rejected_logps: Tensor | None,
    beta: float,
    reference_free: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Equation 7 before its expectation: −log σ(β log(π(y_w)/π_ref(y_w)) − β log(π(y_l)/π_ref(y_l))).

    Each log-probability is of a whole completion (summed over its tokens, in nats), shape (batch,).
    Returns ``(losses, chosen_rewards, rejected_rewards)``, each (batch,): the loss of every pair, and the
    implicit rewards β log(π/π_ref) of both completions, detached.

    With ``reference_free`` the reference counts as uniform, that is, its log-probabilities are equal and
    drop out of the difference: the last two log-probabilities are not read and may be None, and the
    rewards returned are β log π. (In the authors' code the rewards still hold the reference; here loss
    and rewards always agree: loss = −log σ(chosen_rewards − rejected_rewards).)

    Raises TypeError or ValueError if beta is not a number above 0 or the shapes differ. Values are not looked at: a
    NaN makes its own pair's loss NaN.
    """
    require_beta(beta)
    require_flag("reference_free", reference_free)
    require_one_shape(policy_chosen_logps=policy_chosen_logps, policy_rejected_logps=policy_rejected_logps)
    if reference_free:
        reference_chosen_logps = policy_chosen_logps.new_zeros(policy_chosen_logps.shape)
        reference_rejected_logps = policy_rejected_logps.new_zeros(policy_rejected_logps.shape)
    elif reference_chosen_logps is None or reference_rejected_logps is None:
        raise ValueError("dpo_loss needs the reference's log-probabilities unless reference_free=True")
    require_one_shape(
        policy_chosen_logps=policy_chosen_logps,
        policy_rejected_logps=policy_rejected_logps,
        reference_chosen_logps=reference_chosen_logps,
        reference_rejected_logps=reference_rejected_logps,
    )

    chosen_rewards = implicit_reward(policy_chosen_logps, reference_chosen_logps, beta)
    rejected_rewards = implicit_reward(policy_rejected_logps, reference_rejected_logps, beta)
    losses = -F.logsigmoid(chosen_rewards - rejected_rewards)
    return losses, chosen_rewards.detach(), rejected_rewards.detach()


def soft_dpo_loss(
    policy_chosen_logps: Tensor,
    policy_rejected_logps: Tensor,
    reference_chosen_logps: Tensor | None,
    reference_rejected_logps: Tensor | None,
    beta: float,
    chosen_probability: Tensor,
    reference_free: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """The expectation of ``dpo_loss`` over a label that falls "chosen" with probability p (batch,).

    p · L(y_w, y_l) + (1 − p) · L(y_l, y_w): the cross-entropy between p and equation 6. At p = 1 it is
    equation 7. It is smallest where the implicit reward margin equals the log-odds of p, a finite margin.
    Arguments and returns otherwise as ``dpo_loss``; ValueError where p is outside [0, 1], for which it waits for the
    device.
    """
    require_probabilities(chosen_probability=chosen_probability)
    require_one_shape(policy_chosen_logps=policy_chosen_logps, chosen_probability=chosen_probability)
    as_labelled, chosen_rewards, rejected_rewards = dpo_loss(
        policy_chosen_logps,
        policy_rejected_logps,
        reference_chosen_logps,
        reference_rejected_logps,
        beta,
        reference_free,
    )
    the_other_way, _, _ = dpo_loss(
        policy_rejected_logps,
        policy_chosen_logps,
        reference_rejected_logps,
        reference_chosen_logps,
        beta,
        reference_free,
    )
    losses = weighted(chosen_probability, as_labelled) + weighted(1 - chosen_probability, the_other_way)
    return losses, chosen_rewards, rejected_rewards


def weighted(weight: Tensor, losses: Tensor) -> Tensor:
    """What has no weight adds nothing, also where it is infinite: 0 · inf would be NaN."""
    return weight * losses.where(weight != 0, 0.0)
