"""Losses that count tokens: length-normalised DPO, R-DPO, SimPO, ORPO. |y| is the tokens of y, its EOS included.

A long completion's log-ratio has more terms, so longer answers can win by length alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.maths.relatives.pairs import PairLogps, PairLoss, checked, with_rewards
from dpo_book.maths.require import require_at_least_zero


def dpo_norm_loss(logps: PairLogps, beta: float) -> PairLoss:
    """Length-normalised DPO (Tülu 3, arXiv 2411.15124): −log σ(β h_w/|y_w| − β h_l/|y_l|).

    Each completion has a β of its own, β/|y|. Where all have one length, it is DPO with that β.
    """
    checked(logps, beta)
    chosen, rejected = logps.log_ratios()
    chosen_rewards = beta * chosen / logps.chosen_tokens
    rejected_rewards = beta * rejected / logps.rejected_tokens
    losses = -F.logsigmoid(chosen_rewards - rejected_rewards)
    return with_rewards(losses, chosen_rewards, rejected_rewards)


def rdpo_loss(logps: PairLogps, beta: float, length_penalty: float) -> PairLoss:
    """R-DPO (arXiv 2403.19159): −log σ(β (h_w − h_l) + α (|y_w| − |y_l|)), α = ``length_penalty``.

    α ≥ 0 is in nats a token. The reward that explains the labels is β h + α |y|: what length earned is not h's to
    learn, so the optimum is equation 4 with r − α |y|.
    """
    checked(logps, beta)
    require_at_least_zero("length_penalty", length_penalty)
    chosen, rejected = logps.log_ratios()
    # Counts times a number would be float32, whatever the log-probabilities are.
    chosen_rewards = beta * chosen + length_penalty * logps.chosen_tokens.to(chosen.dtype)
    rejected_rewards = beta * rejected + length_penalty * logps.rejected_tokens.to(rejected.dtype)
    losses = -F.logsigmoid(chosen_rewards - rejected_rewards)
    return with_rewards(losses, chosen_rewards, rejected_rewards)


def simpo_loss(logps: PairLogps, beta: float, target_margin: float) -> PairLoss:
    """SimPO (arXiv 2405.14734, eq. 6): −log σ(β log π(y_w)/|y_w| − β log π(y_l)/|y_l| − γ), γ = ``target_margin``.

    No reference. Its β is of another size, for it multiplies nats a token: 2 and more is usual.
    """
    checked(logps, beta)
    require_at_least_zero("target_margin", target_margin)
    chosen, rejected = _per_token(logps)
    losses = -F.logsigmoid(beta * (chosen - rejected) - target_margin)
    return with_rewards(losses, beta * chosen, beta * rejected)


def orpo_loss(logps: PairLogps, beta: float) -> PairLoss:
    """ORPO (arXiv 2403.07691): −log π(y_w)/|y_w| − λ log σ(log odds(y_w) − log odds(y_l)), λ = ``beta``.

    odds = P/(1 − P), P the geometric mean of a completion's token probabilities. No reference: the first term, SFT on
    the chosen, is what holds the policy. The rewards are λ log P, as TRL has them.
    """
    checked(logps, beta)
    chosen, rejected = _per_token(logps)
    log_odds_ratio = _log_odds(chosen) - _log_odds(rejected)
    losses = -chosen - beta * F.logsigmoid(log_odds_ratio)
    return with_rewards(losses, beta * chosen, beta * rejected)


def _per_token(logps: PairLogps) -> tuple[Tensor, Tensor]:
    """The mean log-probability of a token of the chosen, and of the rejected."""
    return logps.policy_chosen / logps.chosen_tokens, logps.policy_rejected / logps.rejected_tokens


def _log_odds(log_probability: Tensor) -> Tensor:
    """log(P/(1 − P)) from log P.

    P = 1 has no odds: it counts as exp(−ε), ε being the precision's, and has no gradient.
    """
    log_probability = log_probability.clamp(max=-torch.finfo(log_probability.dtype).eps)
    return log_probability - torch.log(-torch.expm1(log_probability))
