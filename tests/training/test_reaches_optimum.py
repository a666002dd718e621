"""The claim of the book as a number: DPO's GPT-2 comes to the closed-form optimum (eq. 4)."""

import pytest
import torch

from tools.optimum import distance_to_optimum


# About a minute of training is enough at any beta from 0.3 to 2; these are the two ends.
@pytest.mark.parametrize("beta", [0.3, 2.0])
def test_a_minute_of_training_ends_within_a_twentieth_of_a_nat(beta):
    distance, total = distance_to_optimum(beta, steps=1200)
    assert distance < 0.05
    assert torch.allclose(total, torch.ones_like(total), atol=1e-5)


def test_the_longer_run_ends_within_a_hundredth_of_a_nat():
    distance, _ = distance_to_optimum(1.0, steps=2500)
    assert distance < 0.01
