"""An exercise of chapter 09: what a method earns at given KLs, between its runs."""

import numpy as np
import torch
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal

__all__ = ["check_reward_at_kl"]


def _frontier(seed: int, runs: int, *shares: float, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """KL and reward of some runs in no order, and KLs between the smallest and the largest."""
    kl, reward = normal(seed, (runs,), (runs,), scale=scale)
    kl = kl.abs() + 0.1 * scale
    at = kl.min() + torch.tensor(shares, dtype=kl.dtype) * (kl.max() - kl.min())
    return kl, reward, at


def _at_a_run(seed: int, runs: int, *shares: float) -> tuple[Tensor, Tensor, Tensor]:
    """The same, and the last KL is a run's own: the second smallest."""
    kl, reward, at = _frontier(seed, runs, *shares)
    return kl, reward, torch.cat([at, kl.sort().values[1:2]])


def _between(kl: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """The place of the run at or after each KL, and which share of the way there it is; for rising kl."""
    place = torch.searchsorted(kl, at.contiguous()).clamp(1, len(kl) - 1)
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


def _midway(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    before, after = (_neighbour(kl, reward, at, after) for after in (False, True))
    return (before + after) / 2


def _step_alone(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    """How much more than the run before, without that run's reward."""
    return _reward_at_kl(kl, reward, at) - _neighbour(kl, reward, at, after=False)


def _not_divided(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    """The way from the run before, not divided by the distance of the neighbours."""
    kl, reward = _sorted(kl, reward)
    place, _ = _between(kl, at)
    return reward[place - 1] + (at - kl[place - 1]) * (reward[place] - reward[place - 1])


def _slope(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    kl, reward = _sorted(kl, reward)
    place, _ = _between(kl, at)
    return (reward[place] - reward[place - 1]) / (kl[place] - kl[place - 1])


def _two_nearest(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    distance = (kl - at[:, None]).abs()
    one, other = distance.topk(2, largest=False).indices.T
    share = (at - kl[one]) / (kl[other] - kl[one])
    return reward[one] + share * (reward[other] - reward[one])


def _inverse_distances(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    weights = 1 / (kl - at[:, None]).abs()
    return (weights / weights.sum(dim=1, keepdim=True)) @ reward


def _most_so_far(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    return torch.stack([reward[kl <= limit].max() for limit in at])


def _falling_interp(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    order = kl.argsort(descending=True)
    return _unsorted_interp(kl[order], reward[order], at)


def _descending(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    order = kl.argsort(descending=True)
    return _on_the_line(kl[order], reward[order], at)


def _ranks_for_places(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    """reward[rank] where reward[order] belongs."""
    return _on_the_line(kl.sort().values, reward[kl.argsort().argsort()], at)


def _by_reward(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    order = reward.argsort()
    return _on_the_line(kl[order], reward[order], at)


def _rewards_as_they_came(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    return _on_the_line(kl.sort().values, reward, at)


def _unsorted_interp(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    return torch.from_numpy(np.interp(at.numpy(), kl.numpy(), reward.numpy()))


def _in_logarithms(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    return _reward_at_kl(kl.log(), reward, at.log())


def _in_roots(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    return _reward_at_kl(kl.sqrt(), reward, at.sqrt())


def _fitted(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    """The least-squares line through all runs."""
    centred = kl - kl.mean()
    slope = (centred * reward).sum() / centred.square().sum()
    return reward.mean() + slope * (at - kl.mean())


def _rising_questions(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    return _reward_at_kl(kl, reward, at.sort().values)


def _kl_at_reward(kl: Tensor, reward: Tensor, at: Tensor) -> Tensor:
    between = at.clamp(reward.min(), reward.max())  # as `np.interp` does outside
    return _reward_at_kl(reward, kl, between)


check_reward_at_kl = Exercise(
    "reward_at_kl",
    _reward_at_kl,
    [
        _frontier(15, 5, 0.2, 0.45, 0.9),
        _frontier(16, 6, 0.7),
        _frontier(17, 2, 0.1, 0.6),
        in_float32(_frontier(18, 8, 0.95, 0.3, 0.55, 0.1)),
        _frontier(19, 3, 0.8, 0.25, 0.5),
        _frontier(20, 7, 0.6, 0.5, 0.05, 0.85, 0.4),
        _at_a_run(21, 6, 0.75, 0.5),
        _frontier(22, 4, 0.9, 0.2, 0.4, scale=1e-2),
    ],
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
        "the mean of the two neighbours' rewards: the nearer one weighs more.": _midway,
        "this is by how much the reward exceeds that of the run before: add that run's reward.": _step_alone,
        "`np.interp` asks for rising KLs, and does not complain about others: sort the runs first.": _unsorted_interp,
        "the runs fall in KL here, and the search for a place asks that they rise.": _descending,
        "rewards are put in order by the runs' ranks: take `reward[order]`, order being `kl.argsort()`.": (
            _ranks_for_places
        ),
        "the runs are sorted by reward: neighbours are neighbours by KL.": _by_reward,
        "KLs are sorted on their own: take the rewards along.": _rewards_as_they_came,
        "`np.interp` asks for rising KLs, and these fall.": _falling_interp,
        "the way from the run before is not divided by the distance of the two neighbours.": _not_divided,
        "this is the slope between the neighbours; the reward is asked for.": _slope,
        "the two nearest runs may lie on one side: use the nearest below and the nearest above.": _two_nearest,
        "every run has a weight here; use the two neighbours alone.": _inverse_distances,
        "the largest reward at no more KL: it is a step, and a line is asked for.": _most_so_far,
        "the line is straight in KL, not in its logarithm.": _in_logarithms,
        "the line is straight in KL, not in its root.": _in_roots,
        "one line is fitted through all runs: use the two neighbours of each KL.": _fitted,
        "these are the rewards at the KLs of `at` in rising order: keep the order in which they are asked.": (
            _rising_questions
        ),
        "KL is read at given rewards here: it is the other way round.": _kl_at_reward,
    },
    "Reward bends down as KL grows, so this line runs below the curve. Whom does that favour in a comparison?",
    far=[_frontier(24, 5, 0.3, 0.8, scale=500.0)],
)
