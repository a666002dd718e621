"""Agreement of judges: counted, beyond chance, and how much of it noise allows."""

import itertools
import math

import numpy as np
import pytest
import torch

from dpo_book.maths.agreement import agreement, agreement_ceiling, best_agreement, cohen_kappa, expected_agreement
from dpo_book.maths.estimates import Interval, share_interval

VALUES = (0.0, 0.5, 1.0)
TABLES = {
    "two by two": [[20, 0, 5], [0, 0, 0], [10, 0, 15]],
    "with ties": [[30, 4, 6], [3, 9, 2], [5, 8, 33]],
    "opposite": [[0, 0, 12], [0, 0, 0], [9, 0, 0]],
}


def verdicts(table):
    """Of two judges, from the counts of what the first (row) and the other (column) said."""
    cells = itertools.product(range(3), range(3))
    said = [(VALUES[i], VALUES[j]) for i, j in cells for _ in range(table[i][j])]
    return torch.tensor(said).T


def kappa_and_error(table):
    """Cohen's κ, and its standard error as Fleiss, Cohen and Everitt (1969) print it."""
    p = np.array(table, float)
    n = p.sum()
    p /= n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed, chance = np.trace(p), rows @ columns
    kappa = (observed - chance) / (1 - chance)
    total = -((kappa - chance * (1 - kappa)) ** 2)
    for i, j in itertools.product(range(3), range(3)):
        if i == j:
            total += p[i, i] * (1 - (rows[i] + columns[i]) * (1 - kappa)) ** 2
        else:
            total += (1 - kappa) ** 2 * p[i, j] * (columns[i] + rows[j]) ** 2
    return kappa, math.sqrt(max(total, 0.0) / n) / (1 - chance)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_kappa_and_its_standard_error_are_those_of_the_table(table):
    # abs 1e-8: where nothing varies, the root of a rounding of 1e-17 is left
    assert cohen_kappa(*verdicts(table)) == pytest.approx(kappa_and_error(table), abs=1e-8)


def test_kappa_of_a_textbook_table():
    """20 both yes, 5 and 10 apart, 15 both no: p_o = 0.7, p_e = 0.5."""
    assert cohen_kappa(*verdicts(TABLES["two by two"])).mean == pytest.approx(0.4, abs=1e-12)


def test_judges_who_are_alike_have_kappa_one_and_independent_ones_none():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.rand(2, 4000, generator=generator) < torch.tensor([[0.9], [0.8]])).double()
    assert cohen_kappa(one, one) == pytest.approx((1.0, 0.0), abs=1e-12)
    found = cohen_kappa(one, other)
    assert abs(found.mean) < 3 * found.standard_error < 0.06
    assert agreement(one, other).value > 0.7  # and yet they agree often


def test_agreement_is_the_share_of_equal_verdicts():
    one, other = verdicts(TABLES["with ties"])
    assert agreement(one, other) == share_interval(72 / 100, 100)


@pytest.mark.parametrize("said", [[1.0] * 5, [1.0, 0.0, 1.0, 1.0, 0.5]])
def test_where_a_judge_always_says_the_same_there_is_no_kappa(said):
    for judges in ((torch.tensor(said), torch.ones(5)), (torch.ones(5), torch.tensor(said))):
        with pytest.raises(ValueError, match="do not say the same thing everywhere"):
            cohen_kappa(*judges)


# ------------------------------------------------------------------ what noise allows


def test_expected_agreement_is_that_of_all_verdicts():
    p, q = [0.9, 0.4, 0.5], [0.2, 0.7, 1.0]
    expected = 0.0
    for one, other in itertools.product(itertools.product((0, 1), repeat=3), repeat=2):
        chance = math.prod(a if won else 1 - a for a, won in zip(p, one, strict=True))
        chance *= math.prod(a if won else 1 - a for a, won in zip(q, other, strict=True))
        expected += chance * sum(x == y for x, y in zip(one, other, strict=True)) / 3
    doubles = [torch.tensor(values, dtype=torch.float64) for values in (p, q)]
    assert expected_agreement(*doubles) == pytest.approx(expected, abs=1e-12)


def test_two_draws_of_a_noisy_judge_agree_less_often_than_one_with_the_truth():
    p = torch.full((4,), 0.8, dtype=torch.float64)
    truth = torch.ones(4)
    assert expected_agreement(p, p) == pytest.approx(0.8**2 + 0.2**2, abs=1e-12)
    assert expected_agreement(p, truth) == best_agreement(p) == pytest.approx(0.8, abs=1e-12)


def test_draws_agree_as_often_as_expected():
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(5000, generator=generator)
    one, other = (torch.rand(2, 5000, generator=generator) < p).double()
    found = agreement(one, other)
    assert found.low < expected_agreement(p, p) < found.high


def test_no_judge_agrees_more_often_with_a_noisy_one_than_its_likelier_verdict():
    p = torch.tensor([0.9, 0.4, 0.55])
    judges = itertools.product((0.0, 0.3, 1.0), repeat=3)
    best = max(expected_agreement(p, torch.tensor(judge)) for judge in judges)
    assert best == pytest.approx(best_agreement(p), abs=1e-7)  # float32 arguments


def test_people_who_agree_in_65_of_100_leave_a_judge_77():
    """The paper's table 2 has 65 % for two people. If all comparisons are alike, p² + (1 − p)² = 0.65."""
    p = (1 + math.sqrt(2 * 0.65 - 1)) / 2
    alike = torch.full((3,), p, dtype=torch.float64)
    assert expected_agreement(alike, alike) == pytest.approx(0.65, abs=1e-12)
    assert best_agreement(alike) == pytest.approx(0.774, abs=5e-4)


@pytest.mark.parametrize("error", [0.0, 0.1, 0.37, 0.5])
def test_how_often_one_agrees_with_oneself_tells_how_often_with_the_truth(error):
    p = torch.full((3,), 1 - error, dtype=torch.float64)
    consistent = Interval(*3 * (expected_agreement(p, p),))
    # abs 1e-7: at e = 1/2 the root turns a rounding of 1e-16 into 1e-8
    assert agreement_ceiling(consistent) == pytest.approx(3 * (expected_agreement(p, torch.ones(3)),), abs=1e-7)


def test_with_unequal_errors_agreement_with_the_truth_is_below_the_ceiling():
    p = torch.tensor([0.99, 0.6, 0.8], dtype=torch.float64)
    same = expected_agreement(p, p)
    ceiling = agreement_ceiling(Interval(same, 0.3, 1.0))
    assert expected_agreement(p, torch.ones(3)) < ceiling.value < 0.84
    assert (ceiling.low, ceiling.high) == (0.5, 1.0)  # no chance e leads below 1/2


@pytest.mark.parametrize("share", [0.49, math.nan, 1.1])
def test_no_ceiling_for_less_than_coins_would_do(share):
    with pytest.raises(ValueError, match="equal verdicts must be from 1/2 to 1"):
        agreement_ceiling(Interval(share, 0.0, 1.0))


@pytest.mark.parametrize("function", [agreement, cohen_kappa])
def test_verdicts_are_checked(function):
    with pytest.raises(ValueError, match="other_verdicts must be 1"):
        function(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.7]))
    with pytest.raises(ValueError, match="must have one shape"):
        function(torch.ones(2), torch.ones(3))


def test_probabilities_are_checked():
    with pytest.raises(ValueError, match=r"probability must be in \[0, 1\], got 1.5"):
        expected_agreement(torch.tensor([1.5]), torch.tensor([0.5]))
    with pytest.raises(ValueError, match=r"probability must be in \[0, 1\], got nan"):
        best_agreement(torch.tensor([math.nan]))
