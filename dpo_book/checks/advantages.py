"""Exercise of chapter 08: the advantage of every token."""

import torch
from torch import Tensor

from dpo_book.checks.clipping import whitened
from dpo_book.checks.judge import Exercise, in_float32, normal
from dpo_book.training.ppo import generalized_advantages

__all__ = ["check_token_advantages"]


def _tokens(seed: int, responses: int, tokens: int, gae_lambda: float) -> tuple[Tensor, Tensor, float]:
    """Rewards and values of the tokens of some responses, and λ."""
    return *normal(seed, (responses, tokens), (responses, tokens)), gae_lambda


def _deltas(rewards: Tensor, values: Tensor) -> Tensor:
    return rewards + _later(values) - values


def _summed(deltas: Tensor, decay: float) -> Tensor:
    """Σ_l decay^l δ_{t+l}."""
    nothing = torch.zeros_like(deltas)
    return generalized_advantages(deltas, nothing, torch.ones_like(deltas, dtype=torch.bool), decay)


def _advantages(rewards: Tensor, values: Tensor, gae_lambda: float) -> Tensor:
    return _summed(_deltas(rewards, values), gae_lambda)


def _later(deltas: Tensor) -> Tensor:
    """What stands at t + 1, and 0 at the end."""
    return torch.cat([deltas[:, 1:], torch.zeros_like(deltas[:, :1])], dim=1)


def _power_of_place(deltas: Tensor, decay: float) -> Tensor:
    """A mistake: A_t = δ_t + decay^t A_{t+1}."""
    sums = deltas.clone()
    for t in reversed(range(deltas.shape[1] - 1)):
        sums[:, t] += decay**t * sums[:, t + 1]
    return sums


check_token_advantages = Exercise(
    "token_advantages",
    _advantages,
    [
        _tokens(3, 4, 6, 0.95),
        _tokens(4, 1, 5, 0.5),
        _tokens(5, 3, 1, 0.8),
        in_float32(_tokens(6, 2, 7, 0.9)),
        _tokens(7, 3, 3, 1.0),
        _tokens(8, 2, 4, 0.0),
        _tokens(9, 2, 60, 0.99),
    ],
    {
        "summed from the start: what a token did shows in what comes after it, so sum from the end.": (
            lambda r, v, lam: _summed(_deltas(r, v).flip(1), lam).flip(1)
        ),
        "the bootstrap is forgotten: δ_t = R_t + V_{t+1} − V_t, and what is expected next belongs to it.": (
            lambda r, v, lam: _summed(r - v, lam)
        ),
        "V_t is not subtracted: an advantage is more than what was expected.": (
            lambda r, v, lam: _summed(_deltas(r, v) + v, lam)
        ),
        "the values are forgotten: these are (decayed) returns.": lambda r, v, lam: _summed(r, lam),
        "λ is missing: this is λ = 1, the return minus V_t.": lambda r, v, lam: _summed(_deltas(r, v), 1.0),
        "only δ_t: this is λ = 0, which trusts the values blindly.": lambda r, v, lam: _deltas(r, v),
        "λ multiplies V_{t+1} as a discount would: it decays the sum of the δ, not the values in them.": (
            lambda r, v, lam: _summed(r + lam * (_deltas(r, v) - r + v) - v, lam)
        ),
        "V_t and V_{t+1} are swapped: what was expected is subtracted, what is expected next is added.": (
            lambda r, v, lam: _summed(2 * r - _deltas(r, v), lam)
        ),
        "the value after the last token is not 0: nothing comes after the end.": (
            lambda r, v, lam: _summed(r + torch.cat([v[:, 1:], v[:, -1:]], dim=1) - v, lam)
        ),
        "summed along the batch: time runs along dimension 1.": (lambda r, v, lam: _summed(_deltas(r, v).T, lam).T),
        "summed from the start, and without λ: what a token did shows in what comes after it.": (
            lambda r, v, lam: _deltas(r, v).cumsum(1)
        ),
        "all rewards are summed, the past ones too: only what comes from token t on is its doing.": (
            lambda r, v, lam: r.sum(1, keepdim=True) - v
        ),
        "only R_t − V_t is left: δ_t has V_{t+1}, too, and the δ that follow are added.": lambda r, v, lam: r - v,
        "these are returns, the sum of what comes: the values and λ are forgotten.": (
            lambda r, v, lam: r.flip(1).cumsum(1).flip(1)
        ),
        "λ^l counts from the first token: l is how far ahead of token t a δ is.": (
            lambda r, v, lam: _summed(_deltas(r, v) * lam ** torch.arange(r.shape[1]), 1.0)
        ),
        "A_{t+1} is read before it is written: go from the last token to the first.": (
            lambda r, v, lam: _deltas(r, v) * (torch.arange(r.shape[1]) < r.shape[1] - 1)
        ),
        "`roll` brings V_0 to the end: the value after the last token is 0.": (
            lambda r, v, lam: _summed(r + v.roll(-1, dims=1) - v, lam)
        ),
        "V_{t−1} stands where V_{t+1} belongs: what is expected *next* is added.": (
            lambda r, v, lam: _summed(r + torch.cat([torch.zeros_like(v[:, :1]), v[:, :-1]], dim=1) - v, lam)
        ),
        "only δ_t and λ δ_{t+1}: the sum goes on to the end, so carry A_{t+1} along, not δ_{t+1}.": (
            lambda r, v, lam: _deltas(r, v) + lam * _later(_deltas(r, v))
        ),
        "δ_t itself is missing: the sum begins with it, at λ to the power of 0.": (
            lambda r, v, lam: _advantages(r, v, lam) - _deltas(r, v)
        ),
        "`values` is added: these are the returns that the value model learns, A_t is how much more than V_t came.": (
            lambda r, v, lam: _advantages(r, v, lam) + v
        ),
        "λ to the power of t: how much a δ counts depends on how far ahead it is, l, not on where.": (
            lambda r, v, lam: _power_of_place(_deltas(r, v), lam)
        ),
        "a factor 1 − λ too many: A_t = Σ_l λ^l δ_{t+l} has none.": lambda r, v, lam: (
            (1 - lam) * _advantages(r, v, lam)
        ),
        "the first token is left out: the loop ends one step early.": (
            lambda r, v, lam: _advantages(r, v, lam) * (torch.arange(r.shape[1]) > 0)
        ),
        "the last token is left out: after it V is 0, so its δ is R − V.": (
            lambda r, v, lam: _summed(_deltas(r, v) * (torch.arange(r.shape[1]) < r.shape[1] - 1), lam)
        ),
        "whitened (mean 0, deviation 1): A_t is asked for as it is.": lambda *a: whitened(_advantages(*a), 1),
        "whitened (mean 0, deviation 1, by 1/n): A_t is asked for as it is.": lambda *a: whitened(_advantages(*a), 0),
        "the mean is subtracted: A_t is asked for as it is.": lambda *a: _advantages(*a) - _advantages(*a).mean(),
    },
    "With λ = 1 every V but V_t cancels out of the sum. What are the advantages then, and why have they no bias?",
    far=[(1000 * _tokens(10, 2, 6, 0.99)[0], *_tokens(11, 2, 6, 0.99)[1:])],
    own=[generalized_advantages],
)
