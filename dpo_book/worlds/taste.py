"""A reader's taste in film verdicts: from some sixty comparisons to a reward of every response.

Eq. 1 and 2 with a reward that is linear in what a verdict says: K = 28 weights for 14,641 responses to each prompt.
So an answer about two sentences says something about all.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dpo_book.data.preferences import Preference
from dpo_book.data.rows import PreferenceError, show
from dpo_book.maths.estimates import Estimate, Interval, share_interval
from dpo_book.maths.logistic import LogisticFit, logistic_regression
from dpo_book.worlds.verdicts import PROMPTS, Verdicts

ADJECTIVES = ("good", "great", "bad", "dull")
NOUNS = ("acting", "ending", "plot")
COUNTED = ("not", "very", "but")
AFTER_VERY = tuple(f"very {adjective}" for adjective in ADJECTIVES)
AFTER_BUT = tuple(f"but {adjective}" for adjective in ADJECTIVES)
SAID = (*ADJECTIVES, *AFTER_VERY, *AFTER_BUT, *COUNTED, "a noun")
FEATURES = (*SAID, *(f"{adjective}, of {prompt}" for prompt in PROMPTS for adjective in ADJECTIVES))

# Nats. Sentences that differ in four weights are then about 1 nat apart before anything is asked: a clear taste, no
# certain one. For simulated readers, 0.35 does as well on fresh pairs and 0.75 worse (tests/worlds/test_taste.py).
PRIOR_DEVIATION = 0.5
FEWEST = 10  # comparisons: from fewer the 28 weights are little more than the prior


class Taste(NamedTuple):
    """What comparisons say of a taste: rewards (P, N) in nats, float64, and the fit of the K weights behind them."""

    rewards: Tensor
    fit: LogisticFit

    def weights(self) -> dict[str, Estimate]:
        """Each feature's weight in nats and its standard error, which is 0.5 where no comparison told anything."""
        return {name: self.fit.estimate(k) for k, name in enumerate(FEATURES)}

    def margin(self, prompt: str, a: str, b: str) -> Estimate:
        """r(x, a) − r(x, b) and its standard error, nats: √(dᵀ C d), d the difference of features, C the covariance.

        It may be well known where single weights are not, for features come together. Before any answer its error
        was 0.5 |d|.
        """
        difference = feature_difference(prompt, a, b)
        variance = difference @ self.fit.covariance @ difference
        return Estimate((difference @ self.fit.coefficients).item(), variance.sqrt().item())


# ------------------------------------------------------------------ what a verdict says


def verdict_features(prompt: str, responses: Sequence[str]) -> Tensor:
    """The K features of n responses to a prompt, in the order of ``FEATURES``: (n, K) float64.

    An adjective counts 1 where it is said and −1 where it is denied ("not good", "not very good"): once for itself,
    once for every "very" before it, once if it follows a "but", and once with its prompt. Besides, "not", "very",
    "but" and nouns are counted, so that one may like a word for itself. "the" says nothing.
    """
    said = torch.tensor([_said(response) for response in responses], dtype=torch.float64)
    of_prompts = torch.zeros(len(said), len(PROMPTS), len(ADJECTIVES), dtype=torch.float64)
    of_prompts[:, PROMPTS.index(prompt)] = said[:, : len(ADJECTIVES)]
    return torch.cat([said, of_prompts.flatten(1)], dim=1)


def _said(response: str) -> list[float]:
    """The features that are the same whatever the prompt, in the order of ``SAID``."""
    counts = dict.fromkeys(SAID, 0.0)
    sign, strength, after_but = 1, 0, 0
    for word in response.split():
        if word in COUNTED:
            counts[word] += 1
        if word in NOUNS:
            counts["a noun"] += 1
        if word == "very":
            strength += 1  # and "not very good" denies
            continue
        if word in ADJECTIVES:
            counts[word] += sign
            counts[f"very {word}"] += sign * strength
            counts[f"but {word}"] += sign * after_but
        sign, strength = (-1 if word == "not" else 1), 0
        if word == "but":
            after_but = 1
    return list(counts.values())


def feature_difference(prompt: str, a: str, b: str) -> Tensor:
    """The features of a, less those of b: (K,) float64."""
    of_a, of_b = verdict_features(prompt, [a, b])
    return of_a - of_b


# ------------------------------------------------------------------ what the answers say


def fit_taste(world: Verdicts, preferences: Sequence[Preference]) -> Taste:
    """The reward of a reader who answered so: r(x, y) = features · w, with w by logistic regression with a prior.

    By eq. 1 the chosen wins with probability σ((features of chosen − features of rejected) · w). A tie is a
    ``chosen_probability`` of 1/2. Each weight is N(0, 0.5²) before: whatever no comparison tells stays at 0 ± 0.5.

    PreferenceError for fewer than ten preferences, for ties alone, and for a prompt or words that the world has not.
    """
    differences, labels = _told(world, preferences)
    fit = logistic_regression(differences, labels, PRIOR_DEVIATION)
    rewards = [verdict_features(prompt, world.responses) @ fit.coefficients for prompt in world.prompts]
    return Taste(torch.stack(rewards), fit)


def foreseen(world: Verdicts, preferences: Sequence[Preference]) -> Interval:
    """How well sixty answers foresee a sixty-first: each in turn is left out, and foretold by the fit of the others.

    The share in which the fit ranks chosen above rejected, with its 95 % interval; ties are not asked for. It takes
    no truth, so a reader's own answers can be judged by it. Raises as ``fit_taste``.
    """
    differences, labels = _told(world, preferences)
    right = []
    for i in (labels != 0.5).nonzero().flatten().tolist():
        others = torch.arange(len(labels)) != i
        fit = logistic_regression(differences[others], labels[others], PRIOR_DEVIATION)
        margin = differences[i] @ fit.coefficients * (labels[i] - 0.5)
        right.append(0.5 + 0.5 * margin.sign().item())
    return share_interval(sum(right) / len(right), len(right))


def _told(world: Verdicts, preferences: Sequence[Preference]) -> tuple[Tensor, Tensor]:
    """Differences of features (n, K) and labels (n,) of preferences, checked."""
    if len(preferences) < FEWEST:
        raise PreferenceError(f"a taste takes at least {FEWEST} preferences, and there are {len(preferences)}")
    differences, labels = [], []
    for row, preference in enumerate(preferences, start=1):
        texts = preference.prompt, preference.chosen, preference.rejected
        _require_verdicts(world, preference.where or f"preference {row}", *texts)
        differences.append(feature_difference(*texts))
        labels.append(preference.chosen_probability)
    labels = torch.tensor(labels, dtype=torch.float64)
    if (labels == 0.5).all():
        raise PreferenceError(f"all {len(labels)} preferences are ties: nothing was preferred to anything")
    return torch.stack(differences), labels


def _require_verdicts(world: Verdicts, where: str, prompt: str, *responses: str) -> None:
    if prompt not in world.prompts:
        raise PreferenceError(f"{where}: the prompt must be one of {', '.join(world.prompts)}, not {show(prompt)}")
    for response in responses:
        if not isinstance(response, str):
            raise PreferenceError(f"{where}: a verdict must be text, not {show(response)}")
        try:
            ((_, ids),) = world.tokenize([(prompt, response)])
        except ValueError as error:
            raise PreferenceError(f"{where}: {error}") from None
        if len(ids) != world.length:
            raise PreferenceError(f"{where}: a verdict has {world.length} words, and {show(response)} has {len(ids)}")
