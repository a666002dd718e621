"""How near DPO comes to the exact optimum at a beta of your choice: `make optimum BETA=0.7 STEPS=1500`."""

import argparse
import time

import torch
from torch import Tensor
from tqdm import tqdm

from dpo_book import DPOConfig, copy_policy, kl_divergence, optimal_logp, setup, train_dpo
from dpo_book.maths.objective import require_beta
from dpo_book.worlds.references import draw_comparisons, verdicts_reference
from dpo_book.worlds.verdicts import verdicts

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
    return kl_divergence(logp, optimal_logp(ref_logp, world.rewards, beta)).mean().item(), logp.exp().sum(dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beta", type=float, default=1.0, help="above 0; the budgets are for 0.3 to 2")
    parser.add_argument("--steps", type=int, default=1200, help="updates of 128 pairs; 1200 take about half a minute")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        require_beta(options.beta)
        DPOConfig(steps=options.steps)
    except ValueError as error:
        parser.error(str(error))
    setup(options.seed)
    verdicts_reference()  # trained now, unless it is kept from an earlier run: not part of what is timed
    start = time.perf_counter()
    distance, total = distance_to_optimum(options.beta, options.steps, options.seed)
    print(f"beta {options.beta}: KL(policy‖optimum) = {distance:.4f} nats", end=" ")
    print(f"after {options.steps} steps, {time.perf_counter() - start:.0f} s")
    print(f"the probabilities of all responses sum to {', '.join(f'{value:.6f}' for value in total)}")


if __name__ == "__main__":
    main()
