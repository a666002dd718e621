"""Exercises of chapter 01: Bradley–Terry (eq. 1), the gradient of its likelihood, and rankings."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.checks import Exercise, random_case
from dpo_book.maths.bradley_terry import preference_probability

# ------------------------------------------------------------------ ★ a comparison

check_win_probability = Exercise(
    "win_probability",
    [random_case(seed, (6,), (6,)) for seed in (10, 11)],
    preference_probability,
    {
        "a and b are swapped: this is the probability that b wins.": lambda a, b: preference_probability(b, a),
        "the rewards are added: only their difference counts, a better b must lower the result.": (
            lambda a, b: torch.sigmoid(a + b)
        ),
        "the second reward is forgotten: a comparison reads a difference.": lambda a, b: torch.sigmoid(a),
        "the exponentials are missing: r_a / (r_a + r_b) is no probability where rewards can be negative.": (
            lambda a, b: a / (a + b)
        ),
        "these are the odds exp(r_a − r_b), which go up to infinity; a probability is odds / (1 + odds).": (
            lambda a, b: (a - b).exp()
        ),
        "this is the logarithm of the probability; equation 1 has no log.": lambda a, b: F.logsigmoid(a - b),
        "the winner is certain here: equation 1 lets the lower reward win sometimes.": (
            lambda a, b: (a > b).to(a.dtype)
        ),
        "this is normal noise (Thurstone's model): equation 1 follows from Gumbel noise.": (
            lambda a, b: torch.special.ndtr(a - b)
        ),
    },
    "Try rewards of 1000 and 999: does yours give 0.7311, or nan? torch.sigmoid of the difference never overflows.",
)

# ------------------------------------------------------------------ ★★ the gradient from a list of comparisons


def _comparisons(seed: int, items: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards (n,), and winners and losers (B,) with each item in several comparisons."""
    generator = torch.Generator().manual_seed(seed)
    winners = torch.randint(items, (count,), generator=generator)
    losers = (winners + torch.randint(1, items, (count,), generator=generator)) % items
    return *random_case(seed, (items,)), winners, losers


def _weight(rewards: Tensor, winners: Tensor, losers: Tensor) -> Tensor:
    return preference_probability(rewards[losers], rewards[winners])


def _spread(rewards: Tensor, winners: Tensor, losers: Tensor, weight: Tensor) -> Tensor:
    return torch.zeros_like(rewards).index_add(0, winners, -weight).index_add(0, losers, weight)


def _gradient(rewards: Tensor, winners: Tensor, losers: Tensor) -> Tensor:
    return _spread(rewards, winners, losers, _weight(rewards, winners, losers))


def _overwritten(rewards: Tensor, winners: Tensor, losers: Tensor) -> Tensor:
    """What ``gradient[winners] -= weight`` gives: of several comparisons of one item, the last alone."""
    weight, gradient = _weight(rewards, winners, losers), [0.0] * len(rewards)
    for index, sign in ((winners, -1.0), (losers, 1.0)):
        before = list(gradient)
        for item, w in zip(index.tolist(), weight.tolist(), strict=True):
            gradient[item] = before[item] + sign * w
    return torch.tensor(gradient, dtype=rewards.dtype)


check_reward_gradient = Exercise(
    "reward_gradient",
    [_comparisons(seed, 5, 12) for seed in (12, 13)],
    _gradient,
    {
        "the sign is wrong: this is the gradient of the log-likelihood; the loss is minus that.": (
            lambda *case: -_gradient(*case)
        ),
        "winners and losers are swapped: a winner's reward must rise when we step against the gradient.": (
            lambda r, w, lost: _gradient(r, lost, w)
        ),
        "the weight is upside down: a win that was expected, p near 1, must weigh little: 1 − p, not p.": (
            lambda r, w, lost: _spread(r, w, lost, 1 - _weight(r, w, lost))
        ),
        "every comparison weighs 1 here: the weight is 1 − p, so that the pull ends where p fits.": (
            lambda r, w, lost: _spread(r, w, lost, torch.ones_like(r[w]))
        ),
        "it is averaged over comparisons: the loss here is a sum.": (
            lambda r, w, lost: _gradient(r, w, lost) / len(w)
        ),
        "only the winners are pulled: the loser's reward stands in the loss too, with a minus.": (
            lambda r, w, lost: torch.zeros_like(r).index_add(0, w, -_weight(r, w, lost))
        ),
        "an item that occurs twice is counted once: x[index] += y keeps one of several; use x.index_add_.": (
            _overwritten
        ),
        "this is the derivative of σ, p (1 − p): the loss is −log σ, whose derivative is −(1 − p).": (
            lambda r, w, lost: _spread(r, w, lost, _weight(r, w, lost) * (1 - _weight(r, w, lost)))
        ),
    },
    "What is the sum of your gradient over all items, and which fact about equation 1 does that show?",
)

# ------------------------------------------------------------------ ★★★ rankings


def _rankings(seed: int, items: int, count: int, length: int) -> tuple[Tensor, Tensor]:
    """Rewards (n,) and rankings (B, K) of item numbers, the best first."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randperm(items, generator=generator)[:length] for _ in range(count)]
    return *random_case(seed, (items,)), torch.stack(rows)


def _rest(rewards: Tensor, rankings: Tensor) -> Tensor:
    """log Σ exp r over an item and all that were ranked below it: (B, K)."""
    return rewards[rankings].flip(1).logcumsumexp(dim=1).flip(1)


def _ranking_logp(rewards: Tensor, rankings: Tensor) -> Tensor:
    return (rewards[rankings] - _rest(rewards, rankings)).sum(dim=1)


def _unranked_stay(rewards: Tensor, rankings: Tensor) -> Tensor:
    """Items that the ranking does not name stand in every denominator."""
    total = []
    for ranking in rankings.tolist():
        left, logp = list(range(len(rewards))), torch.zeros((), dtype=rewards.dtype)
        for item in ranking:
            logp = logp + rewards[item] - rewards[left].logsumexp(0)
            left.remove(item)
        total.append(logp)
    return torch.stack(total)


check_ranking_logp = Exercise(
    "ranking_logp",
    [_rankings(14, 6, 4, 4), _rankings(15, 5, 3, 3)],
    _ranking_logp,
    {
        "the ranking is read from its end: the first item of a row is the best.": (
            lambda r, ranks: _ranking_logp(r, ranks.flip(1))
        ),
        "nobody leaves: every denominator holds all K items; those already placed must drop out.": (
            lambda r, ranks: r[ranks].log_softmax(dim=1).sum(dim=1)
        ),
        "items that the ranking does not name stand in the denominators: only the K ranked ones compete.": (
            _unranked_stay
        ),
        "the item itself is missing from its denominator: it competes with those below *and* with itself.": (
            lambda r, ranks: (r[ranks][:, :-1] - _rest(r, ranks)[:, 1:]).sum(dim=1)
        ),
        "this multiplies all K(K−1)/2 comparisons as if independent; a ranking is K − 1 choices.": (
            lambda r, ranks: sum(
                F.logsigmoid(r[ranks[:, i]] - r[ranks[:, j]])
                for i in range(ranks.shape[1])
                for j in range(i + 1, ranks.shape[1])
            )
        ),
        "only neighbours are compared: the best must beat everyone below it in one choice.": (
            lambda r, ranks: F.logsigmoid(r[ranks][:, :-1] - r[ranks][:, 1:]).sum(dim=1)
        ),
        "this is the probability; its logarithm was asked for.": lambda r, ranks: _ranking_logp(r, ranks).exp(),
        "the sign is wrong: the logarithm of a probability is not above zero.": (
            lambda r, ranks: -_ranking_logp(r, ranks)
        ),
        "it is averaged over the places of a ranking: the choices' probabilities multiply, their logs add.": (
            lambda r, ranks: _ranking_logp(r, ranks) / ranks.shape[1]
        ),
        "the logarithm is to base 2; nats are natural logarithms.": (
            lambda r, ranks: _ranking_logp(r, ranks) / math.log(2)
        ),
    },
    "Two rankings of 3 tell 4 choices. How many comparisons of two, asked singly, tell as much?",
)
