"""An exercise of chapter 09: how far best-of-n strays where single responses are likely."""

import math

import torch
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal
from dpo_book.maths.exact import best_of_n_logp, kl_divergence

__all__ = ["check_best_of_n_kl"]


def _pool(seed: int, responses: int, n: int, scale: float = 1.0) -> tuple[Tensor, Tensor, int]:
    """log π_ref of a handful of responses, rewards of which no two are equal, and n.

    So few responses and draws that whoever lists all that can be drawn gets there, too.
    """
    logits, reward = normal(seed, (responses,), (responses,))
    return logits.log_softmax(0), scale * reward, n


def _chances(ref_logp: Tensor, reward: Tensor) -> tuple[Tensor, Tensor]:
    """P(r ≤ r(y)) and P(r < r(y)) of a draw from π_ref, at every y."""
    p = ref_logp.exp()
    at_most = torch.stack([p[reward <= r].sum() for r in reward])
    return at_most, at_most - p


def _best_of_n_kl(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    return kl_divergence(best_of_n_logp(ref_logp, reward, n), ref_logp)


def _density_kl(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    """With n π_ref F^(n−1), which is no distribution where single responses are likely."""
    at_most, _ = _chances(ref_logp, reward)
    times = n * at_most ** (n - 1)
    return (ref_logp.exp() * times * times.log()).sum()


def _worst_of_n_kl(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    return _best_of_n_kl(ref_logp, -reward, n)


def _reverse_kl(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    return kl_divergence(ref_logp, best_of_n_logp(ref_logp, reward, n))


def _formula(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    return torch.tensor(math.log(n) - (n - 1) / n, dtype=ref_logp.dtype)


def _from_chances(ref_logp: Tensor, chances: Tensor) -> Tensor:
    """Σ p log(p / π_ref), as it comes of numbers p that need not be a distribution."""
    return torch.where(chances > 0, chances * (chances.log() - ref_logp), 0.0).sum()


def _normalised_density_kl(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    at_most, _ = _chances(ref_logp, reward)
    density = ref_logp.exp() * at_most ** (n - 1)
    return _from_chances(ref_logp, density / density.sum())


def _no_difference_kl(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    """With F^n alone."""
    at_most, _ = _chances(ref_logp, reward)
    return _from_chances(ref_logp, at_most**n)


def _no_difference_normalised_kl(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    at_most, _ = _chances(ref_logp, reward)
    return _from_chances(ref_logp, at_most**n / (at_most**n).sum())


def _ever_drawn_kl(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    """With the chance that y is among the n."""
    return _from_chances(ref_logp, 1 - (1 - ref_logp.exp()) ** n)


def _unsorted_kl(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    """Sums in the order in which the responses stand."""
    place = torch.arange(len(reward), dtype=reward.dtype)
    return _best_of_n_kl(ref_logp, place, n)


def _half_sorted_kl(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    """Best-of-n by rising reward beside π_ref as it came."""
    order = reward.argsort()
    best = best_of_n_logp(ref_logp[order], reward[order], n)
    return (best.exp() * (best - ref_logp)).sum()


def _likeliest_of_n_kl(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    return _best_of_n_kl(ref_logp, ref_logp, n)


def _tilted_kl(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    return kl_divergence((ref_logp + reward).log_softmax(0), ref_logp)


def _entropy(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    best = best_of_n_logp(ref_logp, reward, n)
    return -(best.exp() * best).sum()


def _of_ranks(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    """With F = rank / N."""
    uniform = torch.full_like(ref_logp, -math.log(len(ref_logp)))
    best = best_of_n_logp(uniform, reward, n)
    return (best.exp() * (best - ref_logp)).sum()


def _of_uniform(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    return _best_of_n_kl(torch.full_like(ref_logp, -math.log(len(ref_logp))), reward, n)


def _limit(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    return -ref_logp[reward.argmax()]


def _total_variation(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    return (best_of_n_logp(ref_logp, reward, n).exp() - ref_logp.exp()).abs().sum() / 2


def _expected_reward(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    return (best_of_n_logp(ref_logp, reward, n).exp() * reward).sum()


def _under_reference(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    """The log-ratio averaged over π_ref's draws."""
    return (ref_logp.exp() * (best_of_n_logp(ref_logp, reward, n) - ref_logp)).sum()


def _unweighted(ref_logp: Tensor, reward: Tensor, n: int) -> Tensor:
    return (best_of_n_logp(ref_logp, reward, n) - ref_logp).sum()


check_best_of_n_kl = Exercise(
    "best_of_n_kl",
    _best_of_n_kl,
    [
        _pool(12, 5, 2),
        _pool(13, 6, 4),
        _pool(14, 2, 3),
        in_float32(_pool(20, 7, 3)),
        _pool(21, 4, 1),
        _pool(22, 1, 5),
        _pool(23, 2, 10),
        _pool(24, 9, 2),
    ],
    {
        "this is the formula log n − (n − 1)/n: here single responses are likely, and it is only a bound.": _formula,
        "n π_ref F^(n−1) is a density and does not sum to 1 here: the chance is F^n − F⁻^n.": _density_kl,
        "this keeps the worst of n: F is the chance of a draw that is no better.": _worst_of_n_kl,
        "this is KL[π_ref ‖ best-of-n]: the policy whose samples are meant stands first.": _reverse_kl,
        "the sign is wrong: the logarithm is of best-of-n's probability over π_ref's.": (
            lambda *a: -_best_of_n_kl(*a)
        ),
        "the terms are averaged, where they have to be summed: they hold their probability already.": (
            lambda ref, reward, n: _best_of_n_kl(ref, reward, n) / len(ref)
        ),
        "one number a response: sum them.": (
            lambda ref, reward, n: best_of_n_logp(ref, reward, n).exp() * (best_of_n_logp(ref, reward, n) - ref)
        ),
        "log π_ref is not subtracted: this is minus the entropy of best-of-n.": (
            lambda ref, reward, n: (best_of_n_logp(ref, reward, n).exp() * best_of_n_logp(ref, reward, n)).sum()
        ),
        "this is the entropy of best-of-n: log π_ref is not subtracted.": _entropy,
        "n π_ref F^(n−1) stays an approximation once it is normalised: the chance is F^n − F⁻^n.": (
            _normalised_density_kl
        ),
        "F^n is the chance that all n are no better than y: subtract that all are worse, F⁻^n.": _no_difference_kl,
        "F^n, made to sum to 1, is not the chance of the best of n: subtract F⁻^n instead.": (
            _no_difference_normalised_kl
        ),
        "1 − (1 − π_ref)^n is the chance that y is among the n draws, not that it is the best of them.": (
            _ever_drawn_kl
        ),
        "F is summed in the order in which the responses stand: sort them by reward first.": _unsorted_kl,
        "best-of-n is sorted by reward and π_ref is not: sort both.": _half_sorted_kl,
        "this keeps the likeliest of n, and best-of-n keeps the one with the most reward.": _likeliest_of_n_kl,
        "this is the KL of π_ref e^r, the optimum at β = 1; best of n is another policy.": _tilted_kl,
        "F is rank / N here, as if all responses were equally likely: sum π_ref.": _of_ranks,
        "π_ref is left out, as if all responses were equally likely.": _of_uniform,
        "this is what the KL approaches as n grows; asked for is its value at n.": _limit,
        "this is the total variation; KL takes the logarithm of a ratio.": _total_variation,
        "this is the expected reward of best-of-n; its KL is asked for.": _expected_reward,
        "log n is a bound only: no response can become more than n times as likely.": (
            lambda ref, reward, n: torch.tensor(math.log(n), dtype=ref.dtype)
        ),
        "the log-ratio is averaged over π_ref: in KL[best-of-n ‖ π_ref] best-of-n weighs it.": _under_reference,
        "the log-ratios are summed without a weight: each counts with best-of-n's probability.": _unweighted,
    },
    "As n grows the formula grows without end. What does this KL approach, and for which response?",
    far=[_pool(25, 3, 6, scale=50.0)],
    own=[best_of_n_logp],
)
