"""Exercise of chapter 03: the gradient of the RLHF objective (eq. 3) by the logits of a table, by hand."""

import math

import torch
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal, vector

__all__ = ["check_objective_gradient"]


def _pieces(logits: Tensor, ref: Tensor, reward: Tensor, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    """π, R and E_π[R]: R is the reward after its price."""
    logp = logits.log_softmax(-1)
    priced = reward - beta * (logp - ref)
    return logp.exp(), priced, (logp.exp() * priced).sum(-1, keepdim=True)


def _gradient(logits: Tensor, ref_logp: Tensor, reward: Tensor, beta: float) -> Tensor:
    p, priced, mean = _pieces(logits, ref_logp, reward, beta)
    return p * (priced - mean)


def _without_softmax(logits: Tensor, ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    priced = reward - beta * (logits - ref)
    return logits.exp() * (priced - (logits.exp() * priced).sum(-1, keepdim=True))


def _without_baseline(*case: object) -> Tensor:
    p, priced, _ = _pieces(*case)
    return p * priced


def _plain_mean(*case: object) -> Tensor:
    p, priced, _ = _pieces(*case)
    return p * (priced - priced.mean(-1, keepdim=True))


def _not_weighted(*case: object) -> Tensor:
    _, priced, mean = _pieces(*case)
    return priced - mean


def _centred(*case: object) -> Tensor:
    p, priced, mean = _pieces(*case)
    return p * priced - mean


def _own_share(*case: object) -> Tensor:
    p, priced, _ = _pieces(*case)
    return p * (1 - p) * priced


def _by_probability(logits: Tensor, ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    _, priced, _ = _pieces(logits, ref, reward, beta)
    return priced - beta


def _by_log_probability(logits: Tensor, ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    p, priced, _ = _pieces(logits, ref, reward, beta)
    return p * (priced - beta)


def _reference_mean(logits: Tensor, ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    p, priced, _ = _pieces(logits, ref, reward, beta)
    return p * (priced - (ref.exp() * priced).sum(-1, keepdim=True))


def _reward_mean(logits: Tensor, ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    p, priced, _ = _pieces(logits, ref, reward, beta)
    return p * (priced - (p * reward).sum(-1, keepdim=True))


def _reference_in_front(logits: Tensor, ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    _, priced, mean = _pieces(logits, ref, reward, beta)
    return ref.exp() * (priced - mean)


def _of_forward_kl(logits: Tensor, ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    """The gradient with KL[π_ref‖π] in the place of KL[π‖π_ref]."""
    return _gradient(logits, ref, reward, 0.0) - beta * (logits.softmax(-1) - ref.exp())


def _twice_averaged(*case: object) -> Tensor:
    p, priced, mean = _pieces(*case)
    return p * (priced - mean / p.shape[-1])


def _one_mean(*case: object) -> Tensor:
    p, priced, mean = _pieces(*case)
    return p * (priced - mean.sum())


def _best(*case: object) -> Tensor:
    p, priced, _ = _pieces(*case)
    return p * (priced - priced.amax(-1, keepdim=True))


def _plain_mean_of_all(*case: object) -> Tensor:
    p, priced, _ = _pieces(*case)
    return p * (priced - priced.mean())


def _spread(*case: object) -> Tensor:
    p, priced, mean = _pieces(*case)
    return p * (1 - p) * (priced - mean)


def _squared(*case: object) -> Tensor:
    p, priced, mean = _pieces(*case)
    return p**2 * (priced - mean)


def _whole_kl(logits: Tensor, ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    p, _, _ = _pieces(logits, ref, reward, beta)
    kl = (p * (p.log() - ref)).sum(-1, keepdim=True)
    return _gradient(logits, ref, reward, 0.0) - beta * kl


def _log_in_front(*case: object) -> Tensor:
    p, priced, mean = _pieces(*case)
    return p.log() * (priced - mean)


def _row_sums(*case: object) -> Tensor:
    return _gradient(*case).sum(-1)


def _over_prompts(logits: Tensor, ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    return _gradient(logits.T, ref.T, reward.T, beta).T


def _table(seed: int, prompts: int, responses: int, beta: float) -> tuple[Tensor, Tensor, Tensor, float]:
    """Logits that are not normalised, log π_ref and rewards of all responses to each prompt, and β."""
    shape = (prompts, responses)
    logits, ref_logits, reward = normal(seed, shape, shape, shape, offset=0.5)
    return logits, ref_logits.log_softmax(-1), reward, beta


def _far_table() -> tuple[Tensor, Tensor, Tensor, float]:
    logits, ref_logp, reward, beta = _table(26, 2, 5, 0.5)
    return 40 * logits, ref_logp, 100 * reward, beta


def _far_prices() -> tuple[Tensor, Tensor, Tensor, float]:
    """No response takes all probability here, so that every R counts."""
    logits, ref_logp, reward, beta = _table(28, 2, 5, 0.5)
    return logits, (60 * ref_logp).log_softmax(-1), 100 * reward, beta


def _dear() -> tuple[Tensor, Tensor, Tensor, float]:
    """β = 10,000, and a probability of 1e-7: a small number added inside the logarithm shows."""
    logits, ref_logp, reward, _ = _table(29, 2, 5, 1e4)
    return logits - vector(0.0, 0.0, 0.0, 0.0, 15.0), ref_logp, reward, 1e4


def _far_from_normalised() -> tuple[Tensor, Tensor, Tensor, float]:
    """Whole logits near 2^24: each type of number holds them and their differences exactly, but not a small step
    between them, so that a formula is right here and finite differences, which are no exact gradient, are not."""
    logits, ref_logp, reward, beta = _table(27, 2, 4, 0.5)
    return 2.0**24 + 2 * logits.round(), ref_logp, reward, beta


check_objective_gradient = Exercise(
    "objective_gradient",
    _gradient,
    [
        _table(20, 3, 7, 0.1),
        _table(21, 1, 5, 0.7),
        _table(22, 4, 2, 2.0),
        in_float32(_table(23, 2, 6, 0.3)),
        _table(24, 3, 3, 1.0),
        _table(25, 2, 1, 0.5),
    ],
    {
        "E[R] is not subtracted: a softmax can raise one response only at the cost of the others.": _without_baseline,
        "R is centred by its plain mean over the responses: E[R] is weighted by π(y|x).": _plain_mean,
        "the factor π(y|x) in front is missing.": _not_weighted,
        "E[R] counts once for every response: π(y|x) multiplies it, too.": _centred,
        "the other responses are left out: π(1 − π) R is a logit's effect on its own response alone.": _own_share,
        "this is the derivative by π, of which a logit moves all entries: step 5 of the page has a softmax.": (
            _by_probability
        ),
        "this is the derivative by log π, as if each could move alone: a softmax lowers all the others.": (
            _by_log_probability
        ),
        "R is centred by its average over the reference: E[R] is over the policy.": _reference_mean,
        "R is centred by the mean reward: E[R] has the KL's price in it.": _reward_mean,
        "π_ref stands in front: the factor is the policy's π(y|x).": _reference_in_front,
        "the KL is turned around: this is the gradient with KL[π_ref‖π].": _of_forward_kl,
        "R is centred by its largest value: subtract its mean under π.": _best,
        "E[R] is divided by N: π(y|x) is the weight already, so sum.": _twice_averaged,
        "E[R] is summed over the prompts, too: every prompt has its own.": _one_mean,
        "R is centred by one mean over all prompts and responses: E[R] is each prompt's own, weighted by π(y|x).": (
            _plain_mean_of_all
        ),
        "the factor 1 − π(y|x) is too many: E[R] has the other responses in it already.": _spread,
        "π(y|x) in front is squared: it counts once.": _squared,
        "the KL itself is taken away: its derivative by each logit is asked for.": _whole_kl,
        "log π stands in front: the factor is π(y|x) itself.": _log_in_front,
        "summed over the responses: the gradient has a value for each logit, and their sum is 0.": _row_sums,
        "the logarithm in R is to base 2; nats are natural logarithms.": (
            lambda logits, ref, r, beta: _gradient(logits, ref, r, beta / math.log(2))
        ),
        "softmax and mean run over the prompts: the responses are the last dimension.": _over_prompts,
        "the sign is wrong: this is the gradient of a loss, and eq. 3 is maximised.": lambda *a: -_gradient(*a),
        "beta is missing in R.": lambda logits, ref, r, beta: _gradient(logits, ref, r, 1.0),
        "the KL is missing: R is the reward minus β log(π/π_ref).": (
            lambda logits, ref, r, beta: _gradient(logits, ref, r, 0.0)
        ),
        "the KL is added: in R it is taken away.": lambda logits, ref, r, beta: _gradient(logits, ref, r, -beta),
        "the reference is forgotten: R has log(π/π_ref), not log π.": (
            lambda logits, ref, r, beta: _gradient(logits, torch.zeros_like(ref), r, beta)
        ),
        "the logits are used as if they were log-probabilities: take log_softmax first.": _without_softmax,
    },
    "Take the KL's own derivative, −β, into R as well: R − β. The gradient is the same. Why?",
    far=[_far_table(), _far_prices(), _dear(), _far_from_normalised()],
    on_the_page=["exact_gradient"],
    by_hand=True,
)
