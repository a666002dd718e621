"""Seven ways from comparisons to a policy, and all that is known of each in one record.

Each spends the same budget on the same material; what differs is what it does with them. ``trajectory`` trains by any
of them, through one call.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedModel

from dpo_book.frontier.arena import Arena, Cost, Standing
from dpo_book.frontier.material import Material, draw_material
from dpo_book.maths.require import require_count
from dpo_book.models.policy import copy_policy
from dpo_book.models.reward_model import Reward
from dpo_book.plots.style import POLICY, REFERENCE
from dpo_book.training.config import PPOConfig, RewardConfig, SFTConfig, UnlikelihoodConfig
from dpo_book.training.dpo_config import DPOConfig
from dpo_book.training.loop import Record
from dpo_book.training.offline import train_dpo, train_sft, train_unlikelihood
from dpo_book.training.ppo import train_ppo

# ------------------------------------------------------------------ what a world allows them


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the methods are run in one world, the same for every seed.

    comparisons: hard-labelled pairs. budget: passes, that is sequences run forward and backward through any model;
    a reward model's are paid by those who use one. batch_size: pairs, completions or rollouts in a step.
    strengths: by method. learning_rates: by method, one for all its strengths or one a strength. measurements: how
    often a run is measured, at evenly growing budgets.
    """

    comparisons: int
    budget: int
    batch_size: int
    reward_model: RewardConfig
    learning_rates: Mapping[str, float | Mapping[float, float]]
    strengths: Mapping[str, tuple[float, ...]]
    measurements: int = 12
    ppo: PPOConfig = field(default_factory=PPOConfig)

    def __post_init__(self) -> None:
        for name in ("comparisons", "budget", "batch_size"):
            require_count(name, getattr(self, name))
        require_count("measurements", self.measurements, least=2)  # soon after the start, and at the end
        least = self.reward_passes() + self.rollout_passes()
        if self.budget < least:
            raise ValueError(
                f"budget must be at least {least} passes, the reward model's {self.reward_passes()} and those of one "
                f"step of PPO; got {self.budget}"
            )

    def learning_rate(self, method: str, strength: float) -> float:
        """What a method trains with at a strength."""
        rates = self.learning_rates[method]
        return rates[strength] if isinstance(rates, Mapping) else rates

    def reward_passes(self) -> int:
        """Passes that fitting the reward model takes: both completions of every pair in every batch."""
        return 2 * self.reward_model.batch_size * self.reward_model.steps

    def completion_passes(self) -> int:
        """Passes of one step of a method that imitates: one completion of every pair."""
        return self.batch_size

    def pair_passes(self) -> int:
        """Passes of one step of a method that compares: both completions of every pair."""
        return 2 * self.batch_size

    def rollout_passes(self) -> int:
        """Passes of one step of PPO: every rollout, every epoch, through the policy and the value model."""
        return 2 * self.batch_size * self.ppo.epochs


class Task(NamedTuple):
    """One training: the policy to train, where, from what, and the settings that every method has."""

    policy: PreTrainedModel
    arena: Arena
    plan: Plan
    material: Material
    strength: float  # β or α
    settings: dict  # steps, batch_size, learning_rate, seed


# ------------------------------------------------------------------ how each trains


def _preferred_ft(task: Task) -> Iterator[Record]:
    examples = [(pair.prompt, pair.chosen) for pair in task.material.pairs]
    return train_sft(task.policy, examples, SFTConfig(**task.settings))


def _unlikelihood(task: Task) -> Iterator[Record]:
    config = UnlikelihoodConfig(**task.settings, alpha=task.strength)
    return train_unlikelihood(task.policy, task.material.pairs, config)


def _dpo(task: Task) -> Iterator[Record]:
    config = DPOConfig(**task.settings, beta=task.strength)
    reference_logps = task.material.reference_logps
    return train_dpo(task.policy, task.arena.reference, task.material.pairs, config, reference_logps)


def _ppo(task: Task) -> Iterator[Record]:
    return _train_ppo(task, task.material.learned)


def _ppo_gt(task: Task) -> Iterator[Record]:
    return _train_ppo(task, task.arena.world.rewards_of)


def _train_ppo(task: Task, reward: Reward) -> Iterator[Record]:
    cut = task.arena.world.max_new_tokens
    config = replace(task.plan.ppo, **task.settings, beta=task.strength, max_new_tokens=cut)
    prompts = [pair.prompt for pair in task.material.pairs]
    return train_ppo(task.policy, task.arena.reference, prompts, reward, config)


# ------------------------------------------------------------------ the seven


@dataclass(frozen=True, kw_only=True)
class Method:
    """What training, table and figures need to know of one method.

    label, colour, marker: how a page shows it. symbol: of its strength, if it has one. train: the records of its
    training; None where nothing is trained. passes: of one step. compares: it learns from the drawn comparisons and
    pays for them. fits_reward: it pays for a reward model. asks_truth: every rollout is a question to whoever knows
    the true reward.
    """

    label: str
    colour: str
    marker: str
    symbol: str | None = None
    train: Callable[[Task], Iterator[Record]] | None = None
    passes: Callable[[Plan], int] | None = None
    compares: bool = True
    fits_reward: bool = False
    asks_truth: bool = False

    def start_cost(self, material: Material) -> Cost:
        """What was spent before the first step."""
        cost = material.drawn if self.compares else Cost()
        return cost + material.fitted if self.fits_reward else cost

    def steps(self, plan: Plan) -> int:
        """How many the budget allows, once the reward model is paid."""
        spent = plan.reward_passes() if self.fits_reward else 0
        return (plan.budget - spent) // self.passes(plan)


# In the order of the page. DPO is the book's policy; what only picks among the reference's answers is grey. Seven
# colours cannot all differ in lightness, so each method has a marker too.
METHODS = {
    "sft": Method(
        label="SFT (reference)",
        colour=REFERENCE,
        marker="s",
        compares=False,
    ),
    "preferred-ft": Method(
        label="preferred-FT",
        colour="#2878B5",
        marker="v",
        train=_preferred_ft,
        passes=Plan.completion_passes,
    ),
    "unlikelihood": Method(
        label="unlikelihood",
        colour="#A06400",
        marker="^",
        symbol="α",
        train=_unlikelihood,
        passes=Plan.pair_passes,
    ),
    "dpo": Method(
        label="DPO",
        colour=POLICY,
        marker="o",
        symbol="β",
        train=_dpo,
        passes=Plan.pair_passes,
    ),
    "best-of-n": Method(
        label="best-of-n",
        colour="#333333",
        marker="D",
        symbol="n",
        fits_reward=True,
    ),
    "ppo": Method(
        label="PPO",
        colour="#B04A8B",
        marker="P",
        symbol="β",
        train=_ppo,
        passes=Plan.rollout_passes,
        fits_reward=True,
    ),
    "ppo-gt": Method(
        label="PPO-GT",
        colour="#5C1A55",
        marker="X",
        symbol="β",
        train=_ppo_gt,
        passes=Plan.rollout_passes,
        compares=False,
        asks_truth=True,
    ),
}


class Point(NamedTuple):
    """A policy on its way: how many steps it has trained, what that has cost, where it stands."""

    step: int
    cost: Cost
    standing: Standing


def training(
    arena: Arena, plan: Plan, name: str, strength: float, seed: int
) -> tuple[PreTrainedModel, Iterator[Record]]:
    """A copy of the reference and the records of its training, which goes on as they are read."""
    method = METHODS[name]
    material = draw_material(arena, plan.comparisons, replace(plan.reward_model, seed=seed), seed)
    policy = copy_policy(arena.reference)
    settings = {
        "steps": method.steps(plan),
        "batch_size": plan.batch_size,
        "learning_rate": plan.learning_rate(name, strength),
        "seed": seed,
    }
    return policy, method.train(Task(policy, arena, plan, material, strength, settings))


def trajectory(arena: Arena, plan: Plan, name: str, strength: float, seed: int) -> Iterator[Point]:
    """Train by the method ``name`` and measure on the way; the last point is the finished policy.

    strength: β, α or n, the method's ``symbol``; 0 for the methods that have none.
    """
    method = METHODS[name]
    material = draw_material(arena, plan.comparisons, replace(plan.reward_model, seed=seed), seed)
    cost = method.start_cost(material)
    if name == "best-of-n":
        yield Point(0, cost, arena.best_of(int(strength), material.learned, seed))
        return
    yield Point(0, cost, material.start)
    if method.train is None:
        return

    steps = method.steps(plan)
    policy, records = training(arena, plan, name, strength, seed)
    budgets = np.geomspace(1 / 64, 1, plan.measurements) * plan.budget
    judgements = plan.batch_size if method.asks_truth else 0
    started = time.process_time()
    for step, record in enumerate(records, start=1):
        cost += Cost(
            passes=method.passes(plan),
            generated_tokens=record.get("generated_tokens", 0),
            judgements=judgements,
            seconds=time.process_time() - started,
        )
        if step == steps or cost.passes >= budgets[0]:
            budgets = budgets[budgets > cost.passes]
            yield Point(step, cost, arena.measure(policy, material.learned))
        started = time.process_time()
