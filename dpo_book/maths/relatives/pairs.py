"""What every relative of DPO is given, and what it returns."""

from collections.abc import Callable
from typing import NamedTuple, Self

from torch import Tensor

from dpo_book.maths.dpo import weighted
from dpo_book.maths.require import require_beta
from dpo_book.maths.shapes import require_one_shape, require_probabilities


class PairLogps(NamedTuple):
    """A batch of B pairs as a loss sees it: each field (B,).

    Log-probabilities are of whole completions, summed over their tokens, in nats. Tokens are counted with EOS.
    There is at least one. A loss without reference does not read the reference's, and zeros may stand there.
    """

    policy_chosen: Tensor
    policy_rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor

    def log_ratios(self) -> tuple[Tensor, Tensor]:
        """h_w and h_l: log(π/π_ref) of the chosen and of the rejected completions."""
        return self.policy_chosen - self.reference_chosen, self.policy_rejected - self.reference_rejected

    def swapped(self) -> Self:
        """The same pairs labelled the other way round."""
        return PairLogps(
            policy_chosen=self.policy_rejected,
            policy_rejected=self.policy_chosen,
            reference_chosen=self.reference_rejected,
            reference_rejected=self.reference_chosen,
            chosen_tokens=self.rejected_tokens,
            rejected_tokens=self.chosen_tokens,
        )


class PairLoss(NamedTuple):
    """What a loss returns, each (B,): the pairs' losses, and what the method takes for the completions' rewards.

    The rewards are detached: they are for the record.
    """

    losses: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor


Loss = Callable[..., PairLoss]  # (PairLogps, beta, **settings) → PairLoss


def checked(logps: PairLogps, beta: float) -> None:
    """TypeError or ValueError unless beta is above zero and all fields are tensors of one shape."""
    require_beta(beta)
    require_one_shape(**logps._asdict())


def with_rewards(losses: Tensor, chosen_rewards: Tensor, rejected_rewards: Tensor) -> PairLoss:
    return PairLoss(losses, chosen_rewards.detach(), rejected_rewards.detach())


def expected_loss(loss: Loss, logps: PairLogps, beta: float, chosen_probability: Tensor) -> PairLoss:
    """The expectation of any loss over a label that falls "chosen" with probability p (B,): soft labels.

    loss: called as loss(logps, beta); settings it has already. p · L(y_w, y_l) + (1 − p) · L(y_l, y_w), as
    ``soft_dpo_loss`` is for DPO. ValueError where p is outside [0, 1], for which it waits for the device.
    """
    require_probabilities(chosen_probability=chosen_probability)
    return unchecked_expected_loss(loss, logps, beta, chosen_probability)


def unchecked_expected_loss(loss: Loss, logps: PairLogps, beta: float, chosen_probability: Tensor) -> PairLoss:
    """``expected_loss`` for a training's step: its probabilities were checked when the pairs came in."""
    require_one_shape(policy_chosen=logps.policy_chosen, chosen_probability=chosen_probability)
    as_labelled = loss(logps, beta)
    the_other_way = loss(logps.swapped(), beta)
    p = chosen_probability
    losses = weighted(p, as_labelled.losses) + weighted(1 - p, the_other_way.losses)
    return as_labelled._replace(losses=losses)
