"""How the frontiers of the two worlds are run: budgets and strengths, and what was tuned for every method.

Tuning was by the objective (eq. 3) reached at beta = 0.3, with a seed that is in no table. On verdicts the learning
rates of DPO, PPO and PPO-GT were chosen among three to five values, 1e-4 to 3e-3; PPO-GT's minibatch, epochs, lambda
and value learning rate were varied too, and PPO took them over. On TinyReviews DPO's rate was chosen among 1e-4, 3e-4
and 1e-3, and PPO's lies between two that were tried, 2e-4 and 5e-4. The methods that imitate were not tuned.
"""

from dataclasses import replace

from dpo_book.frontier.methods import Plan
from dpo_book.training.config import PPOConfig, RewardConfig

VERDICTS = Plan(
    comparisons=20_000,
    budget=102_400,
    batch_size=128,
    reward_model=RewardConfig(learning_rate=1e-3, batch_size=128, steps=150, warmup_steps=20),
    learning_rates={"preferred-ft": 1e-3, "unlikelihood": 1e-3, "dpo": 5e-4, "ppo": 1e-3, "ppo-gt": 1e-3},
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
    learning_rates={"preferred-ft": 3e-4, "unlikelihood": 1e-4, "dpo": 1e-4, "ppo": 3e-4, "ppo-gt": 3e-4},
    strengths={
        "sft": (0.0,),
        "preferred-ft": (0.0,),
        "unlikelihood": (0.1, 0.5),
        "dpo": (0.03, 0.1, 0.3, 1.0),
        "best-of-n": (2, 4, 16, 64),
        "ppo": (0.03, 0.1, 0.3),
        "ppo-gt": (0.1, 0.3, 1.0),
    },
    measurements=7,
    ppo=PPOConfig(minibatch_size=64, value_learning_rate=1e-3, warmup_steps=5),
)

PLANS = {
    "full": {"verdicts": VERDICTS, "tiny-reviews": TINY_REVIEWS},
    # For a page that is waited for: less data, a fraction of the budget, fewer strengths.
    "small": {
        "verdicts": replace(
            VERDICTS,
            comparisons=10_000,
            budget=30_720,
            reward_model=replace(VERDICTS.reward_model, steps=60),
            strengths={
                "sft": (0.0,),
                "preferred-ft": (0.0,),
                "unlikelihood": (0.5,),
                "dpo": (0.1, 0.3, 1.0),
                "best-of-n": (4, 16, 64),
                "ppo": (0.1, 1.0),
                "ppo-gt": (0.1, 1.0),
            },
            measurements=6,
        ),
        "tiny-reviews": replace(
            TINY_REVIEWS,
            comparisons=1_000,
            budget=5_120,
            batch_size=32,
            reward_model=replace(TINY_REVIEWS.reward_model, batch_size=32, steps=40),
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
            measurements=2,
            ppo=replace(TINY_REVIEWS.ppo, minibatch_size=32),
        ),
    },
}
