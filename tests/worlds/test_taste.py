"""A reader's taste: what a verdict says, which pairs are asked about, the fit of the answers, and how good it is."""

import math
import statistics

import pytest
import torch

from dpo_book import Preference, PreferenceError, tokenize_pairs
from dpo_book.maths.estimates import Z95
from dpo_book.maths.logistic import logistic_regression
from dpo_book.worlds.questions import LIKELY, pairs_to_ask, proposed_pairs
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.taste import (
    FEATURES,
    PRIOR_DEVIATION,
    feature_difference,
    fit_taste,
    foreseen,
    verdict_features,
)
from dpo_book.worlds.verdicts import JudgedVerdicts, draw_comparisons, verdicts


@pytest.fixture(scope="module")
def world():
    return verdicts()


@pytest.fixture(scope="module")
def ref_logp(world):
    with torch.no_grad():
        return world.logp(verdicts_reference()).double()


@pytest.fixture(scope="module")
def asked(world, ref_logp):
    """Sets of sixty questions, of three seeds."""
    return [pairs_to_ask(world, ref_logp, seed=seed) for seed in range(3)]


# ------------------------------------------------------------------ what a verdict says


@pytest.mark.parametrize(
    ("response", "says"),
    [
        ("very very dull plot", {"dull": 1, "very dull": 2, "very": 2, "a noun": 1, "dull, of the plot": 1}),
        (
            "not very good plot",
            {"good": -1, "very good": -1, "not": 1, "very": 1, "a noun": 1, "good, of the plot": -1},
        ),
        (
            "not bad but bad",  # "not" ends with its adjective
            {"bad": 0, "but bad": 1, "not": 1, "but": 1},
        ),
        (
            "good but not great",
            {
                "good": 1,
                "great": -1,
                "but great": -1,
                "but": 1,
                "not": 1,
                "good, of the plot": 1,
                "great, of the plot": -1,
            },
        ),
        ("the not acting good", {"a noun": 1, "not": 1, "good": 1, "good, of the plot": 1}),
    ],
)
def test_features_of_a_verdict(response, says):
    (found,) = verdict_features("the plot", [response])
    assert dict(zip(FEATURES, found.tolist(), strict=True)) == dict.fromkeys(FEATURES, 0) | says


def test_a_judged_world_has_its_own_rewards_and_the_rest_of_the_first(world, ref_logp):
    rewards = torch.arange(3 * 14_641, dtype=torch.float64).reshape(3, -1) / 1e4
    other = JudgedVerdicts(rewards)
    assert other.reward("the ending", world.responses[77]) == rewards[1, 77]
    pairs, _ = draw_comparisons(other, ref_logp, 50, "soft")
    for pair in pairs:
        x = world.prompt_ids.index(pair.prompt)
        margin = rewards[x, world.index(pair.chosen)] - rewards[x, world.index(pair.rejected)]
        assert pair.chosen_probability == pytest.approx(margin.sigmoid().item(), abs=1e-12)
    with pytest.raises(ValueError, match=r"of shape \(3, 14641\), got \(3, 5\)"):
        JudgedVerdicts(torch.zeros(3, 5))


# ------------------------------------------------------------------ which pairs are asked about


def test_questions_are_distinct_likely_and_the_same_again(world, ref_logp, asked):
    assert asked[0] == pairs_to_ask(world, ref_logp) != asked[1]
    assert len({(x, frozenset((a, b))) for x, a, b in asked[0]}) == 60
    for x, a, b in asked[0]:
        for y in (a, b):
            place = world.responses.index(y.strip())
            assert y.startswith(" ") and ref_logp[world.prompts.index(x), place].exp() >= LIKELY
    assert len(tokenize_pairs([Preference(*pair) for pair in asked[0]], world.tokenizer)) == 60


def test_a_reference_that_always_says_the_same_is_refused(world, ref_logp):
    certain = torch.full_like(ref_logp, -50.0)
    certain[:, 3:6] = math.log(1 / 3)
    with pytest.raises(ValueError, match=r"\[3, 3, 3\] likely responses"):
        pairs_to_ask(world, certain)


# ------------------------------------------------------------------ the fit


def told(pairs, probability):
    """Answers with these probabilities that a is better, as soft labels: no noise at all."""
    return [
        Preference(x, a, b, probability_of_a) for (x, a, b), probability_of_a in zip(pairs, probability, strict=True)
    ]


def differences_of(pairs):
    return torch.stack([feature_difference(*pair) for pair in pairs])


@pytest.fixture(scope="module")
def weights():
    generator = torch.Generator().manual_seed(0)
    return PRIOR_DEVIATION * torch.randn(len(FEATURES), generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def answered(asked, weights):
    """Sixty answers by coins, three of them ties, and the fit."""
    probability = (differences_of(asked[0]) @ weights).sigmoid()
    coins = torch.rand(60, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = (coins < probability).double()
    labels[:3] = 0.5
    answers = told(asked[0], labels.tolist())
    return answers, labels, fit_taste(verdicts(), answers)


def loss(w, differences, labels):
    """Minus the logarithm of eq. 1's probability of the answers and of the weights before them."""
    margins = differences @ w
    of_answers = labels * torch.log1p((-margins).exp()) + (1 - labels) * torch.log1p(margins.exp())
    return of_answers.sum() + (w / PRIOR_DEVIATION).square().sum() / 2


def test_the_fit_is_where_the_gradient_vanishes(asked, answered):
    _, labels, taste = answered
    w, differences = taste.fit.coefficients, differences_of(asked[0])
    for k in range(len(FEATURES)):
        nudge = torch.zeros_like(w)
        nudge[k] = 1e-5
        slope = (loss(w + nudge, differences, labels) - loss(w - nudge, differences, labels)) / 2e-5
        assert abs(slope) < 1e-7  # rounding of a loss of 50 nats, 7e-15, over 2e-5, and the step's square


def test_standard_errors_are_those_of_the_hessian(asked, answered):
    _, labels, taste = answered
    differences = differences_of(asked[0])
    hessian = torch.autograd.functional.hessian(lambda w: loss(w, differences, labels), taste.fit.coefficients)
    covariance = torch.linalg.inv(hessian)
    errors = torch.tensor([weight.standard_error for weight in taste.weights().values()], dtype=torch.float64)
    torch.testing.assert_close(errors, covariance.diagonal().sqrt(), rtol=0, atol=1e-9)
    assert (errors < PRIOR_DEVIATION).all()
    d = feature_difference("the plot", "very very dull plot", "good but not great")
    margin = taste.margin("the plot", "very very dull plot", "good but not great")
    assert margin.standard_error == pytest.approx((d @ covariance @ d).sqrt().item(), abs=1e-9)
    here = [taste.rewards[2, verdicts().responses.index(y)] for y in ("very very dull plot", "good but not great")]
    assert margin.mean == pytest.approx((here[0] - here[1]).item(), abs=1e-9)


def test_errors_hold_the_truth(world, asked):
    """Tastes drawn from the prior, answers by eq. 1: the 95 % intervals of a margin hold it 19 times in 20."""
    generator = torch.Generator().manual_seed(2)
    differences = differences_of(asked[0])
    d = differences_of(asked[1])
    held = []
    for _ in range(40):
        w = PRIOR_DEVIATION * torch.randn(len(FEATURES), generator=generator, dtype=torch.float64)
        coins = torch.rand(60, generator=generator, dtype=torch.float64)
        labels = (coins < (differences @ w).sigmoid()).double()
        fit = logistic_regression(differences, labels, PRIOR_DEVIATION)
        errors = ((d @ fit.covariance) * d).sum(dim=1).sqrt()
        held.append(((d @ (fit.coefficients - w)).abs() < Z95 * errors).double().mean().item())
    # Margins of one taste hang together, so its share scatters: by 0.06, and the mean of 40 by 0.01.
    assert abs(statistics.mean(held) - 0.95) < 0.03


def test_without_noise_the_taste_is_found(world, asked, weights):
    """Answers y without coins, made for weights w: so that Xᵀ (y − σ(X w)) = w / s², the likelihood as the prior."""
    pairs = [*asked[0], *asked[1], *asked[2]]
    x = differences_of(pairs)
    to_the_rows = torch.linalg.pinv(x) @ x  # what comparisons cannot see, they cannot tell
    w = 0.3 * to_the_rows @ weights
    labels = (x @ w).sigmoid() + torch.linalg.pinv(x.T) @ w / PRIOR_DEVIATION**2
    assert labels.min() > 0 and labels.max() < 1 and (x @ w).abs().max() > 1
    taste = fit_taste(world, told(pairs, labels.tolist()))
    torch.testing.assert_close(taste.fit.coefficients, w, rtol=0, atol=1e-8)  # steps end at 1e-9 nats


def correlation(ref_logp, found, truth):
    """Of two rewards (3, N), each less its mean under the reference for the prompt, with responses drawn from it."""
    p = ref_logp.exp()
    found = found - (p * found).sum(dim=1, keepdim=True)
    truth = truth - (p * truth).sum(dim=1, keepdim=True)
    covariance = (p * found * truth).sum()
    return (covariance / ((p * found**2).sum() * (p * truth**2).sum()).sqrt()).item()


# ------------------------------------------------------------------ what cannot be fitted


def test_refusals(world, asked):
    good = [Preference(*pair) for pair in asked[0][:20]]
    with pytest.raises(PreferenceError, match="at least 10 preferences, and there are 9"):
        fit_taste(world, good[:9])
    with pytest.raises(PreferenceError, match="all 20 preferences are ties"):
        fit_taste(world, [Preference(*pair, 0.5) for pair in asked[0][:20]])
    for wrong, says in (
        (Preference("the plot", " superb but dull plot", " good but good"), "preference 21: 'superb' is not a word"),
        (Preference("the film", " good but bad plot", " good but good"), "must be one of the acting, the ending"),
        (Preference("the plot", " good but", " good but very bad"), 'has 4 words, and " good but" has 2'),
        (Preference("the plot", "good", "bad", where="mine.jsonl, line 3"), "mine.jsonl, line 3: a verdict has 4"),
    ):
        for function in (fit_taste, foreseen):
            with pytest.raises(PreferenceError, match=says):
                function(world, [*good, wrong])


# ------------------------------------------------------------------ how good it is

# Measured with 24 simulated readers of each taste, who answer by eq. 1 questions of eight seeds: correlation with the
# true reward under π_ref, and the share of 2,000 fresh pairs of its responses that are ranked as the truth does. Both
# vary by ±0.01 or ±0.02 (95 %, of the means); "most" is what the best 28 weights of all reach, fitted to the truth.
#
#                                   correlation                       accuracy
#                           30     60    120   60 by lot  most   30     60    120   60 by lot  most
#   r* of VADER            0.66   0.66   0.69    0.61    0.78   0.76   0.76   0.77    0.73    0.83
#   twice r*: surer        0.71   0.71   0.72    0.67    0.78   0.78   0.79   0.79    0.76    0.83
#   plain_reader           0.89   0.90   0.92    0.88    0.98   0.86   0.87   0.89    0.86    0.94
#   who likes dull         0.89   0.91   0.93    0.89    0.98   0.86   0.87   0.89    0.86    0.94
#   who loves "not"        0.88   0.90   0.92    0.88    0.98   0.86   0.87   0.88    0.85    0.94
#   another for each x     0.76   0.81   0.84    0.66    0.92   0.78   0.81   0.83    0.75    0.88
#   plain, 0.4 of it       0.72   0.76   0.81    0.71    0.98   0.76   0.79   0.82    0.77    0.94
#
# VADER's "not" reaches three words far, over a "but": it finds "not dull but great" bad. No feature says so.
# Loss on the fresh pairs above the truth's own, mean of these readers and one more: 0.118 nats with the prior's 0.5,
# 0.119 with 0.35, 0.136 with 0.75.

VALUES = {"good": 1.0, "great": 1.6, "bad": -1.2, "dull": -0.8}


def plain_reader(values=VALUES, for_a_not=0.0):
    """Rewards (3, N), nats: "very" adds 30 %, a denial is worth −0.7, what follows "but" 1.5, what precedes it 0.5.

    Products of the three, so that no weights of single features have them.
    """
    rewards = []
    for response in verdicts().responses:
        said, turned, stress = 0.0, 1.0, 1.0
        for word in response.split():
            if word in values:
                said, turned, stress = said + values[word] * turned * stress, 1.0, 1.0
            elif word == "very":
                stress += 0.3
            else:
                said *= 0.5 / 1.5 if word == "but" else 1
                turned, stress = (-0.7 if word == "not" else 1.0), 1.0
        weight = 1.5 if "but" in response.split() else 1
        rewards.append(weight * said + for_a_not * ("not" in response.split()))
    return torch.tensor(rewards, dtype=torch.float64).expand(3, -1)


@pytest.fixture(scope="module")
def features(world):
    return torch.stack([verdict_features(x, world.responses) for x in world.prompts])


def mean_correlation(ref_logp, features, rewards, asked, size, times=4):
    """Over so many readers of this taste, who answer by eq. 1."""
    found = []
    for seed in range(times):
        pairs = asked[seed % len(asked)][:size]
        d = differences_of(pairs)
        margins = [rewards_of(rewards, x, a) - rewards_of(rewards, x, b) for x, a, b in pairs]
        coins = torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        labels = (coins < torch.stack(margins).sigmoid()).double()
        w = logistic_regression(d, labels, PRIOR_DEVIATION).coefficients
        found.append(correlation(ref_logp, features @ w, rewards))
    return statistics.mean(found)


def rewards_of(rewards, prompt, response):
    ids = verdicts().tokenizer(response).input_ids
    return rewards[verdicts().prompts.index(prompt), verdicts().index(ids)]


@pytest.mark.parametrize(
    ("reader", "least", "most"),
    [
        ("VADER", 0.55, 0.78),
        ("plain", 0.83, 0.98),
        ("who likes dull", 0.83, 0.98),
        ("who loves not", 0.83, 0.98),
        ("noisy", 0.6, 0.9),
    ],
)
def test_sixty_answers_tell_a_taste(world, ref_logp, features, asked, reader, least, most):
    """Means of four readers, which vary by about 0.03 around the table's, 0.06 for the noisy one."""
    rewards = {
        "VADER": world.rewards,
        "plain": plain_reader(),
        "who likes dull": plain_reader(VALUES | {"dull": 1.6, "great": -0.8}),
        "who loves not": plain_reader(for_a_not=1.0),
        "noisy": 0.4 * plain_reader(),
    }[reader]
    assert least < mean_correlation(ref_logp, features, rewards, asked, 60) < most


def test_pairs_that_tell_more_do_better_than_pairs_by_lot(world, ref_logp, features, asked):
    """For a taste that differs by prompt: 0.81 against 0.66 in the table."""
    plain = plain_reader()
    rewards = torch.stack([plain[0], -plain[1], 0 * plain[2]])
    by_lot = [proposed_pairs(world, ref_logp.exp(), seed)[:60] for seed in range(3)]
    better = mean_correlation(ref_logp, features, rewards, asked, 60)
    assert better > mean_correlation(ref_logp, features, rewards, by_lot, 60) + 0.03


def test_left_out_answers_are_foreseen_as_fresh_ones_are(world, asked):
    """A sure reader's answers by a taste without noise; ties are not counted."""
    rewards = 2 * plain_reader()
    answers = []
    for x, a, b in asked[0]:
        first = rewards_of(rewards, x, a) > rewards_of(rewards, x, b)
        answers.append(Preference(x, *((a, b) if first else (b, a))))
    answers += [Preference(x, a, b, 0.5) for x, a, b in asked[1][:6]]
    found = foreseen(world, answers)
    assert found.value == pytest.approx(round(found.value * 60) / 60)
    assert 0.75 < found.value <= 1 and 0.1 < found.high - found.low < 0.3


def test_each_answer_is_foretold_by_the_others(world, asked):
    answers = [Preference(*pair) for pair in asked[0][:10]]
    right = 0
    for i, one in enumerate(answers):
        others = fit_of([*asked[0][:i], *asked[0][i + 1 : 10]])
        right += bool(feature_difference(one.prompt, one.chosen, one.rejected) @ others > 0)
    assert foreseen(world, answers).value == right / 10


def fit_of(pairs):
    """The weights if a is preferred in every pair."""
    return logistic_regression(differences_of(pairs), torch.ones(len(pairs)), PRIOR_DEVIATION).coefficients
