"""How the frontiers of the worlds are run: budgets and strengths, and what was tuned for every method.

In verdicts and TinyReviews the learning rates of DPO, PPO and PPO-GT are the best of one grid, at every strength, by
the objective (eq. 3) at the end of a run with a seed that is in no table; with summaries and dialogues those of DPO
and PPO, at β = 0.1, and PPO-GT takes PPO's: `python -m tools.tune`, notebooks/results/tuning-*.csv. On verdicts PPO's
minibatch, epochs, λ and value learning rate were varied too, with the true reward at beta = 0.3. The methods that
imitate were not tuned.
"""

import math
from dataclasses import replace

from dpo_book.frontier.methods import Plan
from dpo_book.training.config import PPOConfig, RewardConfig, SFTConfig
from dpo_book.training.dpo_config import DPOConfig

VERDICTS = Plan(
    comparisons=20_000,
    budget=102_400,
    batch_size=128,
    reward_model=RewardConfig(learning_rate=1e-3, batch_size=128, steps=150, warmup_steps=20),
    learning_rates={
        "preferred-ft": 1e-3,
        "unlikelihood": 1e-3,
        "dpo": {0.05: 1e-3, 0.1: 2e-4, 0.3: 2e-4, 0.5: 5e-4, 1.0: 1e-3, 2.0: 5e-4},
        "ppo": {0.05: 1e-3, 0.1: 1e-3, 0.3: 2e-3, 0.5: 5e-4, 1.0: 2e-3, 2.0: 5e-4},
        "ppo-gt": {0.05: 2e-3, 0.1: 2e-3, 0.3: 2e-3, 0.5: 1e-3, 1.0: 5e-4, 2.0: 2e-4},
    },
    strengths={
        "sft": (0.0,),
        "preferred-ft": (0.0,),
        "unlikelihood": (0.05, 0.1, 0.5, 1.0),
        "dpo": (0.05, 0.1, 0.3, 0.5, 1.0, 2.0),
        "best-of-n": (2, 4, 16, 64, 256),
        "ppo": (0.05, 0.1, 0.3, 0.5, 1.0, 2.0),
        "ppo-gt": (0.05, 0.1, 0.3, 0.5, 1.0, 2.0),
    },
    ppo=PPOConfig(minibatch_size=128, value_learning_rate=1e-3, warmup_steps=5),
)

TINY_REVIEWS = Plan(
    comparisons=5_000,
    budget=25_600,
    batch_size=64,
    reward_model=RewardConfig(learning_rate=2e-3, batch_size=64, steps=100, warmup_steps=20),
    learning_rates={
        "preferred-ft": 3e-4,
        "unlikelihood": 1e-4,
        "dpo": {0.03: 3e-4, 0.1: 3e-4, 0.3: 1e-4, 1.0: 1e-4},
        "ppo": {0.03: 1e-3, 0.1: 3e-4, 0.3: 1e-4, 1.0: 1e-4},
        "ppo-gt": {0.03: 1e-3, 0.1: 3e-4, 0.3: 3e-4, 1.0: 1e-4},
    },
    strengths={
        "sft": (0.0,),
        "preferred-ft": (0.0,),
        "unlikelihood": (0.1, 0.5),
        "dpo": (0.03, 0.1, 0.3, 1.0),
        "best-of-n": (2, 4, 16, 64),
        "ppo": (0.03, 0.1, 0.3, 1.0),
        "ppo-gt": (0.03, 0.1, 0.3, 1.0),
    },
    measurements=7,
    ppo=PPOConfig(minibatch_size=64, value_learning_rate=1e-3, warmup_steps=5),
)

TINY_SUMMARIES = replace(
    TINY_REVIEWS,
    comparisons=3_000,
    learning_rates={
        "preferred-ft": 3e-4,
        "unlikelihood": 1e-4,
        "dpo": 1e-4,
        "ppo": 3e-4,
        "ppo-gt": 3e-4,
    },
    strengths={
        "sft": (0.0,),
        "preferred-ft": (0.0,),
        "unlikelihood": (0.5,),
        "dpo": (0.1,),
        "best-of-n": (16,),
        "ppo": (0.1,),
        "ppo-gt": (0.1,),
    },
)

TINY_DIALOGUES = replace(TINY_SUMMARIES, learning_rates=TINY_SUMMARIES.learning_rates | {"dpo": 1e-4, "ppo": 1e-4})


def _small(plan: Plan) -> Plan:
    """A world of open text with less data and a fifth of the budget."""
    return replace(
        plan,
        comparisons=1_000,
        budget=5_120,
        batch_size=32,
        reward_model=replace(plan.reward_model, batch_size=32, steps=40),
        measurements=2,
        ppo=replace(plan.ppo, minibatch_size=32),
    )


IMDB_STRENGTHS = {  # the paper's, but that its PPO was given a KL to aim at (3, 6, 9, 12), and it had no best-of-n
    "sft": (0.0,),
    "preferred-ft": (0.0,),
    "unlikelihood": (0.05, 0.1, 0.5, 1.0),
    "dpo": (0.05, 0.1, 1.0, 5.0),
    "best-of-n": (4, 16, 64),
    "ppo": (0.05, 0.1, 1.0, 5.0),
    "ppo-gt": (0.05, 0.1, 1.0, 5.0),
}


def imdb_plan(comparisons: int, parameters: int, batch_size: int, measurements: int) -> Plan:
    """The paper's sentiment experiment for a policy of so many parameters. Nothing was tuned.

    The reward model sees every comparison once. That is half of the budget, so DPO sees each twice. Learning rates
    are those that a policy of this size has where nobody says otherwise, see ``TrainConfig.resolved``.
    """
    fit = RewardConfig(batch_size=batch_size, steps=math.ceil(comparisons / batch_size)).resolved(parameters)
    imitating = SFTConfig().resolved(parameters).learning_rate
    careful = DPOConfig().resolved(parameters).learning_rate
    return Plan(
        comparisons=comparisons,
        budget=4 * batch_size * fit.steps,
        batch_size=batch_size,
        reward_model=fit,
        learning_rates={
            "preferred-ft": imitating,
            "unlikelihood": careful,
            "dpo": careful,
            "ppo": careful,
            "ppo-gt": careful,
        },
        strengths=IMDB_STRENGTHS,
        measurements=measurements,
        ppo=PPOConfig(minibatch_size=batch_size, value_learning_rate=fit.learning_rate),
    )


PLANS = {
    "full": {
        "verdicts": VERDICTS,
        "tiny-reviews": TINY_REVIEWS,
        "tiny-summaries": TINY_SUMMARIES,
        "tiny-dialogues": TINY_DIALOGUES,
    },
    # For a page that is waited for: less data, a fraction of the budget, fewer strengths.
    "small": {
        "verdicts": replace(
            VERDICTS,
            comparisons=10_000,
            budget=20_480,
            reward_model=replace(VERDICTS.reward_model, steps=40),
            strengths={
                "sft": (0.0,),
                "preferred-ft": (0.0,),
                "unlikelihood": (0.5,),
                "dpo": (0.1, 1.0),
                "best-of-n": (4, 16, 64),
                "ppo": (0.1,),
                "ppo-gt": (0.1, 1.0),
            },
            measurements=4,
        ),
        "tiny-reviews": replace(
            _small(TINY_REVIEWS),
            learning_rates=TINY_REVIEWS.learning_rates | {"unlikelihood": 5e-4, "dpo": 5e-4},  # few steps
            strengths={
                "sft": (0.0,),
                "preferred-ft": (0.0,),
                "unlikelihood": (0.5,),
                "dpo": (0.1,),
                "best-of-n": (4,),
                "ppo": (0.1,),
                "ppo-gt": (0.1,),
            },
        ),
        "tiny-summaries": _small(TINY_SUMMARIES),
        "tiny-dialogues": _small(TINY_DIALOGUES),
    },
}
