"""Exercises of chapter 01: Bradley–Terry (eq. 1), and the gradient of its likelihood; rankings stand beside."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal, vector
from dpo_book.checks.rankings import check_ranking_logp
from dpo_book.maths.bradley_terry import preference_probability

__all__ = ["check_ranking_logp", "check_reward_gradient", "check_win_probability"]

# ------------------------------------------------------------------ ★ a comparison


def _win_probability(reward_a: Tensor, reward_b: Tensor) -> Tensor:
    return preference_probability(reward_a, reward_b)


check_win_probability = Exercise(
    "win_probability",
    _win_probability,
    [
        normal(10, (6,), (6,)),
        normal(11, (1,), (1,)),
        in_float32(normal(12, (9,), (9,))),
        normal(13, (4,), (4,), scale=4.0),
    ],
    {
        "a and b are swapped: this is the probability that b wins.": lambda a, b: preference_probability(b, a),
        "the rewards are added: only their difference counts, a better b must lower the result.": (
            lambda a, b: torch.sigmoid(a + b)
        ),
        "the second reward is forgotten: a comparison reads a difference.": lambda a, b: torch.sigmoid(a),
        "the first reward is forgotten: a comparison reads a difference.": lambda a, b: torch.sigmoid(-b),
        "the exponentials are missing: r_a / (r_a + r_b) is no probability where rewards can be negative.": (
            lambda a, b: a / (a + b)
        ),
        "brackets are missing: exp r_a / exp r_a + exp r_b is 1 + exp r_b.": lambda a, b: a.exp() / a.exp() + b.exp(),
        "σ stands where exponentials belong: it is taken once, of the difference.": (
            lambda a, b: a.sigmoid() / (a.sigmoid() + b.sigmoid())
        ),
        "σ is taken of each reward alone: it is taken once, of the difference.": (
            lambda a, b: a.sigmoid() - b.sigmoid()
        ),
        "these are powers of 2: the exponentials are of base e, as rewards are in nats.": (
            lambda a, b: preference_probability(a * math.log(2), b * math.log(2))
        ),
        "this is Elo's scale, base 10 and 400 points: rewards are in nats, so base e and no 400.": (
            lambda a, b: preference_probability(a * math.log(10) / 400, b * math.log(10) / 400)
        ),
        "this is tanh, which runs from −1 to 1: a probability runs from 0 to 1.": lambda a, b: torch.tanh(a - b),
        "σ is taken of each reward alone: it is taken once, of the difference; chances of a and b do not multiply.": (
            lambda a, b: a.sigmoid() * (-b).sigmoid()
        ),
        "the difference loses its sign: a lower a wins less often than not.": lambda a, b: (a - b).abs().sigmoid(),
        "the difference is halved.": lambda a, b: torch.sigmoid((a - b) / 2),
        "a straight line stands where σ belongs: it leaves 0 to 1 where rewards lie far apart.": (
            lambda a, b: 0.5 + (a - b) / 4
        ),
        "a cut-off difference stands where σ belongs: σ is smooth, and one half at 0.": (
            lambda a, b: (a - b).clamp(0, 1)
        ),
        "the difference is doubled: (1 + tanh z) / 2 is σ(2z).": lambda a, b: torch.sigmoid(2 * (a - b)),
        "these probabilities sum to 1 over the batch: every comparison is one on its own, of its a and its b.": (
            lambda a, b: torch.softmax(a - b, dim=0)
        ),
        "these probabilities of a sum to 1 over the batch: every comparison is one on its own, of its a and its b.": (
            lambda a, b: torch.softmax(a, dim=0)
        ),
        "the denominator is a sum over the batch: every comparison has its own, exp r_a + exp r_b.": (
            lambda a, b: a.exp() / (a.exp() + b.exp()).sum()
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
    "Try rewards of 1000 and 999: does yours give 0.7311, or nan? `torch.sigmoid` of the difference never overflows.",
    # below 700, where even `math.exp` ends; rewards of −40 show a small number that is added to a denominator
    far=[(vector(600.0, -20.0, 8.0, 0.5, -40.0, -300.0), vector(599.0, 0.0, 20.0, 12.0, -41.5, -280.0))],
    own=[preference_probability],
)

# ------------------------------------------------------------------ ★★ the gradient from a list of comparisons


def _comparisons(seed: int, items: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards (n,), and winners and losers (B,) with each item in several comparisons."""
    generator = torch.Generator().manual_seed(seed)
    winners = torch.randint(items, (count,), generator=generator)
    losers = (winners + torch.randint(1, items, (count,), generator=generator)) % items
    return *normal(seed, (items,)), winners, losers


def _far_comparisons() -> tuple[Tensor, Tensor, Tensor]:
    """Wins of the far worse, and of the far better item: one weighs 1, the other nothing."""
    rewards, winners, losers = _comparisons(18, 4, 9)
    return 25 * rewards, winners, losers


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


def _written_over(rewards: Tensor, winners: Tensor, losers: Tensor) -> Tensor:
    """What ``gradient[winners] = -weight; gradient[losers] = weight`` gives."""
    weight, gradient = _weight(rewards, winners, losers), torch.zeros_like(rewards)
    for index, sign in ((winners, -1), (losers, 1)):
        for item, w in zip(index, weight, strict=True):
            gradient[item] = sign * w
    return gradient


check_reward_gradient = Exercise(
    "reward_gradient",
    _gradient,
    [
        _comparisons(12, 5, 12),
        _comparisons(13, 2, 1),
        _comparisons(14, 3, 40),
        in_float32(_comparisons(15, 7, 20)),
        _comparisons(21, 9, 4),  # the last item is in none
    ],
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
        "it is averaged over comparisons: the loss here is a sum.": lambda r, w, lost: _gradient(r, w, lost) / len(w),
        "only the winners are pulled: the loser's reward stands in the loss too, with a minus.": (
            lambda r, w, lost: torch.zeros_like(r).index_add(0, w, -_weight(r, w, lost))
        ),
        "only the losers are pushed: the winner's reward stands in the loss too.": (
            lambda r, w, lost: torch.zeros_like(r).index_add(0, lost, _weight(r, w, lost))
        ),
        "winner and loser go the same way: their slopes are opposite, − the weight and + the weight.": (
            lambda r, w, lost: _gradient(r, w, lost) - 2 * torch.zeros_like(r).index_add(0, lost, _weight(r, w, lost))
        ),
        "these are slopes one value a comparison: add up what belongs to the same item, one value an item.": (
            lambda r, w, lost: -_weight(r, w, lost)
        ),
        "these are weights, one value a comparison: add them up, one value an item.": _weight,
        "this is the loss itself, one number: its slope along every item was asked for.": (
            lambda r, w, lost: -F.logsigmoid(r[w] - r[lost]).sum()
        ),
        "the loss stands where the weight belongs: the slope of −log p by the margin is −(1 − p).": (
            lambda r, w, lost: _spread(r, w, lost, -F.logsigmoid(r[w] - r[lost]))
        ),
        "the bare odds are the weight here: it is 1 − p = odds / (1 + odds).": (
            lambda r, w, lost: _spread(r, w, lost, (r[lost] - r[w]).exp())
        ),
        "the bare margin is the weight here: it is 1 − p.": lambda r, w, lost: _spread(r, w, lost, r[lost] - r[w]),
        "these are the rewards after a step: its direction alone was asked for.": (
            lambda r, w, lost: r - _gradient(r, w, lost)
        ),
        "the weight is all or nothing: it is 1 − p, between 0 and 1 for every comparison.": (
            lambda r, w, lost: _spread(r, w, lost, (r[lost] > r[w]).to(r.dtype))
        ),
        "item numbers stand where rewards belong: `rewards[winners]`, not `winners`.": (
            lambda r, w, lost: _spread(r, w, lost, torch.sigmoid((lost - w).to(r.dtype)))
        ),
        "only the first comparison counts: is the `return` inside of the loop?": (
            lambda r, w, lost: _gradient(r, w[:1], lost[:1])
        ),
        "this is 0 for every item: nothing is added up.": lambda r, w, lost: torch.zeros_like(r),
        "what an item got before is written over: add with x.index_add_, where x[index] = y keeps the last.": (
            _written_over
        ),
        "an item that occurs twice is counted once: x[index] += y keeps one of several; use x.index_add_.": (
            _overwritten
        ),
        "this is the derivative of σ, p (1 − p): the loss is −log σ, whose derivative is −(1 − p).": (
            lambda r, w, lost: _spread(r, w, lost, _weight(r, w, lost) * (1 - _weight(r, w, lost)))
        ),
    },
    "What is the sum of your gradient over all items, and which fact about equation 1 does that show?",
    far=[_far_comparisons()],
    by_hand=True,
)
