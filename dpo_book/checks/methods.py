"""Exercises of chapter 09: how near methods came, what they earn at one KL, how far best-of-n strays."""

import math

import torch
from torch import Tensor

from dpo_book.checks import Exercise, random_case
from dpo_book.maths.exact import best_of_n_logp, kl_divergence


def _standings() -> list[tuple]:
    """Reward and KL of methods at some strengths, (2, 3) and (3, 2), the strengths and log Z at each."""
    cases = []
    for seed, shape in ((9, (2, 3)), (10, (3, 2)), (11, (2, 3))):
        reward, kl = random_case(seed, shape, shape, offset=1.5)
        (beta,) = random_case(seed + 10, shape[1:])
        (log_z,) = random_case(seed + 20, shape[1:], offset=4.0)
        cases.append((reward, kl.abs(), beta.abs() + 0.1, log_z))
    return cases


def _shortfall(reward: Tensor, kl: Tensor, beta: Tensor, log_z: Tensor) -> Tensor:
    return beta * log_z - (reward - beta * kl)


check_shortfall = Exercise(
    "shortfall",
    _standings(),
    _shortfall,
    {
        "the sign is wrong: J cannot be above β log Z, so subtract J from it.": lambda *a: -_shortfall(*a),
        "the KL has the wrong sign: in J it is paid for.": (
            lambda reward, kl, beta, log_z: beta * log_z - (reward + beta * kl)
        ),
        "β is missing at log Z: the most that J can be is β log Z.": (
            lambda reward, kl, beta, log_z: log_z - (reward - beta * kl)
        ),
        "β is missing at the KL: it is the price of a nat.": (
            lambda reward, kl, beta, log_z: beta * log_z - (reward - kl)
        ),
        "the price is forgotten: two policies at different KL are not compared by their reward.": (
            lambda reward, kl, beta, log_z: beta * log_z - reward
        ),
        "log Z is forgotten: this is J itself.": lambda reward, kl, beta, log_z: reward - beta * kl,
        "log Z is a logarithm already: no other is taken.": (
            lambda reward, kl, beta, log_z: beta * log_z.log() - (reward - beta * kl)
        ),
        "β log Z is not divided: it is β times log Z.": (
            lambda reward, kl, beta, log_z: log_z / beta - (reward - beta * kl)
        ),
        "averaged over the strengths: keep one number for each, they say different things.": (
            lambda *a: _shortfall(*a).mean(dim=1)
        ),
    },
    "Divide it by β. By chapter 04 that is KL[π‖π*]: how many nats the policy is from the optimum of its β.",
)


def _frontiers() -> list[tuple]:
    """KL and reward of five runs in no order, and three KLs between them."""
    cases = []
    for seed in (15, 16, 17):
        kl, reward = random_case(seed, (5,), (5,))
        kl = kl.abs() + 0.1
        shares = torch.tensor([0.2, 0.45, 0.9], dtype=torch.float64)
        cases.append((kl, reward, kl.min() + shares * (kl.max() - kl.min())))
    return cases


def _between(kl: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """The place of the run at or after each KL, and which share of the way there it is; for rising kl."""
    place = torch.searchsorted(kl, at).clamp(1, len(kl) - 1)
    return place, (at - kl[place - 1]) / (kl[place] - kl[place - 1])


def _on_the_line(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    place, share = _between(kl, at)
    return reward[place - 1] + share * (reward[place] - reward[place - 1])


def _sorted(kl: Tensor, reward: Tensor) -> tuple[Tensor, Tensor]:
    order = kl.argsort()
    return kl[order], reward[order]


def _reward_at_kl(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    return _on_the_line(*_sorted(kl, reward), at)


def _nearest(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    return reward[(kl - at[:, None]).abs().argmin(dim=1)]


def _neighbour(kl: Tensor, reward: Tensor, at: Tensor, after: bool) -> Tensor:
    kl, reward = _sorted(kl, reward)
    place, _ = _between(kl, at)
    return reward[place] if after else reward[place - 1]


def _swapped(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    """The neighbours' weights the wrong way round."""
    before, after = (_neighbour(kl, reward, at, after) for after in (False, True))
    return before + after - _reward_at_kl(kl, reward, at)


def _one_line(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    """From the run of the smallest KL straight to that of the largest."""
    kl, reward = _sorted(kl, reward)
    return _on_the_line(kl[[0, -1]], reward[[0, -1]], at)


check_reward_at_kl = Exercise(
    "reward_at_kl",
    _frontiers(),
    _reward_at_kl,
    {
        "the runs are not sorted: neighbours are neighbours by KL, not by their place in the table.": _on_the_line,
        "rewards are sorted on their own: keep each with its KL.": (
            lambda kl, reward, at: _on_the_line(kl.sort()[0], reward.sort()[0], at)
        ),
        "the nearest run's reward: it was earned at another KL.": _nearest,
        "the next run's reward: it had more KL to spend.": lambda *a: _neighbour(*a, after=True),
        "the reward of the run before: it had less KL to spend.": lambda *a: _neighbour(*a, after=False),
        "the weights are swapped: at a run's own KL its own reward must come out.": _swapped,
        "one line from the first run to the last: use the two neighbours of each KL.": _one_line,
        "averaged over the KLs: keep one number for each.": lambda *a: _reward_at_kl(*a).mean(),
    },
    "Reward bends down as KL grows, so this line runs below the curve. Whom does that favour in a comparison?",
)


def _pools() -> list[tuple]:
    """log π_ref of a handful of responses, rewards of which no two are equal, and n."""
    cases = []
    for seed, size, n in ((12, 5, 2), (13, 6, 4), (14, 7, 3)):
        logits, reward = random_case(seed, (size,), (size,))
        cases.append((logits.log_softmax(0), reward, n))
    return cases


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


check_best_of_n_kl = Exercise(
    "best_of_n_kl",
    _pools(),
    _best_of_n_kl,
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
    },
    "As n grows the formula grows without end. What does this KL approach, and for which response?",
)
