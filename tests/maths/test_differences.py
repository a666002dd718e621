"""Differences of win rates: standard errors paired and unpaired, and what pairing gains."""

import math

import numpy as np
import pytest
import torch

from dpo_book.maths.differences import paired_difference, unpaired_difference, variance_of_pairing

TRIALS, N = 2000, 200


def correlated_outcomes(seed=0):
    """Two policies' wins on the same prompts, (TRIALS, N) both: an easy prompt is won by both more often."""
    generator = torch.Generator().manual_seed(seed)
    easiness = 1.5 * torch.randn(TRIALS, N, generator=generator)
    drawn = torch.rand(2, TRIALS, N, generator=generator)
    first, second = drawn < torch.sigmoid(easiness + torch.tensor([0.6, 0.3])[:, None, None])
    return first.double(), second.double()


def test_both_standard_errors_are_those_of_numpy():
    a, b = (outcomes[0] for outcomes in correlated_outcomes())
    x, y = a.numpy(), b.numpy()
    unpaired = math.sqrt(np.var(x, ddof=1) / N + np.var(y, ddof=1) / N)
    paired = np.std(x - y, ddof=1) / math.sqrt(N)
    assert unpaired_difference(a, b) == pytest.approx((x.mean() - y.mean(), unpaired), abs=1e-12)
    assert paired_difference(a, b) == pytest.approx((x.mean() - y.mean(), paired), abs=1e-12)


def test_on_the_same_prompts_the_paired_error_is_right_and_the_unpaired_too_large():
    a, b = correlated_outcomes()
    spread = (a - b).mean(dim=1).std().item()
    paired, unpaired = paired_difference(a[0], b[0]).standard_error, unpaired_difference(a[0], b[0]).standard_error
    # the spread of 2,000 differences is known to 1.6 %, a standard error from 200 pairs to about 4 %
    assert paired == pytest.approx(spread, rel=0.15)
    assert unpaired > 1.1 * spread


def test_pairing_gains_what_the_correlation_says():
    a, b = (outcomes.flatten() for outcomes in correlated_outcomes())
    correlation = torch.corrcoef(torch.stack([a, b]))[0, 1].item()
    assert correlation > 0.2
    ratio = (paired_difference(a, b).standard_error / unpaired_difference(a, b).standard_error) ** 2
    predicted = variance_of_pairing(correlation, a.mean().item(), b.mean().item())
    # an identity but for n − 1 against n, 400,000 outcomes
    assert ratio == pytest.approx(predicted, abs=1e-5)


@pytest.mark.parametrize(("both", "only_a", "only_b"), [(0.4, 0.2, 0.1), (0.1, 0.5, 0.3), (0.25, 0.25, 0.25)])
def test_the_ratio_is_that_of_a_table_of_chances(both, only_a, only_b):
    p, q = both + only_a, both + only_b
    variances = p * (1 - p) + q * (1 - q)
    correlation = (both - p * q) / math.sqrt(p * (1 - p) * q * (1 - q))
    of_difference = only_a + only_b - (p - q) ** 2
    assert variance_of_pairing(correlation, p, q) == pytest.approx(of_difference / variances, abs=1e-12)


@pytest.mark.parametrize(("correlation", "ratio"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0), (-0.6, 1.6)])
def test_with_equal_win_rates_it_is_one_minus_the_correlation(correlation, ratio):
    assert variance_of_pairing(correlation, 0.6, 0.6) == pytest.approx(ratio, abs=1e-12)


def test_a_correlation_that_no_two_outcomes_have_is_refused():
    assert variance_of_pairing(-1.0, 0.5, 0.5) == 2
    with pytest.raises(ValueError, match=r"correlation -1 is not possible between shares of 0\.6 and 0\.6"):
        variance_of_pairing(-1.0, 0.6, 0.6)
    variance_of_pairing(1 / 9, 0.9, 0.1)  # the most there: who wins seldom wins only where the other does
    with pytest.raises(ValueError, match="not possible"):
        variance_of_pairing(0.12, 0.9, 0.1)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="must have one shape"):
        paired_difference(torch.ones(3), torch.ones(4))
    with pytest.raises(ValueError, match="correlation must be in"):
        variance_of_pairing(math.nan)
    with pytest.raises(ValueError, match="share_b must be in"):
        variance_of_pairing(0.5, 0.5, 1.5)
    with pytest.raises(ValueError, match="nothing varies"):
        variance_of_pairing(0.5, 1.0, 0.0)
