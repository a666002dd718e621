"""The claim of the book as a number: DPO's GPT-2 comes to the closed-form optimum (eq. 4)."""

import torch

from tools.optimum import distance_to_optimum


# Shorter runs, at β = 0.3, 1 and 2, are chapter 07's own: its cells assert that they end within 0.05 nats.
def test_the_longer_run_ends_within_a_hundredth_of_a_nat():
    distance, total = distance_to_optimum(1.0, steps=1200)
    assert distance < 0.01
    assert torch.allclose(total, torch.ones_like(total), atol=1e-5)
