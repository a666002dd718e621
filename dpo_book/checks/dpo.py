"""Exercises of chapter 06: the DPO loss (eq. 7), its gradient, and the log-probabilities that go into it."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.checks import Exercise, random_case
from dpo_book.maths.dpo import dpo_loss
from dpo_book.models.logprobs import token_log_probability

__all__ = ["check_completion_logp", "check_dpo_loss", "check_gradient_weight"]

# Four log-probabilities of five pairs, as sums over some ten tokens are, and beta.
PAIRS = [(*random_case(seed, *[(5,)] * 4, offset=-9.0), beta) for seed, beta in ((0, 0.1), (1, 0.7), (2, 2.0))]


def _margin(pw: Tensor, pl: Tensor, rw: Tensor, rl: Tensor, beta: float) -> Tensor:
    return beta * ((pw - rw) - (pl - rl))


def _loss(pw: Tensor, pl: Tensor, rw: Tensor, rl: Tensor, beta: float) -> Tensor:
    return dpo_loss(pw, pl, rw, rl, beta)[0]


check_dpo_loss = Exercise(
    "dpo_loss",
    PAIRS,
    _loss,
    {
        "chosen and rejected are swapped.": lambda pw, pl, rw, rl, beta: _loss(pl, pw, rl, rw, beta),
        "the sign is wrong: the loss is *minus* log σ, above zero.": lambda *a: -_loss(*a),
        "it is averaged already: return one value a pair.": lambda *a: _loss(*a).mean(),
        "the reference is forgotten.": lambda pw, pl, rw, rl, beta: -F.logsigmoid(beta * (pw - pl)),
        "beta is missing.": lambda pw, pl, rw, rl, beta: _loss(pw, pl, rw, rl, 1.0),
        "beta stands outside of log σ: there it would only scale the loss.": (
            lambda pw, pl, rw, rl, beta: beta * _loss(pw, pl, rw, rl, 1.0)
        ),
        "the logarithm is missing: this is 1 − σ, not −log σ.": lambda *a: torch.sigmoid(-_margin(*a)),
        "the logarithm is to base 10; nats are natural logarithms.": lambda *a: _loss(*a) / math.log(10),
        "the logarithm is to base 2; nats are natural logarithms.": lambda *a: _loss(*a) / math.log(2),
    },
    "Try a margin of −1000 in float32: does yours still give 1000? F.logsigmoid does; log(sigmoid(·)) gives inf.",
)

check_gradient_weight = Exercise(
    "gradient_weight",
    PAIRS,
    lambda *a: a[-1] * torch.sigmoid(-_margin(*a)),
    {
        "the weight is upside down: a pair that is ranked *wrong* must weigh more.": (
            lambda *a: a[-1] * torch.sigmoid(_margin(*a))
        ),
        "the factor beta in front is missing.": lambda *a: torch.sigmoid(-_margin(*a)),
        "beta is missing inside σ.": lambda *a: a[-1] * torch.sigmoid(-_margin(*a[:4], 1.0)),
        "the sign is wrong: the weight is positive, the minus stands in front of the expectation.": (
            lambda *a: -a[-1] * torch.sigmoid(-_margin(*a))
        ),
        "this is the derivative of σ, not of −log σ.": (
            lambda *a: a[-1] * torch.sigmoid(_margin(*a)) * torch.sigmoid(-_margin(*a))
        ),
        "this is the loss itself.": _loss,
    },
    "A pair with a hugely wrong label has the largest weight of all. What does that mean for noisy data?",
)


def _logit_cases() -> list[tuple]:
    """Logits (2, 6, 7), token ids (2, 6), completion mask (2, 6): prompts of two and three tokens."""
    cases = []
    for seed in (5, 6):
        (logits,) = random_case(seed, (2, 6, 7))
        ids = torch.randint(7, (2, 6), generator=torch.Generator().manual_seed(seed))
        mask = torch.tensor([[0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0]], dtype=torch.bool)
        cases.append((logits, ids, mask))
    return cases


def _token_logp(logits: Tensor, ids: Tensor) -> Tensor:
    return token_log_probability(logits[:, :-1], ids[:, 1:])


def _completion_logp(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    return (_token_logp(logits, ids) * mask[:, 1:]).sum(dim=1)


check_completion_logp = Exercise(
    "completion_logp",
    _logit_cases(),
    _completion_logp,
    {
        "off by one: the logits at position t predict token t + 1, so they must be shifted against the ids.": (
            lambda logits, ids, mask: (token_log_probability(logits, ids) * mask).sum(dim=1)
        ),
        "the prompt is not masked: only completion tokens count.": (
            lambda logits, ids, mask: _token_logp(logits, ids).sum(dim=1)
        ),
        "the mask is not shifted with the ids: the first completion token is dropped.": (
            lambda logits, ids, mask: (_token_logp(logits, ids) * mask[:, :-1]).sum(dim=1)
        ),
        "averaged over tokens: eq. 7 has the log-probability of the whole response, a sum.": (
            lambda logits, ids, mask: _completion_logp(logits, ids, mask) / mask.sum(dim=1)
        ),
        "raw logits are summed: they become log-probabilities only after log_softmax.": (
            lambda logits, ids, mask: (logits[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1) * mask[:, 1:]).sum(
                dim=1
            )
        ),
        "probabilities are summed: take the logarithm first.": (
            lambda logits, ids, mask: (_token_logp(logits, ids).exp() * mask[:, 1:]).sum(dim=1)
        ),
    },
    "With tokens averaged instead of summed, which beta would a response of 100 tokens need for the same margin?",
)
