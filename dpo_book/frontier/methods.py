"""Seven ways from comparisons to a policy, all through one call: ``run``.

Each spends the same budget on the same data; what differs is what it does with them.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedModel

from dpo_book.frontier.arena import Arena, Cost, Data, Standing, draw_data
from dpo_book.models.policy import copy_policy
from dpo_book.training.config import DPOConfig, PPOConfig, RewardConfig, SFTConfig, UnlikelihoodConfig
from dpo_book.training.offline import train_dpo, train_sft, train_unlikelihood
from dpo_book.training.ppo import train_ppo

METHODS = {  # name → what its strength is
    "sft": None,
    "preferred-ft": None,
    "unlikelihood": "alpha",
    "dpo": "beta",
    "best-of-n": "n",
    "ppo": "beta",
    "ppo-gt": "beta",
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the methods are run in one world, the same for every seed.

    comparisons: hard-labelled pairs. budget: passes, that is sequences run forward and backward through any model;
    a reward model's are paid by those who use one. batch_size: pairs, completions or rollouts in a step.
    learning_rates and strengths: by method. measurements: how often a run is measured, at evenly growing budgets.
    """

    comparisons: int
    budget: int
    batch_size: int
    reward_model: RewardConfig
    learning_rates: Mapping[str, float]
    strengths: Mapping[str, tuple[float, ...]]
    measurements: int = 12
    ppo: PPOConfig = field(default_factory=PPOConfig)

    def __post_init__(self) -> None:
        for name in ("comparisons", "budget", "batch_size", "measurements"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        least = self.reward_passes + self.rollout_passes
        if self.budget < least:
            raise ValueError(
                f"budget must be at least {least} passes, the reward model's {self.reward_passes} and those of one "
                f"step of PPO; got {self.budget}"
            )

    @property
    def reward_passes(self) -> int:
        """Passes that fitting the reward model takes: both completions of every pair in every batch."""
        return 2 * self.reward_model.batch_size * self.reward_model.steps

    @property
    def rollout_passes(self) -> int:
        """Passes of one step of PPO: every rollout, every epoch, through the policy and the value model."""
        return 2 * self.batch_size * self.ppo.epochs


class Point(NamedTuple):
    """A policy on its way: how many steps it has trained, what that has cost, where it stands."""

    step: int
    cost: Cost
    measured: Standing


def run(arena: Arena, plan: Plan, method: str, strength: float, seed: int) -> Iterator[Point]:
    """Train by one method and measure on the way; the last point is the finished policy.

    strength: β, α or n, as ``METHODS`` says; 0 for the methods that have none.
    """
    data = draw_data(arena, plan.comparisons, replace(plan.reward_model, seed=seed), seed)
    if method == "best-of-n":
        yield Point(0, data.drawn + data.fitted, arena.best_of(int(strength), data.learned, seed))
        return
    policy = copy_policy(arena.reference)
    cost = {"sft": Cost(), "ppo": data.drawn + data.fitted, "ppo-gt": Cost()}.get(method, data.drawn)
    yield Point(0, cost, data.start)
    if method == "sft":
        return

    budgets = np.geomspace(1 / 64, 1, plan.measurements) * plan.budget
    steps, training = _training(policy, arena, plan, data, method, strength, seed)
    started = time.process_time()
    for step, spent in enumerate(training, start=1):
        cost += spent + Cost(seconds=time.process_time() - started)
        if step == steps or cost.passes >= budgets[0]:
            budgets = budgets[budgets > cost.passes]
            yield Point(step, cost, arena.measure(policy, data.learned))
        started = time.process_time()


def _training(
    policy: PreTrainedModel, arena: Arena, plan: Plan, data: Data, method: str, strength: float, seed: int
) -> tuple[int, Iterator[Cost]]:
    """How many steps the budget allows, and the steps: each trains ``policy`` and tells its cost but for seconds."""
    budget = plan.budget - plan.reward_passes if method == "ppo" else plan.budget
    passes = {"preferred-ft": plan.batch_size, "ppo": plan.rollout_passes, "ppo-gt": plan.rollout_passes}
    a_step = passes.get(method, 2 * plan.batch_size)
    options = {
        "steps": budget // a_step,
        "batch_size": plan.batch_size,
        "learning_rate": plan.learning_rates[method],
        "seed": seed,
    }
    match method:
        case "preferred-ft":
            examples = [(pair.prompt, pair.chosen) for pair in data.pairs]
            records = train_sft(policy, examples, SFTConfig(**options))
        case "unlikelihood":
            records = train_unlikelihood(policy, data.pairs, UnlikelihoodConfig(**options, alpha=strength))
        case "dpo":
            config = DPOConfig(**options, beta=strength)
            records = train_dpo(policy, arena.reference, data.pairs, config, data.reference_logps)
        case "ppo" | "ppo-gt":
            reward = data.learned if method == "ppo" else arena.world.rewards_of
            config = replace(plan.ppo, **options, beta=strength, max_new_tokens=arena.world.max_new_tokens)
            records = train_ppo(policy, arena.reference, [pair.prompt for pair in data.pairs], reward, config)
    asked = plan.batch_size if method == "ppo-gt" else 0  # of the true reward, one judgement a rollout
    return options["steps"], (Cost(a_step, record.get("generated_tokens", 0), asked) for record in records)
