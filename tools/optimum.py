"""How near DPO comes to the exact optimum at a beta of your choice: `make optimum BETA=0.7 STEPS=1500`."""

import time

import torch
from torch import Tensor
from tqdm import tqdm

from dpo_book import DPOConfig, copy_policy, kl_divergence, optimal_logp, setup, train_dpo
from dpo_book.maths.require import require_beta
from dpo_book.worlds.references import verdicts_reference
from dpo_book.worlds.verdicts import draw_comparisons, verdicts
from tools import command_line

BATCH = 128


def distance_to_optimum(beta: float, steps: int, seed: int = 0) -> tuple[float, Tensor]:
    """Train the nano GPT-2 on soft labels; KL(π_θ‖π*) in nats, averaged over prompts, and Σ_y π_θ(y|x) (P,)."""
    world, reference = verdicts(), verdicts_reference()
    with torch.no_grad():
        ref_logp = world.logp(reference).double()
    pairs, ref_logps = draw_comparisons(world, ref_logp, BATCH * steps, labels="soft", seed=seed)
    policy = copy_policy(reference)
    config = DPOConfig(beta=beta, learning_rate=2e-3, batch_size=BATCH, steps=steps, seed=seed)
    for _ in tqdm(train_dpo(policy, reference, pairs, config, ref_logps), total=steps, unit="step"):
        pass
    with torch.no_grad():
        logp = world.logp(policy).double()
    exact = optimal_logp(ref_logp, world.rewards, beta)
    return kl_divergence(logp, exact).mean().item(), logp.exp().sum(dim=1)


def optimum(beta: float = 1.0, steps: int = 1200, seed: int = 0) -> None:
    """How near DPO comes to the exact optimum at a beta of your choice.

    Args:
        beta: above 0; the budgets are for 0.3 to 2.
        steps: updates of 128 pairs; 1200 take about half a minute.
        seed: of the comparisons and their order.
    """
    try:
        require_beta(beta)
        DPOConfig(steps=steps)
    except ValueError as error:
        command_line.refuse(str(error))
    setup(seed)
    verdicts_reference()  # trained now, unless it is kept from an earlier run: not part of what is timed
    start = time.perf_counter()
    distance, total = distance_to_optimum(beta, steps, seed)
    print(f"beta {beta}: KL(policy‖optimum) = {distance:.4f} nats", end=" ")
    print(f"after {steps} steps, {time.perf_counter() - start:.0f} s")
    print(f"the probabilities of all responses sum to {', '.join(f'{value:.6f}' for value in total)}")


if __name__ == "__main__":
    command_line.run(optimum)
