"""Exercise of chapter 07: how much of π* a proposal's draws miss."""

import torch
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal

__all__ = ["check_unseen_mass"]


def _proposal(seed: int, prompts: int, responses: int, draws: int) -> tuple[Tensor, Tensor, int]:
    """log π* and a proposal's probabilities of all responses to each prompt, and how many are drawn."""
    star, proposal = normal(seed, (prompts, responses), (prompts, responses))
    return star.log_softmax(-1), proposal.softmax(-1), draws


def _unseen_mass(optimum_logp: Tensor, proposal: Tensor, draws: int) -> Tensor:
    return (optimum_logp.exp() * (1 - proposal) ** draws).sum(-1)


check_unseen_mass = Exercise(
    "unseen_mass",
    _unseen_mass,
    [
        _proposal(2, 2, 7, 5),
        _proposal(3, 1, 5, 12),
        _proposal(4, 4, 2, 1),
        in_float32(_proposal(5, 3, 6, 3)),
        _proposal(6, 3, 3, 40),
        _proposal(7, 2, 1, 2),
    ],
    {
        "(1 − q) lacks its power: this is the chance that one draw misses a response, and there are many draws.": (
            lambda star, q, draws: (star.exp() * (1 - q)).sum(-1)
        ),
        "this is the mass that is seen: subtract it from 1.": lambda star, q, draws: 1 - _unseen_mass(star, q, draws),
        "log π* stands where π* belongs: exponentiate it.": (
            lambda star, q, draws: (star * (1 - q) ** draws).sum(-1)
        ),
        "every response counts alike here; what is asked for is how much π* loses with it.": (
            lambda star, q, draws: ((1 - q) ** draws).mean(-1)
        ),
        "this is the mass of the proposal, not of π*.": lambda star, q, draws: (q * (1 - q) ** draws).sum(-1),
        "the chance to miss in n draws is not 1 − n q, which falls below zero; it is (1 − q) to the power of n.": (
            lambda star, q, draws: (star.exp() * (1 - draws * q)).sum(-1)
        ),
        "summed over prompts: every prompt has responses of its own, so sum over the last dimension.": (
            lambda star, q, draws: (star.exp() * (1 - q) ** draws).sum(0)
        ),
        "every response counts alike here, with 1; what is asked for is how much π* loses with it.": (
            lambda star, q, draws: ((1 - q) ** draws).sum(-1)
        ),
        "1 − n q cut off at 0 is not the chance to miss n times; that is (1 − q) to the power of n.": (
            lambda star, q, draws: (star.exp() * (1 - draws * q).clamp(min=0)).sum(-1)
        ),
        "exp(−n q) is near the chance to miss n times, for small q; exactly it is (1 − q) to the power of n.": (
            lambda star, q, draws: (star.exp() * torch.exp(-draws * q)).sum(-1)
        ),
        "1 − qⁿ is the chance that not *all* draws hit; to miss every time it is (1 − q) to the power of n.": (
            lambda star, q, draws: (star.exp() * (1 - q**draws)).sum(-1)
        ),
        "qⁿ is the chance to hit every time; to miss every time it is (1 − q) to the power of n.": (
            lambda star, q, draws: (star.exp() * q**draws).sum(-1)
        ),
        "this is a mean over the responses: the mass on all that is missed is a sum.": (
            lambda star, q, draws: (star.exp() * (1 - q) ** draws).mean(-1)
        ),
        "the power is taken after the sum: each response is missed n times on its own; sum after that.": (
            lambda star, q, draws: (1 - (star.exp() * q).sum(-1)) ** draws
        ),
        "here π* draws: it is the proposal that draws.": (
            lambda star, q, draws: (star.exp() * (1 - star.exp()) ** draws).sum(-1)
        ),
        "(1 − q) is multiplied by the number of draws: it is multiplied by itself, as often as there are draws.": (
            lambda star, q, draws: (star.exp() * (1 - q) * draws).sum(-1)
        ),
        "(1 − q) is divided by the number of draws: it is multiplied by itself, as often as there are draws.": (
            lambda star, q, draws: (star.exp() * (1 - q) / draws).sum(-1)
        ),
        "this is the largest part alone: add up over all responses.": (
            lambda star, q, draws: (star.exp() * (1 - q) ** draws).amax(-1)
        ),
        "divided by the sum of the chances to miss: π* sums to 1 already, so nothing is left to divide by.": (
            lambda star, q, draws: _unseen_mass(star, q, draws) / ((1 - q) ** draws).sum(-1)
        ),
        "π* is normalised over the prompts: it is a distribution over the responses.": (
            lambda star, q, draws: (star.softmax(0) * (1 - q) ** draws).sum(-1)
        ),
        "the proposal is put through a softmax: it is probabilities already.": (
            lambda star, q, draws: _unseen_mass(star, q.softmax(-1), draws)
        ),
        "π* and the proposal are swapped.": lambda star, q, draws: (q * (1 - star.exp()) ** draws).sum(-1),
        "π* is in the power, too: it weighs what is missed, once.": (
            lambda star, q, draws: ((star.exp() * (1 - q)) ** draws).sum(-1)
        ),
        "not summed: add up over the responses of a prompt.": lambda star, q, draws: star.exp() * (1 - q) ** draws,
    },
    "A proposal that equals π* still misses some of it. Which responses, and does it matter?",
    # A hole is missed for certain, however many draws: a clamp above 0 shows. Dyadic, so that float32 is exact.
    far=[
        (
            torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.125, 0.75]], dtype=torch.float64).log(),
            torch.tensor([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]], dtype=torch.float64),
            2_000,
        )
    ],
)
