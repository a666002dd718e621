"""Chapter 01's exercise on rankings: Plackett–Luce, a choice of the best among those that are left."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal, vector

__all__ = ["check_ranking_logp"]


def _rankings(seed: int, items: int, count: int, length: int) -> tuple[Tensor, Tensor]:
    """Rewards (n,) and rankings (B, K) of item numbers, the best first."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randperm(items, generator=generator)[:length] for _ in range(count)]
    return *normal(seed, (items,)), torch.stack(rows)


def _far_rankings() -> tuple[Tensor, Tensor]:
    """Rewards of ±1000, of which no exponential is a number."""
    _, rankings = _rankings(19, 5, 4, 3)
    return vector(1000.0, -1000.0, 995.0, 0.5, -998.0), rankings


def _rest(ranked: Tensor) -> Tensor:
    """log Σ exp r over an item and all that were ranked below it, of rewards in their rankings' order: (B, K)."""
    return ranked.flip(1).logcumsumexp(dim=1).flip(1)


def _choices(ranked: Tensor) -> Tensor:
    """The log-probability of every choice, (B, K)."""
    return ranked - _rest(ranked)


def _ranking_logp(rewards: Tensor, rankings: Tensor) -> Tensor:
    return _choices(rewards[rankings]).sum(dim=1)


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


def _comparisons_of_two(rewards: Tensor, rankings: Tensor) -> Tensor:
    ranked = rewards[rankings]
    places = torch.combinations(torch.arange(ranked.shape[1]))
    return F.logsigmoid(ranked[:, places[:, 0]] - ranked[:, places[:, 1]]).sum(dim=1)


def _masked_by_0(rewards: Tensor, rankings: Tensor) -> Tensor:
    ranked = rewards[rankings]
    table = ranked[:, None, :].expand(-1, ranked.shape[1], -1).triu()
    return (ranked - table.logsumexp(dim=2)).sum(dim=1)


check_ranking_logp = Exercise(
    "ranking_logp",
    _ranking_logp,
    [
        _rankings(14, 6, 5, 4),
        _rankings(15, 5, 2, 3),
        _rankings(16, 3, 1, 3),
        in_float32(_rankings(17, 4, 2, 1)),  # of one item each: certain, so without any gradient
        _rankings(18, 8, 5, 6),
        _rankings(19, 7, 6, 2),
        in_float32(_rankings(20, 5, 4, 5)),
    ],
    {
        "the ranking is read from its end: the first item of a row is the best.": (
            lambda r, ranks: _ranking_logp(r, ranks.flip(1))
        ),
        "nobody leaves: every denominator holds all K items; those already placed must drop out.": (
            lambda r, ranks: r[ranks].log_softmax(dim=1).sum(dim=1)
        ),
        "nobody leaves: every denominator holds all n items; only the ranked compete, and those placed drop out.": (
            lambda r, ranks: r.log_softmax(dim=0)[ranks].sum(dim=1)
        ),
        "only the first choice is there: the others below it are ranked by choices, too.": (
            lambda r, ranks: r[ranks].log_softmax(dim=1)[:, 0]
        ),
        "items that the ranking does not name stand in the denominators: only the K ranked ones compete.": (
            _unranked_stay
        ),
        "the item itself is missing from its denominator: it competes with those below *and* with itself.": (
            lambda r, ranks: (r[ranks][:, :-1] - _rest(r[ranks])[:, 1:]).sum(dim=1)
        ),
        "this multiplies all K(K−1)/2 comparisons as if independent; a ranking is K − 1 choices.": (
            _comparisons_of_two
        ),
        "those already placed stand in the denominators with exp 0 = 1: mask them with −∞, not with 0.": _masked_by_0,
        "a row holds item numbers, best first, and no ranks: argsort undoes that.": (
            lambda r, ranks: _ranking_logp(r, ranks.argsort(dim=1))
        ),
        "the exponentials are missing: a denominator is the logarithm of a sum of exponentials.": (
            lambda r, ranks: (r[ranks] - r[ranks].flip(1).cumsum(1).flip(1)).sum(dim=1)
        ),
        "the denominators run over the rankings: sum along dimension 1, over the places of one ranking.": (
            lambda r, ranks: (r[ranks] - r[ranks].flip(0).logcumsumexp(0).flip(0)).sum(dim=1)
        ),
        "the first choice is missing: the best was chosen among all K.": (
            lambda r, ranks: _ranking_logp(r, ranks[:, 1:])
        ),
        "the rewards are sorted here: their order is the ranking's, whatever they are.": (
            lambda r, ranks: _choices(r[ranks].sort(dim=1, descending=True).values).sum(dim=1)
        ),
        "the summed exponentials lack their logarithm.": (
            lambda r, ranks: (r[ranks] - _rest(r[ranks]).exp()).sum(dim=1)
        ),
        "the denominators are missing: this is the sum of the rewards.": lambda r, ranks: r[ranks].sum(dim=1),
        "it is summed over the rankings: sum over the K places of each.": (
            lambda r, ranks: _choices(r[ranks]).sum(dim=0)
        ),
        "every choice stands on its own: sum over the K places of each ranking.": lambda r, ranks: _choices(r[ranks]),
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
    },
    "Two rankings of 3 are 4 choices. How many comparisons of two hold as much Fisher information, at equal rewards?",
    extreme=[_far_rankings()],
    trains=["rewards"],
)
