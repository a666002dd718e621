"""Equation 7: the DPO loss, pure functions of log-probabilities."""

import torch.nn.functional as F
from torch import Tensor

from dpo_book.maths.objective import implicit_reward
from dpo_book.maths.require import require_beta


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

    Raises TypeError or ValueError if beta is not a number above 0 or the shapes differ.
    """
    require_beta(beta)
    if reference_free:
        reference_chosen_logps = policy_chosen_logps.new_zeros(policy_chosen_logps.shape)
        reference_rejected_logps = policy_rejected_logps.new_zeros(policy_rejected_logps.shape)
    elif reference_chosen_logps is None or reference_rejected_logps is None:
        raise ValueError("dpo_loss needs the reference's log-probabilities unless reference_free=True")
    shapes = {
        "policy_chosen_logps": policy_chosen_logps.shape,
        "policy_rejected_logps": policy_rejected_logps.shape,
        "reference_chosen_logps": reference_chosen_logps.shape,
        "reference_rejected_logps": reference_rejected_logps.shape,
    }
    if len(set(shapes.values())) > 1:  # broadcasting would silently pair every row with every other
        told = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
        raise ValueError(f"the log-probabilities must have one shape, (batch,); got {told}")

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
    Arguments and returns otherwise as ``dpo_loss``.
    """
    if chosen_probability.shape != policy_chosen_logps.shape:
        raise ValueError(
            f"chosen_probability must have the log-probabilities' shape, {tuple(policy_chosen_logps.shape)}; "
            f"got {tuple(chosen_probability.shape)}"
        )
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
    losses = chosen_probability * as_labelled + (1 - chosen_probability) * the_other_way
    return losses, chosen_rewards, rejected_rewards
