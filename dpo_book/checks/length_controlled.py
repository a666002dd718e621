"""Exercise of chapter 10: the loss of a win rate at equal length, a logistic regression with one feature."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dpo_book.checks.judge import Exercise, in_float32, normal, vector

__all__ = ["check_length_controlled_loss"]

Case = tuple[Tensor, Tensor, Tensor, Tensor]


def _verdicts(seed: int, n: int) -> Case:
    """theta and lam, (), and of n comparisons the outcomes, ties among them, and by how many words a is longer."""
    theta, lam, words = normal(seed, (), (), (n,))
    generator = torch.Generator().manual_seed(seed)
    chances = torch.tensor([0.35, 0.25, 0.4], dtype=torch.float64)  # of a loss, a tie and a win
    drawn = torch.multinomial(chances, n, replacement=True, generator=generator)
    return theta, 0.03 * lam, drawn.double() / 2, (25 * words + 5).round()


def _far(lam: float) -> Case:
    """Margins of up to ±1000."""
    outcome = vector(1.0, 0.0, 0.5, 0.0, 1.0, 0.5, 1.0)
    extra_words = vector(1000.0, 1000.0, 1000.0, -1000.0, -1000.0, -1000.0, 0.0)
    theta = torch.zeros((), dtype=torch.float64)
    return theta, torch.full_like(theta, lam), outcome, extra_words


def _margin(theta: Tensor, lam: Tensor, extra_words: Tensor) -> Tensor:
    return theta + lam * extra_words


def _cross_entropy(margin: Tensor, outcome: Tensor) -> Tensor:
    """−o log σ(m) − (1 − o) log σ(−m)."""
    return -outcome * F.logsigmoid(margin) - (1 - outcome) * F.logsigmoid(-margin)


def _loss(theta: Tensor, lam: Tensor, outcome: Tensor, extra_words: Tensor) -> Tensor:
    return _cross_entropy(_margin(theta, lam, extra_words), outcome)


Mistake = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def _of_margin(loss: Callable[[Tensor, Tensor], Tensor]) -> Mistake:
    """The mistake of another loss of the right margin and the outcome."""

    def mistaken(theta: Tensor, lam: Tensor, outcome: Tensor, extra_words: Tensor) -> Tensor:
        return loss(_margin(theta, lam, extra_words), outcome)

    return mistaken


def _of_words(words: Callable[[Tensor], Tensor]) -> Mistake:
    """The mistake of another feature than the words themselves."""

    def mistaken(theta: Tensor, lam: Tensor, outcome: Tensor, extra_words: Tensor) -> Tensor:
        return _loss(theta, lam, outcome, words(extra_words))

    return mistaken


def _of_outcomes(change: Callable[[Tensor], Tensor]) -> Mistake:
    """The mistake of other outcomes."""

    def mistaken(theta: Tensor, lam: Tensor, outcome: Tensor, extra_words: Tensor) -> Tensor:
        return _loss(theta, lam, change(outcome), extra_words)

    return mistaken


def _deviation(words: Tensor) -> Tensor:
    """As ``std`` has it, but nan without a warning for one value."""
    return ((words - words.mean()).square().sum() / (len(words) - 1)).sqrt()


check_length_controlled_loss = Exercise(
    "length_controlled_loss",
    _loss,
    [
        _verdicts(150, 6),
        _verdicts(151, 1),
        _verdicts(152, 11),
        in_float32(_verdicts(153, 4)),
        _verdicts(154, 3),
        _verdicts(155, 20),
    ],
    {
        "the length is left out: this is the loss of a plain win rate, σ(theta).": _of_words(torch.zeros_like),
        "theta is left out: it is what the win rate at equal length comes of.": (
            lambda theta, lam, o, words: _cross_entropy(lam * words, o)
        ),
        "the length is subtracted: in σ(theta + lam · extra_words) a taste for long answers has lam above zero.": (
            _of_words(torch.neg)
        ),
        "theta has the wrong sign.": lambda theta, lam, o, words: _loss(-theta, lam, o, words),
        "the margin has the wrong sign, or the outcome is b's: a win has the loss −log σ(margin).": (
            _of_margin(lambda m, o: _cross_entropy(-m, o))
        ),
        "the sign is wrong: this is the log-likelihood, and a loss is minus that.": lambda *a: -_loss(*a),
        "only wins have a loss here: a comparison that is lost has −log σ(−margin).": (
            _of_margin(lambda m, o: -o * F.logsigmoid(m))
        ),
        "only losses have a loss here: a comparison that is won has −log σ(margin).": (
            _of_margin(lambda m, o: -(1 - o) * F.logsigmoid(-m))
        ),
        "every comparison counts as won: the outcome is not used.": _of_outcomes(torch.ones_like),
        "every comparison counts as lost: the outcome is not used.": _of_outcomes(torch.zeros_like),
        "a tie counts as a win: it is half a win and half a loss.": _of_outcomes(torch.ceil),
        "a tie counts as a loss: it is half a win and half a loss.": _of_outcomes(torch.floor),
        "a tie has no loss here: it has half of a win's and half of a defeat's.": (
            _of_margin(lambda m, o: torch.where(o == 0.5, 0.0, _cross_entropy(m, o)))
        ),
        "a tie has the loss log 2, whatever the margin: it is half of −log σ(m) and half of −log σ(−m).": (
            _of_margin(lambda m, o: -F.logsigmoid((2 * o - 1) * m))
        ),
        "a tie's least loss is subtracted: log 2 is no part of the likelihood.": (
            _of_margin(lambda m, o: _cross_entropy(m, o) + torch.xlogy(o, o) + torch.xlogy(1 - o, 1 - o))
        ),
        "a tie has the loss of a win and that of a defeat, both whole: it has half of each.": (
            _of_margin(lambda m, o: _cross_entropy(m, o) * torch.where(o == 0.5, 2.0, 1.0))
        ),
        "logarithms are missing: this is minus the probability of the verdict.": (
            _of_margin(lambda m, o: -o * m.sigmoid() - (1 - o) * (-m).sigmoid())
        ),
        "this is the probability of the verdict: minus its logarithm is the loss.": (
            _of_margin(lambda m, o: o * m.sigmoid() + (1 - o) * (-m).sigmoid())
        ),
        "this is the squared error of the probability: minus the logarithm of the verdict's is asked for.": (
            _of_margin(lambda m, o: (m.sigmoid() - o) ** 2)
        ),
        "this is half of the squared error: minus the logarithm of the verdict's probability is asked for.": (
            _of_margin(lambda m, o: (m.sigmoid() - o) ** 2 / 2)
        ),
        "this is the absolute error of the probability: minus the logarithm of the verdict's is asked for.": (
            _of_margin(lambda m, o: (m.sigmoid() - o).abs())
        ),
        "this is p − outcome, the loss's slope by the margin: the loss itself is asked for.": (
            _of_margin(lambda m, o: m.sigmoid() - o)
        ),
        "log(1 − p) is no 1 − log p.": (
            _of_margin(lambda m, o: -o * F.logsigmoid(m) - (1 - o) * (1 - F.logsigmoid(m)))
        ),
        "log(1 − p) is no −log p: both verdicts have a logarithm of their own.": (
            _of_margin(lambda m, o: (1 - 2 * o) * F.logsigmoid(m))
        ),
        "the second half has the wrong sign: both logarithms are below zero, and both are turned.": (
            _of_margin(lambda m, o: -o * F.logsigmoid(m) + (1 - o) * F.logsigmoid(-m))
        ),
        "outcome · margin is added: the loss is log(1 + exp m) − outcome · m.": (
            _of_margin(lambda m, o: F.softplus(m) + o * m)
        ),
        "σ is taken twice: a loss of logits takes the margin, not the probability.": (
            _of_margin(lambda m, o: _cross_entropy(m.sigmoid(), o))
        ),
        "this is the margin: the loss of the verdict is asked for.": _of_margin(lambda m, o: m),
        "this is the probability that a wins: the loss of the verdict is asked for.": (
            _of_margin(lambda m, o: m.sigmoid())
        ),
        "this is a hinge, max(0, 1 − margin) of a win: minus the logarithm of a probability is asked for.": (
            _of_margin(lambda m, o: o * torch.relu(1 - m) + (1 - o) * torch.relu(1 + m))
        ),
        "it is averaged already: return one value a verdict.": lambda *a: _loss(*a).mean(),
        "it is summed already: return one value a verdict.": lambda *a: _loss(*a).sum(),
        "brackets too many: extra_words multiplies lam alone, not theta.": (
            lambda theta, lam, o, words: _cross_entropy((theta + lam) * words, o)
        ),
        "lam is added to the words: it is nats *per* word, so it multiplies them.": (
            lambda theta, lam, o, words: _cross_entropy(theta + lam + words, o)
        ),
        "lam is left out, as if it were 1: a word weighs lam.": (
            lambda theta, lam, o, words: _cross_entropy(theta + words, o)
        ),
        "lam has no words: the margin is theta + lam · extra_words.": (
            lambda theta, lam, o, words: _cross_entropy((theta + lam).expand(o.shape), o)
        ),
        "theta multiplies the words' share: it is added.": (
            lambda theta, lam, o, words: _cross_entropy(theta * lam * words, o)
        ),
        "theta and lam are swapped: lam weighs a word, theta stands alone.": (
            lambda theta, lam, o, words: _loss(lam, theta, o, words)
        ),
        "the words are divided by lam: it is nats per word, so it multiplies.": (
            lambda theta, lam, o, words: _cross_entropy(theta + words / lam, o)
        ),
        "the words lose their sign: a shorter answer has a negative number.": _of_words(torch.abs),
        "only the sign of the words counts: lam is nats per word.": _of_words(torch.sign),
        "shorter answers count as equally long: a shorter one has a negative number.": _of_words(torch.relu),
        "the words' mean is subtracted: σ(theta) is the win rate at equal length only if equal length is 0.": (
            _of_words(lambda words: words - words.mean())
        ),
        "the words are divided by their deviation: lam is nats per word here.": (
            _of_words(lambda words: words / _deviation(words))
        ),
        "the words are standardised: σ(theta) is then the win rate at the mean difference of lengths.": (
            _of_words(lambda words: (words - words.mean()) / _deviation(words))
        ),
        "the words are divided by their deviation and go through tanh: lam is nats per word here, without a bound.": (
            _of_words(lambda words: torch.tanh(words / _deviation(words)))
        ),
        "the words go through tanh: lam is nats per word here, without a bound.": _of_words(torch.tanh),
    },
    "If longer answers are better answers, what does σ(theta) take away that it should not?",
    # margins of ±1000, ±900 and ±60, where 1 − σ is 0 to float64
    extreme=[_far(1.0), _far(-0.9), _far(0.06)],
    trains=["theta", "lam"],
)
