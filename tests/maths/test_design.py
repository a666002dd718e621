"""Which comparisons tell most: by determinants, one at a time, and against the best set of all."""

import itertools
import math

import pytest
import torch

from dpo_book.maths.design import most_informative


def log_det(differences, places, prior_deviation):
    """Of the information: the prior's, and what each comparison adds at p = 1/2."""
    d = differences[list(places)]
    information = torch.eye(d.shape[1], dtype=torch.float64) / prior_deviation**2 + d.T @ d / 4
    return torch.logdet(information).item()


@pytest.fixture(params=[0, 1])
def differences(request):
    generator = torch.Generator().manual_seed(request.param)
    return torch.randint(-2, 3, (14, 4), generator=generator).double() + 0.01 * torch.randn(
        14, 4, generator=generator
    )


def test_each_is_the_one_that_adds_most(differences):
    chosen = most_informative(differences, 6, prior_deviation=0.7)
    for k, place in enumerate(chosen):
        others = set(range(14)) - set(chosen[:k])
        assert place == max(others, key=lambda other: log_det(differences, [*chosen[:k], other], 0.7))


def test_the_set_is_nearly_the_best_one(differences):
    nothing = log_det(differences, [], 0.7)
    sets = itertools.combinations(range(14), 5)
    best = max(log_det(differences, places, 0.7) for places in sets) - nothing
    found = log_det(differences, most_informative(differences, 5, 0.7), 0.7) - nothing
    assert (1 - 1 / math.e) * best <= found <= best + 1e-9


def test_what_was_asked_is_not_asked_again():
    """After (1, 0) the same adds log(1 + 0.8 / 4), and (0, 0.95) adds log(1 + 0.9025 / 4)."""
    twice = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.95]])
    assert most_informative(twice, 2, prior_deviation=1) == [0, 2]
    assert most_informative(twice, 3, prior_deviation=1) == [0, 2, 1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((torch.zeros(3, 2), 4, 1.0), "count must be a whole number of at most 3, got 4"),
        ((torch.zeros(3), 2, 1.0), r"of shape \(n, K\), got \(3,\)"),
        ((torch.full((3, 2), math.nan), 2, 1.0), "must be finite"),
        ((torch.zeros(3, 2), 2, 0.0), "prior_deviation must be a finite number above 0, got 0.0"),
    ],
)
def test_what_cannot_be_asked_is_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        most_informative(*arguments)
